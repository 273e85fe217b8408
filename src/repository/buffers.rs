//! Large buffers that are used again: a frame's or a pack's bytes are allocated a few times per run, not once per
//! frame, so that the heap doesn't grow by what the allocator keeps back.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

/// Buffers of one purpose.
#[derive(Debug, Clone)]
pub(crate) struct Buffers {
    free: Arc<Mutex<Vec<Vec<u8>>>>,
    /// A buffer that had to grow beyond this (for one large row) isn't kept.
    largest: usize,
}

impl Buffers {
    pub(crate) fn new(largest: usize) -> Self {
        Self { free: Arc::default(), largest }
    }

    /// An empty buffer.
    pub(crate) fn take(&self) -> Vec<u8> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    /// Gives a buffer back. There are never more of them than were taken at one time.
    pub(crate) fn give(&self, mut buffer: Vec<u8>) {
        if buffer.capacity() <= self.largest {
            buffer.clear();
            self.free.lock().unwrap_or_else(PoisonError::into_inner).push(buffer);
        }
    }

    /// The buffer as shared bytes; it comes back when the last of them goes.
    pub(crate) fn lend(&self, buffer: Vec<u8>) -> Bytes {
        Bytes::from_owner(Lent { buffer, to: self.clone() })
    }
}

struct Lent {
    buffer: Vec<u8>,
    to: Buffers,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.buffer
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.to.give(std::mem::take(&mut self.buffer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_when_its_last_reader_is_gone() {
        let buffers = Buffers::new(1 << 20);
        let mut buffer = buffers.take();
        buffer.extend_from_slice(&[1; 1000]);
        let at = buffer.as_ptr();
        let lent = buffers.lend(buffer);
        let part = lent.slice(10..20);
        drop(lent);
        assert_eq!(buffers.take().capacity(), 0);
        drop(part);
        let again = buffers.take();
        assert!(again.is_empty() && again.as_ptr() == at);
        buffers.give(Vec::with_capacity(2 << 20));
        assert_eq!(buffers.take().capacity(), 0);
    }
}
