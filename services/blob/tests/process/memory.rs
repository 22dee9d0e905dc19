//! Memory is bounded by configuration, not by what is asked for.

use bytes::Bytes;
use futures::future::join_all;

use crate::calls;
use crate::home::Home;

const UPLOADS: u64 = 64;
const MIB: u64 = 1 << 20;
/// Where all content is more than this, pieces of it come several times in a row, for a disk that is smaller.
const DISTINCT: u64 = 2048 * MIB;
const MOST_MEMORY: u64 = 512 * MIB;
const MESSAGE: usize = 256 << 10;
/// Bytes that come again.
const PIECE: usize = 512;

/// Noise from `start` on, message by message, of which each piece comes so many times.
fn noise(start: u64, size: u64, times: usize) -> impl Iterator<Item = Bytes> + Send {
    let mut noise = blake3::Hasher::new().finalize_xof();
    noise.set_position(start);
    (0..size / MESSAGE as u64).map(move |_| {
        let mut bytes = vec![0; MESSAGE];
        let mut piece = [0; PIECE];
        for pieces in bytes.chunks_mut(PIECE * times) {
            noise.fill(&mut piece);
            pieces.chunks_mut(PIECE).for_each(|bytes| bytes.copy_from_slice(&piece));
        }
        bytes.into()
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn many_large_uploads_and_downloads_take_little_memory() {
    let size = crate::number("HOLDALL_BLOB_UPLOAD_MIB", 24) * MIB;
    let times = usize::try_from((UPLOADS * size).div_ceil(DISTINCT)).unwrap().next_power_of_two();
    let home = Home::new().set("PACKS__MAX_SIZE", "1GiB");
    let server = home.start();
    let transfers = (0..UPLOADS).map(|upload| {
        let start = upload * size;
        let content = noise(start, size, times).flat_map(calls::data);
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
            noise(start, size, times).for_each(|bytes| {
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
