//! Watches the folder and gives every new reading at once.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::watch;

use super::reader::{FolderError, FolderReader};
use crate::intake::Reading;

/// The folder is looked at this often even if nothing was heard of it.
const RESCAN: Duration = Duration::from_secs(5);

/// The same, where the operating system cannot tell of changes.
const RESCAN_DEAF: Duration = Duration::from_millis(250);

/// The first reading waits this long for files that are being written.
const FIRST_READING_MAX: Duration = Duration::from_secs(5);

/// A burst of changes is one change. Costs nothing: a file has to settle for longer.
const BURST: Duration = Duration::from_millis(20);

/// Signals that may wait; one is as good as many.
const SIGNALS_MAX: usize = 8;

enum Signal {
    Changed,
    Stop,
}

/// A folder being watched, until this is dropped.
#[derive(Debug)]
pub struct Watcher {
    signals: SyncSender<Signal>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Watcher {
    fn drop(&mut self) {
        // An error means that the thread has ended already.
        let _ = self.signals.send(Signal::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Reads a folder and watches it from then on. The first reading is complete when this returns.
pub fn watch(root: impl Into<PathBuf>) -> Result<(Watcher, watch::Receiver<Arc<Reading>>), FolderError> {
    let mut reader = FolderReader::new(root);
    let (signals, received) = sync_channel(SIGNALS_MAX);
    // Listening begins before reading, so that no change falls between the two.
    let ears = Ears::on(reader.root(), signals.clone());
    let first = first_reading(&mut reader)?;
    let (sender, receiver) = watch::channel(first);
    let folder = reader.root().to_owned();
    let thread = std::thread::Builder::new()
        .name("folder".into())
        .spawn(move || run(&mut reader, ears, &received, &sender))
        .map_err(|error| FolderError::new(&folder, error))?;
    Ok((Watcher { signals, thread: Some(thread) }, receiver))
}

fn first_reading(reader: &mut FolderReader) -> Result<Arc<Reading>, FolderError> {
    let begin = std::time::Instant::now();
    loop {
        let scan = reader.scan(SystemTime::now())?;
        if let Some(reading) = scan.reading {
            return Ok(reading);
        }
        match scan.again.filter(|_| begin.elapsed() < FIRST_READING_MAX) {
            Some(again) => std::thread::sleep(again),
            None => return Ok(reader.settle_for_what_there_is()),
        }
    }
}

/// The operating system telling of changes, where it can.
struct Ears {
    signals: SyncSender<Signal>,
    watcher: Option<RecommendedWatcher>,
    /// The folder that is listened to, which is not always the one that has its name by now.
    folder: Option<(u64, u64)>,
}

impl Ears {
    fn on(root: &Path, signals: SyncSender<Signal>) -> Self {
        Self { watcher: listen(root, signals.clone()), folder: identity(root), signals }
    }

    /// Listens to the folder that has the name now.
    fn follow(&mut self, root: &Path) {
        let folder = identity(root);
        if folder.is_some() && folder != self.folder {
            self.watcher = listen(root, self.signals.clone());
            self.folder = folder;
        }
    }
}

fn identity(root: &Path) -> Option<(u64, u64)> {
    std::fs::metadata(root).ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

fn listen(root: &Path, signals: SyncSender<Signal>) -> Option<RecommendedWatcher> {
    let heard = move |event: notify::Result<notify::Event>| {
        // Our own reading must not make us read again.
        let idle = event.is_ok_and(|event| {
            matches!(event.kind, EventKind::Access(kind) if kind != AccessKind::Close(AccessMode::Write))
        });
        if !idle {
            // A full queue already holds a signal.
            let _ = signals.try_send(Signal::Changed);
        }
    };
    let listening = notify::recommended_watcher(heard).and_then(|mut watcher| {
        watcher.watch(root, RecursiveMode::Recursive)?;
        Ok(watcher)
    });
    match listening {
        Ok(watcher) => Some(watcher),
        Err(error) => {
            tracing::warn!(folder = %root.display(), %error, "the folder is polled instead of watched");
            None
        }
    }
}

fn run(
    reader: &mut FolderReader,
    mut ears: Ears,
    signals: &Receiver<Signal>,
    readings: &watch::Sender<Arc<Reading>>,
) {
    let mut wait = Duration::ZERO;
    let mut failing = false;
    loop {
        match signals.recv_timeout(wait) {
            Ok(Signal::Stop) | Err(RecvTimeoutError::Disconnected) => return,
            Ok(Signal::Changed) => std::thread::sleep(BURST),
            Err(RecvTimeoutError::Timeout) => {}
        }
        while let Ok(signal) = signals.try_recv() {
            if matches!(signal, Signal::Stop) {
                return;
            }
        }
        ears.follow(reader.root());
        wait = match reader.scan(SystemTime::now()) {
            Ok(scan) => {
                if let Some(reading) = scan.reading {
                    readings.send_replace(reading);
                } else if failing {
                    readings.send_replace(Arc::new(reader.again()));
                }
                failing = false;
                let idle = if ears.watcher.is_some() { RESCAN } else { RESCAN_DEAF };
                scan.again.unwrap_or(idle).max(Duration::from_millis(1))
            }
            Err(error) => {
                if !failing {
                    tracing::error!(%error, "the folder cannot be read");
                    readings.send_replace(Arc::new(reader.troubled(&error)));
                }
                failing = true;
                RESCAN_DEAF
            }
        };
    }
}
