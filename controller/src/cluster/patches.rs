//! Server-side applies that are made in due course: the newest of each object's aspects, a few at a time.
//!
//! What fails is tried again, in the end of the line, so that one object that cannot be written holds up
//! no other. What is about an object that is gone, or is another by now, is dropped. The API server
//! calls it a conflict alike when the object is another and when somebody else was faster, so a conflict
//! is dropped only when it lasts.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kube_client::api::{ApiResource, DynamicObject, Patch, PatchParams};
use kube_client::core::GroupVersionKind;
use kube_client::{Api, Client};
use serde_json::Value;
use tidegate_crd::{GROUP, VERSION};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::FIELD_MANAGER;
use super::call::{CallError, call};
use crate::objects::{ObjectKey, ObjectKind};

/// Applies under way at once.
const AT_ONCE: usize = 16;

/// Objects that wait at once; whoever has more to say is told that there is no room.
const WAITING_MAX: usize = 1_024;

/// When there was no answer, the next attempt comes this much later.
const UNANSWERED: Duration = Duration::from_secs(1);

/// When the API server refused, this much later.
const REFUSED: Duration = Duration::from_secs(20);

/// When there was a conflict, this much later.
const CONFLICT: Duration = Duration::from_millis(200);

/// As many conflicts in a row are about another object.
const CONFLICTS_MAX: u8 = 5;

/// Which part of an object is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Aspect {
    /// The finalizers in its metadata.
    Finalizers,
    /// Its status.
    Status,
}

/// One aspect of one object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Target {
    pub(super) key: ObjectKey,
    pub(super) aspect: Aspect,
}

/// The applies that wait; they are made until this is dropped.
#[derive(Debug)]
pub(super) struct Patches {
    line: Arc<Line>,
    _worker: JoinSet<()>,
}

/// At most one entry for each aspect of each object there is.
#[derive(Debug, Default)]
struct Line {
    waiting: Mutex<Waiting>,
    longer: Notify,
}

#[derive(Clone, Debug)]
struct Body {
    value: Arc<Value>,
    /// Conflicts in a row so far.
    conflicts: u8,
}

impl Body {
    fn new(value: Value) -> Self {
        Self { value: Arc::new(value), conflicts: 0 }
    }
}

#[derive(Debug, Default)]
struct Waiting {
    bodies: BTreeMap<Target, Body>,
    order: VecDeque<Target>,
    /// Those under way or resting after a failure; a newer body waits until they are done.
    busy: BTreeSet<Target>,
}

impl Patches {
    pub(super) fn start(client: Client) -> Self {
        let line = Arc::new(Line::default());
        let mut worker = JoinSet::new();
        worker.spawn(work(Arc::clone(&line), client));
        Self { line, _worker: worker }
    }

    /// Applies `body` as soon as its turn comes; an earlier one that still waits is not applied any more.
    pub(super) fn push(&self, target: Target, body: Value) {
        let mut waiting = self.line.lock();
        if waiting.bodies.insert(target.clone(), Body::new(body)).is_none() {
            waiting.order.push_back(target);
        }
        drop(waiting);
        self.line.longer.notify_one();
    }

    /// For how many more objects there is room.
    pub(super) fn room(&self) -> usize {
        let waiting = self.line.lock();
        // Each may have two aspects.
        WAITING_MAX.saturating_sub((waiting.bodies.len() + waiting.busy.len()).div_ceil(2))
    }

    /// What is not known to be applied.
    pub(super) fn unapplied(&self) -> BTreeSet<Target> {
        self.line.lock().unapplied()
    }

    /// Applies nothing about it any more.
    pub(super) fn forget(&self, target: &Target) {
        self.line.lock().bodies.remove(target);
    }
}

impl Line {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    /// All that wait for their turn, are under way, or rest after a failure.
    fn unapplied(&self) -> BTreeSet<Target> {
        self.bodies.keys().chain(&self.busy).cloned().collect()
    }

    /// The next whose turn it is.
    fn next(&mut self) -> Option<(Target, Body)> {
        for _ in 0..self.order.len() {
            let target = self.order.pop_front()?;
            if self.busy.contains(&target) {
                self.order.push_back(target);
            } else if let Some(body) = self.bodies.remove(&target) {
                self.busy.insert(target.clone());
                return Some((target, body));
            }
        }
        None
    }

    /// Ends a turn; what failed waits again unless there is something newer.
    fn done(&mut self, target: Target, failed: Option<Body>) {
        self.busy.remove(&target);
        if let Some(body) = failed
            && !self.bodies.contains_key(&target)
        {
            self.bodies.insert(target.clone(), body);
            self.order.push_back(target);
        }
    }
}

async fn work(line: Arc<Line>, client: Client) {
    let mut running = JoinSet::new();
    let mut resting: JoinSet<(Target, Body)> = JoinSet::new();
    loop {
        while running.len() < AT_ONCE {
            let Some((target, body)) = line.lock().next() else { break };
            let client = client.clone();
            running.spawn(async move {
                let outcome = apply(client, &target, &body.value).await;
                (target, body, outcome)
            });
        }
        tokio::select! {
            () = line.longer.notified(), if running.len() < AT_ONCE => {}
            Some(Ok((target, failed))) = resting.join_next(), if !resting.is_empty() => {
                line.lock().done(target, Some(failed));
            }
            Some(Ok((target, body, outcome))) = running.join_next(), if !running.is_empty() => match outcome {
                Ok(()) => line.lock().done(target, None),
                Err(error) => match rest(&error, &body) {
                    Some((rest, body)) => {
                        if rest == REFUSED {
                            tracing::warn!(object = %target.key, aspect = ?target.aspect, %error, "not applied");
                        }
                        resting.spawn(async move {
                            tokio::time::sleep(rest).await;
                            (target, body)
                        });
                    }
                    None => line.lock().done(target, None),
                },
            },
        }
    }
}

/// How long to wait before the next attempt, if there is to be one.
fn rest(error: &CallError, body: &Body) -> Option<(Duration, Body)> {
    if error.is_missing() {
        return None;
    }
    if error.is_conflict() {
        let conflicts = body.conflicts + 1;
        return (conflicts < CONFLICTS_MAX).then(|| (CONFLICT, Body { conflicts, ..body.clone() }));
    }
    let rest = if matches!(error, CallError::Unanswered(_)) { UNANSWERED } else { REFUSED };
    Some((rest, Body { conflicts: 0, ..body.clone() }))
}

async fn apply(client: Client, target: &Target, body: &Value) -> Result<(), CallError> {
    let resource = resource(target.key.kind);
    let api: Api<DynamicObject> = if target.key.kind.namespaced() {
        Api::namespaced_with(client, &target.key.namespace, &resource)
    } else {
        Api::all_with(client, &resource)
    };
    let parameters = PatchParams::apply(FIELD_MANAGER).force();
    let body = Patch::Apply(body);
    match target.aspect {
        Aspect::Finalizers => call(api.patch_metadata(&target.key.name, &parameters, &body)).await.map(drop),
        Aspect::Status => call(api.patch_status(&target.key.name, &parameters, &body)).await.map(drop),
    }
}

/// A kind as the API server knows it.
pub(super) fn resource(kind: ObjectKind) -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk(GROUP, VERSION, kind.as_str()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn target(name: &str) -> Target {
        Target { key: ObjectKey::new(ObjectKind::VpnUser, "dept-sbj", name), aspect: Aspect::Status }
    }

    fn push(waiting: &mut Waiting, name: &str, body: i64) {
        if waiting.bodies.insert(target(name), Body::new(json!(body))).is_none() {
            waiting.order.push_back(target(name));
        }
    }

    fn next(waiting: &mut Waiting) -> Option<(Target, i64)> {
        waiting.next().map(|(target, body)| (target, body.value.as_i64().unwrap()))
    }

    #[test]
    fn the_newest_is_applied_once_and_never_two_of_one_object_together() {
        let mut waiting = Waiting::default();
        push(&mut waiting, "a", 1);
        push(&mut waiting, "a", 2);
        push(&mut waiting, "b", 3);
        assert_eq!(next(&mut waiting), Some((target("a"), 2)));
        push(&mut waiting, "a", 4);
        assert_eq!(next(&mut waiting), Some((target("b"), 3)));
        assert_eq!(next(&mut waiting), None, "a is under way");
        assert_eq!(waiting.unapplied(), BTreeSet::from([target("a"), target("b")]));
        waiting.done(target("a"), None);
        assert_eq!(next(&mut waiting), Some((target("a"), 4)));
        assert_eq!(next(&mut waiting), None);
        assert_eq!(waiting.unapplied(), BTreeSet::from([target("a"), target("b")]), "under way");
        waiting.done(target("b"), None);
        waiting.done(target("a"), None);
        assert!(waiting.unapplied().is_empty());
    }

    #[test]
    fn what_failed_waits_again_unless_there_is_something_newer() {
        let mut waiting = Waiting::default();
        push(&mut waiting, "a", 1);
        push(&mut waiting, "b", 2);
        let (first, body) = waiting.next().unwrap();
        waiting.done(first, Some(body));
        assert_eq!(next(&mut waiting), Some((target("b"), 2)), "in the end of the line");
        let (first, body) = waiting.next().unwrap();
        push(&mut waiting, "a", 3);
        waiting.done(first, Some(body));
        assert_eq!(next(&mut waiting), Some((target("a"), 3)));
    }

    #[test]
    fn a_conflict_that_lasts_is_about_another_object() {
        let conflict = CallError::Refused { code: 409, reason: String::new(), message: String::new() };
        let mut body = Body::new(json!(1));
        let mut attempts = 1;
        while let Some((_, next)) = rest(&conflict, &body) {
            (body, attempts) = (next, attempts + 1);
        }
        assert_eq!(attempts, CONFLICTS_MAX);
        let unanswered = CallError::Unanswered(String::new());
        assert_eq!(rest(&unanswered, &body).unwrap().1.conflicts, 0);
    }

    #[test]
    fn kinds_have_the_names_of_their_definitions() {
        for kind in ObjectKind::ALL {
            let plural = &tidegate_crd::definition(kind)["spec"]["names"]["plural"];
            assert_eq!(plural, &resource(kind).plural);
        }
    }
}
