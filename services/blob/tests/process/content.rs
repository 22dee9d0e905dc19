//! Content that need not be kept to be compared.

use bytes::Bytes;

/// Bytes that look random and are the same every time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Content {
    pub seed: u64,
    pub len: usize,
}

impl Content {
    pub fn bytes(self) -> Bytes {
        let mut bytes = vec![0; self.len];
        blake3::Hasher::new().update(&self.seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
        bytes.into()
    }
}
