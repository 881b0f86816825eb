//! The Secrets and ConfigMaps themselves: read, written, removed and followed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::serde::{Serialize, de::DeserializeOwned};
use kube_client::api::{DeleteParams, ListParams, PostParams, Preconditions};
use kube_client::core::{NamespaceResourceScope, PartialObjectMeta};
use kube_client::{Api, Client, Resource};
use kube_runtime::watcher::{self, Event};
use tidegate_core::Code;
use tokio::task::JoinSet;

use super::super::call::{CallError, call};
use super::super::{FIELD_MANAGER, labels};
use super::collection::Collection;
use super::shelf::{Documents, Prefix};
use crate::state::StateError;

/// The label of kept objects; its value is the collection.
const KEEP: &str = "tidegate.dev/keep";

/// The term of the controller that wrote an object.
const TERM: &str = "tidegate.dev/term";

/// Objects read at once; each has up to half a megabyte.
const PAGE: u32 = 32;

/// Attempts of one write: others may be faster once, the object may be gone once.
pub(super) const ATTEMPTS: u32 = 4;

/// After a failed watch, the next one comes this much later.
const REWATCH: Duration = Duration::from_secs(1);

/// Seconds after which a watch is begun anew, so that a dead connection is noticed.
const WATCH_S: u32 = 60;

/// Changes remembered at once.
const CHANGED_MAX: usize = 20_000;

/// Where the objects lie, and in whose name they are written.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) client: Client,
    pub(super) namespace: Box<str>,
    pub(super) term: u64,
}

impl Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Place")
            .field("namespace", &self.namespace)
            .field("term", &self.term)
            .finish_non_exhaustive()
    }
}

/// One object as it was found.
pub(super) struct Found {
    pub(super) collection: Collection,
    pub(super) prefix: Prefix,
    pub(super) documents: Documents,
    pub(super) version: Option<String>,
}

/// One object to be written, or removed when it has no documents.
pub(super) struct Job {
    pub(super) collection: Collection,
    pub(super) prefix: Prefix,
    pub(super) documents: Option<Arc<Documents>>,
    /// The version it replaces, if known.
    pub(super) version: Option<String>,
}

/// Kept objects that changed, each with its version; `None` for one that is gone.
#[derive(Debug, Default)]
pub(super) struct Changed(Mutex<BTreeMap<String, Option<String>>>);

impl Changed {
    fn note(&self, name: String, version: Option<String>) {
        let mut changed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if changed.len() < CHANGED_MAX || changed.contains_key(&name) {
            changed.insert(name, version);
        }
    }

    pub(super) fn take(&self) -> BTreeMap<String, Option<String>> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// An object that holds documents.
trait Holder:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Debug
    + DeserializeOwned
    + Serialize
    + Send
    + Sync
    + 'static
{
    fn holding(metadata: ObjectMeta, documents: &Documents) -> Self;
    fn documents(self) -> Documents;
}

impl Holder for Secret {
    fn holding(metadata: ObjectMeta, documents: &Documents) -> Self {
        let data = documents.iter().map(|(name, bytes)| (name.clone(), ByteString(bytes.to_vec())));
        Self { metadata, data: Some(data.collect()), ..Self::default() }
    }

    fn documents(self) -> Documents {
        self.data.unwrap_or_default().into_iter().map(|(name, bytes)| (name, bytes.0.into())).collect()
    }
}

impl Holder for ConfigMap {
    fn holding(metadata: ObjectMeta, documents: &Documents) -> Self {
        // All documents are JSON.
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let data = documents.iter().map(|(name, bytes)| (name.clone(), text(bytes)));
        Self { metadata, data: Some(data.collect()), ..Self::default() }
    }

    fn documents(self) -> Documents {
        self.data
            .unwrap_or_default()
            .into_iter()
            .map(|(name, text)| (name, Arc::from(text.into_bytes())))
            .collect()
    }
}

impl Place {
    /// Everything that is kept.
    pub(super) async fn read_all(&self) -> Result<Vec<Found>, StateError> {
        let mut all = self.read::<Secret>().await?;
        all.extend(self.read::<ConfigMap>().await?);
        Ok(all)
    }

    async fn read<K: Holder>(&self) -> Result<Vec<Found>, StateError> {
        let api: Api<K> = Api::namespaced(self.client.clone(), &self.namespace);
        let mut found = Vec::new();
        let mut page = ListParams::default().labels(KEEP).limit(PAGE);
        loop {
            let list = call(api.list(&page)).await.map_err(|error| self.unreadable::<K>(&error))?;
            for object in list.items {
                let name = object.meta().name.clone().unwrap_or_default();
                let Some((collection, prefix)) = Collection::of_object(&name) else {
                    tracing::warn!(kind = %K::kind(&()), name, "this object is labelled as one of ours and is not");
                    continue;
                };
                let version = object.meta().resource_version.clone();
                found.push(Found { collection, prefix, documents: object.documents(), version });
            }
            match list.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => page = page.continue_token(&token),
                None => return Ok(found),
            }
        }
    }

    fn unreadable<K: Holder>(&self, error: &CallError) -> StateError {
        StateError::new(
            Code::ClusterFailed,
            std::path::Path::new(&*self.namespace),
            format!("cannot read the controller's {}s: {error}", K::kind(&())),
            "look at the API server and at the controller's rights",
        )
    }

    /// Writes or removes one object; gives the version it has then, none for one that is gone.
    pub(super) async fn perform(&self, job: Job) -> Result<Option<String>, String> {
        if job.collection.is_secret() {
            self.perform_as::<Secret>(job).await
        } else {
            self.perform_as::<ConfigMap>(job).await
        }
    }

    async fn perform_as<K: Holder>(&self, job: Job) -> Result<Option<String>, String> {
        let api: Api<K> = Api::namespaced(self.client.clone(), &self.namespace);
        let name = job.collection.object_name(job.prefix);
        match job.documents {
            Some(documents) => {
                let metadata = self.metadata(&job.collection, &name);
                self.write(&api, metadata, &documents, job.version).await.map(Some)
            }
            None => self.remove(&api, &name, job.version).await.map(|()| None),
        }
    }

    fn metadata(&self, collection: &Collection, name: &str) -> ObjectMeta {
        let mut labels = labels::managed();
        labels.insert(KEEP.into(), collection.label().into());
        if let Collection::Credentials(department) = collection {
            labels.insert(labels::DEPARTMENT.into(), department.to_string());
        }
        ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(self.namespace.to_string()),
            labels: Some(labels),
            annotations: Some(BTreeMap::from([(TERM.into(), self.term.to_string())])),
            ..ObjectMeta::default()
        }
    }

    async fn write<K: Holder>(
        &self,
        api: &Api<K>,
        metadata: ObjectMeta,
        documents: &Documents,
        mut version: Option<String>,
    ) -> Result<String, String> {
        let name = metadata.name.clone().unwrap_or_default();
        let parameters = PostParams { field_manager: Some(FIELD_MANAGER.into()), ..PostParams::default() };
        let mut last = String::new();
        for _ in 0..ATTEMPTS {
            let metadata = ObjectMeta { resource_version: version.clone(), ..metadata.clone() };
            let object = K::holding(metadata, documents);
            let written = match version {
                Some(_) => call(api.replace(&name, &parameters, &object)).await,
                None => call(api.create(&parameters, &object)).await,
            };
            match written {
                Ok(object) => {
                    let version = object.meta().resource_version.clone();
                    return version.ok_or_else(|| "the API server gave it no version".to_owned());
                }
                Err(error) if error.is_missing() && version.is_some() => version = None,
                Err(error) if error.is_conflict() => {
                    last = error.to_string();
                    match self.look(api, &name, documents).await? {
                        Seen::Same(version) => return Ok(version),
                        Seen::Other(found) => version = found,
                    }
                }
                Err(error) => return Err(error.to_string()),
            }
        }
        Err(contended(&last))
    }

    async fn remove<K: Holder>(
        &self,
        api: &Api<K>,
        name: &str,
        mut version: Option<String>,
    ) -> Result<(), String> {
        let mut last = String::new();
        for _ in 0..ATTEMPTS {
            if version.is_none() {
                let Some(found) = self.find(api, name).await? else { return Ok(()) };
                version.clone_from(&found.meta().resource_version);
            }
            let preconditions = Preconditions { resource_version: version.take(), uid: None };
            let parameters = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
            match call(api.delete(name, &parameters)).await {
                Err(error) if error.is_conflict() => last = error.to_string(),
                Err(error) if !error.is_missing() => return Err(error.to_string()),
                _ => return Ok(()),
            }
        }
        Err(contended(&last))
    }

    /// What is there instead of what we expected.
    async fn look<K: Holder>(&self, api: &Api<K>, name: &str, wanted: &Documents) -> Result<Seen, String> {
        let Some(found) = self.find(api, name).await? else { return Ok(Seen::Other(None)) };
        let version = found.meta().resource_version.clone();
        match version {
            Some(version) if found.documents() == *wanted => Ok(Seen::Same(version)),
            version => Ok(Seen::Other(version)),
        }
    }

    /// An object as it is. A later term than ours means that we do not lead.
    async fn find<K: Holder>(&self, api: &Api<K>, name: &str) -> Result<Option<K>, String> {
        let found = call(api.get_opt(name)).await.map_err(|error| error.to_string())?;
        let Some(found) = found else { return Ok(None) };
        let annotations = found.meta().annotations.as_ref();
        let term = annotations.and_then(|all| all.get(TERM)?.parse::<u64>().ok()).unwrap_or(0);
        if term > self.term {
            return Err(format!(
                "the controller of term {term} has taken over; this one had term {}",
                self.term
            ));
        }
        Ok(Some(found))
    }

    /// Follows all kept objects from now on.
    pub(super) fn follow(&self, changed: &Arc<Changed>) -> JoinSet<()> {
        let mut followers = JoinSet::new();
        let secrets: Api<PartialObjectMeta<Secret>> = Api::namespaced(self.client.clone(), &self.namespace);
        let config_maps: Api<PartialObjectMeta<ConfigMap>> =
            Api::namespaced(self.client.clone(), &self.namespace);
        followers.spawn(follow(secrets, Arc::clone(changed)));
        followers.spawn(follow(config_maps, Arc::clone(changed)));
        followers
    }
}

fn contended(last: &str) -> String {
    format!("somebody else keeps changing it: {last}")
}

enum Seen {
    /// It has what we want it to have.
    Same(String),
    /// It is something else, or not there.
    Other(Option<String>),
}

async fn follow<K: Holder>(api: Api<PartialObjectMeta<K>>, changed: Arc<Changed>) {
    let config = watcher::Config::default().labels(KEEP).timeout(WATCH_S);
    let mut events = pin!(watcher::watcher(api, config));
    // Names of the last listing and since, to notice what went while nobody was listening.
    let mut there: BTreeSet<String> = BTreeSet::new();
    let mut listed: BTreeSet<String> = BTreeSet::new();
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Init) => listed.clear(),
            Ok(Event::InitApply(object)) => {
                if let Some(name) = object.metadata.name {
                    listed.insert(name.clone());
                    changed.note(name, object.metadata.resource_version);
                }
            }
            Ok(Event::InitDone) => {
                for name in there.iter().filter(|name| !listed.contains(*name)) {
                    changed.note(name.clone(), None);
                }
                there = std::mem::take(&mut listed);
            }
            Ok(Event::Apply(object)) => {
                if let Some(name) = object.metadata.name {
                    there.insert(name.clone());
                    changed.note(name, object.metadata.resource_version);
                }
            }
            Ok(Event::Delete(object)) => {
                if let Some(name) = object.metadata.name {
                    there.remove(&name);
                    changed.note(name, None);
                }
            }
            Err(error) => {
                tracing::debug!(kind = %K::kind(&()), %error, "cannot follow the controller's own objects");
                tokio::time::sleep(REWATCH).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cluster::tests::one_object::Server;

    #[tokio::test]
    async fn what_a_later_controller_wrote_is_neither_replaced_nor_removed() {
        let server = Arc::new(Server::default());
        let place = Place { client: server.client().await, namespace: "tidegate-system".into(), term: 3 };
        let job = |documents: bool, version: Option<String>| Job {
            collection: Collection::Credentials("sbj".into()),
            prefix: Prefix::parse("0", "0").unwrap(),
            documents: documents.then(|| Documents::from([("a.json".to_owned(), Arc::from(*b"{}"))]).into()),
            version,
        };
        let version = place.perform(job(true, None)).await.unwrap();
        server.edit(|object| object["metadata"]["annotations"][TERM] = json!("4"));
        let theirs = server.object();
        for documents in [true, false] {
            let refused = place.perform(job(documents, version.clone())).await.unwrap_err();
            assert!(refused.contains("term 4 has taken over"), "{refused}");
            assert_eq!(server.object(), theirs);
        }

        // Somebody's edit alone saves nothing.
        server.edit(|object| object["metadata"]["annotations"] = json!({}));
        assert_eq!(place.perform(job(false, version)).await, Ok(None));
        assert_eq!(server.object(), None);
    }
}
