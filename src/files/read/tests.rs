use std::fs;
use std::io::Write;
use std::os::unix::fs::{FileExt, symlink};
use std::path::Path;

use rustix::fs::{FileType, Mode, mknodat};

use super::*;
use crate::files::testing::{exchange, meanwhile};
use crate::repository::entry::ChunkRef;

#[derive(Default)]
struct Kept {
    pieces: Vec<Vec<u8>>,
    restarts: u32,
    /// Pieces after which it wants no more.
    stop_after: Option<usize>,
}

impl PieceSink for Kept {
    fn piece(&mut self, content: &[u8]) -> Result<(), Stopped> {
        assert!(!content.is_empty() && content.len() <= LARGEST_PIECE);
        self.pieces.push(content.to_vec());
        if self.stop_after.is_some_and(|most| self.pieces.len() >= most) { Err(Stopped) } else { Ok(()) }
    }

    fn restart(&mut self) {
        self.pieces.clear();
        self.restarts += 1;
    }
}

fn read(root: &Path, path: &str) -> Result<(Captured<ChunkRef>, Kept), ReadError> {
    let mut kept = Kept::default();
    let captured = read_file(&Tree::open(root).unwrap(), path.as_bytes(), &mut ReadBuffer::new(), &mut kept)?;
    Ok((captured, kept))
}

/// Bytes without pattern, the same each time.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

#[test]
fn small_files_are_one_piece_and_empty_ones_none() {
    let dir = tempfile::tempdir().unwrap();
    for (name, content) in [("empty", vec![]), ("small", b"text".to_vec()), ("limit", noise(LARGEST_PIECE))] {
        fs::write(dir.path().join(name), &content).unwrap();
        let (captured, kept) = read(dir.path(), name).unwrap();
        assert_eq!(kept.pieces.concat(), content);
        assert_eq!(kept.pieces.len(), usize::from(!content.is_empty()), "{name}");
        // Twice, as it was written a moment ago.
        assert_eq!((captured.torn, captured.bytes_read), (false, 2 * content.len() as u64));
        assert_eq!((captured.entry.size, captured.entry.flags.len()), (content.len() as u64, 0));
        assert_eq!(captured.entry.path.to_string(), name);
    }
}

#[test]
fn large_files_are_cut_where_their_content_says() {
    let dir = tempfile::tempdir().unwrap();
    let content = noise(12 << 20);
    fs::write(dir.path().join("large"), &content).unwrap();
    let (captured, kept) = read(dir.path(), "large").unwrap();
    assert!(kept.pieces.concat() == content && !captured.torn);
    // The cuts are part of the format: other numbers here make every large file of every site new.
    let cuts: Vec<usize> = kept.pieces.iter().map(Vec::len).collect();
    assert_eq!(cuts, GOLDEN_CUTS);
    // A byte in front moves the cuts with the content.
    fs::write(dir.path().join("large"), [&b"x"[..], &content].concat()).unwrap();
    let (_, moved) = read(dir.path(), "large").unwrap();
    // Again after a cut that only the largest size made.
    assert!(moved.pieces.iter().filter(|piece| !kept.pieces.contains(piece)).count() <= 3);
}

const GOLDEN_CUTS: [usize; 10] = [532150, 2088921, 1361465, 604807, 1071987, 2097152, 1211141, 1871958, 1205351, 537980];

#[test]
fn holes_are_not_read() {
    let dir = tempfile::tempdir().unwrap();
    let file = fs::File::create(dir.path().join("holes")).unwrap();
    file.set_len(9 << 20).unwrap();
    file.write_all_at(b"data", 5 << 20).unwrap();
    let (captured, kept) = read(dir.path(), "holes").unwrap();
    let content = kept.pieces.concat();
    let holes: u64 = captured.entry.holes.iter().map(|hole| hole.1).sum();
    assert_eq!((content.len() as u64 + holes, captured.entry.size), (9 << 20, 9 << 20));
    // Where the file system has no holes, they are zeros.
    let at = content.iter().position(|byte| *byte != 0).unwrap();
    assert_eq!(&content[at..at + 4], b"data");
    let before: u64 = captured.entry.holes.iter().filter(|hole| hole.0 < 5 << 20).map(|hole| hole.1).sum();
    assert_eq!(at as u64 + before, 5 << 20);
}

#[test]
fn what_is_no_regular_file_says_so_and_never_blocks() {
    let dir = tempfile::tempdir().unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("socket")).unwrap();
    mknodat(fs::File::open(dir.path()).unwrap(), "fifo", FileType::Fifo, Mode::RUSR, 0).unwrap();
    fs::create_dir(dir.path().join("dir")).unwrap();
    symlink("/etc/passwd", dir.path().join("link")).unwrap();
    symlink("/etc", dir.path().join("etc")).unwrap();
    for name in ["socket", "fifo", "dir", "link", "etc/passwd"] {
        assert!(matches!(read(dir.path(), name), Err(ReadError::NotRegular)), "{name}");
    }
    for name in ["none", "dir/none", "none/none"] {
        assert!(matches!(read(dir.path(), name), Err(ReadError::Gone)), "{name}");
    }
}

#[test]
fn what_the_system_refuses_says_why() {
    // Write-only for everyone, root included: sysfs answers EINVAL to root, EACCES to others.
    if !Path::new("/sys/bus/platform/drivers_probe").exists() {
        return;
    }
    let Err(ReadError::Unreadable(error)) = read(Path::new("/sys/bus/platform"), "drivers_probe") else { panic!() };
    assert!(!error.to_string().is_empty());
}

#[test]
fn the_taker_can_stop_it() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("large"), noise(12 << 20)).unwrap();
    let mut kept = Kept { stop_after: Some(2), ..Kept::default() };
    let read: Result<Captured<ChunkRef>, _> =
        read_file(&Tree::open(dir.path()).unwrap(), b"large", &mut ReadBuffer::new(), &mut kept);
    assert!(matches!(read, Err(ReadError::Stopped)));
    assert_eq!(kept.pieces.len(), 2);
}

#[test]
fn a_file_written_all_the_time_is_torn() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    for size in [1000, 5 << 20] {
        fs::write(&path, vec![b'l'; size]).unwrap();
        let mut log = fs::OpenOptions::new().append(true).open(&path).unwrap();
        let append = || {
            log.write_all(b"line\n").unwrap();
            sleep(Duration::from_millis(1));
        };
        meanwhile(append, || {
            // Where others keep the writer from running, the file may hold still for a reading.
            let torn = (0..50).map(|_| read(dir.path(), "log").unwrap()).find(|(captured, _)| captured.torn);
            let (captured, kept) = torn.expect("a file that is written all the time");
            assert_eq!(captured.entry.flags, [FileFlag::Torn]);
            assert_eq!(kept.restarts, READINGS - 1);
            assert_eq!(kept.pieces.concat().len() as u64, captured.entry.size);
            assert!(captured.bytes_read > captured.entry.size * 2);
        });
    }
}

/// Changes the file, and nothing of its size, when it has got a piece of it.
struct Meddler {
    kept: Kept,
    file: fs::File,
    changes: u32,
}

impl PieceSink for Meddler {
    fn piece(&mut self, content: &[u8]) -> Result<(), Stopped> {
        if self.kept.pieces.is_empty() && self.kept.restarts < self.changes {
            self.file.write_all_at(&[self.kept.restarts as u8 + 1; 8], 11 << 20).unwrap();
        }
        self.kept.piece(content)
    }

    fn restart(&mut self) {
        self.kept.restart();
    }
}

#[test]
fn a_change_of_the_same_size_is_seen_while_reading() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("large");
    fs::write(&path, noise(12 << 20)).unwrap();
    let tree = Tree::open(dir.path()).unwrap();
    for (changes, torn) in [(1, false), (2, false), (9, true)] {
        let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        let mut sink = Meddler { kept: Kept::default(), file, changes };
        let captured: Captured<ChunkRef> = read_file(&tree, b"large", &mut ReadBuffer::new(), &mut sink).unwrap();
        assert_eq!((captured.torn, sink.kept.restarts), (torn, changes.min(READINGS - 1)));
        assert!(sink.kept.pieces.concat() == fs::read(&path).unwrap());
    }
}

#[test]
fn no_mixture_passes_for_a_version() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    fs::write(&path, vec![0; 1 << 20]).unwrap();
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    let mut version = 0_u8;
    let rewrite = || {
        version = version.wrapping_add(1);
        for at in 0..16 {
            file.write_all_at(&[version; 1 << 16], at << 16).unwrap();
        }
        sleep(Duration::from_millis(u64::from(version % 5) * 20));
    };
    meanwhile(rewrite, || {
        let mut whole = 0;
        for _ in 0..20 {
            let (captured, kept) = read(dir.path(), "file").unwrap();
            let content = kept.pieces.concat();
            assert_eq!(content.len(), 1 << 20);
            if !captured.torn {
                whole += 1;
                assert!(content.iter().all(|b| *b == content[0]), "a mixture that isn't flagged");
            }
        }
        assert!(whole > 0);
    });
}

/// Writes through a mapping, as a call that is under way does: the ctime tells of the beginning alone.
const MAPPED_WRITER: &str = r#"
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
int main(int n, char **args) {
    int file = open(args[1], O_RDWR);
    for (uint64_t version = 1;;) {
        volatile uint64_t *words = mmap(0, 1 << 20, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        for (int rounds = 0; rounds < 2000; rounds++, version++)
            for (int at = 0; at < (1 << 17); at++) words[at] = version;
        munmap((void *)words, 1 << 20);
        puts("."), fflush(stdout);
    }
}"#;

#[test]
fn what_is_written_while_the_times_stand_still_is_torn() {
    use std::io::{BufRead as _, BufReader};
    use std::process::{Child, Command, Stdio};
    struct Killed(Child);
    impl Drop for Killed {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let (source, program, path) = (dir.path().join("writer.c"), dir.path().join("writer"), dir.path().join("file"));
    fs::write(&source, MAPPED_WRITER).unwrap();
    // Whoever builds Rust has it, as its linker.
    assert!(Command::new("cc").arg("-O1").arg("-o").args([&program, &source]).status().unwrap().success());
    fs::write(&path, vec![0; 1 << 20]).unwrap();
    let mut writer = Killed(Command::new(&program).arg(&path).stdout(Stdio::piped()).spawn().unwrap());
    // It would end with its output.
    let mut told = BufReader::new(writer.0.stdout.take().unwrap());
    told.read_line(&mut String::new()).unwrap();
    let mut torn = 0;
    // It may well not run while it is read.
    for _ in 0..500 {
        let (captured, kept) = read(dir.path(), "file").unwrap();
        let content = kept.pieces.concat();
        let words: Vec<u64> = content.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word)).collect();
        let older = words.iter().position(|word| *word != words[0]).unwrap_or(words.len());
        // What it was at one moment: new so far, then old.
        let at_once = words[older..].iter().all(|word| *word + 1 == words[0]);
        assert!(captured.torn || at_once, "a mixture that isn't flagged");
        torn += usize::from(captured.torn);
        if torn > 2 {
            return;
        }
    }
    panic!("torn {torn} times");
}

#[test]
fn a_file_replaced_by_rename_is_the_old_or_the_new_one() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), vec![0; 1 << 16]).unwrap();
    let mut version = 0_u8;
    let replace = || {
        version = version.wrapping_add(1);
        fs::write(dir.path().join("new"), vec![version; 1 << 16]).unwrap();
        fs::rename(dir.path().join("new"), dir.path().join("file")).unwrap();
        sleep(Duration::from_millis(7));
    };
    meanwhile(replace, || {
        for _ in 0..10 {
            let (_, kept) = read(dir.path(), "file").unwrap();
            let content = kept.pieces.concat();
            assert!(content.len() == 1 << 16 && content.iter().all(|b| *b == content[0]));
        }
    });
}

#[test]
fn a_directory_swapped_for_a_link_gives_nothing_from_outside() {
    let dir = tempfile::tempdir().unwrap();
    let (root, outside) = (dir.path().join("root"), dir.path().join("outside"));
    for (at, content) in [(root.join("dir"), "inside"), (outside.clone(), "secret")] {
        fs::create_dir_all(&at).unwrap();
        fs::write(at.join("file"), content).unwrap();
    }
    symlink(&outside, root.join("swap")).unwrap();
    let swap = || exchange(&root, "dir", "swap");
    meanwhile(swap, || {
        let mut seen = 0;
        for _ in 0..2000 {
            match read(&root, "dir/file") {
                Ok((_, kept)) => {
                    assert_eq!(kept.pieces.concat(), b"inside");
                    seen += 1;
                }
                Err(error) => assert!(matches!(error, ReadError::NotRegular | ReadError::Gone), "{error:?}"),
            }
        }
        assert!(seen > 0);
    });
}

#[test]
fn a_change_of_the_clocks_present_tick_is_fresh_however_long_the_question_takes() {
    let dir = tempfile::tempdir().unwrap();
    let stat = fstat(fs::File::create(dir.path().join("a")).unwrap()).unwrap();
    let changed = Duration::from_nanos(ctime(&stat).try_into().unwrap());
    let ns = Duration::from_nanos(1);
    assert!(is_fresh(&stat, changed, changed));
    assert!(is_fresh(&stat, changed - TICK, changed + 100 * TICK));
    assert!(is_fresh(&stat, changed + TICK - ns, changed + 100 * TICK));
    assert!(!is_fresh(&stat, changed + TICK, changed + TICK));
    // Another clock's.
    assert!(!is_fresh(&stat, changed - 2 * ns, changed - ns));
}
