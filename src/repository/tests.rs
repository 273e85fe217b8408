//! Chunks to the store and back, over the real local store and over one that fails.

use std::sync::Arc;

use super::draft::{DraftChunk, DraftPlace};
use super::entry::ChunkRef;
use super::error::RepositoryError;
use super::ids::{ChunkId, RunId};
use super::journal::Journal;
use super::known::Known;
use super::layout::Layout;
use super::manifest::PackInfo;
use super::reader::ChunkReader;
use super::seal::{Keys, recipients_id};
use super::writer::{PackWriter, WriterContext};
use crate::config::{Identities, Recipients, SiteName};
use crate::progress::Silent;
use crate::storage::{Fault, Faulty, LocalStore, Recorder, Store, StoreErrorKind};

struct Fixture {
    dir: tempfile::TempDir,
    store: Arc<dyn Store>,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("store")).unwrap();
        let store: Arc<dyn Store> = Arc::new(LocalStore::new(dir.path().join("store")));
        Self { dir, store }
    }

    fn layout() -> Layout {
        Layout::new(SiteName::new("blog").unwrap())
    }

    fn writer(&self, store: Arc<dyn Store>, run: u8) -> PackWriter {
        self.sealing(store, run, Recipients::default())
    }

    fn sealing(&self, store: Arc<dyn Store>, run: u8, recipients: Recipients) -> PackWriter {
        PackWriter::new(WriterContext {
            store,
            layout: Self::layout(),
            run: RunId([run; 8]),
            key: super::sign::test_key(),
            scratch: self.dir.path().to_owned(),
            progress: Arc::new(Silent),
            checkpoint_every: super::checkpoint::EVERY,
            resumed: Vec::new(),
            recipients,
            cancel: Default::default(),
            journal: Journal::open(&self.dir.path().join("journal"), "file:///x").unwrap(),
        })
        .unwrap()
    }
}

fn noise(seed: u32, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// 60 MB of chunks of 1 byte to 4 MiB.
fn contents() -> Vec<Vec<u8>> {
    let lengths = [1, 300, 5_000, 200_000, 1 << 20, 4 << 20];
    (0..70).map(|n| noise(n, lengths[n as usize % lengths.len()])).chain([Vec::new(), vec![7; 3 << 20]]).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_added_reads_back() {
    let fixture = Fixture::new();
    let recorder = Arc::new(Recorder::new(Arc::clone(&fixture.store)));
    let mut writer = fixture.writer(recorder.clone(), 1);
    let mut chunks = Vec::new();
    for content in contents() {
        chunks.push(writer.add(&content, &mut []).await.unwrap());
        // Again: only named.
        assert_eq!(writer.add(&content, &mut []).await.unwrap(), *chunks.last().unwrap());
    }
    writer.flush().await.unwrap();
    let total: u64 = contents().iter().map(|c| c.len() as u64).sum();
    let packs = writer.packs();
    assert!(packs.len() as u64 <= total.div_ceil(16 << 20) + 1, "{} packs for {total} bytes", packs.len());
    assert_eq!(recorder.calls().len(), packs.len());
    // Half of them as a snapshot that uses most of each pack, half as one that uses little.
    for live in [0, u64::MAX] {
        let packs: Vec<_> = packs.iter().cloned().map(|p| super::manifest::PackInfo { live, ..p }).collect();
        let mut reader = ChunkReader::new(Arc::clone(&fixture.store), Fixture::layout(), &packs);
        for (content, chunk) in contents().iter().zip(&chunks) {
            let chunk = writer.resolve(chunk).unwrap();
            assert_eq!(reader.read(&chunk).await.unwrap(), content);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_goes_on_from_the_journal_of_the_one_before() {
    let fixture = Fixture::new();
    let mut writer = fixture.writer(Arc::clone(&fixture.store), 1);
    let content = noise(1, 100_000);
    writer.add(&content, &mut []).await.unwrap();
    writer.flush().await.unwrap();
    let sent = writer.packs();
    drop(writer);
    // A crash in the middle of a line.
    let path = fixture.dir.path().join("journal");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes.extend_from_slice(b"{\"at\":\"2026");
    std::fs::write(&path, bytes).unwrap();

    let mut chunks: Vec<ChunkRef> = Vec::new();
    let packs = Journal::read(&path, "file:///x", &mut |chunk| {
        chunks.push(*chunk);
        Ok(())
    })
    .unwrap();
    assert_eq!(packs, sent);
    let mut known = Known::lazy(fixture.dir.path(), Box::new(move |each| chunks.iter().try_for_each(each)));
    let mut writer = fixture.writer(Arc::clone(&fixture.store), 2);
    let chunk = writer.add(&content, &mut [&mut known]).await.unwrap();
    assert!(matches!(chunk, DraftChunk { place: DraftPlace::Stored(place), .. } if place.pack == sent[0].name));
    let other = noise(2, 1000);
    assert!(matches!(writer.add(&other, &mut [&mut known]).await.unwrap().place, DraftPlace::Fresh { .. }));
    writer.flush().await.unwrap();
    // The torn line did not swallow the next one.
    assert_eq!(Journal::read(&path, "file:///x", &mut |_| Ok(())).unwrap().len(), 2);
    assert!(Journal::read(&path, "file:///other", &mut |_| Ok(())).unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_store_fails_the_writer_with_its_own_error() {
    let fixture = Fixture::new();
    let faulty = Arc::new(Faulty::new(Arc::clone(&fixture.store), [(1, Fault::Before)]).failing_with(StoreErrorKind::Denied));
    let mut writer = fixture.writer(faulty, 1);
    let mut failure = None;
    for seed in 0..40 {
        if let Err(error) = writer.add(&noise(seed, 1 << 20), &mut []).await {
            failure = Some(error);
            break;
        }
    }
    let error = match failure {
        Some(error) => error,
        None => writer.flush().await.unwrap_err(),
    };
    assert!(matches!(&error, RepositoryError::Store(e) if e.kind == StoreErrorKind::Denied), "{error}");
    drop(writer);

    let faulty = Arc::new(Faulty::new(Arc::clone(&fixture.store), [(1, Fault::Before)]));
    let mut writer = fixture.writer(faulty, 1);
    writer.add(b"small", &mut []).await.unwrap();
    assert!(matches!(writer.flush().await, Err(RepositoryError::Store(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_is_told() {
    let fixture = Fixture::new();
    let mut writer = fixture.writer(Arc::clone(&fixture.store), 1);
    let content = noise(1, 100_000);
    let chunk = writer.add(&content, &mut []).await.unwrap();
    writer.flush().await.unwrap();
    let (chunk, packs) = (writer.resolve(&chunk).unwrap(), writer.packs());
    let path = fixture.dir.path().join("store").join(Fixture::layout().pack(&packs[0]));
    let good = std::fs::read(&path).unwrap();
    let spoil = |bytes: Vec<u8>| {
        let _ = std::fs::remove_file(&path);
        std::fs::write(&path, bytes).unwrap();
    };
    let flipped = {
        let mut bytes = good.clone();
        bytes[50_000] ^= 1;
        bytes
    };
    let cases = [flipped, good[..60_000].to_vec(), vec![0; good.len()]];
    for live in [0, u64::MAX] {
        let packs: Vec<_> = packs.iter().cloned().map(|p| super::manifest::PackInfo { live, ..p }).collect();
        for bytes in &cases {
            spoil(bytes.clone());
            let mut reader = ChunkReader::new(Arc::clone(&fixture.store), Fixture::layout(), &packs);
            let error = reader.read(&chunk).await.unwrap_err();
            assert_eq!(crate::error::Explain::exit(&error), crate::error::Exit::Data, "{error}");
        }
        std::fs::remove_file(&path).unwrap();
        let mut reader = ChunkReader::new(Arc::clone(&fixture.store), Fixture::layout(), &packs);
        assert!(matches!(reader.read(&chunk).await, Err(RepositoryError::Damaged { .. })));
        spoil(good.clone());
        // References that a hostile manifest could hold.
        for bad in [
            ChunkRef { at: u64::MAX, ..chunk },
            ChunkRef { size: u64::MAX, ..chunk },
            ChunkRef { frame: (u64::MAX, 10), ..chunk },
            ChunkRef { frame: (0, u64::MAX), ..chunk },
            ChunkRef { id: ChunkId::of(b"other"), ..chunk },
        ] {
            let mut reader = ChunkReader::new(Arc::clone(&fixture.store), Fixture::layout(), &packs);
            assert!(matches!(reader.read(&bad).await, Err(RepositoryError::Damaged { .. })), "{bad:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sealed_packs_read_back_whole_and_in_parts() {
    let fixture = Fixture::new();
    let identity = age::x25519::Identity::generate();
    let recipients = Recipients::new([identity.to_public()]);
    let mut writer = fixture.sealing(Arc::clone(&fixture.store), 1, recipients.clone());
    let mut chunks = Vec::new();
    for content in contents() {
        chunks.push(writer.add(&content, &mut []).await.unwrap());
    }
    writer.flush().await.unwrap();
    let keys = |identity| Keys::of(&Identities::new([identity]), [recipients.texts()]);
    let (keys, stranger) = (keys(identity), keys(age::x25519::Identity::generate()));
    for live in [0, u64::MAX] {
        let recorder = Arc::new(Recorder::new(Arc::clone(&fixture.store)));
        let packs: Vec<_> = writer.packs().into_iter().map(|pack| PackInfo { live, ..pack }).collect();
        assert!(packs.iter().all(|pack| pack.sealed == recipients_id(&recipients)));
        let reader = || ChunkReader::new(recorder.clone(), Fixture::layout(), &packs);
        let mut opened = reader().with_keys(keys.clone());
        for (chunk, content) in chunks.iter().zip(contents()) {
            let chunk = writer.resolve(chunk).unwrap();
            assert_eq!(opened.read(&chunk).await.unwrap(), content);
        }
        // Whole packs once each; of others a header once each, and of each frame its segments.
        let (gets, count) = (recorder.calls().len(), packs.len());
        let fits = if live == 0 { gets <= count + chunks.len() } else { gets == count };
        assert!(fits, "{gets} requests, {count} packs");
        let chunk = writer.resolve(&chunks[4]).unwrap();
        assert!(matches!(reader().with_keys(stranger.clone()).read(&chunk).await, Err(RepositoryError::WrongIdentity { .. })));
        let before = recorder.calls().len();
        assert!(matches!(reader().read(&chunk).await, Err(RepositoryError::NoIdentity { .. })));
        assert_eq!(recorder.calls().len(), before, "a pack was fetched that nothing could open");
    }
}
