//! What an operator does while the service does not run.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::calls;
use crate::content::Content;
use crate::home::Home;

/// Runs a command that needs the directory for itself; returns its exit code and what it says.
fn offline(home: &Home, command: &str) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_holdall-blob"))
        .args([command, "--data-dir"])
        .arg(home.data())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

/// All that is in the directory, but the lock, which names its holder.
fn files(home: &Home) -> BTreeMap<PathBuf, Vec<u8>> {
    let folders = [home.data().to_owned(), home.data().join("packs")];
    let entries = folders.iter().flat_map(|folder| std::fs::read_dir(folder).unwrap());
    let paths = entries.map(|entry| entry.unwrap().path());
    let paths = paths.filter(|path| path.is_file() && !path.ends_with("LOCK"));
    paths.map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_is_told_and_the_index_made_again() {
    let home = Home::new();
    let contents = [Content { seed: 2, len: 5_000 }.bytes(), Content { seed: 3, len: 3 << 20 }.bytes()];
    let server = home.start();
    let mut ids = Vec::new();
    for content in &contents {
        ids.push(calls::write(&home.keys, &mut server.client(), content.clone()).await.unwrap());
    }
    for command in ["fsck", "rebuild-index"] {
        assert_eq!(offline(&home, command).0, Some(70), "the directory is in use");
    }
    server.stop().await;

    let before = files(&home);
    let (code, said) = offline(&home, "fsck");
    assert_eq!(code, Some(0), "{said}");
    assert!(said.ends_with(" 0 problems\n"), "{said}");
    let is_first_content = |bytes: &[u8]| bytes == &contents[0][..];
    let mut packs = before.iter().filter(|(path, _)| path.extension().is_some_and(|end| end == "pack"));
    let (path, bytes) = packs.find(|(_, bytes)| bytes.windows(5_000).any(is_first_content)).unwrap();
    let mut damaged = bytes.clone();
    damaged[1_000] ^= 1;
    std::fs::write(path, &damaged).unwrap();
    let (code, said) = offline(&home, "fsck");
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains(" is damaged\n") && said.ends_with(" 1 problems\n"), "{said}");
    std::fs::write(path, bytes).unwrap();
    assert!(files(&home) == before, "nothing is changed");

    std::fs::write(home.data().join("index.db"), b"no database at all").unwrap();
    let (code, said) = offline(&home, "rebuild-index");
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = offline(&home, "fsck");
    assert_eq!(code, Some(0), "{said}");
    let server = home.start();
    for (id, content) in ids.iter().zip(&contents) {
        let read = calls::read(&home.keys, &mut server.client(), id).await.unwrap();
        assert!(read == *content);
    }
}
