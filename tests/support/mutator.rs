//! A tree that is never at rest: rewrites, truncations, appends, renames, and directories and files that give way to symlinks which lead
//! out of it.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, Mode, RenameFlags, mknodat, renameat_with};

use super::blocks::{BLOCK, Before, History, Write, blocks};
use super::random::Random;

/// Blocks that one system call writes.
const CALL: u32 = 128;
/// A file that is written to all the time. It is a mixture at any time: all that matters of it is that it is named.
pub const RESTLESS: &str = "uploads/restless.log";
/// In every file that isn't the site's.
pub const SECRET: &[u8] = b"SECRET: not of this site";

/// A file of the tree.
pub struct Subject {
    pub id: u32,
    /// Below the root, as long as nothing stands in its place.
    pub path: PathBuf,
    pub history: History,
    /// Blocks that it should have at least and at most.
    size: (u32, u32),
    /// Which of the places that are exchanged it is, or is in.
    place: Option<usize>,
}

impl Subject {
    /// Whether it keeps its name and nothing ever takes its place.
    pub fn is_settled(&self) -> bool {
        self.place.is_none() && !self.path.starts_with("moving")
    }
}

/// A directory or file, and what it is exchanged with.
struct Place {
    path: PathBuf,
    other: PathBuf,
    is_away: bool,
}

/// The tree and all that is known of it; moved into the thread that changes it, and back.
pub struct Mutator {
    root: PathBuf,
    aside: PathBuf,
    pub subjects: Vec<Subject>,
    places: Vec<Place>,
    random: Random,
    /// How many times each of the actions was done.
    pub done: [u64; ACTIONS.len()],
}

pub const ACTIONS: [&str; 8] =
    ["rewritten", "saved anew", "appended to", "truncated", "replaced", "renamed", "exchanged", "back"];

impl Mutator {
    /// Makes the tree in `dir`: `root` is the site's, `outside` is what no run may read.
    pub fn make(dir: &Path, seed: u64) -> Self {
        let (root, aside, outside) = (dir.join("root"), dir.join("aside"), dir.join("outside"));
        for dir in [&root, &aside, &outside] {
            std::fs::create_dir_all(dir).expect("a directory");
        }
        let mut mutator =
            Self { root, aside, subjects: Vec::new(), places: Vec::new(), random: Random::new(seed), done: [0; ACTIONS.len()] };
        for n in 0..120 {
            mutator.subject(&format!("uploads/2026/{:02}/s{n}.jpg", n % 12), (1, 64), None);
        }
        for n in 0..40 {
            mutator.subject(&format!("plugins/p{}/p{n}.php", n % 5), (1, 32), None);
        }
        for (n, mib) in [3, 4, 8, 20].into_iter().enumerate() {
            let blocks = mib * 2048;
            mutator.subject(&format!("uploads/large/l{n}.mp4"), (blocks - 512, blocks + 512), None);
        }
        for n in 0..20 {
            mutator.subject(&format!("moving/m{n}.bin"), (1, 64), None);
        }
        for n in 0..6 {
            let dir = format!("{}/swap{n}", ["uploads", "plugins"][n % 2]);
            let secret = outside.join(format!("swap{n}"));
            std::fs::create_dir(&secret).expect("a directory");
            let place = mutator.place(&dir);
            symlink(&secret, &mutator.places[place].other).expect("a symlink");
            for n in 0..10 {
                mutator.subject(&format!("{dir}/f{n}.bin"), (1, 64), Some(place));
                std::fs::write(secret.join(format!("f{n}.bin")), SECRET.repeat(100)).expect("a secret");
            }
        }
        for n in 0..6 {
            let path = format!("uploads/links/k{n}.bin");
            let place = mutator.place(&path);
            let other = &mutator.places[place].other;
            match n {
                0 => mknodat(CWD, other, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a FIFO"),
                _ => symlink(outside.join("secret.txt"), other).expect("a symlink"),
            }
            mutator.subject(&path, (1, 64), Some(place));
        }
        std::fs::write(outside.join("secret.txt"), SECRET.repeat(100)).expect("a secret");
        std::fs::write(mutator.root.join(RESTLESS), vec![0; 1 << 20]).expect("a file");
        mutator
    }

    fn place(&mut self, path: &str) -> usize {
        let other = self.aside.join(format!("place{}", self.places.len()));
        self.places.push(Place { path: self.root.join(path), other, is_away: false });
        self.places.len() - 1
    }

    fn subject(&mut self, path: &str, size: (u32, u32), place: Option<usize>) {
        let id = self.subjects.len() as u32;
        let (full, count) = (self.root.join(path), (size.0 + size.1) / 2);
        std::fs::create_dir_all(full.parent().expect("a parent")).expect("a directory");
        std::fs::write(full, blocks(id, 1, 0..count)).expect("a file");
        let mut history = History::default();
        history.is(1, count, Instant::now());
        self.subjects.push(Subject { id, path: path.into(), history, size, place });
    }

    /// Changes the tree in a thread until it is stopped.
    pub fn start(mut self) -> Running {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, stopped_too) = (stop.clone(), stop.clone());
        let restless = File::options().write(true).open(self.root.join(RESTLESS)).expect("the file");
        let other = std::thread::spawn(move || {
            for turn in (0..1 << 20).cycle().step_by(4099) {
                if stopped_too.load(Ordering::SeqCst) {
                    return;
                }
                restless.write_all_at(&[turn as u8; 100], turn).expect("write");
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::SeqCst) {
                self.step();
                let pause = self.random.below(3_000);
                std::thread::sleep(Duration::from_micros(pause));
            }
            self
        });
        Running { stop, threads: (thread, other) }
    }

    fn step(&mut self) {
        let action = match self.random.below(20) {
            // The large ones, of which a few are written to all the time.
            0..=3 => {
                let large = 160 + self.random.below(4) as usize;
                self.write(large)
            }
            4..=9 => {
                let any = self.random.below(self.subjects.len() as u64) as usize;
                self.write(any)
            }
            10 | 11 => self.rename(),
            _ => self.exchange(),
        };
        self.done[action] += 1;
    }

    /// Where the file is now; never what stands in its place.
    fn found(&self, at: usize) -> PathBuf {
        let subject = &self.subjects[at];
        let full = self.root.join(&subject.path);
        match subject.place.map(|place| &self.places[place]) {
            Some(place) if place.is_away => {
                let inside = full.strip_prefix(&place.path).expect("in its place");
                // Joined with nothing, a file's path would end in a slash.
                if inside.as_os_str().is_empty() { place.other.clone() } else { place.other.join(inside) }
            }
            _ => full,
        }
    }

    fn write(&mut self, at: usize) -> usize {
        let (path, action) = (self.found(at), self.random.below(5) as usize);
        let temporary = self.aside.join("new");
        let Subject { id, history, size, .. } = &mut self.subjects[at];
        let (version, all) = history.now();
        let other = size.0 + self.random.below(u64::from(size.1 - size.0)) as u32;
        let open = || File::options().write(true).custom_flags(libc::O_NOFOLLOW).open(&path).expect("the file");
        let begun = Instant::now();
        match action {
            // In place, as a database or an archive does: here and there.
            0 => {
                let mut calls = calls(0..all);
                self.random.shuffle(&mut calls);
                put(&open(), *id, version + 1, &calls);
                history.wrote(Write::over(version + 1, Before::Older(version), calls, begun));
                history.is(version + 1, all, begun);
            }
            // As most programs save: emptied, then written.
            1 => {
                let (file, calls) = (open(), calls(0..other));
                file.set_len(0).expect("truncate");
                history.was();
                put(&file, *id, version + 1, &calls);
                history.wrote(Write::over(version + 1, Before::Less(0), calls, begun));
                history.is(version + 1, other, begun);
            }
            2 if all < size.1 => {
                let calls = calls(all..size.1);
                put(&open(), *id, version, &calls);
                history.wrote(Write::over(version, Before::Less(all), calls, begun));
                history.is(version, size.1, begun);
            }
            3 if all > size.0 => {
                open().set_len(u64::from(size.0) * BLOCK as u64).expect("truncate");
                history.is(version, size.0, begun);
            }
            // As careful programs save: beside it, then in its place.
            _ => {
                std::fs::write(&temporary, blocks(*id, version + 1, 0..other)).expect("a file");
                let begun = Instant::now();
                std::fs::rename(&temporary, &path).expect("rename");
                history.is(version + 1, other, begun);
                return 4;
            }
        }
        action
    }

    fn rename(&mut self) -> usize {
        let moving: Vec<usize> = (0..self.subjects.len()).filter(|at| self.subjects[*at].path.starts_with("moving")).collect();
        let at = *self.random.of(&moving);
        let path = PathBuf::from(format!("moving/r{}.bin", self.random.next()));
        std::fs::rename(self.root.join(&self.subjects[at].path), self.root.join(&path)).expect("rename");
        self.subjects[at].path = path;
        5
    }

    fn exchange(&mut self) -> usize {
        let at = self.random.below(self.places.len() as u64) as usize;
        let place = &mut self.places[at];
        renameat_with(CWD, &place.path, CWD, &place.other, RenameFlags::EXCHANGE).expect("exchange");
        place.is_away = !place.is_away;
        if place.is_away { 6 } else { 7 }
    }
}

/// The blocks of each of the calls that write these.
fn calls(range: Range<u32>) -> Vec<Range<u32>> {
    range.clone().step_by(CALL as usize).map(|start| start..range.end.min(start + CALL)).collect()
}

fn put(file: &File, id: u32, version: u32, calls: &[Range<u32>]) {
    // Made before: nothing but the calls should take time.
    let parts: Vec<Vec<u8>> = calls.iter().map(|call| blocks(id, version, call.clone())).collect();
    for (part, call) in parts.iter().zip(calls) {
        file.write_all_at(part, u64::from(call.start) * BLOCK as u64).expect("write");
    }
}

/// The threads.
pub struct Running {
    stop: Arc<AtomicBool>,
    threads: (JoinHandle<Mutator>, JoinHandle<()>),
}

impl Running {
    pub fn stop(self) -> Mutator {
        self.stop.store(true, Ordering::SeqCst);
        self.threads.1.join().expect("the restless file");
        self.threads.0.join().expect("the mutator")
    }
}
