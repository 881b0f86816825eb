//! What the controller keeps in a cluster: small documents in Secrets and ConfigMaps of its namespace.
//!
//! ```text
//!  path of a document --Collection--> shelf --hash--> shard --> Secret or ConfigMap, written as a whole
//! ```
//!
//! Everything is read once, at start; from then on memory is the truth and the objects are its copy,
//! since only one controller leads. Every object carries the term of the controller that wrote it, and
//! each write names the version it replaces: a controller that was deposed and does not know it yet
//! finds a later term and is refused. An object that somebody else removes or edits is written anew.
//!
//! The controller's thread waits for its writes; the runtime that this was made in carries them.

mod collection;
mod packed;
mod shelf;
mod slips;
mod stored;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kube_client::Client;
use tidegate_core::{Code, Uid};
use tokio::runtime::Handle;
use tokio::task::JoinSet;

use crate::objects::ObjectKey;
use crate::state::{Document, StateError};
use crate::status as conditions;

use super::call::DEADLINE;
use super::patches::Patches;
use super::{finalizers, status};
use collection::Collection;
pub(crate) use shelf::DOCUMENT_BYTES_MAX;
use shelf::{Prefix, Shelf};
use stored::{ATTEMPTS, Changed, Job, Place};

/// Objects written at once.
const AT_ONCE: usize = 16;

/// Calls one write may take: each attempt, and a look after it.
const CALLS_MAX: u32 = 2 * ATTEMPTS;

/// Added to the time the calls themselves may take.
const SLACK: Duration = Duration::from_secs(5);

/// The controller's part of a cluster.
#[derive(Debug)]
pub struct Keep {
    place: Place,
    runtime: Handle,
    shelves: Mutex<BTreeMap<Collection, Shelf>>,
    changed: Arc<Changed>,
    patches: Patches,
    /// Follows the kept objects, until this is dropped.
    _followers: JoinSet<()>,
}

/// The outcome of one flush: what could not be written, and why.
type Failures = BTreeMap<(Collection, Prefix), String>;

impl Keep {
    /// Reads everything an earlier controller kept in `namespace`. Has to be called within the runtime
    /// that is to carry the requests; from then on writes are made in the name of `term`.
    pub async fn load(client: Client, namespace: &str, term: u64) -> Result<Self, StateError> {
        let place = Place { client: client.clone(), namespace: namespace.into(), term };
        let mut shelves: BTreeMap<Collection, Shelf> = BTreeMap::new();
        for found in place.read_all().await? {
            let shelf = shelves.entry(found.collection.clone()).or_insert_with(|| found.collection.shelf());
            shelf.restore(found.prefix, found.documents, found.version);
        }
        shelves.values_mut().for_each(Shelf::settle);
        let changed = Arc::new(Changed::default());
        let followers = place.follow(&changed);
        let patches = Patches::start(client);
        Ok(Self {
            place,
            runtime: Handle::current(),
            shelves: Mutex::new(shelves),
            changed,
            patches,
            _followers: followers,
        })
    }

    /// The controller's namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.place.namespace
    }

    pub(crate) fn read(&self, path: &Path) -> Option<Vec<u8>> {
        let (collection, name) = Collection::of(path)?;
        self.shelves().get(&collection)?.get(&name).map(|bytes| bytes.to_vec())
    }

    pub(crate) fn files(&self, below: &Path) -> Vec<PathBuf> {
        let shelves = self.shelves();
        let paths = shelves
            .iter()
            .flat_map(|(collection, shelf)| shelf.names().filter_map(move |name| collection.path(name)));
        let mut paths: Vec<PathBuf> = paths.filter(|path| path.starts_with(below)).collect();
        paths.sort();
        paths
    }

    pub(crate) fn write_many(&self, files: Vec<(PathBuf, Vec<u8>)>) -> Vec<Result<(), StateError>> {
        self.change(files.into_iter().map(|(path, bytes)| (path, Some(bytes))))
    }

    pub(crate) fn remove_many(&self, paths: Vec<PathBuf>) -> Vec<Result<(), StateError>> {
        self.change(paths.into_iter().map(|path| (path, None)))
    }

    /// Changes documents in memory and then in the cluster. What could not be written there is taken
    /// back, and its object is written again at the next opportunity.
    pub(crate) fn change(&self, files: impl Iterator<Item = Document>) -> Vec<Result<(), StateError>> {
        let mut shelves = self.shelves();
        let placed: Vec<Result<Put, StateError>> =
            files.map(|(path, bytes)| Put::into(&mut shelves, path, bytes)).collect();
        let failures = self.flush(&mut shelves);
        let mut outcomes = Vec::with_capacity(placed.len());
        for put in placed {
            outcomes.push(put.and_then(|put| match put.failed(&shelves, &failures) {
                Some(why) => {
                    let error = self.failed(&put.path, why);
                    put.undo(&mut shelves);
                    Err(error)
                }
                None => Ok(()),
            }));
        }
        outcomes
    }

    /// Writes whatever memory has and the cluster has not.
    fn flush(&self, shelves: &mut BTreeMap<Collection, Shelf>) -> Failures {
        let jobs: Vec<Job> = shelves
            .iter()
            .flat_map(|(collection, shelf)| {
                shelf.unwritten().map(|(prefix, documents, version)| Job {
                    collection: collection.clone(),
                    prefix,
                    documents: Some(documents),
                    version: version.map(str::to_owned),
                })
            })
            .collect();
        let mut failures = self.perform(shelves, jobs);
        // What was split up or emptied goes only after everything it was split into is there.
        let jobs: Vec<Job> = shelves
            .iter()
            .filter(|(_, shelf)| shelf.unwritten().next().is_none())
            .flat_map(|(collection, shelf)| {
                shelf.doomed().map(|(prefix, version)| Job {
                    collection: collection.clone(),
                    prefix,
                    documents: None,
                    version: version.map(str::to_owned),
                })
            })
            .collect();
        failures.extend(self.perform(shelves, jobs));
        failures
    }

    fn perform(&self, shelves: &mut BTreeMap<Collection, Shelf>, jobs: Vec<Job>) -> Failures {
        if jobs.is_empty() {
            return Failures::new();
        }
        let rounds = u32::try_from(jobs.len().div_ceil(AT_ONCE)).unwrap_or(u32::MAX);
        let deadline = (DEADLINE * CALLS_MAX).saturating_mul(rounds) + SLACK;
        let all: Vec<(Collection, Prefix)> =
            jobs.iter().map(|job| (job.collection.clone(), job.prefix)).collect();
        let place = self.place.clone();
        let outcomes = self.wait(
            deadline,
            each(jobs, move |job| {
                let place = place.clone();
                async move { place.perform(job).await }
            }),
        );
        let mut failures = Failures::new();
        match outcomes {
            Some(outcomes) => {
                for (what, outcome) in all.into_iter().zip(outcomes) {
                    let shelf = shelves.get_mut(&what.0);
                    match (outcome, shelf) {
                        (Ok(Some(version)), Some(shelf)) => shelf.written(what.1, version),
                        (Ok(None), Some(shelf)) => shelf.removed(what.1),
                        (Ok(_), None) => {}
                        (Err(why), shelf) => {
                            if let Some(shelf) = shelf {
                                shelf.doubt(what.1);
                            }
                            failures.insert(what, why);
                        }
                    }
                }
            }
            None => {
                let why = "the program is stopping, or the API server does not answer";
                for what in all {
                    if let Some(shelf) = shelves.get_mut(&what.0) {
                        shelf.doubt(what.1);
                    }
                    failures.insert(what, why.to_owned());
                }
            }
        }
        failures
    }

    /// Restores objects that somebody else removed or changed, and finishes what was left undone.
    pub(crate) fn mend(&self) -> Result<(), StateError> {
        let mut shelves = self.shelves();
        for (name, version) in self.changed.take() {
            let Some((collection, prefix)) = Collection::of_object(&name) else { continue };
            if let Some(shelf) = shelves.get_mut(&collection) {
                shelf.doubt_unless(prefix, version.as_deref());
            }
        }
        match self.flush(&mut shelves).into_iter().next() {
            None => Ok(()),
            Some(((collection, prefix), why)) => {
                Err(self.failed(Path::new(&collection.object_name(prefix)), &why))
            }
        }
    }

    /// Waits on this thread for what the runtime does; `None` when nothing comes of it, nor will later.
    fn wait<T: Send + 'static>(
        &self,
        deadline: Duration,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        let (sender, receiver) = sync_channel(1);
        let task = self.runtime.spawn(async move {
            // Nobody may be waiting any longer.
            let _ = sender.send(work.await);
        });
        let outcome = receiver.recv_timeout(deadline).ok();
        task.abort();
        outcome
    }

    fn failed(&self, what: &Path, why: &str) -> StateError {
        StateError::new(
            Code::ClusterFailed,
            &Path::new(self.namespace()).join(what),
            format!("cannot keep it in the cluster: {why}"),
            "look at the API server and at the controller's rights; it is tried again",
        )
    }

    fn shelves(&self) -> MutexGuard<'_, BTreeMap<Collection, Shelf>> {
        self.shelves.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many objects can be spoken of now.
    pub(crate) fn room(&self) -> usize {
        self.patches.room()
    }

    /// Conditions are written in due course.
    pub(crate) fn say(&self, key: &ObjectKey, status: &conditions::Document) {
        self.patches.push(status::target(key), status::body(key, status));
    }

    /// Objects whose conditions wait to be written, or are being written.
    pub(crate) fn unspoken(&self) -> Vec<ObjectKey> {
        let unapplied = self.patches.unapplied().into_iter();
        unapplied.filter_map(|target| status::is_target(&target).then_some(target.key)).collect()
    }

    pub(crate) fn unsay(&self, key: &ObjectKey) {
        self.patches.forget(&status::target(key));
    }

    pub(crate) fn hold(&self, key: &ObjectKey, uid: &Uid) {
        self.patches.push(finalizers::target(key), finalizers::body(key, uid, true));
    }

    pub(crate) fn let_go(&self, key: &ObjectKey, uid: &Uid) {
        self.patches.push(finalizers::target(key), finalizers::body(key, uid, false));
    }
}

/// One change of one document, and how to take it back.
struct Put {
    path: PathBuf,
    collection: Collection,
    name: String,
    before: Option<Arc<[u8]>>,
    /// The shard it was removed from, which may be gone with it.
    removed_from: Option<Prefix>,
}

impl Put {
    fn into(
        shelves: &mut BTreeMap<Collection, Shelf>,
        path: PathBuf,
        bytes: Option<Vec<u8>>,
    ) -> Result<Self, StateError> {
        let Some((collection, name)) = Collection::of(&path) else {
            return Err(StateError::corrupt(&path, "nothing of this name is kept in a cluster"));
        };
        if bytes.as_ref().is_some_and(|bytes| bytes.len() > DOCUMENT_BYTES_MAX) {
            return Err(StateError::new(
                Code::ClusterFailed,
                &path,
                format!("it has more than the {DOCUMENT_BYTES_MAX} bytes that an object of a cluster holds"),
                "make the object it is about smaller",
            ));
        }
        let shelf = shelves.entry(collection.clone()).or_insert_with(|| collection.shelf());
        let before = shelf.get(&name);
        let removed_from = match bytes {
            Some(bytes) => {
                shelf.put(&name, bytes.into());
                None
            }
            None => shelf.take(&name),
        };
        Ok(Self { path, collection, name, before, removed_from })
    }

    fn failed<'a>(&self, shelves: &BTreeMap<Collection, Shelf>, failures: &'a Failures) -> Option<&'a str> {
        let prefix = self.removed_from.or_else(|| shelves.get(&self.collection)?.place_of(&self.name))?;
        failures.get(&(self.collection.clone(), prefix)).map(String::as_str)
    }

    fn undo(self, shelves: &mut BTreeMap<Collection, Shelf>) {
        let Some(shelf) = shelves.get_mut(&self.collection) else { return };
        match self.before {
            Some(before) => shelf.put(&self.name, before),
            None => {
                shelf.take(&self.name);
            }
        }
    }
}

/// Does the same for each, a few at once; outcomes come in order.
async fn each<J, T, F>(jobs: Vec<J>, work: impl Fn(J) -> F) -> Vec<Result<T, String>>
where
    F: Future<Output = Result<T, String>> + Send + 'static,
    T: Send + 'static,
{
    let mut outcomes: Vec<Result<T, String>> = Vec::new();
    outcomes.resize_with(jobs.len(), || Err("it was not tried".to_owned()));
    let mut running = JoinSet::new();
    let mut jobs = jobs.into_iter().enumerate();
    loop {
        while running.len() < AT_ONCE
            && let Some((index, job)) = jobs.next()
        {
            let work = work(job);
            running.spawn(async move { (index, work.await) });
        }
        match running.join_next().await {
            Some(Ok((index, outcome))) => {
                if let Some(place) = outcomes.get_mut(index) {
                    *place = outcome;
                }
            }
            // One that panicked keeps "not tried".
            Some(Err(_)) => {}
            None => return outcomes,
        }
    }
}
