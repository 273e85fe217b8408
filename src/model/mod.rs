//! A property of the whole: whatever happens to a site and to its runs, every committed snapshot restores byte for byte.
//!
//! Random sequences of changes, snapshots, crashes and restores are done to a real tree with real local state, and to a plain model
//! (`tree`). The store is in memory (`store`), the database is empty. `MODEL_SEQUENCES` sets how many there are, `MODEL_SEED` repeats one.

mod random;
mod store;
mod tree;
mod world;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use world::{Counts, World};

const SEQUENCES: u64 = 2000;
/// They mostly wait: for the clock's tick, and for each other's threads.
const AT_A_TIME: usize = 8;
/// Entries younger than this are not trusted, and a model of runs that trust nothing would be a poor one.
const SETTLED: Duration = Duration::from_millis(2100);

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().and_then(|text| text.parse().ok())
}

#[test]
#[allow(clippy::print_stdout)]
fn every_committed_snapshot_restores_whatever_happened() {
    let seeds = match number("MODEL_SEED") {
        Some(seed) => seed..seed + 1,
        None => 1..number("MODEL_SEQUENCES").unwrap_or(SEQUENCES) + 1,
    };
    let memory = tempfile::tempdir_in("/dev/shm").ok();
    let dir = memory.unwrap_or_else(|| tempfile::tempdir().unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
    let begun = Instant::now();
    // All trees before the first run, so that most of what is in them is old when it comes.
    let worlds: Vec<World> = seeds.map(|seed| World::make(&dir.path().join(seed.to_string()), seed).unwrap()).collect();
    let (many, worlds) = (worlds.len(), Mutex::new(worlds.into_iter()));
    std::thread::sleep(SETTLED);
    let (all, failed, done) = (Mutex::new(Counts::default()), Mutex::new(Vec::new()), AtomicU64::new(0));
    let work = || loop {
        let next = worlds.lock().unwrap().next();
        let Some(mut world) = next else { return };
        match runtime.block_on(world.live()) {
            Ok(()) => all.lock().unwrap().add(&world.counts),
            Err(why) => {
                let (seed, steps) = (world.seed, world.steps.join("\n  "));
                failed.lock().unwrap().push(format!("MODEL_SEED={seed}: {why}, after\n  {steps}"));
            }
        }
        done.fetch_add(1, Ordering::SeqCst);
    };
    std::thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(work);
        }
    });
    let (failed, all) = (failed.into_inner().unwrap(), all.into_inner().unwrap());
    println!("{} sequences in {:.1?}: {all:?}", done.load(Ordering::SeqCst), begun.elapsed());
    assert!(failed.is_empty(), "{} of {many} sequences failed; the first:\n{}", failed.len(), failed[0]);
}
