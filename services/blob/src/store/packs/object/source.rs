//! The bytes of an object for somebody who reads on: fetched a window at a time.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use tokio::runtime::Handle;

use super::ObjectPacks;
use crate::store::pack::PackId;
use crate::store::packs::ReadAt;

/// Bytes that are fetched at a time.
pub const WINDOW: u64 = 4 << 20;

/// A pack that is being read.
#[derive(Debug)]
pub struct Source {
    packs: Arc<ObjectPacks>,
    runtime: Handle,
    id: PackId,
    len: u64,
    /// Bytes from the offset `start` on.
    window: Bytes,
    start: u64,
}

impl Source {
    /// The pack `id` of `len` bytes, of which the first are known. Has to be called within a tokio runtime.
    pub fn new(packs: Arc<ObjectPacks>, id: PackId, len: u64, window: Bytes) -> Self {
        Self { packs, runtime: Handle::current(), id, len, window, start: 0 }
    }

    fn known(&self, offset: u64, len: usize) -> Option<&[u8]> {
        let from = usize::try_from(offset.checked_sub(self.start)?).ok()?;
        self.window.get(from..from.checked_add(len)?)
    }
}

impl ReadAt for Source {
    fn read_exact_at(&mut self, target: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset + target.len() as u64;
        if end > self.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if self.known(offset, target.len()).is_none() {
            let end = end.max((offset + WINDOW).min(self.len));
            self.window = self.runtime.block_on(self.packs.get_exact(self.id, offset..end))?;
            self.start = offset;
        }
        let known = self.known(offset, target.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        target.copy_from_slice(known);
        Ok(())
    }

    /// What can be got is.
    fn make_durable(&mut self) -> io::Result<()> {
        Ok(())
    }
}
