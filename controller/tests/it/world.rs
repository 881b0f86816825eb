//! One controller, its state, its store, and the means to wait for what it does.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use prometheus::Registry;
use serde_json::Value;
use tempfile::TempDir;
use tidegate_controller::build::Settings;
use tidegate_controller::intake::{ConfigMaps, Found, Reading};
use tidegate_controller::metrics::Metrics;
use tidegate_controller::objects::{ObjectKey, ObjectKind};
use tidegate_controller::{Config, ControllerEvent, Handle, State, start};
use tidegate_core::{Account, AccountId, Localized, Timestamp, Zone};
use tidegate_store::audit::AuditLog;
use tidegate_store::{Embedded, Store, View};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Nothing a test waits for takes this long.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

pub(crate) struct World {
    pub(crate) dir: TempDir,
    pub(crate) store: Embedded,
    handle: Handle,
    state: Arc<State>,
    /// Where written objects go; nobody listens when they come from a folder.
    objects: watch::Sender<Arc<Reading>>,
    written: BTreeMap<ObjectKey, Value>,
}

pub(crate) fn key(value: &Value) -> ObjectKey {
    let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let kind = ObjectKind::named(text("/kind")).unwrap();
    ObjectKey::new(kind, text("/metadata/namespace"), text("/metadata/name"))
}

fn reading(written: &BTreeMap<ObjectKey, Value>) -> Arc<Reading> {
    let found = written.iter().map(|(key, value)| (key.clone(), Found::of(value.clone())));
    Arc::new(Reading::of(found, ConfigMaps::new()))
}

impl World {
    /// Starts a controller on these objects and waits until they are published.
    pub(crate) async fn start(objects: Vec<Value>) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), objects, |_, _| ()).await
    }

    /// Starts in a directory of an earlier world; `before` runs after the store is open.
    pub(crate) async fn start_in(
        dir: TempDir,
        objects: Vec<Value>,
        before: impl FnOnce(&Arc<State>, &Embedded),
    ) -> Self {
        let written = objects.into_iter().map(|value| (key(&value), value)).collect();
        let (objects, readings) = watch::channel(reading(&written));
        Self { written, objects, ..Self::start_on(dir, readings, before).await }
    }

    /// Starts on whatever gives these readings.
    pub(crate) async fn start_on(
        dir: TempDir,
        readings: watch::Receiver<Arc<Reading>>,
        before: impl FnOnce(&Arc<State>, &Embedded),
    ) -> Self {
        let state = Arc::new(State::open(&dir.path().join("state")).unwrap());
        let store = Embedded::open(&state.store_file(), state.term()).unwrap();
        before(&state, &store);
        let config = Config {
            settings: Settings {
                title: Localized { zh_cn: Some("业务系统".into()), en: None },
                zone: Zone::utc(),
                not_before: Timestamp(0),
                approvals_enforced: false,
            },
            metrics: Metrics::register(&Registry::new()).unwrap(),
            audit: Some(AuditLog::open(&state.audit_directory(), "controller").unwrap()),
            fleet: None,
            ledger: None,
        };
        let handle = start(config, Arc::clone(&state), store.clone(), readings).unwrap();
        let (objects, written) = (watch::channel(Arc::default()).0, BTreeMap::new());
        let mut world = Self { dir, store, handle, state, objects, written };
        world.event(|event| matches!(event, ControllerEvent::Ready { .. })).await;
        world
    }

    /// Stops everything and gives the directory back.
    pub(crate) async fn stop(self) -> TempDir {
        self.handle.stop().await;
        self.store.close().await;
        drop(self.state);
        self.dir
    }

    pub(crate) fn write(&mut self, value: Value) {
        self.written.insert(key(&value), value);
        self.objects.send_replace(reading(&self.written));
    }

    pub(crate) fn remove(&mut self, value: &Value) {
        self.written.remove(&key(value));
        self.objects.send_replace(reading(&self.written));
    }

    /// Writes one thing and another without an end, faster than anybody reads; until it is aborted.
    pub(crate) fn storm(&self, one: Value, other: Value) -> JoinHandle<()> {
        let readings = [one, other].map(|value| {
            let mut written = self.written.clone();
            written.insert(key(&value), value);
            reading(&written)
        });
        let objects = self.objects.clone();
        tokio::spawn(async move {
            for reading in readings.iter().cycle() {
                objects.send_replace(Arc::clone(reading));
                tokio::task::yield_now().await;
            }
        })
    }

    /// Waits for an event.
    pub(crate) async fn event(&mut self, wanted: impl Fn(&ControllerEvent) -> bool) -> ControllerEvent {
        let wait = async {
            loop {
                let event = self.handle.events.recv().await.expect("the controller goes on");
                if wanted(&event) {
                    return event;
                }
            }
        };
        tokio::time::timeout(DEADLINE, wait).await.expect("the event comes")
    }

    /// Waits for a view.
    pub(crate) async fn view(&self, wanted: impl Fn(&View) -> bool) -> View {
        let mut views = self.store.subscribe();
        let view = tokio::time::timeout(DEADLINE, views.wait_for(|view| wanted(view))).await;
        view.expect("the view comes").unwrap().clone()
    }

    /// Waits until an account looks as wanted.
    pub(crate) async fn account(&self, wanted: impl Fn(&Account) -> bool) -> Arc<Account> {
        let view = self.view(|view| account(view).is_some_and(|account| wanted(&account))).await;
        account(&view).unwrap()
    }

    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.state.root().join(relative)
    }

    /// Waits until the list of problems says something.
    pub(crate) async fn problems(&self, wanted: impl Fn(&str) -> bool) -> String {
        let path = self.path("status/problems.json");
        let mut tick = tokio::time::interval(Duration::from_millis(20));
        let wait = async {
            loop {
                tick.tick().await;
                if let Some(problems) =
                    std::fs::read_to_string(&path).ok().filter(|problems| wanted(problems))
                {
                    return problems;
                }
            }
        };
        tokio::time::timeout(DEADLINE, wait).await.expect("the problems come")
    }

    /// Waits until a status file says something.
    pub(crate) async fn status(&self, file: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let path = self.path("status").join(file);
        let mut tick = tokio::time::interval(Duration::from_millis(20));
        let wait = async {
            loop {
                tick.tick().await;
                let status = std::fs::read(&path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
                if let Some(status) = status.filter(|status| wanted(status)) {
                    return status;
                }
            }
        };
        tokio::time::timeout(DEADLINE, wait).await.expect("the status comes")
    }
}

/// The account every world has.
pub(crate) fn li() -> AccountId {
    "sbj/li".parse().unwrap()
}

pub(crate) fn account(view: &View) -> Option<Arc<Account>> {
    view.snapshot.as_ref()?.account(&li()).cloned()
}

/// The reason of a condition in a status file.
pub(crate) fn reason<'a>(status: &'a Value, condition: &str) -> &'a str {
    let conditions = status["conditions"].as_array().unwrap();
    let found = conditions.iter().find(|found| found["type"] == condition);
    found.and_then(|found| found["reason"].as_str()).unwrap_or_default()
}
