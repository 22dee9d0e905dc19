//! Two of each service, on one PostgreSQL and one bucket: what happens while processes go and come.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use harness::{Answer, Call, Content, Options, Persona, Server, Shape, bucket, eventually, within};
use http::Method;

/// People who work at once.
const WORKERS: usize = 6;
const SMALL: u64 = 4 << 10;
const LARGE: u64 = 3 << 20;

/// A steady mixed load: each worker uploads, reads what it has uploaded, and lists.
struct Load {
    stop: AtomicBool,
    done: AtomicUsize,
    /// What went wrong, in words.
    failures: Mutex<Vec<String>>,
    /// What may be there, by worker and path.
    stored: Vec<Mutex<BTreeMap<String, Stored>>>,
}

#[derive(Clone, Default)]
struct Stored {
    /// What was acknowledged last.
    acknowledged: Option<Content>,
    /// What was not, but may have happened, and not at once.
    others: Vec<Content>,
}

impl Load {
    /// Works for `persona` until it is told to stop. `strict` says whether every request has to succeed; if not, one that
    /// failed is made again until it does not.
    async fn work(&self, worker: usize, persona: &Persona, strict: bool) {
        let mut n = 0;
        while !self.stop.load(Ordering::Relaxed) {
            n += 1;
            let (seed, size) = (n * 100 + worker as u64, if n % 5 == 0 { LARGE } else { SMALL });
            // A few names, so that there are new files and new versions.
            let path = format!("w{worker}/file {}", n % 7);
            let content = Content::new(seed.to_string(), size);
            let body = content.bytes();
            let put = || persona.put(&format!("/fs/{}", harness::encode_path(&path))).body(body.clone());
            let answer = self.ask(put, strict).await;
            let acknowledged = answer.is_some_and(|answer| answer.status.is_success());
            {
                let mut stored = self.stored[worker].lock().unwrap();
                let there = stored.entry(path.clone()).or_default();
                match acknowledged {
                    true => there.acknowledged = Some(content),
                    false => there.others.push(content),
                }
            }
            if !acknowledged {
                continue;
            }
            let get = || persona.get(&format!("/fs/{}", harness::encode_path(&path)));
            if let Some(answer) = self.ask(get, strict).await
                && answer.status == 200
                && answer.body != body
                && strict
            {
                self.fail(format!("{path} is not what was stored"));
            }
            self.ask(|| persona.get("/nodes/root/children"), strict).await;
        }
    }

    /// Makes a call. A gateway that cannot be connected to is no failure: a load balancer would take another.
    async fn ask(&self, call: impl Fn() -> Call, strict: bool) -> Option<Answer> {
        let began = Instant::now();
        loop {
            match call().try_send().await {
                Ok(answer) if answer.status.is_success() => {
                    self.done.fetch_add(1, Ordering::Relaxed);
                    return Some(answer);
                }
                Ok(answer) if strict => {
                    self.fail(format!("{}: {} {}", answer.request, answer.status, answer.text()));
                    return Some(answer);
                }
                // What is in flight may fail, and says that it can be tried again.
                Ok(answer) => {
                    if !matches!(answer.status.as_u16(), 500 | 502 | 503 | 504) {
                        self.fail(format!("{}: {} {}", answer.request, answer.status, answer.text()));
                    }
                    return Some(answer);
                }
                Err(error) if error.is_connect() && began.elapsed() < Duration::from_secs(20) => {}
                Err(error) => {
                    if strict {
                        self.fail(format!("no answer: {error:?}"));
                    }
                    return None;
                }
            }
        }
    }

    fn fail(&self, what: String) {
        self.failures.lock().unwrap().push(what);
    }
}

async fn under_load(
    strict: bool,
    work: impl AsyncFnOnce(&mut Server, &Load),
) -> (Server, Arc<Load>, Vec<Arc<Persona>>) {
    let mut server = Server::start_with(Shape::EightProcesses, Options::new()).await;
    let load = Arc::new(Load {
        stop: AtomicBool::new(false),
        done: AtomicUsize::new(0),
        failures: Mutex::default(),
        stored: (0..WORKERS).map(|_| Mutex::default()).collect(),
    });
    let mut people = Vec::new();
    let mut workers = Vec::new();
    for worker in 0..WORKERS {
        let persona = Arc::new(server.persona("worker").await);
        people.push(Arc::clone(&persona));
        let load = Arc::clone(&load);
        workers.push(tokio::spawn(async move { load.work(worker, &persona, strict).await }));
    }
    work(&mut server, &load).await;
    load.stop.store(true, Ordering::Relaxed);
    for worker in workers {
        within(Duration::from_secs(60), "the last requests", worker).await.unwrap();
    }
    let failures = load.failures.lock().unwrap().clone();
    assert!(
        failures.is_empty(),
        "{} of {}:\n{}",
        failures.len(),
        load.done.load(Ordering::Relaxed),
        failures.join("\n")
    );
    (server, load, people)
}

/// Waits until that many more requests have succeeded.
async fn more(load: &Load, requests: usize) {
    let from = load.done.load(Ordering::Relaxed);
    eventually("requests succeed", async || {
        let enough = load.done.load(Ordering::Relaxed) >= from + requests;
        (enough || !load.failures.lock().unwrap().is_empty()).then_some(())
    })
    .await;
}

/// Everything that was acknowledged is there.
async fn check(load: &Load, people: &[Arc<Persona>]) {
    for (worker, persona) in people.iter().enumerate() {
        let stored = load.stored[worker].lock().unwrap().clone();
        assert!(!stored.is_empty());
        for (path, Stored { acknowledged, others }) in stored {
            let Some(acknowledged) = acknowledged else { continue };
            let there = persona.download(&path).await;
            let known = others.iter().chain([&acknowledged]).any(|content| content.bytes() == there);
            assert!(known, "{path} of worker {worker}");
        }
    }
}

/// Twice round, each process in turn is asked to end and started again: not one request fails.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_is_not_noticed() {
    let (_server, load, people) = under_load(true, async |server, load| {
        for _ in 0..2 {
            for number in 0..server.processes() {
                server.leave_out(number);
                // By then each worker has sent a request somewhere else.
                more(load, 5 * WORKERS).await;
                server.replace(number, true).await;
            }
        }
        more(load, 20).await;
    })
    .await;
    check(&load, &people).await;
}

/// The same without a warning: what was in flight may fail, nothing that was acknowledged is lost, and all goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_process_takes_along_what_was_in_flight_alone() {
    let (_server, load, people) = under_load(false, async |server, load| {
        for number in 0..server.processes() {
            more(load, 20).await;
            server.replace(number, false).await;
        }
        more(load, 20).await;
    })
    .await;
    check(&load, &people).await;
}

/// Each gateway keeps answers, and each metadata; requests go to all of them in turn.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_told_what_another_has_changed() {
    let server = Server::start_with(Shape::EightProcesses, Options::new()).await;
    let alice = server.persona("alice").await;
    let list =
        async || alice.children("root", "").await.into_iter().map(|node| node.name).collect::<Vec<_>>();
    for round in 0..30 {
        let content = format!("content {round}");
        let file = alice.upload("file", content.clone()).await;
        // An odd number of calls: the next round begins at the other gateway.
        for _ in 0..3 {
            assert_eq!(alice.download("file").await, content);
            assert_eq!(list().await, ["file"]);
        }
        alice.trash(&file.node_id).await;
        for _ in 0..2 {
            assert_eq!(alice.get("/fs/file").send().await.status, 404);
            assert!(list().await.is_empty());
        }
        if round % 2 == 0 {
            alice.space().await;
        }
    }
}

/// A bucket that refuses or hangs: answers come soon and say "again", and all is well when it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_that_is_away_is_said_to_be() {
    let server = Server::start_with(Shape::EightProcesses, Options::new()).await;
    let alice = server.persona("alice").await;
    alice.upload("before", "before").await;
    server.bucket().fail(bucket::ANY, bucket::Fault::SlowDown, usize::MAX);
    let answer = alice.put("/fs/during").body("during").send().await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    // What has nothing to do with content goes on.
    assert_eq!(alice.call(Method::GET, "/nodes/root/children").send().await.status, 200);
    server.bucket().heal();
    eventually("uploads succeed again", async || {
        let answer = alice.put("/fs/after").body("after").send().await;
        answer.status.is_success().then_some(())
    })
    .await;
    assert_eq!(alice.download("before").await, "before");
    assert_eq!(alice.download("after").await, "after");
}
