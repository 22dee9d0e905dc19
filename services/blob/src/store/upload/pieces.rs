//! What was received and not yet handed on.

use bytes::{Bytes, BytesMut};

/// Pieces below this size are copied together: each costs a little memory and a part of a system call.
const PIECE: usize = 32 << 10;

/// Bytes in the order of their arrival; small ones are copied together.
#[derive(Debug, Default)]
pub struct Pieces {
    done: Vec<Bytes>,
    tail: BytesMut,
    len: usize,
}

impl Pieces {
    /// How many bytes there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Adds bytes at the end.
    pub fn push(&mut self, data: Bytes) {
        self.len += data.len();
        let is_first = self.done.is_empty() && self.tail.is_empty();
        if is_first || data.len() >= PIECE {
            self.seal();
            self.done.push(data);
        } else {
            self.tail.extend_from_slice(&data);
            if self.tail.len() >= PIECE {
                self.seal();
            }
        }
    }

    fn seal(&mut self) {
        if !self.tail.is_empty() {
            self.done.push(std::mem::take(&mut self.tail).freeze());
        }
    }

    /// All of them; leaves none behind.
    pub fn take(&mut self) -> Vec<Bytes> {
        self.seal();
        self.len = 0;
        std::mem::take(&mut self.done)
    }
}
