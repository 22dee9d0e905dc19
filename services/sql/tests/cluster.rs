//! That the tests' own PostgreSQL leaves nothing behind.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use holdall_sql::testing::PostgresCluster;

#[test]
fn a_server_goes_with_its_process_even_when_that_is_killed() {
    let mut owner = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--ignored", "--nocapture", "holds_a_server_until_told_to_go"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(owner.stdout.take().unwrap()).lines().map(Result::unwrap);
    let folder = lines.find_map(|line| Some(line.split_once("?host=")?.1.to_owned())).unwrap();
    let folder = Path::new(&folder);
    assert!(folder.join("data").is_dir());
    owner.kill().unwrap();
    owner.wait().unwrap();
    let killed = Instant::now();
    while folder.exists() {
        assert!(killed.elapsed() < Duration::from_secs(30), "{} is still there", folder.display());
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[tokio::test]
#[ignore = "the other half of the test above, which runs it"]
async fn holds_a_server_until_told_to_go() {
    println!("{}", PostgresCluster::shared().create_database().await);
    std::io::stdin().read_line(&mut String::new()).unwrap();
}
