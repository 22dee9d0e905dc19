//! What a service depends on stands still, goes away, or is out of reach: answers come soon and say "again", and all is well
//! when it is back.

use std::time::{Duration, Instant};

use harness::{Content, Cut, Options, Persona, Server, Service, Shape, bucket, eventually};

/// One harm at a time: answers are timed, and each test starts many processes.
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// No answer may take longer.
const SOON: Duration = Duration::from_secs(3);
/// After this all works again.
const RECOVERED: Duration = Duration::from_secs(5);
/// What a process may grow by.
const GROWTH: u64 = 64 << 20;

/// Makes calls of all kinds again and again, each at the same time as the others, for as long as an outage takes.
struct Callers<'a> {
    server: &'a Server,
    alice: &'a Persona,
}

impl Callers<'_> {
    /// Returns how many answers said that it cannot be done now.
    async fn call_for(&self, time: Duration) -> usize {
        let until = Instant::now() + time;
        let callers = (0..6).map(|caller| self.caller(caller, until));
        futures::future::join_all(callers).await.into_iter().sum()
    }

    async fn caller(&self, caller: usize, until: Instant) -> usize {
        let mut refused = 0;
        let mut n = 0;
        while Instant::now() < until {
            n += 1;
            let content = Content::new(format!("{caller} {n}"), 5000).bytes();
            let call = match n % 3 {
                0 => self.alice.put(&format!("/fs/during/{caller}")).body(content),
                1 => self.alice.get("/nodes/root/children"),
                _ => self.alice.get("/fs/before"),
            };
            let asked = Instant::now();
            let answer = call.send().await;
            let took = asked.elapsed();
            assert!(took < SOON, "{} took {took:?}: {} {}", answer.request, answer.status, answer.text());
            if !answer.status.is_success() {
                assert!(
                    matches!(answer.status.as_u16(), 502..=504),
                    "{}: {} {}",
                    answer.request,
                    answer.status,
                    answer.text()
                );
                answer.reveals_nothing();
                assert!(answer.json::<serde_json::Value>()["retryable"] != false, "{}", answer.text());
                refused += 1;
            }
        }
        refused
    }

    /// Everything works again, and soon.
    async fn recovered(&self) {
        let since = Instant::now();
        eventually("all works again", async || {
            let put = self.alice.put("/fs/after").body("after").send().await;
            let got = self.alice.get("/fs/before").send().await;
            (put.status.is_success() && got.status == 200 && got.body == "before").then_some(())
        })
        .await;
        assert!(since.elapsed() < RECOVERED, "{:?}", since.elapsed());
        assert_eq!(self.alice.download("after").await, "after");
    }

    fn memory(&self) -> Vec<u64> {
        let services = self.server.shape().services();
        services.iter().map(|service| self.server.process(*service).memory().unwrap_or_default()).collect()
    }

    fn has_not_grown(&self, before: &[u64]) {
        for (before, now) in before.iter().zip(self.memory()) {
            assert!(now < before + GROWTH, "{before} became {now}");
        }
    }
}

async fn start() -> (Server, Persona) {
    let server = Server::start_apart(Shape::FourProcesses, Options::new()).await;
    let alice = server.persona("alice").await;
    alice.upload("before", "before").await;
    (server, alice)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_stands_still() {
    let _turn = TURN.lock().await;
    let (server, alice) = start().await;
    let callers = Callers { server: &server, alice: &alice };
    callers.call_for(Duration::from_secs(1)).await;
    let memory = callers.memory();
    let frozen = server.postgres().freeze();
    let refused = callers.call_for(Duration::from_secs(30)).await;
    assert!(refused > 0);
    drop(frozen);
    callers.recovered().await;
    callers.has_not_grown(&memory);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_crashes() {
    let _turn = TURN.lock().await;
    let (mut server, alice) = start().await;
    for _ in 0..2 {
        let crashed = server.postgres_mut().crash();
        let callers = Callers { server: &server, alice: &alice };
        callers.call_for(Duration::from_secs(3)).await;
        eventually("the database is back", async || crashed.is_over().then_some(())).await;
        callers.recovered().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wire_that_is_cut_one_way() {
    let _turn = TURN.lock().await;
    let (server, alice) = start().await;
    let callers = Callers { server: &server, alice: &alice };
    callers.call_for(Duration::from_secs(1)).await;
    let memory = callers.memory();
    for service in [Service::Auth, Service::Metadata, Service::Blob] {
        for cut in [Cut::Requests, Cut::Answers] {
            server.wire(service).cut(cut);
            // Who signed in a moment ago need not ask auth.
            let refused = callers.call_for(Duration::from_secs(7)).await;
            assert!(refused > 0 || service == Service::Auth, "{service:?} {cut:?}");
            server.wire(service).mend();
            callers.recovered().await;
        }
    }
    callers.has_not_grown(&memory);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_that_does_not_answer() {
    let _turn = TURN.lock().await;
    let server = Server::start_with(Shape::EightProcesses, Options::new()).await;
    let alice = server.persona("alice").await;
    alice.upload("before", "before").await;
    let callers = Callers { server: &server, alice: &alice };
    let memory = callers.memory();
    for fault in [bucket::Fault::Hang, bucket::Fault::SlowDown] {
        server.bucket().fail(bucket::ANY, fault, usize::MAX);
        let refused = callers.call_for(Duration::from_secs(10)).await;
        assert!(refused > 0, "{fault:?}");
        server.bucket().heal();
        callers.recovered().await;
    }
    callers.has_not_grown(&memory);
}
