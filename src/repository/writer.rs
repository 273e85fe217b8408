//! From chunks to packs in the store: a bounded pipeline.
//!
//! ```text
//! caller ── add(content) ──▶ raw frames ──▶ compress (codec threads) ──▶ pack ──▶ outbox: seal, read back (codec threads), upload
//! ```
//!
//! Memory: see docs/ARCHITECTURE.md, "Memory". The order of frames is the order of `add`, so equal input makes equal packs.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::buffers::Buffers;
use super::checkpoint::Checkpoints;
use super::chunk_table::ChunkTable;
use super::codec::{CodecThreads, Doing};
use super::draft::{DraftChunk, DraftPlace};
use super::entry::ChunkRef;
use super::error::RepositoryError;
use super::ids::{ChunkId, PackName, RunId};
use super::journal::Journal;
use super::known::Known;
use super::layout::Layout;
use super::manifest::{PackInfo, Uploaded};
use super::outbox::{Outbox, Spool};
use super::pack::{FRAME_LIMIT, Frame, PACK_ROOM, PackBuilder, RawFrame, compress};
use super::sign::SigningKey;
use crate::config::Recipients;
use crate::progress::Progress;
use crate::storage::Store;

/// Threads that compress and read back; and frames that they have or that wait for them.
const COMPRESSING: usize = 2;

/// What a writer needs of its surroundings.
pub struct WriterContext {
    /// Where packs go.
    pub store: Arc<dyn Store>,
    /// The site's keys.
    pub layout: Layout,
    /// The run.
    pub run: RunId,
    /// What signs its checkpoints.
    pub key: Arc<SigningKey>,
    /// A directory for temporary files.
    pub scratch: std::path::PathBuf,
    /// Where uploads are told.
    pub progress: Arc<dyn Progress>,
    /// Where uploaded packs are noted for the run after a broken one.
    pub journal: Journal,
    /// How often a checkpoint is written.
    pub checkpoint_every: std::time::Duration,
    /// Packs of broken runs before that this one goes on from.
    pub resumed: Vec<PackInfo>,
    /// Whom packs are sealed to.
    pub recipients: Recipients,
    /// Ends the pipeline: whoever waits for it gets [`RepositoryError::Cancelled`].
    pub cancel: CancellationToken,
}

enum Message {
    Frame(RawFrame),
    Spool(Spool),
    Flush(oneshot::Sender<()>),
}

/// What the pipeline has placed so far.
#[derive(Debug, Default)]
struct Placed {
    /// Pack's number, offset and length of each frame of the run.
    frames: Vec<(u32, u64, u64)>,
    packs: Vec<PackInfo>,
    error: Option<RepositoryError>,
}

/// Takes chunks, sends packs. One per run.
pub struct PackWriter {
    buffers: Buffers,
    frame: RawFrame,
    frame_number: u32,
    fresh: ChunkTable<DraftPlace>,
    frames: mpsc::Sender<Message>,
    placed: Arc<Mutex<Placed>>,
    assembler: AbortOnDrop,
}

struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn lock(placed: &Mutex<Placed>) -> std::sync::MutexGuard<'_, Placed> {
    placed.lock().unwrap_or_else(PoisonError::into_inner)
}

impl PackWriter {
    /// Starts the pipeline.
    pub fn new(context: WriterContext) -> Result<Self, RepositoryError> {
        let fresh = ChunkTable::new(&context.scratch)?;
        let (sender, receiver) = mpsc::channel(1);
        let placed = Arc::new(Mutex::new(Placed::default()));
        let buffers = Buffers::new(FRAME_LIMIT + (FRAME_LIMIT / 2));
        let (context, pack_buffers, codecs) = (Arc::new(context), Buffers::new(PACK_ROOM), CodecThreads::start(COMPRESSING)?);
        let outbox = Outbox::new(Arc::clone(&context), pack_buffers.clone(), codecs.clone());
        let assembler = Assembler {
            frames: buffers.clone(),
            pack_buffers,
            builder: PackBuilder::new(context.run, Vec::new()),
            builder_frames: Vec::new(),
            packs: 0,
            compressing: VecDeque::new(),
            codecs,
            outbox,
            placed: Arc::clone(&placed),
            checkpoints: Checkpoints::new(
                context.layout.clone(),
                context.run,
                Arc::clone(&context.key),
                context.checkpoint_every,
            ),
            context,
        };
        let assembler = AbortOnDrop(tokio::spawn(assembler.work(receiver)));
        Ok(Self { buffers, frame: RawFrame::default(), frame_number: 0, fresh, frames: sender, placed, assembler })
    }

    /// Takes a chunk: one that this run or `known` has is only named, another is packed. For async callers.
    pub async fn add(&mut self, content: &[u8], known: &mut [&mut Known]) -> Result<DraftChunk, RepositoryError> {
        let (chunk, full) = self.place(content, known)?;
        for frame in full.into_iter().flatten() {
            self.frames.send(Message::Frame(frame)).await.map_err(|_| self.failure())?;
        }
        Ok(chunk)
    }

    /// The same from a blocking thread.
    pub fn add_blocking(&mut self, content: &[u8], known: &mut [&mut Known]) -> Result<DraftChunk, RepositoryError> {
        let (chunk, full) = self.place(content, known)?;
        for frame in full.into_iter().flatten() {
            self.frames.blocking_send(Message::Frame(frame)).map_err(|_| self.failure())?;
        }
        Ok(chunk)
    }

    /// From now on packs may wait for a slow store on disk, within these limits.
    pub async fn spool(&mut self, spool: Spool) -> Result<(), RepositoryError> {
        self.frames.send(Message::Spool(spool)).await.map_err(|_| self.failure())
    }

    /// Waits until everything added is in the store.
    pub async fn flush(&mut self) -> Result<(), RepositoryError> {
        if !self.frame.members.is_empty() {
            let frame = self.take_frame();
            self.frames.send(Message::Frame(frame)).await.map_err(|_| self.failure())?;
        }
        let (done, wait) = oneshot::channel();
        self.frames.send(Message::Flush(done)).await.map_err(|_| self.failure())?;
        wait.await.map_err(|_| self.failure())
    }

    /// A chunk's place in the store. All that was added must have been flushed.
    pub fn resolve(&self, chunk: &DraftChunk) -> Result<ChunkRef, RepositoryError> {
        let place = match chunk.place {
            DraftPlace::Stored(place) => place,
            DraftPlace::Fresh { frame, at } => {
                let placed = lock(&self.placed);
                let (pack, offset, length) = *placed.frames.get(frame as usize).ok_or(RepositoryError::Task)?;
                let pack = placed.packs.get(pack as usize).ok_or(RepositoryError::Task)?.name;
                super::entry::Place { pack, frame: (offset, length), at }
            }
        };
        Ok(ChunkRef { id: chunk.id, size: chunk.size, pack: place.pack, frame: place.frame, at: place.at })
    }

    /// The packs that this run sent, each with no live bytes counted yet.
    pub fn packs(&self) -> Vec<PackInfo> {
        lock(&self.placed).packs.clone()
    }

    /// What this run sent.
    pub fn uploaded(&self) -> Uploaded {
        let placed = lock(&self.placed);
        Uploaded { packs: placed.packs.len() as u64, bytes: placed.packs.iter().map(|p| p.size).sum() }
    }

    fn place(
        &mut self,
        content: &[u8],
        known: &mut [&mut Known],
    ) -> Result<(DraftChunk, [Option<RawFrame>; 2]), RepositoryError> {
        let id = ChunkId::of(content);
        let size = content.len() as u64;
        if let Some(place) = self.fresh.get(&id)? {
            return Ok((DraftChunk { id, size, place }, [None, None]));
        }
        for known in known {
            if let Some(place) = known.get(&id)? {
                return Ok((DraftChunk { id, size, place }, [None, None]));
            }
        }
        let before = self.frame.is_full_for(content).then(|| self.take_frame());
        let at = self.frame.push(id, content);
        let place = DraftPlace::Fresh { frame: self.frame_number, at };
        self.fresh.insert(&id, &place)?;
        let after = self.frame.is_ripe().then(|| self.take_frame());
        Ok((DraftChunk { id, size, place }, [before, after]))
    }

    fn take_frame(&mut self) -> RawFrame {
        self.frame_number += 1;
        std::mem::replace(&mut self.frame, RawFrame { tar: self.buffers.take(), members: Vec::new() })
    }

    /// Why the pipeline has ended.
    fn failure(&self) -> RepositoryError {
        // The assembler notes its error before it closes the channel.
        lock(&self.placed).error.take().unwrap_or(RepositoryError::Task)
    }
}

impl std::fmt::Debug for PackWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PackWriter")
            .field("frame_number", &self.frame_number)
            .field("ended", &self.assembler.0.is_finished())
            .finish()
    }
}

/// A frame, and the buffer of its plain bytes.
type Compressed = Result<(Frame, Vec<u8>), RepositoryError>;

/// The task behind the writer: keeps the order of frames, fills packs, sends them.
struct Assembler {
    frames: Buffers,
    pack_buffers: Buffers,
    builder: PackBuilder,
    /// Numbers into `Placed::frames` of the frames in the builder: their pack has no number until it is sealed.
    builder_frames: Vec<(u64, u64)>,
    packs: u32,
    codecs: CodecThreads,
    compressing: VecDeque<Doing<Compressed>>,
    outbox: Outbox,
    placed: Arc<Mutex<Placed>>,
    checkpoints: Checkpoints,
    context: Arc<WriterContext>,
}

impl Assembler {
    async fn work(mut self, mut messages: mpsc::Receiver<Message>) {
        let cancel = self.context.cancel.clone();
        let result = tokio::select! {
            result = self.serve(&mut messages) => result,
            () = cancel.cancelled() => Err(RepositoryError::Cancelled),
        };
        if let Err(error) = result {
            lock(&self.placed).error = Some(error);
        }
    }

    async fn serve(&mut self, messages: &mut mpsc::Receiver<Message>) -> Result<(), RepositoryError> {
        loop {
            let message = tokio::select! {
                message = messages.recv() => message,
                done = self.outbox.next(), if self.outbox.is_sending() => {
                    self.place_sent();
                    done?;
                    continue;
                }
            };
            let (context, placed) = (&self.context, &self.placed);
            let sent = || {
                let mut packs = context.resumed.clone();
                packs.extend(lock(placed).packs.iter().filter(|pack| pack.size > 0).cloned());
                packs
            };
            self.checkpoints.write_if_due(context.store.as_ref(), sent).await;
            match message {
                None => return Ok(()),
                Some(Message::Frame(raw)) => {
                    while self.compressing.len() >= COMPRESSING {
                        self.take_compressed().await?;
                    }
                    let stored = self.frames.take();
                    self.compressing.push_back(self.codecs.run(move |codec| compress(codec, raw, stored)));
                }
                Some(Message::Spool(spool)) => self.outbox.set_spool(spool),
                Some(Message::Flush(done)) => {
                    let result = self.flush().await;
                    // Noted before the waiting side is woken, which then asks for it.
                    if let Err(error) = result {
                        lock(&self.placed).error = Some(error);
                        return Ok(());
                    }
                    // Nobody waits any more: then nobody asks either.
                    let _ = done.send(());
                }
            }
        }
    }

    async fn flush(&mut self) -> Result<(), RepositoryError> {
        while !self.compressing.is_empty() {
            self.take_compressed().await?;
        }
        self.seal().await?;
        let done = self.outbox.empty().await;
        self.place_sent();
        done
    }

    async fn take_compressed(&mut self) -> Result<(), RepositoryError> {
        if let Some(compressing) = self.compressing.pop_front() {
            let (frame, plain) = compressing.done().await??;
            self.frames.give(plain);
            let place = self.builder.push(&frame);
            self.frames.give(frame.stored);
            self.builder_frames.push(place);
            if self.builder.is_ripe() {
                self.seal().await?;
            }
        }
        Ok(())
    }

    async fn seal(&mut self) -> Result<(), RepositoryError> {
        if self.builder.is_empty() {
            return Ok(());
        }
        let builder = std::mem::replace(&mut self.builder, PackBuilder::new(self.context.run, Vec::new()));
        let number = self.packs;
        self.packs += 1;
        {
            let mut placed = lock(&self.placed);
            placed.frames.extend(self.builder_frames.drain(..).map(|(offset, length)| (number, offset, length)));
            // The name comes when it has gone out; until then nobody may resolve.
            placed.packs.push(PackInfo {
                name: PackName([0; 32]),
                size: 0,
                sha256: String::new(),
                live: 0,
                content: 0,
                sealed: None,
            });
        }
        let done = self.outbox.put(number, builder).await;
        // Only now: the buffer of one that has gone out may have come back.
        self.builder = PackBuilder::new(self.context.run, self.pack_buffers.take());
        self.place_sent();
        done
    }

    /// Notes the names of packs that have gone out.
    fn place_sent(&mut self) {
        let mut placed = lock(&self.placed);
        for (number, info) in self.outbox.take_sent() {
            if let Some(slot) = placed.packs.get_mut(number as usize) {
                *slot = info;
            }
        }
    }
}

/// An object's bytes for a direct write, with their checksum.
pub(crate) fn checksummed(bytes: Vec<u8>) -> (Bytes, crate::storage::Sha256) {
    use sha2::Digest as _;
    let sha256 = sha2::Sha256::digest(&bytes).into();
    (Bytes::from(bytes), sha256)
}
