//! Starting, stopping, and writers who go away.

use std::path::PathBuf;

use futures::SinkExt;

use crate::calls;
use crate::content::Content;
use crate::home::Home;

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_who_goes_away_has_written_nothing() {
    let home = Home::new();
    let server = home.start();
    let content = |len| Content { seed: 1, len }.bytes();
    for len in [1000, 2 << 20] {
        let (mut sender, messages) = futures::channel::mpsc::channel(1);
        let mut client = server.client();
        let call = tokio::spawn(async move { client.write(messages).await.map(drop) });
        sender.send(calls::header(&home.keys)).await.unwrap();
        for message in calls::data(content(len)) {
            sender.send(message).await.unwrap();
        }
        call.abort();
        assert!(call.await.unwrap_err().is_cancelled());
    }
    // The same content, sent to its end, is all there is.
    let id = calls::write(&home.keys, &mut server.client(), content(2 << 20)).await.unwrap();
    assert!(calls::read(&home.keys, &mut server.client(), &id).await.unwrap() == content(2 << 20));
    server.stop().await;
    assert_eq!(manifests(home.packs()), 1);
}

/// Counts records of the kind manifest, by magic, version and kind.
fn manifests(packs: Vec<PathBuf>) -> usize {
    let packs = packs.into_iter().map(|pack| std::fs::read(pack).unwrap());
    packs.map(|pack| pack.windows(6).filter(|bytes| *bytes == b"\xf5HR\n\x01\x02").count()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_has_one_owner() {
    let home = Home::new();
    let server = home.start();
    let second = home.command().output().unwrap();
    assert_eq!(second.status.code(), Some(78));
    let text = String::from_utf8(second.stderr).unwrap();
    assert!(text.contains("in use by holdall-blob"), "{text}");
    server.stop().await;
}

#[test]
fn a_key_is_needed() {
    let home = Home::new();
    let without = home.command().env_remove("HOLDALL_BLOB__GRANTS__KEY_FILES").output().unwrap();
    assert_eq!(without.status.code(), Some(78));
    assert!(String::from_utf8(without.stderr).unwrap().contains("openssl rand -hex 32"));
}
