//! Memory is bounded by configuration, not by what is asked for.

use bytes::Bytes;
use futures::future::join_all;

use crate::calls;
use crate::home::Home;

const UPLOADS: u64 = 64;
const MIB: u64 = 1 << 20;
/// Content beyond this much is the same again, for a disk that is smaller than all of it.
const DISTINCT: u64 = 2048 * MIB;
const MOST_MEMORY: u64 = 512 * MIB;
const MESSAGE: u64 = 256 << 10;

/// A part of a ring of noise that is `len` bytes around, message by message.
fn ring(len: u64, start: u64, size: u64) -> impl Iterator<Item = Bytes> + Send {
    let mut noise = blake3::Hasher::new().finalize_xof();
    (0..size / MESSAGE).map(move |message| {
        noise.set_position((start + message * MESSAGE) % len);
        let mut bytes = vec![0; usize::try_from(MESSAGE).unwrap()];
        noise.fill(&mut bytes);
        bytes.into()
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn many_large_uploads_and_downloads_take_little_memory() {
    let size = crate::number("HOLDALL_BLOB_UPLOAD_MIB", 24) * MIB;
    let len = (UPLOADS * size).min(DISTINCT);
    let home = Home::new().set("PACKS__MAX_SIZE", "1GiB");
    let server = home.start();
    let transfers = (0..UPLOADS).map(|upload| {
        let start = upload * (len / UPLOADS);
        let content = ring(len, start, size).flat_map(calls::data);
        let finish = calls::finish(usize::try_from(size).unwrap());
        let messages = [calls::header(&home.keys)].into_iter().chain(content).chain([finish]);
        let (home, mut client) = (&home, server.client());
        async move {
            let id = calls::send(&home.keys, &mut client, futures::stream::iter(messages)).await.unwrap();
            (start, id, client)
        }
    });
    let written = join_all(transfers).await;
    let after_writing = server.peak_memory();
    let transfers = written.into_iter().map(|(start, id, mut client)| {
        let home = &home;
        async move {
            let mut expected = blake3::Hasher::new();
            let read = calls::digest(&home.keys, &mut client, &id).await.unwrap();
            ring(len, start, size).for_each(|bytes| {
                expected.update(&bytes);
            });
            assert_eq!(read, (size, expected.finalize()));
        }
    });
    join_all(transfers).await;
    let after_reading = server.peak_memory();
    report(size, after_writing, after_reading);
    assert!(after_reading < MOST_MEMORY, "{} MiB", after_reading / MIB);
}

#[expect(clippy::print_stderr, reason = "figures for people")]
fn report(size: u64, after_writing: u64, after_reading: u64) {
    let [size, writing, reading] = [size, after_writing, after_reading].map(|bytes| bytes / MIB);
    eprintln!(
        "{UPLOADS} uploads of {size} MiB: at most {writing} MiB of memory; with downloads {reading} MiB"
    );
}
