//! Secrets the controller makes once and keeps: keys, authorities, certificates.
//!
//! ```text
//!  API server --read--> ours? -- no --> somebody else brought it: used, never changed
//!                        | yes
//!                        +-- complete and current --> used
//!                        +-- missing, known in memory --> written again as it was
//!                        +-- missing or outdated ------> made anew
//! ```
//!
//! Losing a root key, a ring or an authority hurts everybody, so what was read once is remembered while the
//! process lives, and a deleted Secret comes back the same.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube_client::Api;
use kube_client::api::PostParams;

use super::call::{CallError, call};
use super::labels;
use super::pki::{self, Leaf, Pair, PkiError};
use super::ring::{Acknowledged, Key, Ring};

/// How the names of our notes on a Secret begin.
const NOTES: &str = "tidegate.dev/";
/// When a certificate is made anew.
const RENEW_AFTER: &str = "tidegate.dev/renew-after";
/// What a certificate was made for.
const MADE_FOR: &str = "tidegate.dev/made-for";
/// Bytes of a key.
const KEY_BYTES: usize = 32;
/// Two replicas may make the same Secret at the same moment; the first wins and the other reads it.
const TRIES: usize = 8;

/// The key of a Secret with the root key.
const ROOT_KEY: &str = "key";
/// The keys of a Secret with a certificate.
const CERTIFICATE: &str = "tls.crt";
const PRIVATE_KEY: &str = "tls.key";
const AUTHORITY: &str = "ca.crt";

/// The bytes of a Secret by key.
pub type Data = BTreeMap<String, Vec<u8>>;

/// Why a Secret is not there.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The API server refused or did not answer.
    #[error("Secret {0}: {1}")]
    Call(String, #[source] CallError),
    /// A certificate could not be made.
    #[error("Secret {0}: {1}")]
    Pki(String, #[source] PkiError),
    /// Somebody's Secret, or an edit of ours, has not what it needs.
    #[error("Secret {name}: {problem}")]
    Unusable {
        /// Which.
        name: String,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// It changes all the time.
    #[error("Secret {0} changes without an end")]
    Contended(String),
}

/// The Secrets of the controller's namespace.
pub struct Keeper {
    secrets: Api<Secret>,
    maps: Api<ConfigMap>,
    /// What must come back the same when it is deleted.
    memory: BTreeMap<String, Kept>,
}

/// A Secret as it lies there: its data, and our notes on it.
#[derive(Clone, Default)]
struct Kept {
    data: Data,
    notes: BTreeMap<String, String>,
}

impl Kept {
    fn of(secret: &Secret) -> Self {
        let notes = secret.metadata.annotations.iter().flatten();
        let notes = notes.filter(|(name, _)| name.starts_with(NOTES));
        Self {
            data: data_of(secret),
            notes: notes.map(|(name, text)| (name.clone(), text.clone())).collect(),
        }
    }
}

/// Names only: what is remembered are keys.
impl std::fmt::Debug for Keeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let known: Vec<&String> = self.memory.keys().collect();
        f.debug_struct("Keeper").field("known", &known).finish_non_exhaustive()
    }
}

/// What is to be done with a Secret as it was found.
enum Next {
    Use,
    Make(Kept),
}

impl Keeper {
    /// The Secrets of a namespace.
    #[must_use]
    pub fn new(secrets: Api<Secret>, maps: Api<ConfigMap>) -> Self {
        Self { secrets, maps, memory: BTreeMap::new() }
    }

    /// The root key.
    pub async fn root(&mut self, name: &str) -> Result<[u8; KEY_BYTES], SecretError> {
        let data = self.keep(name, &[], || Ok(Data::from([(ROOT_KEY.into(), random()?.to_vec())]))).await?;
        let bytes = data.get(ROOT_KEY).map(Vec::as_slice).unwrap_or_default();
        bytes
            .try_into()
            .map_err(|_| unusable(name, format!("`{ROOT_KEY}` has not {KEY_BYTES} bytes; restore it")))
    }

    /// A pool's keys, the one that seals last, after the next step of a rotation that is due or asked for.
    pub async fn ring(
        &mut self,
        name: &str,
        owner: &[OwnerReference],
        asked: Option<&str>,
        acknowledged: &Acknowledged,
    ) -> Result<Vec<Key>, SecretError> {
        let fresh = random().map_err(|error| SecretError::Pki(name.into(), error))?;
        self.keep(name, owner, || Ok(Ring::first(random()?))).await?;
        let read = |data: &Data, annotations: Option<&BTreeMap<String, String>>| {
            Ring::read(data, annotations.unwrap_or(&BTreeMap::new())).map_err(|why| unusable(name, why))
        };
        let kept = self
            .settle(name, owner, |found| {
                let Some(secret) = found else {
                    return Err(unusable(name, "it was removed meanwhile; it comes back".into()));
                };
                let ring = read(&data_of(secret), secret.metadata.annotations.as_ref())?;
                let Some(next) = ring.step(asked, acknowledged, crate::time::now(), fresh) else {
                    return Ok(Next::Use);
                };
                tracing::info!(secret = name, before = ?ring, after = ?next, "the pool's keys change");
                let (data, notes) = next.write();
                Ok(Next::Make(Kept { data, notes }))
            })
            .await?;
        let ring = read(&kept.data, None)?.in_order();
        self.memory.insert(name.into(), kept);
        Ok(ring)
    }

    /// An authority.
    pub async fn authority(&mut self, name: &str, title: &str) -> Result<Pair, SecretError> {
        let make = || {
            let pair = pki::authority(title, jiff::Timestamp::now())?;
            Ok(Data::from([
                (CERTIFICATE.into(), pair.certificate.into_bytes()),
                (PRIVATE_KEY.into(), pair.key.into_bytes()),
            ]))
        };
        let data = self.keep(name, &[], make).await?;
        pair(name, &data)
    }

    /// An authority that somebody may have brought.
    pub async fn brought_authority(&self, name: &str) -> Result<Option<Pair>, SecretError> {
        let found = self.get(name).await?;
        found.map(|secret| pair(name, &data_of(&secret))).transpose()
    }

    /// A certificate of an authority; made anew when its time, its names or the authority change. Without an
    /// authority it must have been brought.
    pub async fn leaf(
        &self,
        name: &str,
        leaf: &Leaf,
        authority: Option<&Pair>,
        owner: &[OwnerReference],
    ) -> Result<Data, SecretError> {
        let make = |found: Option<&Secret>| {
            let Some(authority) = authority else {
                return match found {
                    Some(_) => Ok(Next::Use),
                    None => Err(unusable(name, "it is missing; bring it, or its authority".into())),
                };
            };
            let now = jiff::Timestamp::now();
            let fingerprint = leaf.fingerprint(&authority.certificate);
            if found.is_some_and(|secret| is_current(secret, &fingerprint, now)) {
                return Ok(Next::Use);
            }
            let pair = leaf.issue(authority, now).map_err(|error| SecretError::Pki(name.into(), error))?;
            let data = Data::from([
                (CERTIFICATE.into(), pair.certificate.into_bytes()),
                (PRIVATE_KEY.into(), pair.key.into_bytes()),
                (AUTHORITY.into(), authority.certificate.clone().into_bytes()),
            ]);
            let notes = BTreeMap::from([
                (RENEW_AFTER.into(), Leaf::renew_after(now).to_string()),
                (MADE_FOR.into(), fingerprint),
            ]);
            Ok(Next::Make(Kept { data, notes }))
        };
        let Kept { data, .. } = self.settle(name, owner, make).await?;
        for key in [CERTIFICATE, PRIVATE_KEY, AUTHORITY] {
            if !data.contains_key(key) {
                return Err(unusable(name, format!("`{key}` is missing")));
            }
        }
        Ok(data)
    }

    /// Lays out the public part of an authority for people's computers.
    pub async fn publish_authority(&self, name: &str, authority: &Pair) -> Result<(), SecretError> {
        let failed = |error| SecretError::Call(name.into(), error);
        let data = BTreeMap::from([(AUTHORITY.to_owned(), authority.certificate.clone())]);
        let map = |metadata| ConfigMap { metadata, data: Some(data.clone()), ..ConfigMap::default() };
        match call(self.maps.get_opt(name)).await.map_err(failed)? {
            Some(found) if found.data.as_ref() == Some(&data) => Ok(()),
            Some(found) => {
                let next = map(found.metadata);
                call(self.maps.replace(name, &PostParams::default(), &next)).await.map_err(failed).map(|_| ())
            }
            None => {
                let next = map(metadata(name, &[], BTreeMap::new()));
                call(self.maps.create(&PostParams::default(), &next)).await.map_err(failed).map(|_| ())
            }
        }
    }

    /// A Secret that is made once, and comes back the same when it is deleted.
    async fn keep(
        &mut self,
        name: &str,
        owner: &[OwnerReference],
        make: impl Fn() -> Result<Data, PkiError>,
    ) -> Result<Data, SecretError> {
        let known = self.memory.get(name);
        let kept = self
            .settle(name, owner, |found| match (found, known) {
                (Some(_), _) => Ok(Next::Use),
                (None, Some(known)) => {
                    tracing::warn!(secret = name, "it was deleted and is written again as it was");
                    Ok(Next::Make(known.clone()))
                }
                (None, None) => {
                    let data = make().map_err(|error| SecretError::Pki(name.into(), error))?;
                    Ok(Next::Make(Kept { data, ..Kept::default() }))
                }
            })
            .await?;
        self.memory.insert(name.into(), kept.clone());
        Ok(kept.data)
    }

    async fn get(&self, name: &str) -> Result<Option<Secret>, SecretError> {
        call(self.secrets.get_opt(name)).await.map_err(|error| SecretError::Call(name.into(), error))
    }

    /// Reads, decides, writes, until nobody else was in between.
    async fn settle(
        &self,
        name: &str,
        owner: &[OwnerReference],
        decide: impl Fn(Option<&Secret>) -> Result<Next, SecretError>,
    ) -> Result<Kept, SecretError> {
        for _ in 0..TRIES {
            let found = self.get(name).await?;
            if let Some(secret) = found.as_ref().filter(|secret| !is_ours(secret)) {
                return Ok(Kept::of(secret));
            }
            let kept = match (decide(found.as_ref())?, &found) {
                (Next::Use, found) => return Ok(found.as_ref().map(Kept::of).unwrap_or_default()),
                (Next::Make(kept), _) => kept,
            };
            let Kept { data, notes } = kept.clone();
            let bytes = data.iter().map(|(key, value)| (key.clone(), ByteString(value.clone()))).collect();
            let secret = |metadata, type_| Secret {
                metadata,
                data: Some(bytes),
                type_: Some(type_),
                ..Secret::default()
            };
            let written = match found {
                Some(found) => {
                    let mut metadata = found.metadata;
                    metadata.annotations.get_or_insert_default().extend(notes);
                    let next = secret(metadata, found.type_.unwrap_or_else(|| kind_of(&data)));
                    call(self.secrets.replace(name, &PostParams::default(), &next)).await
                }
                None => {
                    let next = secret(metadata(name, owner, notes), kind_of(&data));
                    call(self.secrets.create(&PostParams::default(), &next)).await
                }
            };
            match written {
                Ok(_) => return Ok(kept),
                Err(error) if error.is_conflict() || error.is_missing() => {}
                Err(error) => return Err(SecretError::Call(name.into(), error)),
            }
        }
        Err(SecretError::Contended(name.into()))
    }
}

fn metadata(name: &str, owner: &[OwnerReference], annotations: BTreeMap<String, String>) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.into()),
        labels: Some(labels::managed()),
        annotations: (!annotations.is_empty()).then_some(annotations),
        owner_references: (!owner.is_empty()).then(|| owner.to_vec()),
        ..ObjectMeta::default()
    }
}

fn is_ours(secret: &Secret) -> bool {
    let labels = secret.metadata.labels.as_ref();
    labels.and_then(|labels| labels.get(labels::MANAGED_BY)).is_some_and(|by| by == super::FIELD_MANAGER)
}

/// Whether a certificate of ours may go on; one without the notes it was made with may not.
fn is_current(secret: &Secret, fingerprint: &str, now: jiff::Timestamp) -> bool {
    let notes = secret.metadata.annotations.as_ref();
    let note = |key: &str| notes.and_then(|notes| notes.get(key));
    let fresh = note(RENEW_AFTER)
        .and_then(|text| text.parse::<jiff::Timestamp>().ok())
        // A far future would be an edit that keeps a certificate until it is void.
        .is_some_and(|at| now < at && at <= Leaf::renew_after(now));
    let data = data_of(secret);
    let complete = [CERTIFICATE, PRIVATE_KEY, AUTHORITY].iter().all(|key| data.contains_key(*key));
    fresh && complete && note(MADE_FOR).is_some_and(|made| made == fingerprint)
}

fn kind_of(data: &Data) -> String {
    if data.contains_key(CERTIFICATE) { "kubernetes.io/tls" } else { "Opaque" }.into()
}

fn data_of(secret: &Secret) -> Data {
    let data = secret.data.iter().flatten();
    data.map(|(key, bytes)| (key.clone(), bytes.0.clone())).collect()
}

fn pair(name: &str, data: &Data) -> Result<Pair, SecretError> {
    let text = |key: &str| {
        data.get(key)
            .and_then(|bytes| String::from_utf8(bytes.clone()).ok())
            .ok_or_else(|| unusable(name, format!("`{key}` is missing or no PEM; restore it")))
    };
    Ok(Pair { certificate: text(CERTIFICATE)?, key: text(PRIVATE_KEY)? })
}

fn unusable(name: &str, problem: String) -> SecretError {
    SecretError::Unusable { name: name.into(), problem }
}

fn random() -> Result<[u8; KEY_BYTES], PkiError> {
    let mut key = [0; KEY_BYTES];
    aws_lc_rs::rand::fill(&mut key).map_err(|_| PkiError::no_random())?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::cluster::tests::one_object::Server;

    #[tokio::test]
    async fn a_ring_that_is_deleted_comes_back_and_is_not_rotated_once_more() {
        let server = Arc::new(Server::default());
        let client = server.client().await;
        let maps = Api::namespaced(client.clone(), "tidegate-system");
        let mut keeper = Keeper::new(Api::namespaced(client, "tidegate-system"), maps);
        let mut ring = async || {
            let nobody = Acknowledged::default();
            keeper.ring("tidegate-pool-main", &[], Some("emergency-1"), &nobody).await.expect("a ring")
        };
        let before = ring().await;
        assert!(before.iter().map(|(kid, _)| *kid).eq([2]), "what was asked for was done");
        server.delete();
        assert!(ring().await == before, "another one came back");
        assert!(ring().await == before, "it is asked for once");
    }
}
