//! Reading the records of a pack one after the other, past whatever is wrong with it.

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use super::index::{ChunkRow, NewBlob, SegmentRow};
use super::pack::{Location, PackId};
use super::packs::ReadAt;
use crate::domain::manifest::Manifest;
use crate::domain::payload::{DecodeError, Encoding, is_possible};
use crate::domain::record::{self, Header, Kind, MAGIC, Salt};
use crate::domain::seal::KeyId;
use crate::domain::segment::Segment;

/// Bytes looked through at a time for the next record.
const WINDOW: usize = 1 << 20;

/// A sound record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// A chunk whose bytes match its name.
    Chunk(ChunkRow),
    /// A blob with a manifest that can be read.
    Blob(NewBlob),
    /// A segment of an upload that can be read.
    Segment(SegmentRow),
    /// A record that is encrypted with a key that is not here, and may be sound or not.
    Locked(KeyId),
}

/// Reads a pack from some record on, on a thread that may block.
#[derive(Debug)]
pub struct Scanner {
    bytes: Box<dyn ReadAt>,
    pack: PackId,
    salt: Salt,
    at: u64,
    end: u64,
    encoding: Arc<Encoding>,
    /// Of the record that was found last, decoded.
    payload: Bytes,
}

impl Scanner {
    /// Reads the records in `bytes` from the offset `from`, where one starts, up to `end`.
    pub fn new(
        bytes: Box<dyn ReadAt>,
        pack: PackId,
        salt: Salt,
        from: u64,
        end: u64,
        encoding: Arc<Encoding>,
    ) -> Self {
        Self { bytes, pack, salt, at: from, end, encoding, payload: Bytes::new() }
    }

    /// The payload of the record that was found last, decoded.
    pub fn take_payload(&mut self) -> Bytes {
        std::mem::take(&mut self.payload)
    }

    /// Where the next record is looked for.
    pub fn position(&self) -> u64 {
        self.at
    }

    /// The next sound record; `None` at the end. What lies between is logged and left as it is.
    pub fn next(&mut self) -> io::Result<Option<Found>> {
        let mut lost_at = None;
        while self.at < self.end {
            let Some(header) = self.header(self.at)? else {
                lost_at.get_or_insert(self.at);
                self.at = self.next_magic(self.at + 1)?;
                continue;
            };
            self.report(lost_at.take(), self.at);
            let position = self.at + record::HEADER_LEN as u64;
            self.at += header.record_len();
            if header.kind == Kind::Filler {
                continue;
            }
            if let Some(found) = self.payload(&header, position)? {
                return Ok(Some(found));
            }
            tracing::error!(pack = %self.pack, position, "a record is damaged and left out");
        }
        self.report(lost_at, self.end);
        Ok(None)
    }

    fn report(&self, lost_at: Option<u64>, until: u64) {
        if let Some(from) = lost_at {
            // At the end of a pack that was being written when the process ended this is to be expected.
            let at_end = until == self.end;
            tracing::warn!(pack = %self.pack, from, until, at_end, "no records here");
        }
    }

    /// The header at `offset`, when there is one and its record ends before the pack does.
    fn header(&mut self, offset: u64) -> io::Result<Option<Header>> {
        if self.end - offset < record::HEADER_LEN as u64 {
            return Ok(None);
        }
        let mut bytes = [0; record::HEADER_LEN];
        self.bytes.read_exact_at(&mut bytes, offset)?;
        let header = Header::decode(&bytes, &self.salt, offset);
        Ok(header.filter(|header| header.record_len() <= self.end - offset))
    }

    fn payload(&mut self, header: &Header, position: u64) -> io::Result<Option<Found>> {
        let len = usize::try_from(header.stored).unwrap_or(usize::MAX);
        if !is_possible(header) {
            return Ok(None);
        }
        let mut stored = vec![0; len];
        self.bytes.read_exact_at(&mut stored, position)?;
        let payload = match self.encoding.decode(header, stored.into()) {
            Ok(payload) => payload,
            Err(DecodeError::KeyMissing(key)) => return Ok(Some(Found::Locked(key))),
            Err(DecodeError::Damaged) => return Ok(None),
        };
        let location = Location { pack: self.pack, position, stored: header.stored };
        let found = match header.kind {
            Kind::Chunk => Some(Found::Chunk(ChunkRow {
                hash: header.hash,
                size: header.size,
                location,
                codec: header.codec,
            })),
            Kind::Manifest => {
                Manifest::decode(&payload).map(|manifest| Found::Blob(NewBlob::new(&manifest, location)))
            }
            Kind::Segment => {
                Segment::decode(&payload).map(|segment| Found::Segment(SegmentRow { segment, location }))
            }
            Kind::Filler => None,
        };
        self.payload = payload;
        Ok(found)
    }

    /// The next place from `from` on where a record may start, or the end.
    fn next_magic(&mut self, mut from: u64) -> io::Result<u64> {
        let mut window = vec![0; WINDOW];
        while from < self.end {
            let len = usize::try_from(self.end - from).unwrap_or(WINDOW).min(WINDOW);
            let window = window.get_mut(..len).unwrap_or_default();
            self.bytes.read_exact_at(window, from)?;
            if let Some(at) = window.windows(MAGIC.len()).position(|bytes| bytes == MAGIC) {
                return Ok(from + at as u64);
            }
            if len < WINDOW {
                break;
            }
            // A magic may lie across the border.
            from += (len - MAGIC.len() + 1) as u64;
        }
        Ok(self.end)
    }
}
