//! Where content is cut into chunks: FastCDC.
//!
//! The cut points are those of FastCDC with normalization level 1 (W. Xia et al., "The Design of Fast Content-Defined
//! Chunking for Data Deduplication Based Storage Systems", IEEE TPDS 31(9), 2020), with the gear table and masks of the
//! `fastcdc` crate's `v2020` module. That crate wants a chunk's bytes in one piece; here the scan goes on from piece to
//! piece, so that content is never copied together.
//!
//! The same content is cut the same way however it arrives, and an insertion changes only the chunks around it.

use std::sync::LazyLock;

use fastcdc::v2020::{Normalization, get_gear_with_seed, select_masks};

/// No chunk but a blob's last is smaller, in bytes.
pub const MIN: usize = 256 << 10;
/// About how large chunks are, in bytes.
pub const AVG: usize = 1 << 20;
/// No chunk is larger, in bytes.
pub const MAX: usize = 4 << 20;

/// How far the two masks are apart.
pub const NORMALIZATION_LEVEL: u32 = 1;
const NORMALIZATION: Normalization = Normalization::Level1;

struct Tables {
    gear: [u64; 256],
    /// The same, one bit to the left, for the first of two bytes taken at once (§3.7 of the paper).
    gear_shifted: [u64; 256],
    /// Up to the average size: the mask with more bits, met more rarely.
    strict: u64,
    /// Beyond it.
    loose: u64,
}

static TABLES: LazyLock<Tables> = LazyLock::new(|| {
    let (gear, shifted) = get_gear_with_seed(0);
    let table = |from: &[u64]| std::array::from_fn(|byte| from.get(byte).copied().unwrap_or_default());
    let (strict, loose) = select_masks(AVG, NORMALIZATION);
    Tables { gear: table(&gear), gear_shifted: table(&shifted), strict, loose }
});

/// The number that each byte adds to the hash.
#[must_use]
pub fn gear() -> &'static [u64; 256] {
    &TABLES.gear
}

/// The mask up to the average size, and that beyond it.
#[must_use]
pub fn masks() -> (u64, u64) {
    (TABLES.strict, TABLES.loose)
}

/// Finds the ends of chunks in bytes that arrive in pieces.
#[derive(Debug, Default)]
pub struct Cutter {
    /// Bytes of the present chunk seen so far.
    len: usize,
    hash: u64,
}

impl Cutter {
    /// Looks at the next bytes. When the present chunk ends among them, returns how many of them it still takes (any
    /// number from 0 to all) and begins the next chunk: call it again with the rest.
    pub fn scan(&mut self, bytes: &[u8]) -> Option<usize> {
        let tables = &*TABLES;
        let mut taken = 0;
        for (until, mask) in [(MIN, None), (AVG, Some(tables.strict)), (MAX, Some(tables.loose))] {
            let stretch = bytes.get(taken..).unwrap_or_default();
            let stretch = stretch.get(..until.saturating_sub(self.len)).unwrap_or(stretch);
            if let Some(mask) = mask
                && let Some(end) = find(tables, &mut self.hash, mask, stretch)
            {
                *self = Self::default();
                return Some(taken + end);
            }
            taken += stretch.len();
            self.len += stretch.len();
        }
        (self.len == MAX).then(|| {
            *self = Self::default();
            taken
        })
    }

    /// Ends the present chunk here, whatever the content says.
    pub fn cut(&mut self) {
        *self = Self::default();
    }
}

/// Rolls the hash over `bytes` until it has none of the mask's bits; returns the position of that byte.
#[expect(clippy::indexing_slicing, reason = "a byte is below 256")]
fn find(tables: &Tables, hash: &mut u64, mask: u64, bytes: &[u8]) -> Option<usize> {
    let (pairs, rest) = bytes.as_chunks::<2>();
    let mut h = *hash;
    for (at, &[first, second]) in pairs.iter().enumerate() {
        h = (h << 2).wrapping_add(tables.gear_shifted[usize::from(first)]);
        if h & (mask << 1) == 0 {
            return Some(2 * at);
        }
        h = h.wrapping_add(tables.gear[usize::from(second)]);
        if h & mask == 0 {
            return Some(2 * at + 1);
        }
    }
    for &last in rest {
        h = (h << 1).wrapping_add(tables.gear[usize::from(last)]);
        if h & mask == 0 {
            return Some(2 * pairs.len());
        }
    }
    *hash = h;
    None
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Bytes that look random and are the same every time.
    pub(crate) fn noise(seed: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
        bytes
    }

    /// The lengths of the chunks of `bytes`, handed over in pieces of `piece` bytes.
    fn lengths(bytes: &[u8], piece: usize) -> Vec<usize> {
        let mut cutter = Cutter::default();
        let (mut lengths, mut len) = (Vec::new(), 0);
        for mut bytes in bytes.chunks(piece) {
            while let Some(end) = cutter.scan(bytes) {
                lengths.push(len + end);
                (bytes, len) = (&bytes[end..], 0);
            }
            len += bytes.len();
        }
        lengths.extend((len > 0).then_some(len));
        lengths
    }

    #[test]
    fn cut_points_are_those_of_the_reference() {
        for (seed, len) in [(1, 40 << 20), (2, MIN), (3, MIN + 2), (4, 9_999_998), (5, 0)] {
            let bytes = noise(seed, len);
            let reference: Vec<_> =
                fastcdc::v2020::FastCDC::new(&bytes, MIN, AVG, MAX).map(|c| c.length).collect();
            assert_eq!(lengths(&bytes, usize::MAX), reference, "seed {seed}");
        }
        let zeros = vec![0; 10 << 20];
        assert_eq!(lengths(&zeros, 12_345), [MAX, MAX, 2 << 20]);
    }

    #[test]
    fn pieces_do_not_matter() {
        let bytes = noise(6, 12 << 20);
        let whole = lengths(&bytes, usize::MAX);
        assert!(whole.len() > 5);
        for piece in [1, 3, 4096, 65_537, MIN, MAX, MAX + 1] {
            assert_eq!(lengths(&bytes, piece), whole, "pieces of {piece}");
        }
    }

    #[test]
    fn sizes_keep_their_bounds() {
        for seed in 10..14 {
            let lengths = lengths(&noise(seed, 32 << 20), 256 << 10);
            let (_, but_last) = lengths.split_last().unwrap();
            assert!(but_last.iter().all(|len| (MIN..=MAX).contains(len)), "{lengths:?}");
            let average = (32 << 20) / lengths.len();
            assert!((AVG / 2..AVG * 2).contains(&average), "{average}");
        }
    }

    #[test]
    fn an_insertion_changes_only_what_is_near() {
        let bytes = noise(20, 32 << 20);
        let mut changed = bytes.clone();
        changed.splice(16 << 20..16 << 20, *b"inserted");
        let (before, after) = (lengths(&bytes, MAX), lengths(&changed, MAX));
        let same_head = before.iter().zip(&after).take_while(|(a, b)| a == b).count();
        let same_tail = before.iter().rev().zip(after.iter().rev()).take_while(|(a, b)| a == b).count();
        assert!(same_head + same_tail + 4 >= before.len(), "{same_head} + {same_tail} of {}", before.len());
    }
}
