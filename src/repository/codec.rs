//! Compression as packs have it, and the few threads that do it.

use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;
use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe::{CParameter, Strategy};

use super::error::RepositoryError;
use super::pack::FRAME_LIMIT;

/// No frame holds more plain bytes than this: no chunk is larger than a statement that a server takes, or a little more.
const LARGEST_FRAME: u64 = 5 << 30;

/// No frame has more plain bytes for each of its own: the smallest block is four bytes, and stands for 128 KiB at most.
const MOST_PER_BYTE: u64 = (128 << 10) / 4;

/// How zstd looks for matches: between its levels 1 and 2. Of SQL it makes some per cent more bytes than level 3, in two thirds of its
/// time to compress and half its time to decompress. (docs/BENCHMARKS.md)
///
/// Without the library's own checksum: chunks are named by a stronger one, and summing twice more would cost a twentieth of a run.
const PARAMETERS: [CParameter; 5] = [
    CParameter::CompressionLevel(1),
    CParameter::Strategy(Strategy::ZSTD_fast),
    CParameter::WindowLog(20),
    CParameter::HashLog(15),
    CParameter::MinMatch(6),
];

/// The library's contexts, which are large and used again.
#[derive(Default)]
pub(crate) struct Codec {
    compressor: Option<Compressor<'static>>,
    decompressor: Option<Decompressor<'static>>,
    plain: Vec<u8>,
}

impl Codec {
    /// Replaces what `stored` holds by one frame that any zstd decoder reads, with its content's size.
    pub(crate) fn compress(&mut self, plain: &[u8], stored: &mut Vec<u8>) -> Result<(), RepositoryError> {
        self.compress_into(plain, stored, false)
    }

    /// The same with the library's own checksum, for what nothing else sums.
    pub(crate) fn compress_summed(&mut self, plain: &[u8], stored: &mut Vec<u8>) -> Result<(), RepositoryError> {
        self.compress_into(plain, stored, true)
    }

    fn compress_into(&mut self, plain: &[u8], stored: &mut Vec<u8>, summed: bool) -> Result<(), RepositoryError> {
        stored.clear();
        stored.reserve_exact(zstd::zstd_safe::compress_bound(plain.len()));
        let mut compressor = match self.compressor.take() {
            Some(compressor) => compressor,
            None => {
                let mut compressor = Compressor::new(0).map_err(RepositoryError::Compress)?;
                PARAMETERS
                    .into_iter()
                    .try_for_each(|parameter| compressor.set_parameter(parameter))
                    .map_err(RepositoryError::Compress)?;
                compressor
            }
        };
        compressor.set_parameter(CParameter::ChecksumFlag(summed)).map_err(RepositoryError::Compress)?;
        compressor.compress_to_buffer(plain, stored).map_err(RepositoryError::Compress)?;
        // One that worked on a large row keeps too much.
        self.compressor = Some(compressor).filter(|_| plain.len() <= 2 * FRAME_LIMIT);
        Ok(())
    }

    /// Decompresses one frame of at most `limit` plain bytes into a buffer that the next call uses again.
    pub(crate) fn read(&mut self, frame: &[u8], limit: u64) -> Result<&[u8], String> {
        let mut plain = std::mem::take(&mut self.plain);
        if plain.capacity() > 2 * FRAME_LIMIT {
            plain = Vec::new();
        }
        self.decompress_into(frame, limit, &mut plain)?;
        self.plain = plain;
        Ok(&self.plain)
    }

    /// Decompresses one frame of at most `limit` plain bytes.
    pub(crate) fn decompress(&mut self, frame: &[u8], limit: u64) -> Result<Vec<u8>, String> {
        let mut plain = Vec::new();
        self.decompress_into(frame, limit, &mut plain)?;
        Ok(plain)
    }

    fn decompress_into(&mut self, frame: &[u8], limit: u64, plain: &mut Vec<u8>) -> Result<(), String> {
        let size = zstd::zstd_safe::get_frame_content_size(frame).ok().flatten().ok_or("a frame without its size")?;
        let limit = limit.min(LARGEST_FRAME);
        if size > limit {
            return Err(format!("a frame of {size} bytes, where {limit} are allowed"));
        }
        // What a frame says of itself alone must not make us allocate.
        if size / MOST_PER_BYTE > frame.len() as u64 {
            return Err(format!("a frame of {} bytes can't hold {size}", frame.len()));
        }
        let size = usize::try_from(size).map_err(|e| e.to_string())?;
        plain.clear();
        plain.try_reserve_exact(size).map_err(|e| e.to_string())?;
        let mut decompressor = match self.decompressor.take() {
            Some(decompressor) => decompressor,
            None => Decompressor::new().map_err(|e| e.to_string())?,
        };
        decompressor.decompress_to_buffer(frame, plain).map_err(|e| e.to_string())?;
        self.decompressor = Some(decompressor);
        if plain.len() == size { Ok(()) } else { Err("a frame is not as long as it says".into()) }
    }
}

type Job = Box<dyn FnOnce(&mut Codec) + Send>;

/// Threads that have a codec each; they end with the last of their owners. What waits for them is bounded by those who ask.
#[derive(Clone)]
pub(crate) struct CodecThreads {
    jobs: mpsc::Sender<Job>,
}

impl CodecThreads {
    /// Starts `count` threads.
    pub(crate) fn start(count: usize) -> Result<Self, RepositoryError> {
        let (jobs, waiting) = mpsc::channel::<Job>();
        let waiting = Arc::new(Mutex::new(waiting));
        for _ in 0..count {
            let waiting = Arc::clone(&waiting);
            let work = move || {
                let mut codec = Codec::default();
                loop {
                    // Held while waiting: the others wait for the lock instead, which is the same.
                    let job = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok(job) = job else { return };
                    job(&mut codec);
                }
            };
            std::thread::Builder::new().name("codec".into()).spawn(work).map_err(RepositoryError::Threads)?;
        }
        Ok(Self { jobs })
    }

    /// Has one of the threads do this; jobs begin in the order of the calls.
    pub(crate) fn run<R: Send + 'static>(&self, job: impl FnOnce(&mut Codec) -> R + Send + 'static) -> Doing<R> {
        let (done, wait) = oneshot::channel();
        let job = move |codec: &mut Codec| {
            // Nobody waits any more: then nobody wants it either.
            if !done.is_closed() {
                let _ = done.send(job(codec));
            }
        };
        // Without a thread the job goes, and whoever waits for it hears of it.
        let _ = self.jobs.send(Box::new(job));
        Doing(wait)
    }
}

/// A job under way.
pub(crate) struct Doing<R>(oneshot::Receiver<R>);

impl<R> Doing<R> {
    /// What the job returned.
    pub(crate) async fn done(self) -> Result<R, RepositoryError> {
        self.0.await.map_err(|_| RepositoryError::Task)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_compressed_comes_back_and_nothing_larger_than_allowed() {
        let mut codec = Codec::default();
        let mut stored = Vec::new();
        for plain in [&b""[..], b"some text", &[7; 5 << 20]] {
            codec.compress(plain, &mut stored).unwrap();
            assert_eq!(codec.read(&stored, plain.len() as u64).unwrap(), plain);
            assert_eq!(codec.decompress(&stored, u64::MAX).unwrap(), plain);
            assert_eq!(zstd::decode_all(stored.as_slice()).unwrap(), plain);
            if let Some(less) = (plain.len() as u64).checked_sub(1) {
                assert!(codec.read(&stored, less).is_err());
            }
        }
        assert!(codec.read(b"not a frame", 100).is_err());
        // Its header says 4 GiB, and nothing is allocated for that.
        let boast = [&[0x28, 0xb5, 0x2f, 0xfd, 0xe0][..], &(4u64 << 30).to_le_bytes(), &[1, 0, 0]].concat();
        assert!(codec.read(&boast, u64::MAX).unwrap_err().contains("can't hold"));
        assert!(codec.read(&stored[..stored.len() - 1], u64::MAX).is_err());
    }

    #[tokio::test]
    async fn a_job_that_panics_is_an_error_and_the_next_is_done() {
        let threads = CodecThreads::start(2).unwrap();
        let bad = threads.run(|_| -> u32 { panic!("a test's panic") });
        assert!(matches!(bad.done().await, Err(RepositoryError::Task)));
        assert_eq!(threads.run(|_| 5).done().await.unwrap(), 5);
    }
}
