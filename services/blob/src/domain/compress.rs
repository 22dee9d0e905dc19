//! Compression of chunks with zstd, where it pays.
//!
//! Most content is compressed already. So a chunk is not compressed before a few slices of it have been, which costs little
//! beside hashing all of it; and a short one not before its bytes were counted, which costs little beside storing it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use zstd::bulk::{Compressor, Decompressor};

/// Content below this many bytes is stored as it is.
pub const LEAST: usize = 512;
/// Up to this many bytes are compressed where they are; beyond that it is work for a thread that may block.
pub const QUICK: usize = 32 << 10;
/// The levels that can be asked for; beyond them memory and time grow fast.
pub const LEVELS: std::ops::RangeInclusive<i32> = 1..=9;

/// Bytes of one of the slices that tell whether it pays, and how many there are.
const SLICE: usize = 4 << 10;
const SLICES: usize = 3;
/// Content that is no longer than all slices together is not worth taking any.
const SHORT: usize = SLICES * SLICE;
/// The level for slices.
const SAMPLE_LEVEL: i32 = 1;
/// Slices have to become smaller by one part in so many, …
const SAMPLE_GAIN: usize = 10;
/// …and the whole by one in so many.
const GAIN: usize = 20;
/// What is compressed comes in pieces of so many bytes, all but the last: an allocator keeps memory for each size that it ever
/// gave away, and this way there are few.
const PIECE: usize = 64 << 10;
/// Large chunks compressed at once, at most: what each takes is about twice its size.
const MOST_LARGE: usize = 8;

/// Compresses what becomes notably smaller by it. The memory that it takes is bounded by the number of processors.
#[derive(Debug)]
pub struct Compression {
    level: i32,
    /// Apart, so that what is done in passing never waits for what takes long.
    quick: Slots,
    large: Slots,
}

impl Compression {
    /// At that level, one of [`LEVELS`].
    #[must_use]
    pub fn new(level: i32) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let large = Slots::new(processors.min(MOST_LARGE));
        Self { level, quick: Slots::new(processors), large }
    }

    /// Whether it may be worth it to compress `pieces`, which are `len` bytes together. Never takes long.
    #[must_use]
    pub fn is_promising(&self, pieces: &[Bytes], len: usize) -> bool {
        match len {
            0..LEAST => false,
            LEAST..=SHORT => is_uneven(pieces, len),
            _ => self.with(&self.quick, |tools| Some(tools.is_promising(pieces, len))) == Some(true),
        }
    }

    /// `pieces`, which are `len` bytes together, in their compressed form; `None` when they do not become notably smaller.
    #[must_use]
    pub fn compress(&self, pieces: &[Bytes], len: usize) -> Option<Vec<Bytes>> {
        let slots = if len <= QUICK { &self.quick } else { &self.large };
        self.with(slots, |tools| tools.compress(pieces, len))
    }

    fn with<T>(&self, slots: &Slots, work: impl FnOnce(&mut Tools) -> Option<T>) -> Option<T> {
        let mut slot = slots.take();
        work(match &mut *slot {
            Some(tools) => tools,
            // Only without memory. Then it stays as it is.
            none => none.insert(Tools::new(self.level).ok()?),
        })
    }
}

/// What was compressed, which was `size` bytes; `None` when it is nothing of the kind. Takes no more memory than for
/// `size` bytes, whatever is in there; and none but that of `room` if that is enough.
#[must_use]
pub fn decompress(compressed: &[u8], size: usize, room: Vec<u8>) -> Option<Vec<u8>> {
    let mut bytes = room;
    bytes.clear();
    bytes.try_reserve_exact(size).ok()?;
    Decompressor::new().ok()?.decompress_to_buffer(compressed, &mut bytes).ok()?;
    (bytes.len() == size).then_some(bytes)
}

/// Tools that are used by one at a time, made when they are needed first.
#[derive(Debug, Default)]
struct Slots {
    first: Slot,
    others: Box<[Slot]>,
    next: AtomicUsize,
}

type Slot = Mutex<Option<Tools>>;

impl Slots {
    fn new(count: usize) -> Self {
        Self { others: (1..count).map(|_| Slot::default()).collect(), ..Self::default() }
    }

    /// A slot that is free, or else the next one in turn, once it is.
    fn take(&self) -> MutexGuard<'_, Option<Tools>> {
        let mut all = std::iter::once(&self.first).chain(&self.others);
        all.find_map(|slot| slot.try_lock().ok()).unwrap_or_else(|| {
            let next = self.next.fetch_add(1, Ordering::Relaxed) % (self.others.len() + 1);
            let slot = self.others.get(next).unwrap_or(&self.first);
            slot.lock().unwrap_or_else(PoisonError::into_inner)
        })
    }
}

struct Tools {
    sampler: Compressor<'static>,
    compressor: Compressor<'static>,
    input: Vec<u8>,
    output: Vec<u8>,
}

impl std::fmt::Debug for Tools {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tools").finish_non_exhaustive()
    }
}

impl Tools {
    fn new(level: i32) -> std::io::Result<Self> {
        Ok(Self {
            sampler: Compressor::new(SAMPLE_LEVEL)?,
            compressor: Compressor::new(level)?,
            input: Vec::new(),
            output: Vec::new(),
        })
    }

    fn compress(&mut self, pieces: &[Bytes], len: usize) -> Option<Vec<Bytes>> {
        let most = len - len.div_ceil(GAIN);
        self.output.clear();
        self.output.reserve_exact(most);
        let input = if let [piece] = pieces {
            &piece[..]
        } else {
            self.input.clear();
            self.input.reserve_exact(len);
            pieces.iter().for_each(|piece| self.input.extend_from_slice(piece));
            &self.input
        };
        // Fails, too, when it finds no room.
        self.compressor.compress_to_buffer(input, &mut self.output).ok()?;
        let is_worth_it = self.output.len() <= most;
        is_worth_it.then(|| self.output.chunks(PIECE).map(Bytes::copy_from_slice).collect())
    }

    /// Whether the first, middle and last slice become smaller.
    fn is_promising(&mut self, pieces: &[Bytes], len: usize) -> bool {
        self.input.clear();
        for slice in 0..SLICES {
            let from = (len - SLICE) / (SLICES - 1) * slice;
            for_part(pieces, from, SLICE, |bytes| self.input.extend_from_slice(bytes));
        }
        let most = self.input.len() - self.input.len() / SAMPLE_GAIN;
        self.output.clear();
        self.output.reserve(zstd::zstd_safe::compress_bound(self.input.len()));
        let done = self.sampler.compress_to_buffer(&self.input, &mut self.output);
        done.is_ok() && self.output.len() <= most
    }
}

/// Whether some byte values come more often than others, among [`LEAST`] bytes from the middle. In what is compressed or
/// encrypted they do not.
fn is_uneven(pieces: &[Bytes], len: usize) -> bool {
    let mut counts = [0_usize; 256];
    for_part(pieces, len.saturating_sub(LEAST) / 2, LEAST, |bytes| {
        for byte in bytes {
            if let Some(count) = counts.get_mut(usize::from(*byte)) {
                *count += 1;
            }
        }
    });
    // About LEAST + LEAST² / 256 for random bytes; a quarter of the second term is more than five times the deviation.
    let squares = counts.iter().map(|count| count * count).sum::<usize>();
    squares > LEAST + LEAST * LEAST / 256 * 5 / 4
}

/// Calls `with` for the `len` bytes of `pieces` from the offset `from` on, part by part.
fn for_part(pieces: &[Bytes], mut from: usize, mut len: usize, mut with: impl FnMut(&[u8])) {
    for piece in pieces {
        if let Some(bytes) = piece.get(from..) {
            let bytes = bytes.get(..len).unwrap_or(bytes);
            with(bytes);
            len -= bytes.len();
            from = 0;
        } else {
            from -= piece.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::cut::tests::noise;

    fn pieces(bytes: &[u8], piece: usize) -> Vec<Bytes> {
        bytes.chunks(piece).map(Bytes::copy_from_slice).collect()
    }

    fn text(len: usize) -> Vec<u8> {
        (0_u64..)
            .flat_map(|line| format!("line {line}: nothing has changed\n").into_bytes())
            .take(len)
            .collect()
    }

    #[test]
    fn text_becomes_smaller_and_comes_back() {
        let compression = Compression::new(1);
        for len in [LEAST, 4096, SHORT + 1, QUICK, QUICK + 1, 300_000, 4 << 20] {
            let text = text(len);
            assert!(compression.is_promising(&pieces(&text, 1000), len));
            let whole = compression.compress(&pieces(&text, usize::MAX), len).unwrap().concat();
            assert!(whole.len() < len * 6 / 10, "{len}: {}", whole.len());
            for piece in [1000, 32 << 10] {
                assert!(compression.compress(&pieces(&text, piece), len).unwrap().concat() == whole);
            }
            assert!(decompress(&whole, len, Vec::new()).unwrap() == text);
        }
    }

    #[test]
    fn what_does_not_become_smaller_stays() {
        let compression = Compression::new(1);
        for len in [0, 1, LEAST - 1, LEAST, 5000, 20_000, 300_000, 2 << 20] {
            let noise = pieces(&noise(1, len), 32 << 10);
            assert!(!compression.is_promising(&noise, len), "{len}");
            assert_eq!(compression.compress(&noise, len), None, "{len}");
        }
        assert!(!compression.is_promising(&pieces(&text(LEAST - 1), 100), LEAST - 1));
        // Too little of it does.
        let mut mixed = noise(1, 12 << 10);
        mixed.extend(text(500));
        assert_eq!(compression.compress(&pieces(&mixed, 32 << 10), mixed.len()), None);
    }

    #[test]
    fn random_bytes_are_even_and_others_are_not() {
        for seed in 0..2000 {
            assert!(!is_uneven(&pieces(&noise(seed, 700), 100), 700), "{seed}");
        }
        // Six bits in a byte, as base64 has them.
        let digits: Vec<u8> = noise(1, 700).iter().map(|byte| byte & 63).collect();
        assert!(is_uneven(&pieces(&digits, 100), 700));
        assert!(is_uneven(&pieces(&text(LEAST), 100), LEAST));
    }

    #[test]
    fn a_slice_is_found_wherever_pieces_end() {
        let bytes = noise(1, 10_000);
        for piece in [1, 7, 4096, 9_999, 10_000] {
            for (from, len) in [(0, 10), (0, 10_000), (5000, 4096), (9_990, 10), (9_999, 1)] {
                let mut found = Vec::new();
                for_part(&pieces(&bytes, piece), from, len, |part| found.extend_from_slice(part));
                assert!(found == bytes[from..from + len], "{piece}: {from} and {len} more");
            }
        }
    }

    #[test]
    fn a_bomb_is_no_more_than_it_says_to_be() {
        let bomb = Compression::new(1).compress(&[vec![0; 4 << 20].into()], 4 << 20).unwrap().concat();
        assert!(bomb.len() < 1000);
        for size in [0, 1, 1000, (4 << 20) - 1, (4 << 20) + 1] {
            assert_eq!(decompress(&bomb, size, Vec::new()), None, "{size}");
        }
    }

    #[test]
    fn many_at_once_wait_for_each_other() {
        let compression = Compression::new(3);
        let text = text(100_000);
        std::thread::scope(|scope| {
            for _ in 0..32 {
                scope.spawn(|| {
                    let compressed =
                        compression.compress(&pieces(&text, 10_000), text.len()).unwrap().concat();
                    assert!(decompress(&compressed, text.len(), Vec::new()).unwrap() == text);
                });
            }
        });
    }
}
