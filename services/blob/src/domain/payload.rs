//! The payload of a record: how what it holds is encoded.
//!
//! | codec | stored |
//! | --- | --- |
//! | 0 raw | the bytes themselves |
//! | 1 zstd | one zstd frame (RFC 8878) with the bytes |
//! | 2 sealed | the bytes, encrypted: see [`seal`] |
//! | 3 zstd, sealed | the zstd frame, encrypted |
//!
//! The codec stands in the record's header and in the index: whoever reads needs keys, but not to know how writers are set up.

use blake3::Hash;
use bytes::Bytes;

use super::compress::{self, Compression};
use super::record::{Codec, HEADER_LEN, Header, Kind};
use super::seal::{self, KeyId, Keys, SealError};
use super::{cut, manifest, segment};

/// Why a payload could not be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// It is not what was stored once.
    #[error("its bytes have changed")]
    Damaged,
    /// It is encrypted with a key that is not here. It may be sound.
    #[error("it is encrypted with the key {0}, which is not here")]
    KeyMissing(KeyId),
}

/// A payload as it is stored.
#[derive(Debug)]
pub struct Encoded {
    /// All that the record says.
    pub header: Header,
    /// Its bytes, in order: `header.stored` of them.
    pub pieces: Vec<Bytes>,
}

/// Something to be encoded.
#[derive(Debug)]
pub struct Draft {
    kind: Kind,
    hash: Hash,
    pieces: Vec<Bytes>,
    len: usize,
    is_promising: bool,
    is_quick: bool,
}

impl Draft {
    /// Whether encoding it takes microseconds. Otherwise it is work for a thread that may block.
    #[must_use]
    pub fn is_quick(&self) -> bool {
        self.is_quick
    }
}

/// How payloads are encoded from now on, and what it takes to decode those that there are.
#[derive(Debug, Default)]
pub struct Encoding {
    compression: Option<Compression>,
    keys: Keys,
}

impl Encoding {
    /// Chunks are compressed with `compression`, if given, and everything is encrypted with the first of `keys`, if there is one.
    #[must_use]
    pub fn new(compression: Option<Compression>, keys: Keys) -> Self {
        Self { compression, keys }
    }

    /// Looks at what is named `hash` and made up of `pieces`, to encode it. Never takes long.
    #[must_use]
    pub fn draft(&self, kind: Kind, hash: Hash, pieces: Vec<Bytes>) -> Draft {
        let len = pieces.iter().map(Bytes::len).sum::<usize>();
        // The list of a blob's chunks is mostly their names, which are as good as random.
        let compression = self.compression.as_ref().filter(|_| kind == Kind::Chunk);
        let is_promising = compression.is_some_and(|compression| compression.is_promising(&pieces, len));
        let is_quick = len <= compress::QUICK || !(is_promising || self.keys.current().is_some());
        Draft { kind, hash, pieces, len, is_promising, is_quick }
    }

    /// Encodes what is named `hash` and made up of `pieces`, as [`Encoding::draft`] and [`Encoding::finish`] do.
    ///
    /// # Errors
    /// Those of [`Encoding::finish`].
    pub fn encode(&self, kind: Kind, hash: Hash, pieces: Vec<Bytes>) -> Result<Encoded, SealError> {
        self.finish(self.draft(kind, hash, pieces))
    }

    /// Encodes what was looked at. What stays as it is is not copied.
    ///
    /// # Errors
    /// When something is to be encrypted and the system gives no randomness, or when it is too long for a record.
    pub fn finish(&self, draft: Draft) -> Result<Encoded, SealError> {
        let Draft { kind, hash, pieces, len, is_promising, .. } = draft;
        let size = u32::try_from(len).map_err(|_| SealError)?;
        let compression = self.compression.as_ref().filter(|_| is_promising);
        let compressed = compression.and_then(|compression| compression.compress(&pieces, len));
        let is_sealed = self.keys.current().is_some();
        let codec = match (&compressed, is_sealed) {
            (None, false) => Codec::Raw,
            (Some(_), false) => Codec::Zstd,
            (None, true) => Codec::Sealed,
            (Some(_), true) => Codec::ZstdSealed,
        };
        let mut pieces = compressed.unwrap_or(pieces);
        let mut header = Header { kind, codec, stored: 0, size, hash };
        if let Some(sealed) = self.keys.seal(&header, &pieces)? {
            pieces = vec![sealed.into()];
        }
        let stored = pieces.iter().map(Bytes::len).sum::<usize>();
        header.stored = u32::try_from(stored).map_err(|_| SealError)?;
        Ok(Encoded { header, pieces })
    }

    /// What the payload `stored` of the record with this header holds, verified against the header's hash. Raw bytes are
    /// handed on and not copied; for others no more memory is taken than for the header's decoded size.
    ///
    /// # Errors
    /// [`DecodeError::Damaged`] for whatever cannot be what was stored once, [`DecodeError::KeyMissing`].
    pub fn decode(&self, header: &Header, stored: Bytes) -> Result<Bytes, DecodeError> {
        self.decode_into(header, stored, Vec::new())
    }

    /// The same, with room that was made for what has to be decompressed.
    ///
    /// # Errors
    /// Those of [`Encoding::decode`].
    pub fn decode_into(&self, header: &Header, stored: Bytes, room: Vec<u8>) -> Result<Bytes, DecodeError> {
        let damaged = DecodeError::Damaged;
        let size = usize::try_from(header.size).map_err(|_| damaged)?;
        if !is_possible(header) || u32::try_from(stored.len()) != Ok(header.stored) {
            return Err(damaged);
        }
        let stored = match header.codec {
            Codec::Raw | Codec::Zstd => stored,
            Codec::Sealed | Codec::ZstdSealed => {
                self.keys.open(header, stored).map_err(|error| match error {
                    seal::OpenError::KeyMissing(id) => DecodeError::KeyMissing(id),
                    seal::OpenError::Damaged => damaged,
                })?
            }
        };
        let bytes = match header.codec {
            Codec::Raw | Codec::Sealed => stored,
            Codec::Zstd | Codec::ZstdSealed => {
                compress::decompress(&stored, size, room).ok_or(damaged)?.into()
            }
        };
        (bytes.len() == size && blake3::hash(&bytes) == header.hash).then_some(bytes).ok_or(damaged)
    }

    /// As [`Encoding::decode`], for a whole record that is known to stand where `record` was read.
    ///
    /// # Errors
    /// Those of [`Encoding::decode`]; [`DecodeError::Damaged`] when there is no header.
    pub fn decode_record(&self, mut record: Bytes) -> Result<(Header, Bytes), DecodeError> {
        let header = record.first_chunk().and_then(Header::decode_known).ok_or(DecodeError::Damaged)?;
        let payload = record.split_off(HEADER_LEN);
        drop(record);
        Ok((header, self.decode(&header, payload)?))
    }

    /// Whether a payload is encrypted as one that is written now would be: with the present key, or not at all when there is
    /// none. Of `stored` the first 8 bytes are enough.
    ///
    /// This is what a job asks that changes keys by rewriting. When it says yes, the stored bytes can be copied into another
    /// pack as they are, under a header with the same fields: nothing in them depends on pack or place. Otherwise
    /// [`Encoding::decode`] and [`Encoding::encode`] make the new ones. Whether a chunk would be compressed today is no
    /// reason to rewrite it.
    #[must_use]
    pub fn is_current(&self, codec: Codec, stored: &[u8]) -> bool {
        match codec {
            Codec::Raw | Codec::Zstd => self.keys.current().is_none(),
            Codec::Sealed | Codec::ZstdSealed => {
                self.keys.current().is_some_and(|current| seal::key_of(stored) == Some(current))
            }
        }
    }
}

/// Whether anybody could have written a record with this header: it is no longer than a chunk or manifest can be.
#[must_use]
pub fn is_possible(header: &Header) -> bool {
    let most = match header.kind {
        Kind::Chunk => cut::MAX,
        Kind::Manifest => manifest::MAX_LEN,
        Kind::Segment => segment::MAX_LEN,
        // Nothing is to be had from it.
        Kind::Filler => 0,
    };
    let fits = |len: u32, most: usize| usize::try_from(len).is_ok_and(|len| len <= most);
    fits(header.size, most) && fits(header.stored, most + seal::OVERHEAD)
}

/// Whether decoding a payload takes microseconds. Otherwise it is work for a thread that may block.
#[must_use]
pub fn is_quick_to_decode(codec: Codec, size: u32) -> bool {
    codec == Codec::Raw || usize::try_from(size).is_ok_and(|size| size <= compress::QUICK)
}

/// Room for decoding a payload, as large as it has to be.
#[must_use]
pub fn decoding_room(codec: Codec, size: u32) -> Vec<u8> {
    match codec {
        Codec::Raw | Codec::Sealed => Vec::new(),
        Codec::Zstd | Codec::ZstdSealed => Vec::with_capacity(usize::try_from(size).unwrap_or_default()),
    }
}

/// Bytes of memory that it takes to decode a payload.
#[must_use]
pub fn decoding_memory(codec: Codec, stored: u32, size: u32) -> u32 {
    match codec {
        // In place.
        Codec::Raw | Codec::Sealed => stored,
        Codec::Zstd | Codec::ZstdSealed => stored.saturating_add(size),
    }
}

#[cfg(test)]
mod tests;
