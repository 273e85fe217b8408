//! Entries of a list, read by a thread of their own while the ones before are being used.

use std::sync::mpsc::{Receiver, sync_channel};
use std::vec::IntoIter;

use super::error::RepositoryError;

/// Weight of a batch, and how many wait: some hundred KiB of entries each.
const BATCH: usize = 1024;
const WAITING: usize = 2;

type Item<T> = Result<T, RepositoryError>;

/// The entries, in their order.
#[derive(Debug)]
pub struct ReadAhead<T> {
    batches: Receiver<Vec<Item<T>>>,
    batch: IntoIter<Item<T>>,
}

impl<T: Send + 'static> ReadAhead<T> {
    /// Starts to read. `weight` tells what an entry weighs, beside an ordinary one's 1: few heavy ones are held at a time.
    pub fn start(
        entries: impl Iterator<Item = Item<T>> + Send + 'static,
        weight: fn(&T) -> usize,
    ) -> Result<Self, RepositoryError> {
        let (sender, batches) = sync_channel(WAITING);
        let read = move || {
            let (mut batch, mut weighs) = (Vec::new(), 0);
            for entry in entries {
                weighs += entry.as_ref().map_or(1, weight);
                batch.push(entry);
                if weighs >= BATCH {
                    // Nobody takes them any more: the reader is gone.
                    if sender.send(std::mem::take(&mut batch)).is_err() {
                        return;
                    }
                    weighs = 0;
                }
            }
            let _ = sender.send(batch);
        };
        std::thread::Builder::new().name("list".into()).spawn(read).map_err(RepositoryError::Threads)?;
        Ok(Self { batches, batch: Vec::new().into_iter() })
    }
}

impl<T> Iterator for ReadAhead<T> {
    type Item = Item<T>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(entry) = self.batch.next() {
                return Some(entry);
            }
            self.batch = self.batches.recv().ok()?.into_iter();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_comes_in_order_and_a_reader_may_leave() {
        let read: Vec<u32> = ReadAhead::start((0..10_000).map(Ok), |n| *n as usize).unwrap().map(Result::unwrap).collect();
        assert_eq!(read, (0..10_000).collect::<Vec<_>>());
        let mut some = ReadAhead::start((0..).map(Ok), |_: &u32| 1).unwrap();
        assert_eq!(some.next().unwrap().unwrap(), 0);
        drop(some);
        assert!(ReadAhead::start(std::iter::empty::<Item<u32>>(), |_| 1).unwrap().next().is_none());
    }
}
