//! The thread that owns the file.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use redb::{Durability, ReadableTable as _};
use tidegate_core::Timestamp;
use tokio::sync::{oneshot, watch};

use super::Clock;
use super::disk::{self, Disk, NUMBERS, failed};
use super::publish::Published;
use crate::{StoreError, StoreResult, View};

/// How often freshness is proved.
const PROOF: Duration = Duration::from_secs(1);
/// Seconds between two sweeps of what has expired.
const SWEEP_S: i64 = 30;

/// What the thread is asked to do.
pub(super) enum Job {
    /// A call.
    Work(Box<dyn FnOnce(&mut Worker) + Send>),
    /// The end, and whom to tell.
    Close(oneshot::Sender<()>),
}

/// The state behind every call.
pub(super) struct Worker {
    pub(super) disk: Disk,
    pub(super) term: u64,
    pub(super) published: Published,
    pub(super) view: watch::Sender<View>,
    pub(super) offered: watch::Sender<u64>,
    clock: Clock,
    swept: Timestamp,
}

impl Worker {
    /// Takes the file over for `term` and reads what it holds.
    pub(super) fn open(
        mut disk: Disk,
        term: u64,
        clock: Clock,
    ) -> StoreResult<(Self, watch::Receiver<View>, watch::Receiver<u64>)> {
        let now = clock();
        disk.write(Durability::Immediate, |transaction| {
            let mut numbers = transaction.open_table(NUMBERS).map_err(failed)?;
            let seen = numbers.get("term").map_err(failed)?.map_or(0, |stored| stored.value());
            if term <= seen {
                return Err(StoreError::Fenced(term));
            }
            numbers.insert("term", term).map_err(failed)?;
            // Every table exists from here on, so that reading never meets a missing one.
            transaction.open_table(disk::MANIFESTS).map_err(failed)?;
            transaction.open_table(disk::BLOBS).map_err(failed)?;
            transaction.open_table(disk::INTENTS).map_err(failed)?;
            transaction.open_table(disk::OUTCOMES).map_err(failed)?;
            transaction.open_table(disk::ENDED).map_err(failed)?;
            transaction.open_table(disk::LOGINS).map_err(failed)?;
            transaction.open_table(disk::ONCE).map_err(failed)?;
            transaction.open_table(disk::FAILURES).map_err(failed)?;
            Ok(())
        })?;
        let (published, unreadable) = disk.read(Published::read)?;
        let (view, views) = watch::channel(View {
            snapshot: published.snapshot(),
            ended: Arc::default(),
            fresh_at: now,
            // Controller and gateway have one clock.
            skew_s: None,
            unreadable: Arc::new(unreadable),
        });
        let (offered, offers) = watch::channel(0);
        let mut worker = Self { disk, term, published, view, offered, clock, swept: now };
        worker.sweep(now)?;
        Ok((worker, views, offers))
    }

    /// Works until it is closed or nobody is left to ask.
    pub(super) fn run(mut self, queue: &Receiver<Job>) {
        let mut next = Instant::now() + PROOF;
        loop {
            match queue.recv_timeout(next.saturating_duration_since(Instant::now())) {
                Ok(Job::Work(work)) => work(&mut self),
                Ok(Job::Close(done)) => {
                    self.disk.close();
                    // Whoever asked may have stopped waiting.
                    let _ = done.send(());
                    return;
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self.disk.close(),
            }
            if Instant::now() >= next {
                self.prove();
                next = Instant::now() + PROOF;
            }
        }
    }

    /// The second of this call.
    pub(super) fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// Proves that the file says nothing newer than the view; a file that cannot be read proves nothing.
    pub(super) fn prove(&mut self) {
        let now = self.now();
        match self.disk.read(super::publish::head) {
            Ok(head) if head == self.published.head() => self.view.send_modify(|view| view.fresh_at = now),
            Ok(head) => tracing::error!(%head, "the store file was changed by somebody else"),
            Err(error) => tracing::error!(%error, "the store cannot be read"),
        }
        if now.since(self.swept) >= SWEEP_S {
            self.swept = now;
            if let Err(error) = self.sweep(now) {
                tracing::warn!(%error, "expired facts could not be swept");
            }
        }
    }
}
