//! Writing past the system's page cache (`O_DIRECT`, open(2)).
//!
//! Large content is written once and read now and then. Through the page cache every byte of it costs a copy into a page
//! that has to be found and cleared first, which takes longer than hashing it, and pushes out of memory what is read often.
//! The device takes it from one buffer instead.
//!
//! Such writes start and end at multiples of [`BLOCK`]. What is missing to the next one is filled by a record of its own
//! kind, so that nothing that is durable is ever written again.

use std::fs::File;
use std::io::{self, IoSlice};
use std::os::unix::fs::FileExt;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;

/// Offsets and lengths are multiples of this many bytes: the largest unit that disks and file systems ask for.
pub const BLOCK: usize = 4096;

/// Bytes that one system call writes.
const BUFFER: usize = 1 << 20;

/// Makes writes to `file` go past the page cache. Where the file system cannot do that they go through it.
pub fn bypass_cache(file: &File) -> io::Result<()> {
    set_direct(file, true).or_else(|error| if error == Errno::INVAL { Ok(()) } else { Err(error.into()) })
}

fn set_direct(file: &File, direct: bool) -> Result<(), Errno> {
    let mut flags = fcntl_getfl(file)?;
    flags.set(OFlags::DIRECT, direct);
    fcntl_setfl(file, flags)
}

/// Memory that a device can read from.
#[derive(Debug)]
pub struct Buffer {
    memory: Vec<u8>,
    /// Where the first block starts in it.
    start: usize,
}

impl Default for Buffer {
    fn default() -> Self {
        let memory = vec![0; BUFFER + BLOCK];
        let start = memory.as_ptr().align_offset(BLOCK).min(BLOCK);
        Self { memory, start }
    }
}

impl Buffer {
    /// Writes all pieces, one after the other, from `offset` on; returns the offset behind the last one. `offset` and the sum
    /// of the lengths are multiples of [`BLOCK`].
    pub fn write_at(&mut self, file: &File, pieces: &[IoSlice<'_>], mut offset: u64) -> io::Result<u64> {
        let memory = self.memory.get_mut(self.start..).unwrap_or_default();
        let memory = memory.get_mut(..BUFFER).unwrap_or_default();
        let mut len = 0;
        for piece in pieces {
            let mut piece = &piece[..];
            while !piece.is_empty() {
                let room = memory.get_mut(len..).unwrap_or_default();
                let (now, rest) = piece.split_at(piece.len().min(room.len()));
                room.get_mut(..now.len()).unwrap_or_default().copy_from_slice(now);
                (len, piece) = (len + now.len(), rest);
                if len == BUFFER {
                    write_all_at(file, memory, offset)?;
                    (len, offset) = (0, offset + BUFFER as u64);
                }
            }
        }
        write_all_at(file, memory.get(..len).unwrap_or_default(), offset)?;
        Ok(offset + len as u64)
    }
}

/// Writes all bytes, through the page cache where the file or the device turns out to want other multiples.
fn write_all_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    match file.write_all_at(bytes, offset) {
        Err(error) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => {
            set_direct(file, false)?;
            file.write_all_at(bytes, offset)
        }
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::path::Path;

    use super::*;
    use crate::domain::cut::tests::noise;

    fn writes_read_back(folder: &Path, is_direct: bool) {
        let path = folder.join(format!("direct {}", std::process::id()));
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
        file.write_all_at(&[9; BLOCK], 0).unwrap();
        if is_direct {
            bypass_cache(&file).unwrap();
        }
        let mut buffer = Buffer::default();
        let (mut end, mut written) = (BLOCK as u64, vec![9; BLOCK]);
        for lengths in [
            &[BLOCK][..],
            &[1, BLOCK - 1],
            &[],
            &[BUFFER],
            &[64, BUFFER - 64, 3, 5, BLOCK - 8],
            &[BUFFER - 1, 1, 2 * BUFFER, BUFFER / 2],
        ] {
            let pieces: Vec<_> = lengths.iter().map(|len| noise(*len as u64, *len)).collect();
            let slices: Vec<_> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
            end = buffer.write_at(&file, &slices, end).unwrap();
            written.extend(pieces.concat());
        }
        assert_eq!(end, written.len() as u64);
        assert_eq!(std::fs::read(&path).unwrap(), written);
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn pieces_stand_one_behind_the_other() {
        let folder = tempfile::tempdir().unwrap();
        writes_read_back(folder.path(), true);
        writes_read_back(folder.path(), false);
    }

    #[test]
    fn a_file_system_that_must_cache_does() {
        writes_read_back(Path::new("/dev/shm"), true);
    }

    #[test]
    fn where_other_multiples_are_wanted_the_cache_is_used() {
        let folder = tempfile::tempdir().unwrap();
        let file = File::create(folder.path().join("file")).unwrap();
        bypass_cache(&file).unwrap();
        // No disk takes a single byte.
        write_all_at(&file, b"x", 0).unwrap();
        assert_eq!(std::fs::read(folder.path().join("file")).unwrap(), b"x");
    }
}
