//! Packs on their way to the store: a few are sent at a time, from memory; while the store is slower than what is being read, more wait on
//! disk, in the spool.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::buffers::Buffers;
use super::codec::{CodecThreads, Doing};
use super::error::RepositoryError;
use super::ids::PackName;
use super::manifest::PackInfo;
use super::pack::{PackBuilder, SealedPack, Toc};
use super::writer::WriterContext;
use crate::progress::Event;
use crate::storage::Sha256;

/// Packs sealed or sent at a time.
const SENDING: usize = 2;
/// A pack goes to the spool when none of those before it has gone out for this long.
const SLOW: Duration = Duration::from_millis(250);

/// What may wait on disk, and how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Spool {
    /// Bytes of packs on disk; 0: none, and whoever adds waits as long as the store takes.
    pub limit: u64,
    /// How long the store may take nothing once the spool is full.
    pub wait: Duration,
}

/// A sent pack and its number in the run.
type Sent = Result<(u32, PackInfo), RepositoryError>;

/// The packs on their way.
pub(super) struct Outbox {
    context: Arc<WriterContext>,
    packs: Buffers,
    codecs: CodecThreads,
    spool: Spool,
    sending: JoinSet<Sent>,
    waiting: VecDeque<Waiting>,
    /// Bytes of packs in the spool.
    spooled: u64,
    /// What has gone out since it was last asked for.
    sent: Vec<(u32, PackInfo)>,
}

/// A pack in the spool.
struct Waiting {
    number: u32,
    path: PathBuf,
    info: PackInfo,
    sha256: Sha256,
    toc: Toc,
}

impl Outbox {
    pub(super) fn new(context: Arc<WriterContext>, packs: Buffers, codecs: CodecThreads) -> Self {
        Self {
            context,
            packs,
            codecs,
            spool: Spool::default(),
            sending: JoinSet::new(),
            waiting: VecDeque::new(),
            spooled: 0,
            sent: Vec::new(),
        }
    }

    /// From now on this may wait on disk. What waits already goes out all the same.
    pub(super) fn set_spool(&mut self, spool: Spool) {
        self.spool = spool;
    }

    /// The packs that have gone out since this was last asked, by their numbers.
    pub(super) fn take_sent(&mut self) -> Vec<(u32, PackInfo)> {
        std::mem::take(&mut self.sent)
    }

    /// Whether a pack is being sent.
    pub(super) fn is_sending(&self) -> bool {
        !self.sending.is_empty()
    }

    /// Seals a pack and sends it, now or later. Waits while there is room for it neither in memory nor in the spool.
    pub(super) async fn put(&mut self, number: u32, builder: PackBuilder) -> Result<(), RepositoryError> {
        while self.sending.len() >= SENDING {
            if self.spool.limit == 0 {
                self.next().await?;
            } else if tokio::time::timeout(SLOW, self.next()).await.map_or(Ok(false), |done| done.map(|()| true))? {
                // There was room in time.
            } else if self.spooled + builder.bytes() <= self.spool.limit {
                return self.put_aside(number, builder).await;
            } else {
                self.next_in_time().await?;
            }
        }
        let (context, sealing) = (Arc::clone(&self.context), self.seal(builder));
        self.sending.spawn(async move { Ok((number, send(&context, sealing.done().await??).await?)) });
        Ok(())
    }

    fn seal(&self, builder: PackBuilder) -> Doing<Result<SealedPack, RepositoryError>> {
        let (context, packs) = (Arc::clone(&self.context), self.packs.clone());
        self.codecs.run(move |codec| builder.seal(codec, &packs, &context.recipients))
    }

    /// Waits until a pack has gone out, and sends the next that waits.
    pub(super) async fn next(&mut self) -> Result<(), RepositoryError> {
        if let Some(done) = self.sending.join_next().await {
            self.sent.push(done.map_err(|_| RepositoryError::Task)??);
        }
        if let Some(waiting) = self.waiting.pop_front() {
            self.spooled = self.spooled.saturating_sub(waiting.info.size);
            let (context, packs) = (Arc::clone(&self.context), self.packs.clone());
            self.sending.spawn(async move {
                let number = waiting.number;
                let sealed =
                    tokio::task::spawn_blocking(move || waiting.take(&packs)).await.map_err(|_| RepositoryError::Task)??;
                Ok((number, send(&context, sealed).await?))
            });
        }
        Ok(())
    }

    /// Waits until all have gone out.
    pub(super) async fn empty(&mut self) -> Result<(), RepositoryError> {
        while !self.sending.is_empty() {
            self.next().await?;
        }
        Ok(())
    }

    /// The same as [`Self::next`], for as long as the store may take nothing.
    async fn next_in_time(&mut self) -> Result<(), RepositoryError> {
        let Spool { limit, wait } = self.spool;
        let slow = |_| RepositoryError::StoreTooSlow { seconds: wait.as_secs(), spool: limit };
        tokio::time::timeout(wait, self.next()).await.map_err(slow)?
    }

    async fn put_aside(&mut self, number: u32, builder: PackBuilder) -> Result<(), RepositoryError> {
        let path = self.context.scratch.join(format!("pack-{number}"));
        let sealed = self.seal(builder).done().await??;
        let task = tokio::task::spawn_blocking(move || {
            let written = std::fs::write(&path, &sealed.stored);
            (sealed, path, written)
        });
        let (sealed, path, written) = task.await.map_err(|_| RepositoryError::Task)?;
        if let Err(error) = written {
            // No room on this disk: as if the spool were full.
            tracing::debug!(%error, "a pack can't wait on disk");
            let _ = std::fs::remove_file(&path);
            while self.sending.len() >= SENDING {
                self.next_in_time().await?;
            }
            let context = Arc::clone(&self.context);
            self.sending.spawn(async move { Ok((number, send(&context, sealed).await?)) });
            return Ok(());
        }
        let SealedPack { info, sha256, stored: _, toc } = sealed;
        let size = info.size;
        tracing::debug!(number, size, "the store is slow: a pack waits on disk");
        self.spooled += size;
        self.waiting.push_back(Waiting { number, path, info, sha256, toc });
        Ok(())
    }
}

impl Waiting {
    /// Reads the pack back; its file goes.
    fn take(self, packs: &Buffers) -> Result<SealedPack, RepositoryError> {
        use std::io::Read as _;
        let mut stored = packs.take();
        std::fs::File::open(&self.path)
            .and_then(|mut file| file.read_to_end(&mut stored))
            .map_err(RepositoryError::state("reading", &self.path))?;
        if PackName::of(&stored) != self.info.name {
            return Err(RepositoryError::ReadBack("it came back from the spool changed".to_owned()));
        }
        std::fs::remove_file(&self.path).map_err(RepositoryError::state("removing", &self.path))?;
        Ok(SealedPack { info: self.info, sha256: self.sha256, stored: packs.lend(stored), toc: self.toc })
    }
}

async fn send(context: &Arc<WriterContext>, sealed: SealedPack) -> Result<PackInfo, RepositoryError> {
    let info = sealed.info;
    // Either answer will do: an object of this name has this content, and the run's id inside makes the name ours.
    context.store.put_new(&context.layout.pack(&info), sealed.stored, sealed.sha256).await?;
    context.progress.event(Event::Uploaded { bytes: info.size });
    let (noted, owner) = (info.clone(), Arc::clone(context));
    tokio::task::spawn_blocking(move || owner.journal.note(&noted, &sealed.toc)).await.map_err(|_| RepositoryError::Task)??;
    Ok(info)
}

#[cfg(test)]
mod tests {
    use super::super::codec::Codec;
    use super::super::ids::{ChunkId, RunId};
    use super::super::journal::Journal;
    use super::super::layout::Layout;
    use super::super::pack::{PACK_ROOM, RawFrame, compress};
    use super::*;
    use crate::config::SiteName;
    use crate::progress::Silent;
    use crate::storage::{LocalStore, Page, Put, Store, StoreError};
    use async_trait::async_trait;
    use bytes::Bytes;
    use tokio::sync::Semaphore;

    /// A store that takes an object for each permit.
    #[derive(Debug)]
    struct Gate {
        store: LocalStore,
        open: Semaphore,
    }

    #[async_trait]
    impl Store for Gate {
        async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page, StoreError> {
            self.store.list(prefix, after).await
        }
        async fn get(&self, key: &str, limit: u64) -> Result<Bytes, StoreError> {
            self.store.get(key, limit).await
        }
        async fn get_range(&self, key: &str, offset: u64, length: u64) -> Result<Bytes, StoreError> {
            self.store.get_range(key, offset, length).await
        }
        async fn checksum(&self, key: &str) -> Result<Option<Sha256>, StoreError> {
            self.store.checksum(key).await
        }

        async fn put_new(&self, key: &str, body: Bytes, sha256: Sha256) -> Result<Put, StoreError> {
            self.open.acquire().await.unwrap().forget();
            self.store.put_new(key, body, sha256).await
        }
        fn url(&self) -> String {
            self.store.url()
        }
    }

    struct Fixture {
        dir: tempfile::TempDir,
        gate: Arc<Gate>,
        outbox: Outbox,
    }

    fn fixture(spool: Spool) -> Fixture {
        let dir = tempfile::tempdir().unwrap();
        let scratch = dir.path().join("scratch");
        std::fs::create_dir(&scratch).unwrap();
        std::fs::create_dir(dir.path().join("store")).unwrap();
        let gate = Arc::new(Gate { store: LocalStore::new(dir.path().join("store")), open: Semaphore::new(0) });
        let context = WriterContext {
            store: gate.clone(),
            layout: Layout::new(SiteName::new("blog").unwrap()),
            run: RunId([1; 8]),
            key: crate::repository::sign::test_key(),
            journal: Journal::open(&scratch.join("journal"), "file:///x").unwrap(),
            scratch,
            progress: Arc::new(Silent),
            checkpoint_every: crate::repository::checkpoint::EVERY,
            resumed: Vec::new(),
            recipients: Default::default(),
            cancel: Default::default(),
        };
        let mut outbox = Outbox::new(Arc::new(context), Buffers::new(PACK_ROOM), CodecThreads::start(2).unwrap());
        outbox.set_spool(spool);
        Fixture { dir, gate, outbox }
    }

    fn pack(number: u32) -> PackBuilder {
        let mut builder = PackBuilder::new(RunId([1; 8]), Vec::new());
        let mut frame = RawFrame::default();
        let mut content = vec![0; 100_000];
        blake3::Hasher::new().update(&number.to_le_bytes()).finalize_xof().fill(&mut content);
        frame.push(ChunkId::of(&content), &content);
        builder.push(&compress(&mut Codec::default(), frame, Vec::new()).unwrap().0);
        builder
    }

    impl Fixture {
        fn on_disk(&self) -> usize {
            let files = std::fs::read_dir(self.dir.path().join("scratch")).unwrap();
            files.filter(|file| file.as_ref().unwrap().file_name().to_string_lossy().starts_with("pack-")).count()
        }
    }

    #[tokio::test]
    async fn packs_wait_on_disk_for_a_slow_store_and_all_go_out() {
        let mut fixture = fixture(Spool { limit: 1 << 20, wait: Duration::from_secs(60) });
        for number in 0..6 {
            fixture.outbox.put(number, pack(number)).await.unwrap();
        }
        assert_eq!((fixture.on_disk(), fixture.outbox.take_sent().len()), (4, 0));
        fixture.gate.open.add_permits(6);
        fixture.outbox.empty().await.unwrap();
        let mut sent = fixture.outbox.take_sent();
        sent.sort_by_key(|(number, _)| *number);
        assert_eq!(sent.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);
        assert_eq!(fixture.on_disk(), 0);
        for (_, info) in sent {
            let key = fixture.outbox.context.layout.pack(&info);
            let stored = fixture.gate.get(&key, 1 << 20).await.unwrap();
            assert_eq!((PackName::of(&stored), stored.len() as u64), (info.name, info.size));
        }
    }

    #[tokio::test]
    async fn a_full_spool_waits_for_as_long_as_it_may() {
        let mut fixture = fixture(Spool { limit: 250_000, wait: Duration::from_millis(600) });
        for number in 0..4 {
            fixture.outbox.put(number, pack(number)).await.unwrap();
        }
        assert_eq!(fixture.on_disk(), 2);
        // One that goes out in time makes room.
        fixture.gate.open.add_permits(1);
        fixture.outbox.put(4, pack(4)).await.unwrap();
        let error = fixture.outbox.put(5, pack(5)).await.unwrap_err();
        assert!(matches!(error, RepositoryError::StoreTooSlow { .. }), "{error}");
    }

    #[tokio::test]
    async fn a_pack_that_changed_on_disk_is_not_sent() {
        let mut fixture = fixture(Spool { limit: 1 << 20, wait: Duration::from_secs(60) });
        for number in 0..3 {
            fixture.outbox.put(number, pack(number)).await.unwrap();
        }
        let path = fixture.dir.path().join("scratch/pack-2");
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[50_000] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        fixture.gate.open.add_permits(3);
        let error = fixture.outbox.empty().await.unwrap_err();
        assert!(matches!(error, RepositoryError::ReadBack(_)), "{error}");
    }
}
