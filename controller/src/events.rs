//! What the controller tells the terminal, as it happens.
//!
//! Events are for people and for `tidegate up -o json`; nothing depends on their being read. The channel
//! is bounded, and an event nobody reads in time is dropped and counted; only `Ready` never is.

use serde::Serialize;
use tidegate_core::{AccountId, Generation};
use tokio::sync::mpsc;

use crate::metrics::Metrics;
use crate::objects::ObjectKey;

/// Events that may wait to be read.
pub const EVENTS_MAX: usize = 4_096;

/// Something worth a line on the terminal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum ControllerEvent {
    /// The first snapshot is published.
    Ready {
        /// Its generation, `<term>.<sequence>`.
        generation: String,
    },
    /// An object is accepted that was not before.
    Accepted {
        /// Which object.
        #[serde(flatten)]
        object: Object,
    },
    /// An object, or a document that is none, is not in force as written.
    Refused(Problem),
    /// An object is gone.
    Removed {
        /// Which object.
        #[serde(flatten)]
        object: Object,
    },
    /// A publication changed something.
    Published {
        /// Its generation, `<term>.<sequence>`.
        generation: String,
        /// The departments it changed.
        departments: Vec<String>,
        /// Whether the platform part changed.
        platform: bool,
    },
    /// An activation code waits to be handed over, in `STATE/activation`.
    CodeIssued {
        /// Whose.
        account: String,
    },
    /// Older sessions of an account are void.
    SessionsVoid {
        /// Whose.
        account: String,
    },
    /// A change asked for at a gateway was made or refused.
    IntentSettled {
        /// Whose account.
        account: String,
        /// `activate` or `changePassword`.
        action: &'static str,
        /// The code, when it was refused.
        #[serde(skip_serializing_if = "Option::is_none")]
        refused: Option<String>,
    },
    /// State or store cannot be written; the controller tries again.
    WriteFailed {
        /// The stable code.
        code: String,
        /// What happened and what to do.
        message: String,
    },
}

/// An object as its author knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Object {
    /// Its kind.
    pub kind: &'static str,
    /// Its namespace; empty for cluster-scoped kinds.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl From<&ObjectKey> for Object {
    fn from(key: &ObjectKey) -> Self {
        Self { kind: key.kind.as_str(), namespace: key.namespace.to_string(), name: key.name.to_string() }
    }
}

/// Why something is not in force as written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// The stable code.
    pub code: String,
    /// The object in words, for example `VpnUser dept-sbj/li`; empty for a file.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub object: String,
    /// `file:line:column`, when it comes from a file.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub origin: String,
    /// The field, value and what to write instead.
    pub message: String,
}

/// Where events go.
#[derive(Debug)]
pub(crate) struct Teller {
    sender: mpsc::Sender<ControllerEvent>,
    /// The place of [`ControllerEvent::Ready`], which somebody may be waiting for.
    ready: Option<mpsc::OwnedPermit<ControllerEvent>>,
    metrics: Metrics,
}

impl Teller {
    pub(crate) fn new(metrics: Metrics) -> (Self, mpsc::Receiver<ControllerEvent>) {
        let (sender, receiver) = mpsc::channel(EVENTS_MAX);
        let ready = sender.clone().try_reserve_owned().ok();
        (Self { sender, ready, metrics }, receiver)
    }

    /// Tells that the first snapshot is published; only the first call does anything.
    pub(crate) fn ready(&mut self, generation: Generation) {
        if let Some(place) = self.ready.take() {
            place.send(ControllerEvent::Ready { generation: generation.to_string() });
        }
    }

    pub(crate) fn tell(&self, event: ControllerEvent) {
        if self.sender.try_send(event).is_err() {
            self.metrics.events_dropped.inc();
        }
    }

    pub(crate) fn published(&self, generation: Generation, departments: Vec<String>, platform: bool) {
        self.tell(ControllerEvent::Published { generation: generation.to_string(), departments, platform });
    }

    pub(crate) fn code_issued(&self, account: &AccountId) {
        self.tell(ControllerEvent::CodeIssued { account: account.to_string() });
    }

    pub(crate) fn sessions_void(&self, account: &AccountId) {
        self.tell(ControllerEvent::SessionsVoid { account: account.to_string() });
    }
}

#[cfg(test)]
mod tests {
    use prometheus::Registry;

    use super::*;

    #[test]
    fn a_flood_drops_events_but_never_ready() {
        let metrics = Metrics::register(&Registry::new()).unwrap();
        let (mut teller, mut events) = Teller::new(metrics.clone());
        let account: AccountId = "sbj/li".parse().unwrap();
        (0..EVENTS_MAX + 10).for_each(|_| teller.code_issued(&account));
        assert_eq!(metrics.events_dropped.get(), 11);
        teller.ready(Generation { term: 1, sequence: 2 });
        teller.ready(Generation { term: 1, sequence: 3 });
        let mut last = None;
        while let Ok(event) = events.try_recv() {
            last = Some(event);
        }
        assert_eq!(last, Some(ControllerEvent::Ready { generation: "1.2".into() }));
    }

    #[test]
    fn the_json_shape_is_stable() {
        let json = |event: &ControllerEvent| serde_json::to_string(event).unwrap();
        let problem = Problem {
            code: "TG-6001".into(),
            object: "VpnUser dept-sbj/li".into(),
            origin: "people.yaml:3:1".into(),
            message: "spec.state: wrong".into(),
        };
        assert_eq!(
            json(&ControllerEvent::Refused(problem)),
            r#"{"event":"refused","code":"TG-6001","object":"VpnUser dept-sbj/li","origin":"people.yaml:3:1","message":"spec.state: wrong"}"#
        );
        let published = ControllerEvent::Published {
            generation: "1.2".into(),
            departments: vec!["sbj".into()],
            platform: false,
        };
        assert_eq!(
            json(&published),
            r#"{"event":"published","generation":"1.2","departments":["sbj"],"platform":false}"#
        );
        let object = Object { kind: "Department", namespace: String::new(), name: "sbj".into() };
        assert_eq!(
            json(&ControllerEvent::Accepted { object }),
            r#"{"event":"accepted","kind":"Department","name":"sbj"}"#
        );
    }
}
