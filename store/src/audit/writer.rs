//! The thread that writes a stream.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use tidegate_core::Timestamp;

use super::line::{self, GENESIS, LINE_MAX};
use super::{AuditError, Job, Record, Rotation};
use crate::wire::Digest;

/// What was written is on the disk after this long at the latest.
const SYNC: Duration = Duration::from_secs(1);
/// Records written in one go.
const BATCH: usize = 512;

/// The files of a stream, oldest first: their first sequence numbers and paths.
pub(super) fn files_of(dir: &Path, stream: &str) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        if let Some((of, first)) = name.and_then(parse_name)
            && of == stream
        {
            files.push((first, path));
        }
    }
    files.sort();
    Ok(files)
}

/// Stream and first sequence number in a file's name.
pub(super) fn parse_name(name: &str) -> Option<(&str, u64)> {
    let (stream, first) = name.strip_suffix(".jsonl")?.rsplit_once('-')?;
    Some((stream, first.parse().ok()?))
}

/// Where the chain ended.
struct Tail {
    seq: u64,
    prev: Digest,
    /// Bytes of the newest file up to its last newline.
    len: u64,
    /// Whether an unfinished line follows them.
    torn: bool,
}

/// The state of the thread.
pub(super) struct Writer {
    dir: PathBuf,
    stream: String,
    rotation: Rotation,
    file: Option<File>,
    /// Bytes of the file that are whole lines.
    len: u64,
    next: u64,
    prev: Digest,
    /// Records lost in all, and how many of them the trail has told.
    lost: Arc<AtomicU64>,
    told: u64,
    dirty: bool,
    printed: bool,
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> AuditError {
    let file = path.display().to_string();
    move |error| AuditError::Io { file, error }
}

impl Writer {
    pub(super) fn open(
        dir: &Path,
        stream: &str,
        rotation: Rotation,
        lost: Arc<AtomicU64>,
    ) -> Result<Self, AuditError> {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(at(dir))?;
        let mut this = Self {
            dir: dir.into(),
            stream: stream.into(),
            rotation,
            file: None,
            len: 0,
            next: 1,
            prev: GENESIS,
            lost,
            told: 0,
            dirty: false,
            printed: false,
        };
        match files_of(dir, stream).map_err(at(dir))?.pop() {
            None => this.begin_file().map_err(at(dir))?,
            Some((first, path)) => {
                let mut file = open_file(&path).map_err(at(&path))?;
                let tail = read_tail(&mut file, first)
                    .map_err(at(&path))?
                    .ok_or_else(|| AuditError::Foreign { file: path.display().to_string() })?;
                (this.len, this.next, this.prev) = (tail.len, tail.seq, tail.prev);
                if tail.seq == first && first > 1 {
                    // A file begun and never written to: the chain's end is in the file before.
                    this.prev = this.end_of_previous(first)?;
                }
                if tail.torn {
                    // The process died while writing; the line was never whole, so it is no record.
                    file.set_len(tail.len).map_err(at(&path))?;
                }
                this.file = Some(file);
                if tail.torn {
                    this.write_loss(1, "the process died while writing a record").map_err(at(&path))?;
                }
            }
        }
        Ok(this)
    }

    /// Whether lines go to standard output, too.
    pub(super) fn printing(self, printed: bool) -> Self {
        Self { printed, ..self }
    }

    fn end_of_previous(&self, first: u64) -> Result<Digest, AuditError> {
        let files = files_of(&self.dir, &self.stream).map_err(at(&self.dir))?;
        let Some((before, path)) = files.into_iter().rfind(|(number, _)| *number < first) else {
            return Ok(GENESIS);
        };
        let mut file = open_file(&path).map_err(at(&path))?;
        let tail = read_tail(&mut file, before).map_err(at(&path))?;
        Ok(tail.ok_or_else(|| AuditError::Foreign { file: path.display().to_string() })?.prev)
    }

    /// Writes what comes until nobody is left to record anything.
    pub(super) fn run(mut self, jobs: &Receiver<Job>) {
        let mut synced = Instant::now();
        loop {
            let mut records = Vec::new();
            let mut waiting = Vec::new();
            let mut take = |job| match job {
                Job::Record(record) => records.push(record),
                Job::Sync(done) => waiting.push(done),
            };
            let gone = match jobs.recv_timeout(SYNC.saturating_sub(synced.elapsed())) {
                Ok(job) => {
                    take(job);
                    jobs.try_iter().take(BATCH).for_each(take);
                    false
                }
                Err(RecvTimeoutError::Timeout) => false,
                Err(RecvTimeoutError::Disconnected) => true,
            };
            self.write(&records);
            if gone || !waiting.is_empty() || synced.elapsed() >= SYNC {
                self.sync();
                synced = Instant::now();
            }
            for done in waiting {
                // Whoever asked may have stopped waiting.
                let _ = done.send(());
            }
            if gone {
                return;
            }
        }
    }

    /// Writes records; those that do not reach the file are counted.
    fn write(&mut self, records: &[Box<Record>]) {
        let lost = self.lost.load(Ordering::Relaxed).saturating_sub(self.told);
        if lost > 0 && self.write_loss(lost, "the queue or the disk was full").is_ok() {
            self.told = self.told.saturating_add(lost);
        }
        let mut lines = String::new();
        let (mut next, mut prev) = (self.next, self.prev);
        let mut unwritten = 0;
        for record in records {
            let line = line::of_record(record, &self.stream, next, &prev);
            (next, prev) = (next.saturating_add(1), line::link(&line));
            lines.push_str(&line);
            lines.push('\n');
            unwritten += 1;
        }
        if unwritten == 0 {
            return;
        }
        match self.append(&lines, next, prev) {
            Ok(()) => {}
            Err(error) => {
                tracing::error!(%error, records = unwritten, "audit records were lost");
                self.lost.fetch_add(unwritten, Ordering::Relaxed);
            }
        }
    }

    fn write_loss(&mut self, lost: u64, why: &str) -> io::Result<()> {
        let line = line::of_loss(lost, why, now(), &self.stream, self.next, &self.prev);
        self.append(&format!("{line}\n"), self.next.saturating_add(1), line::link(&line))
    }

    /// Appends whole lines; afterwards the chain goes on with `next` and `prev`. On an error nothing of them
    /// is left in the file.
    fn append(&mut self, lines: &str, next: u64, prev: Digest) -> io::Result<()> {
        let bytes = lines.len() as u64;
        if self.len > 0 && self.len.saturating_add(bytes) > self.rotation.file_bytes {
            self.sync();
            self.begin_file()?;
        }
        let file = self.file.as_mut().ok_or(io::ErrorKind::NotFound)?;
        file.seek(SeekFrom::Start(self.len))?;
        if let Err(error) = file.write_all(lines.as_bytes()) {
            file.set_len(self.len)?;
            return Err(error);
        }
        self.len = self.len.saturating_add(bytes);
        (self.next, self.prev, self.dirty) = (next, prev, true);
        if self.printed {
            // Nobody may read it; the file has it.
            let _ = io::stdout().lock().write_all(lines.as_bytes());
        }
        Ok(())
    }

    fn begin_file(&mut self) -> io::Result<()> {
        let path = self.dir.join(format!("{}-{:020}.jsonl", self.stream, self.next));
        self.file = Some(open_file(&path)?);
        self.len = 0;
        // The new name must survive a crash as its content does.
        File::open(&self.dir)?.sync_all()?;
        let files = files_of(&self.dir, &self.stream)?;
        let old = files.len().saturating_sub(self.rotation.files.max(1));
        for (_, path) in files.into_iter().take(old) {
            std::fs::remove_file(path)?;
        }
        Ok(())
    }

    fn sync(&mut self) {
        if !self.dirty {
            return;
        }
        match self.file.as_ref().map(File::sync_data) {
            Some(Err(error)) => tracing::error!(%error, "the audit trail cannot be synced"),
            _ => self.dirty = false,
        }
    }
}

fn open_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

/// The end of a file whose first record has the number `first`; `None` when its last line is foreign.
fn read_tail(file: &mut File, first: u64) -> io::Result<Option<Tail>> {
    let size = file.metadata()?.len();
    // The last two line ends lie within the longest line, a torn one after it, and their newlines.
    let window = (2 * LINE_MAX + 2) as u64;
    file.seek(SeekFrom::Start(size.saturating_sub(window)))?;
    let mut bytes = Vec::new();
    file.take(window).read_to_end(&mut bytes)?;
    let whole = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |end| end + 1);
    let torn = bytes.len() - whole;
    let len = size - torn as u64;
    let lines = bytes.get(..whole.saturating_sub(1)).unwrap_or_default();
    if whole == 0 {
        // Nothing whole in it: an empty file, or the torn first line of one.
        return Ok((size <= window).then_some(Tail { seq: first, prev: GENESIS, len, torn: torn > 0 }));
    }
    let begin = lines.iter().rposition(|b| *b == b'\n').map_or(0, |end| end + 1);
    let last = lines.get(begin..).and_then(|last| std::str::from_utf8(last).ok()).unwrap_or_default();
    let seq = serde_json::from_str::<serde_json::Value>(last).ok().and_then(|v| v.get("seq")?.as_u64());
    Ok(seq.map(|seq| Tail { seq: seq.saturating_add(1), prev: line::link(last), len, torn: torn > 0 }))
}

fn now() -> Timestamp {
    Timestamp(jiff::Timestamp::now().as_second())
}
