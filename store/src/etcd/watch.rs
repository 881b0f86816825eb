//! Where a watch stands: what has been delivered, from where to go on, when to read everything again.
//!
//! It does no I/O: the feed tells it every message and does what it says. Several spans of keys share one
//! stream; each goes on from its own revision. Progress answered for the whole stream proves that every
//! span has everything up to its revision.

use std::collections::VecDeque;

use tidegate_core::Timestamp;

use super::EtcdIdentity;

/// Questions about progress under way at a time; one is asked each second.
const QUESTIONS_MAX: usize = 4;

/// A change of one key; without a value it was deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) key: String,
    pub(super) value: Option<Vec<u8>>,
    pub(super) revision: i64,
}

/// A message of the stream.
#[derive(Clone, Debug, Default)]
pub(super) struct Message {
    pub(super) cluster: u64,
    pub(super) revision: i64,
    pub(super) watch: i64,
    pub(super) created: bool,
    pub(super) canceled: bool,
    pub(super) compacted: i64,
    pub(super) events: Vec<Event>,
}

/// What to do about a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing.
    Wait,
    /// Take these over, in this order; they are all of their revisions in this span.
    Apply(Vec<Event>),
    /// Everything up to the last question has been delivered.
    Fresh,
    /// The history needed is gone: read everything.
    Relist,
    /// The stream is of no more use: an outage, nothing else.
    Lost(&'static str),
}

/// How to go on after a connection is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resume {
    /// Watch on from where it stopped.
    Watch,
    /// Read everything: this is the first time, or history was lost.
    Relist,
    /// Read everything: this is not the store it was.
    NewStore,
}

/// The state of all spans.
#[derive(Debug)]
pub(super) struct Tracker {
    cluster: u64,
    /// The highest revision the store was seen at.
    seen: i64,
    /// The next revision each span needs; 0 before the first list.
    next: Vec<i64>,
    created: Vec<bool>,
    relist: bool,
}

impl Tracker {
    /// Nothing is known of `spans` spans.
    pub(super) fn new(spans: usize) -> Self {
        Self { cluster: 0, seen: 0, next: vec![0; spans], created: vec![false; spans], relist: true }
    }

    /// Judges a store that was just asked, by a linearizable read: `head` is when its head was written,
    /// `known` when the head we have was.
    pub(super) fn resume(&mut self, now: EtcdIdentity, head: i64, known: i64) -> Resume {
        self.created.fill(false);
        if self.cluster == 0 {
            return Resume::Relist;
        }
        // A head we must have been told of, had this been the history we followed.
        let told = self.next.first().is_some_and(|next| head < *next);
        if now.cluster != self.cluster || now.revision < self.seen || (told && head != known && !self.relist)
        {
            return Resume::NewStore;
        }
        if self.relist { Resume::Relist } else { Resume::Watch }
    }

    /// Everything is to be read at the next occasion.
    pub(super) fn forget(&mut self) {
        self.relist = true;
    }

    /// Everything was read as of a revision.
    pub(super) fn listed(&mut self, at: EtcdIdentity) {
        self.cluster = at.cluster;
        self.seen = at.revision;
        self.next.fill(at.revision.saturating_add(1));
        self.relist = false;
    }

    /// From which revision to watch a span: the last one it has, since etcd answers no question about
    /// progress while a watch begins in the future. What is delivered twice is dropped.
    pub(super) fn start(&self, span: usize) -> i64 {
        self.next.get(span).map_or(1, |next| next.saturating_sub(1).max(1))
    }

    /// The number a span has in the stream.
    pub(super) fn watch_id(span: usize) -> i64 {
        i64::try_from(span).unwrap_or(i64::MAX - 1).saturating_add(1)
    }

    /// Takes a message.
    pub(super) fn take(&mut self, message: Message) -> Step {
        if message.canceled {
            // The reason is not to be trusted; only this number says that history is gone.
            if message.compacted > 0 {
                self.relist = true;
                return Step::Relist;
            }
            return Step::Lost("the watch was cancelled");
        }
        if message.cluster != self.cluster {
            return Step::Lost("another cluster answers");
        }
        let span = usize::try_from(message.watch).ok().and_then(|id| id.checked_sub(1));
        let Some(span) = span.filter(|span| *span < self.next.len()) else {
            return self.progress(&message);
        };
        if message.created {
            if let Some(created) = self.created.get_mut(span) {
                *created = true;
            }
            return Step::Wait;
        }
        let Some(next) = self.next.get_mut(span) else { return Step::Wait };
        let from = *next;
        let events: Vec<Event> = message.events.into_iter().filter(|event| event.revision >= from).collect();
        let Some(last) = events.last().map(|event| event.revision) else { return Step::Wait };
        *next = last.saturating_add(1);
        self.seen = self.seen.max(last);
        Step::Apply(events)
    }

    /// Progress of the whole stream: all spans have what lies at or below its revision.
    fn progress(&mut self, message: &Message) -> Step {
        if message.created || !message.events.is_empty() || !self.created.iter().all(|created| *created) {
            return Step::Wait;
        }
        for next in &mut self.next {
            *next = (*next).max(message.revision.saturating_add(1));
        }
        self.seen = self.seen.max(message.revision);
        Step::Fresh
    }
}

/// Questions about progress that are under way, oldest first.
///
/// Answers do not say which question they answer, and one may be left out. Each is taken for the oldest, so that what
/// it proves is never newer than what was asked; when too many are left over, the stream is of no more use.
#[derive(Debug, Default)]
pub(super) struct Questions(VecDeque<Timestamp>);

impl Questions {
    /// A question is asked now; false when there are too many already.
    pub(super) fn ask(&mut self, now: Timestamp) -> bool {
        self.0.push_back(now);
        self.0.len() <= QUESTIONS_MAX
    }

    /// When what an answer answers was asked.
    pub(super) fn answered(&mut self) -> Option<Timestamp> {
        self.0.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(cluster: u64, revision: i64) -> EtcdIdentity {
        EtcdIdentity { cluster, revision }
    }

    fn tracker() -> Tracker {
        let mut tracker = Tracker::new(2);
        assert_eq!(tracker.resume(at(7, 10), 4, 0), Resume::Relist);
        tracker.listed(at(7, 10));
        tracker
    }

    fn message(watch: i64, revisions: &[i64]) -> Message {
        let events: Vec<_> =
            revisions.iter().map(|r| Event { key: "k".into(), value: None, revision: *r }).collect();
        let revision = revisions.last().copied().unwrap_or(0);
        Message { cluster: 7, revision, watch, events, ..Message::default() }
    }

    fn created(watch: i64) -> Message {
        Message { created: true, ..message(watch, &[]) }
    }

    fn progress(revision: i64) -> Message {
        Message { revision, ..message(-1, &[]) }
    }

    #[test]
    fn each_span_goes_on_from_its_own_revision() {
        let mut tracker = tracker();
        assert_eq!((tracker.start(0), tracker.start(1)), (10, 10));
        assert!(matches!(tracker.take(message(1, &[12, 12, 14])), Step::Apply(events) if events.len() == 3));
        assert_eq!((tracker.start(0), tracker.start(1)), (14, 10));
        assert_eq!(tracker.resume(at(7, 14), 4, 4), Resume::Watch);
    }

    #[test]
    fn what_was_delivered_is_not_delivered_again() {
        let mut tracker = tracker();
        assert!(matches!(tracker.take(message(2, &[12])), Step::Apply(_)));
        assert_eq!(tracker.take(message(2, &[11, 12])), Step::Wait);
        assert!(matches!(tracker.take(message(2, &[12, 13])), Step::Apply(events) if events.len() == 1));
    }

    #[test]
    fn only_progress_of_the_whole_stream_proves_anything() {
        let mut tracker = tracker();
        assert_eq!(tracker.take(progress(20)), Step::Wait, "no span is watched yet");
        tracker.take(created(1));
        assert_eq!(tracker.take(progress(20)), Step::Wait, "one is missing");
        tracker.take(created(2));
        assert_eq!(tracker.take(message(1, &[])), Step::Wait, "progress of one span");
        assert_eq!(tracker.take(progress(20)), Step::Fresh);
        assert_eq!((tracker.start(0), tracker.start(1)), (20, 20));
        assert_eq!(tracker.resume(at(7, 20), 4, 4), Resume::Watch);
        assert_eq!(tracker.take(progress(21)), Step::Wait, "a new stream starts over");
    }

    #[test]
    fn an_answer_that_comes_late_proves_what_was_asked_first() {
        let at = |second: i64| Timestamp(1_790_000_000 + second);
        let mut questions = Questions::default();
        assert_eq!(questions.answered(), None, "nobody asked");
        assert!((0..3).all(|second| questions.ask(at(second))));
        assert_eq!(questions.answered(), Some(at(0)), "three seconds late, and no newer for that");
        assert!(questions.ask(at(3)));
        assert_eq!(questions.answered(), Some(at(1)));
        // One answer is left out: what is proved stays a question behind, and enough of that ends the stream.
        assert!(questions.ask(at(4)) && questions.ask(at(5)));
        assert!(!questions.ask(at(6)));
    }

    #[test]
    fn compaction_alone_means_relist() {
        let mut tracker = tracker();
        let canceled = Message { canceled: true, ..message(1, &[]) };
        assert!(matches!(tracker.take(canceled.clone()), Step::Lost(_)));
        assert_eq!(tracker.resume(at(7, 10), 4, 4), Resume::Watch);
        assert_eq!(tracker.take(Message { compacted: 30, cluster: 0, ..canceled }), Step::Relist);
        assert_eq!(tracker.resume(at(7, 40), 35, 4), Resume::Relist, "it stays so until it was done");
        tracker.listed(at(7, 40));
        assert_eq!(tracker.resume(at(7, 40), 35, 35), Resume::Watch);
    }

    #[test]
    fn another_history_is_another_store() {
        assert_eq!(tracker().resume(at(8, 10), 4, 4), Resume::NewStore, "another cluster");
        assert_eq!(tracker().resume(at(7, 9), 4, 4), Resume::NewStore, "the revision went back");
        assert_eq!(tracker().resume(at(7, 12), 3, 4), Resume::NewStore, "an older head came back");
        assert_eq!(tracker().resume(at(7, 12), 0, 4), Resume::NewStore, "the head is gone");
        assert_eq!(tracker().resume(at(7, 12), 11, 4), Resume::Watch, "a newer head will be delivered");
        assert!(matches!(tracker().take(Message { cluster: 9, ..progress(30) }), Step::Lost(_)));
    }
}
