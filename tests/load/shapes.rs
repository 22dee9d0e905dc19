//! Four processes on PostgreSQL against one process on SQLite, by turns on the same machine.

use futures::StreamExt;
use harness::{Content, Persona, Server, Shape};

use crate::{
    CONNECTIONS, FILES, Figures, MIB, ROUNDS, Request, SMALL, SPAN, client, freshen, mib_per_second, put,
    requests_per_second, setup, timed,
};

/// Bytes of the large file.
const LARGE: u64 = 256 * MIB;

struct Side {
    server: Server,
    alice: Persona,
    /// Names that were given out.
    number: u64,
}

impl Side {
    async fn start(shape: Shape) -> Self {
        let server = Server::start_with(shape, setup::options()).await;
        let alice = server.persona("load").await;
        let names: Vec<_> = (0..FILES).map(|n| format!("list/entry {n:04}")).collect();
        let uploads = names.iter().map(|name| alice.upload(name, Content::new(name.as_str(), SMALL).bytes()));
        let _: Vec<_> = futures::stream::iter(uploads).buffer_unordered(16).collect().await;
        Self { server, alice, number: 0 }
    }

    async fn large(&self, round: usize) -> (f64, f64) {
        let fresh = freshen(&Content::new("large", LARGE).bytes(), round);
        let up = timed(put(&self.alice, "/fs/large", fresh)).await;
        let url = self.server.url();
        let host = url.trim_start_matches("http://");
        let down = timed(client::drain(host, &Request::get(&self.alice, "/api/v1/fs/large"), LARGE)).await;
        (mib_per_second(LARGE, up), mib_per_second(LARGE, down))
    }

    async fn uploads(&mut self) -> f64 {
        let (alice, number) = (&self.alice, &mut self.number);
        let requests = |connection: usize| {
            *number += 1_000_000;
            let start = *number;
            move |n: u64| {
                let content = Content::new(format!("{connection} {start} {n}"), SMALL).bytes();
                Request::put(alice, &format!("/api/v1/fs/small/{connection}/{}", start + n), &content)
            }
        };
        requests_per_second(&self.server.url(), CONNECTIONS, SPAN, requests).await
    }

    async fn downloads(&self) -> f64 {
        let requests = |connection: usize| {
            move |n: u64| {
                let file = (connection as u64 * 7919 + n) % FILES;
                Request::get(&self.alice, &format!("/api/v1/fs/list/entry%20{file:04}"))
            }
        };
        requests_per_second(&self.server.url(), CONNECTIONS, SPAN, requests).await
    }

    async fn listings(&self) -> f64 {
        let requests = |_| |_| Request::get(&self.alice, "/api/v1/fs/list?limit=1000");
        requests_per_second(&self.server.url(), CONNECTIONS, SPAN, requests).await
    }
}

pub async fn run() {
    let wanted = std::env::args().nth(2).unwrap_or_default();
    let mut four = Side::start(Shape::FourProcesses).await;
    let mut one = Side::start(Shape::OneProcess).await;
    println!("medians of {ROUNDS} rounds\n");
    println!("{:<44} {:>14} {:>14} {:>7}", "", "four processes", "one process", "ratio");
    let mut up = Figures::new("upload of 256 MiB, MiB/s");
    let mut down = Figures::new("download of 256 MiB, MiB/s");
    let mut uploads = Figures::new("4 KiB uploads/s, 16 connections");
    let mut downloads = Figures::new("4 KiB downloads/s, 16 connections");
    let mut listings = Figures::new("listings of 1,000/s, 16 connections");
    let is_wanted = |figures: &Figures| figures.name.contains(&wanted);
    for round in 0..ROUNDS {
        if is_wanted(&up) || is_wanted(&down) {
            let (ours, theirs) = (four.large(round).await, one.large(round).await);
            up.add(ours.0, theirs.0);
            down.add(ours.1, theirs.1);
        }
        if is_wanted(&uploads) {
            uploads.add(four.uploads().await, one.uploads().await);
        }
        if is_wanted(&downloads) {
            downloads.add(four.downloads().await, one.downloads().await);
        }
        if is_wanted(&listings) {
            listings.add(four.listings().await, one.listings().await);
        }
    }
    [up, down, uploads, downloads, listings].into_iter().filter(is_wanted).for_each(Figures::print);
}
