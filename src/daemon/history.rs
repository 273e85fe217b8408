//! The reports of a site's last runs: one JSON line each, appended and synced; read from the end.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::state::replace;
use crate::backup::RunReport;
use crate::error::{Exit, Explain};
use crate::repository::ids::RunId;

/// How many reports a compaction keeps.
const KEEP: usize = 200;
/// How many lines the file may grow to before it is compacted.
const COMPACT_ABOVE: usize = 400;
/// A longer line isn't ours.
const MAX_LINE: usize = 4 << 20;
const BLOCK: u64 = 64 << 10;

/// The history can't be read or written.
#[derive(Debug, thiserror::Error)]
#[error("run history {} can't be {doing}", path.display())]
pub struct HistoryError {
    path: PathBuf,
    doing: &'static str,
    source: io::Error,
}

impl Explain for HistoryError {
    fn exit(&self) -> Exit {
        Exit::Io
    }
}

/// A site's history file. Daemon and foreground runs append to it alike; nothing is kept in memory.
#[derive(Debug, Clone)]
pub struct History {
    path: PathBuf,
}

impl History {
    /// The history in a site's state directory.
    pub fn in_dir(site_dir: &Path) -> Self {
        Self { path: site_dir.join("history.jsonl") }
    }

    /// Adds a report; it is on disk when this returns.
    pub fn append(&self, report: &RunReport) -> Result<(), HistoryError> {
        self.try_append(report).map_err(self.error("written"))
    }

    /// The last `count` reports, newest first.
    pub fn recent(&self, count: usize) -> Result<Vec<RunReport>, HistoryError> {
        self.reports(|reports| reports.take(count).collect())
    }

    /// The newest report with a committed snapshot.
    pub fn last_snapshot(&self) -> Result<Option<RunReport>, HistoryError> {
        self.reports(|reports| reports.filter(|r| r.as_ref().map_or(true, |report| report.snapshot.is_some())).take(1).collect())
            .map(|found| found.into_iter().next())
    }

    /// The report of a run.
    pub fn find(&self, run: RunId) -> Result<Option<RunReport>, HistoryError> {
        self.reports(|reports| reports.filter(|r| r.as_ref().map_or(true, |report| report.run == run)).take(1).collect())
            .map(|found| found.into_iter().next())
    }

    fn reports(
        &self,
        pick: impl FnOnce(&mut dyn Iterator<Item = io::Result<RunReport>>) -> io::Result<Vec<RunReport>>,
    ) -> Result<Vec<RunReport>, HistoryError> {
        let picked = match File::open(&self.path) {
            // Lines that aren't reports are torn ones, or come from a newer agent.
            Ok(file) => Backwards::over(file).and_then(|lines| {
                pick(&mut lines.filter_map(|line| line.map(|line| serde_json::from_slice(&line).ok()).transpose()))
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        };
        picked.map_err(self.error("read"))
    }

    fn error(&self, doing: &'static str) -> impl FnOnce(io::Error) -> HistoryError {
        let path = self.path.clone();
        move |source| HistoryError { path, doing, source }
    }

    fn try_append(&self, report: &RunReport) -> io::Result<()> {
        let mut line = serde_json::to_vec(report)?;
        line.push(b'\n');
        let mut file = self.open_locked()?;
        if !ends_with_newline(&mut file)? {
            // A crash tore the last line: it must not swallow this one.
            line.insert(0, b'\n');
        }
        file.write_all(&line)?;
        file.sync_data()?;
        if count_lines(&mut file)? > COMPACT_ABOVE { self.compact(file) } else { Ok(()) }
    }

    /// Opens the file that has the name now, and holds its lock: a compaction elsewhere may have replaced it meanwhile.
    fn open_locked(&self) -> io::Result<File> {
        loop {
            let file = OpenOptions::new().create(true).read(true).append(true).mode(0o600).open(&self.path)?;
            flock(&file, FlockOperation::LockExclusive)?;
            match std::fs::metadata(&self.path) {
                Ok(named) if named.ino() == file.metadata()?.ino() => return Ok(file),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn compact(&self, file: File) -> io::Result<()> {
        let mut kept: Vec<Vec<u8>> = Backwards::over(file.try_clone()?)?
            .filter(|line| line.as_ref().map_or(true, |line| serde_json::from_slice::<serde::de::IgnoredAny>(line).is_ok()))
            .take(KEEP)
            .collect::<io::Result<_>>()?;
        kept.reverse();
        let mut content = kept.join(&b'\n');
        content.push(b'\n');
        replace(&self.path, &content)
        // The lock goes with `file`, after the new one has the name.
    }
}

fn ends_with_newline(file: &mut File) -> io::Result<bool> {
    if file.seek(SeekFrom::End(0))? == 0 {
        return Ok(true);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

fn count_lines(file: &mut File) -> io::Result<usize> {
    file.seek(SeekFrom::Start(0))?;
    let mut block = vec![0; BLOCK as usize];
    let mut lines = 0;
    loop {
        let read = file.read(&mut block)?;
        if read == 0 {
            return Ok(lines);
        }
        lines += block.iter().take(read).filter(|&&byte| byte == b'\n').count();
    }
}

/// A file's lines from the last to the first, in bounded memory. Empty and overlong lines are left out.
struct Backwards {
    file: File,
    /// Where the part not yet read ends.
    unread: u64,
    /// What is read and not yet given out.
    held: Vec<u8>,
    /// Whether the line at the end of `held` is longer than a line may be: its end was thrown away.
    overlong: bool,
}

impl Backwards {
    fn over(mut file: File) -> io::Result<Self> {
        let unread = file.seek(SeekFrom::End(0))?;
        Ok(Self { file, unread, held: Vec::new(), overlong: false })
    }

    fn read_block(&mut self) -> io::Result<()> {
        let start = self.unread.saturating_sub(BLOCK);
        let mut block = vec![0; (self.unread - start) as usize];
        self.file.seek(SeekFrom::Start(start))?;
        self.file.read_exact(&mut block)?;
        block.append(&mut self.held);
        self.held = block;
        self.unread = start;
        Ok(())
    }
}

impl Iterator for Backwards {
    type Item = io::Result<Vec<u8>>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(at) = self.held.iter().rposition(|&byte| byte == b'\n') {
                let line = self.held.split_off(at + 1);
                self.held.truncate(at);
                if std::mem::take(&mut self.overlong) || line.is_empty() {
                    continue;
                }
                return Some(Ok(line));
            }
            if self.held.len() > MAX_LINE {
                self.held.clear();
                self.overlong = true;
            }
            if self.unread == 0 {
                let first = std::mem::take(&mut self.held);
                return (!first.is_empty() && !self.overlong).then_some(Ok(first));
            }
            if let Err(error) = self.read_block() {
                self.unread = 0;
                self.held.clear();
                return Some(Err(error));
            }
        }
    }
}

/// A file's lines, for the fuzz target.
#[cfg(any(test, feature = "fuzzing"))]
pub(super) fn lines(file: File) -> io::Result<impl Iterator<Item = io::Result<Vec<u8>>>> {
    Backwards::over(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backup::Trigger;

    fn report(number: u64) -> RunReport {
        RunReport {
            site: "blog".into(),
            run: RunId(number.to_be_bytes()),
            trigger: Trigger::Schedule,
            started: "2026-05-01T02:30:00Z".parse().unwrap(),
            finished: "2026-05-01T02:31:00Z".parse().unwrap(),
            result: Exit::Failure,
            error: Some("x".repeat(700)),
            snapshot: None,
        }
    }

    fn numbers(reports: Vec<RunReport>) -> Vec<u64> {
        reports.iter().map(|report| u64::from_be_bytes(report.run.0)).collect()
    }

    #[test]
    fn reads_from_the_end_and_finds() {
        let dir = tempfile::tempdir().unwrap();
        let history = History::in_dir(dir.path());
        assert_eq!(history.recent(5).unwrap(), Vec::new());
        for number in 0..300 {
            history.append(&report(number)).unwrap();
        }
        assert_eq!(numbers(history.recent(3).unwrap()), [299, 298, 297]);
        assert_eq!(history.recent(1000).unwrap().len(), 300);
        assert_eq!(history.find(report(7).run).unwrap(), Some(report(7)));
        assert_eq!(history.find(report(300).run).unwrap(), None);
        assert_eq!(history.last_snapshot().unwrap(), None);
    }

    #[test]
    fn a_torn_line_costs_itself_alone() {
        let dir = tempfile::tempdir().unwrap();
        let history = History::in_dir(dir.path());
        history.append(&report(1)).unwrap();
        history.append(&report(2)).unwrap();
        let whole = std::fs::read(&history.path).unwrap();
        std::fs::write(&history.path, &whole[..whole.len() - 20]).unwrap();
        assert_eq!(numbers(history.recent(5).unwrap()), [1]);
        history.append(&report(3)).unwrap();
        assert_eq!(numbers(history.recent(5).unwrap()), [3, 1]);
    }

    #[test]
    fn the_file_stays_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let history = History::in_dir(dir.path());
        let mut lines = Vec::new();
        for number in 0..COMPACT_ABOVE as u64 {
            lines.extend(serde_json::to_vec(&report(number)).unwrap());
            lines.push(b'\n');
        }
        std::fs::write(&history.path, &lines).unwrap();
        history.append(&report(400)).unwrap();
        let kept = numbers(history.recent(1000).unwrap());
        assert_eq!(kept.len(), KEEP);
        assert_eq!((kept[0], kept[KEEP - 1]), (400, 201));
        history.append(&report(401)).unwrap();
        assert_eq!(history.recent(1000).unwrap().len(), KEEP + 1);
    }

    #[test]
    fn an_overlong_line_is_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let history = History::in_dir(dir.path());
        history.append(&report(1)).unwrap();
        let mut file = OpenOptions::new().append(true).open(&history.path).unwrap();
        file.write_all(&vec![b'x'; MAX_LINE * 2]).unwrap();
        history.append(&report(2)).unwrap();
        assert_eq!(numbers(history.recent(5).unwrap()), [2, 1]);
    }
}
