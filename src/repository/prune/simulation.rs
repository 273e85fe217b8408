//! Runs and prunes on one store, interleaved request by request under a clock that jumps: no committed snapshot may lose a pack.
//!
//! Prunes are the real ones. Runs are reduced to what matters here: which requests they make in which order, and what they decide by
//! [`Rules`], which are the real ones, too. `INTERLEAVINGS` sets how many seeds are played, `INTERLEAVING` repeats one.

mod clockwork;
mod host;

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};

use tokio_util::sync::CancellationToken;

use super::super::ids::RunId;
use super::super::reuse::{Off, Rules};
use super::super::sign::test_key;
use super::{Plan, Pruned};
use crate::config::{Keep, TrustedKeys};
use clockwork::{Random, Shared};
use host::Host;

const SEEDS: u64 = 1000;
const STEPS: usize = 500;

/// What came to pass.
#[derive(Debug, Default, Clone, Copy)]
struct Counts {
    steps: u64,
    committed: u64,
    gave_up: u64,
    resumed: u64,
    killed_runs: u64,
    killed_prunes: u64,
    images: u64,
    states_lost: u64,
    pruned: Pruned,
    prunes: u64,
}

struct Actor {
    number: u64,
    /// It goes on rarely, and then by one request.
    slow: bool,
    work: Pin<Box<dyn Future<Output = ()>>>,
    host: Option<usize>,
}

/// What is usual in one seed's world.
#[derive(Clone, Copy)]
struct Ways {
    /// The most packs that a run sends.
    packs: usize,
    /// In how many of 1,000 steps a run begins, if the host has none.
    begin: usize,
    /// One of so many that might be killed is.
    killing: usize,
    /// One of so many prunes that might begin does.
    pruning: usize,
    /// How many of 1,000 steps take days.
    stalls: usize,
    /// In one of so many steps who is slow goes on.
    pace: usize,
}

/// One seed; what was lost, if something was.
fn play(seed: u64, off: Option<Off>) -> Result<Counts, String> {
    let rules = Rules { off, ..Rules::default() };
    let mut random = Random(seed);
    let store = Shared::default();
    let counts = Arc::new(Mutex::new(Counts::default()));
    // Each seed is a world of its own: how long its runs take, how often they are broken off, how often it is pruned.
    let mut ways = Ways {
        packs: 1 + random.below(6),
        begin: 30,
        killing: 1 + random.below(30),
        pruning: 1 + random.below(4),
        stalls: 5 + random.below(60),
        pace: 12,
    };
    if seed.is_multiple_of(5) {
        // One where a first run takes many beginnings, and longer than the grace period.
        ways = Ways {
            packs: 12,
            begin: 200,
            killing: 1 + random.below(2),
            pruning: 1,
            stalls: 10 + random.below(20),
            pace: 1 + random.below(5),
        };
    }
    let keep = Keep { last: 1 + random.below(2) as u32, daily: random.below(3) as u32, ..Keep::default() };
    let hosts: Vec<Host> = (0..2).map(|_| Host::default()).collect();
    let (mut images, mut actors): (Vec<_>, Vec<Actor>) = (vec![None, None], Vec::new());
    for number in 0..STEPS as u64 {
        // Mostly seconds; now and then hours or days, in which whoever is under way stands still.
        let seconds = match random.below(1000) {
            0..700 => random.below(30),
            700..900 => random.below(600),
            at if at < 1000 - ways.stalls => random.below(2 * 3600),
            _ => random.below(100 * 3600),
        };
        // A request ends or fails within minutes: no day passes between a look at the clock and what is written after it.
        let mut left = 100;
        while seconds > 600
            && left > 0
            && let Some(writer) = store.writer()
        {
            left -= 1;
            let Some(at) = actors.iter().position(|actor| actor.number == writer) else { break };
            go_on(&store, &mut actors, at);
        }
        store.pass(if store.writer().is_some() { seconds.min(600) } else { seconds });
        let host = random.below(2);
        match random.below(1000) {
            at if at < ways.begin && !actors.iter().any(|actor| actor.host == Some(host)) => {
                let (store, host_state, counts) = (store.of(number), hosts[host].clone(), counts.clone());
                let seed = random.next();
                let work = async move {
                    let ended = host_state.run(&store, rules, Random(seed), ways.packs).await;
                    let mut counts = counts.lock().unwrap();
                    counts.committed += u64::from(ended == host::Ended::Committed);
                    counts.gave_up += u64::from(ended == host::Ended::TooOld);
                };
                actors.push(Actor { number, slow: random.below(2) == 0, work: Box::pin(work), host: Some(host) });
            }
            200..220 if random.below(ways.pruning) == 0 && actors.iter().filter(|actor| actor.host.is_none()).count() < 2 => {
                let (store, counts, id) = (store.of(number), counts.clone(), RunId(random.next().to_le_bytes()));
                let slow = random.below(4) == 0;
                actors.push(Actor { number, slow, work: Box::pin(prune(store, counts, keep, rules, id)), host: None });
            }
            300..330 if !actors.is_empty() && random.below(ways.killing) == 0 => {
                let killed = actors.swap_remove(random.below(actors.len()));
                let mut counts = counts.lock().unwrap();
                if killed.host.is_some() { counts.killed_runs += 1 } else { counts.killed_prunes += 1 }
            }
            400..404 => images[host] = Some(hosts[host].image()),
            404..408 if !actors.iter().any(|actor| actor.host == Some(host)) => {
                if let Some(image) = &images[host] {
                    hosts[host].put_back(image);
                    counts.lock().unwrap().images += 1;
                }
            }
            408..410 if !actors.iter().any(|actor| actor.host == Some(host)) => {
                hosts[host].put_back(&Host::default().image());
                counts.lock().unwrap().states_lost += 1;
            }
            _ if !actors.is_empty() => {
                let at = random.below(actors.len());
                let (number, slow) = (actors[at].number, actors[at].slow);
                let requests = if slow { usize::from(random.below(ways.pace) == 0) } else { 1 + random.below(12) };
                for _ in 0..requests {
                    if actors.get(at).is_some_and(|actor| actor.number == number) {
                        go_on(&store, &mut actors, at);
                    }
                }
            }
            _ => {}
        }
        if let Some(lost) = store.lost() {
            return Err(format!("INTERLEAVING={seed}: {lost}"));
        }
    }
    let mut counts = *counts.lock().unwrap();
    counts.steps = STEPS as u64;
    counts.resumed = hosts.iter().map(Host::resumed).sum();
    Ok(counts)
}

/// One of them makes its next request.
fn go_on(store: &Shared, actors: &mut Vec<Actor>, at: usize) {
    store.permit();
    if actors[at].work.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
        drop(actors.swap_remove(at));
    }
}

async fn prune(store: Shared, counts: Arc<Mutex<Counts>>, keep: Keep, rules: Rules, id: RunId) {
    let since = store.since();
    let Ok(plan) = Plan::make(&store, &host::layout(), &keep, &TrustedKeys::default(), rules, since).await else { return };
    let done = plan.carry_out(&store, id, store.time(), &test_key(), &CancellationToken::new()).await;
    let mut counts = counts.lock().unwrap();
    counts.prunes += 1;
    if let Ok(done) = done {
        counts.pruned.snapshots += done.snapshots;
        counts.pruned.packs.count += done.packs.count;
        counts.pruned.tidied += done.tidied;
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().and_then(|text| text.parse().ok())
}

/// Plays seeds, each once, until one fails.
fn play_all(seeds: std::ops::Range<u64>, off: Option<Off>) -> Result<Counts, String> {
    let (next, all, failed) = (AtomicU64::new(seeds.start), Mutex::new(Counts::default()), Mutex::new(None));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while failed.lock().unwrap().is_none() {
                    let seed = next.fetch_add(1, Ordering::SeqCst);
                    if seed >= seeds.end {
                        return;
                    }
                    match play(seed, off) {
                        Ok(counts) => all.lock().unwrap().add(&counts),
                        Err(lost) => *failed.lock().unwrap() = Some(lost),
                    }
                }
            });
        }
    });
    failed.into_inner().unwrap().map_or_else(|| Ok(all.into_inner().unwrap()), Err)
}

impl Counts {
    fn add(&mut self, other: &Self) {
        self.steps += other.steps;
        self.committed += other.committed;
        self.gave_up += other.gave_up;
        self.resumed += other.resumed;
        self.killed_runs += other.killed_runs;
        self.killed_prunes += other.killed_prunes;
        self.images += other.images;
        self.states_lost += other.states_lost;
        self.prunes += other.prunes;
        self.pruned.snapshots += other.pruned.snapshots;
        self.pruned.packs.count += other.pruned.packs.count;
        self.pruned.tidied += other.pruned.tidied;
    }
}

#[test]
#[allow(clippy::print_stdout)]
fn no_interleaving_of_runs_and_prunes_loses_a_pack() {
    let seeds = match number("INTERLEAVING") {
        Some(seed) => seed..seed + 1,
        None => 1..number("INTERLEAVINGS").unwrap_or(SEEDS) + 1,
    };
    let many = seeds.end - seeds.start;
    let counts = play_all(seeds, None).unwrap();
    println!("{many} interleavings: {counts:?}");
    if many >= 100 {
        // What is never done can't go wrong.
        let Counts { committed, gave_up, resumed, killed_runs, killed_prunes, images, states_lost, pruned, prunes, .. } = counts;
        for done in [committed, gave_up, resumed, killed_runs, killed_prunes, images, states_lost, prunes] {
            assert!(done * 10 > many, "{counts:?}");
        }
        assert!([pruned.snapshots, pruned.packs.count, pruned.tidied].iter().all(|done| done * 2 > many), "{counts:?}");
    }
}

/// Each begins at a seed that is known to show it; should that change, the search goes on.
macro_rules! needed {
    ($($name:ident: $rule:ident from $seed:literal),* $(,)?) => {
        $(#[test]
        #[allow(clippy::print_stdout)]
        fn $name() {
            let begin = number("INTERLEAVING").unwrap_or($seed);
            let lost = play_all(begin..begin + 30_000, Some(Off::$rule)).expect_err("nothing is lost without it");
            println!("{lost}");
        })*
    };
}

needed!(
    without_a_listed_parent_packs_are_lost: Parent from 1,
    without_limits_to_reuse_packs_are_lost: Reuse from 1,
    without_a_young_list_packs_are_lost: List from 1,
    without_notes_packs_are_lost: Notes from 1,
    without_checkpoints_packs_are_lost: Checkpoints from 1,
    without_the_packs_age_packs_are_lost: Age from 1,
    without_a_bound_on_prunes_packs_are_lost: Plan from 1,
);
