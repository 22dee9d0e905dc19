//! As [`kills`](crate::kills), with packs in a bucket, where a process may end between an object and its rows.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use holdall_runtime::testing::eventually;

use crate::bucket::Bucket;
use crate::home::Home;
use crate::ledger::Ledger;
use crate::scenario::{Scenario, Writers};

const KILLS: u64 = 12;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn kills_lose_nothing_in_a_bucket() {
    let bucket = Bucket::local();
    let home = Home::new()
        .set("PACKS__STORE", "s3")
        .set("S3__ENDPOINT", &bucket.endpoint)
        .set("S3__ALLOW_HTTP", "true")
        .set("S3__REGION", &bucket.region)
        .set("S3__BUCKET", &bucket.name)
        .set("S3__PREFIX", "holdall/kills");
    let keys = [("AWS_ACCESS_KEY_ID", &*bucket.access_key), ("AWS_SECRET_ACCESS_KEY", &*bucket.secret_key)];
    let (home, ledger, seeds) = (Arc::new(home), Arc::new(Ledger::default()), Arc::new(AtomicU64::new(1)));
    for round in 0..KILLS {
        let server = Arc::new(home.start_with(&keys));
        let scenario = Scenario::ALL[usize::try_from(round).unwrap() % Scenario::ALL.len()];
        let work = tokio::spawn({
            let (home, ledger, seeds) = (Arc::clone(&home), Arc::clone(&ledger), Arc::clone(&seeds));
            let server = Arc::clone(&server);
            async move {
                let writers = Writers { home: &home, server: &server, ledger: &ledger, seeds: &seeds };
                // Until the server is gone.
                while scenario.run(&writers).await.is_ok() {}
            }
        });
        let [count, millis, ..] = *blake3::hash(&round.to_le_bytes()).as_bytes();
        let enough = ledger.acknowledged().len() + usize::from(count % 16);
        eventually(Duration::from_secs(60), async || ledger.acknowledged().len() >= enough).await;
        // Not right behind an answer.
        tokio::time::sleep(Duration::from_millis(u64::from(millis % 16))).await;
        server.signal("-KILL");
        work.await.unwrap();
        if round % 4 == 3 {
            home.lose_index();
        }
    }
    let server = home.start_with(&keys);
    assert!(ledger.check(&home, &server).await.acknowledged > 0);
    ledger.finish_uploads(&home, &server).await;
    ledger.check_acknowledged(&home, &server).await;
    server.stop().await;
}
