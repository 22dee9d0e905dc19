//! Packs with all kinds of changes in them: whatever is read was written, and no input is too strange.

use std::collections::HashSet;
use std::io::{self, Read};

use super::*;
use crate::store::packs::ReadAt;
use crate::store::scan::{Found, Scanner};

#[derive(Debug)]
struct Memory(Arc<Vec<u8>>);

impl ReadAt for Memory {
    fn read_exact_at(&mut self, target: &mut [u8], offset: u64) -> io::Result<()> {
        let offset = usize::try_from(offset).unwrap().min(self.0.len());
        (&self.0[offset..]).read_exact(target)
    }

    fn make_durable(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What a scan of these bytes finds; every payload that it names can be decoded.
fn scan(bytes: Vec<u8>, salt: crate::domain::record::Salt, encoding: &Arc<Encoding>) -> HashSet<Vec<u8>> {
    let (len, bytes) = (bytes.len() as u64, Arc::new(bytes));
    let memory = Box::new(Memory(Arc::clone(&bytes)));
    let mut scanner = Scanner::new(memory, PackId(1), salt, HEADER_LEN.min(len), len, Arc::clone(encoding));
    let mut found = HashSet::new();
    while let Some(record) = scanner.next().unwrap() {
        let location = match record {
            Found::Chunk(chunk) => {
                found.insert(chunk.hash.as_bytes().to_vec());
                chunk.location
            }
            Found::Blob(blob) => {
                found.insert(blob.row.id.as_bytes().to_vec());
                blob.row.manifest
            }
            Found::Segment(row) => {
                found.insert(row.segment.upload.as_bytes().to_vec());
                row.location
            }
            Found::Locked(key) => panic!("{key} is no key that there ever was"),
        };
        let record = location.record();
        let record = bytes[record.position as usize..][..record.stored as usize].to_vec();
        assert!(encoding.decode_record(record.into()).is_ok());
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_found_that_was_not_written() {
    const ROUNDS: u64 = 250;
    for keys in [&[][..], &[[7; 32]]] {
        let mut home = Home::new();
        home.settings.encoding = Arc::new(Encoding::new(Some(Compression::new(1)), Keys::new(keys)));
        let store = home.open().await;
        for seed in 0..6 {
            write(&store, &noise(seed, 300)).await;
            write(&store, format!("{seed} is as good as another. ").repeat(60).as_bytes()).await;
        }
        store.close().await;
        let pack = std::fs::read(home.packs().remove(0)).unwrap();
        let salt = pack::salt(&mut Memory(Arc::new(pack.clone())), PackId(1)).unwrap().unwrap();
        let encoding = &home.settings.encoding;
        let all = scan(pack.clone(), salt, encoding);
        assert_eq!(all.len(), 24);
        let mut kept = 0;
        for round in 0..ROUNDS {
            let mut dice = noise(1000 + round, 64).into_iter();
            let mut roll = move |below: usize| {
                let [high, low] = [dice.next().unwrap(), dice.next().unwrap()];
                usize::from(u16::from_be_bytes([high, low])) % below.max(1)
            };
            let mut bytes = pack.clone();
            for _ in 0..=roll(4) {
                let (at, from) = (roll(bytes.len()), roll(bytes.len()));
                let len = roll(200).min(bytes.len() - at.max(from));
                match roll(6) {
                    0 => bytes.truncate(at),
                    1 => bytes[at..at + len].fill(0),
                    2 => bytes.copy_within(from..from + len, at),
                    3 => drop(bytes.splice(at..at + len, [])),
                    4 => {
                        let copy = bytes[from..from + len].to_vec();
                        drop(bytes.splice(at..at, copy));
                    }
                    _ => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 0x20),
                }
            }
            let found = scan(bytes, salt, encoding);
            assert!(found.is_subset(&all), "round {round}");
            kept += found.len();
        }
        assert!(kept > 24 * ROUNDS as usize / 4, "what is not changed is found: {kept}");
    }
}
