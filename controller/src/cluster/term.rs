//! The term: a number that every takeover raises, kept in ConfigMap `tidegate-term`.
//!
//! The store refuses whoever has a smaller term than the largest it has seen, so a deposed leader that does
//! not know it yet can publish nothing. The number outlives a wiped store, since it lies in Kubernetes.

use std::collections::BTreeMap;
use std::str::FromStr;

use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube_client::Api;
use kube_client::api::PostParams;
use tidegate_store::etcd::EtcdIdentity;

use super::call::{CallError, call};
use super::labels;

/// The name of the ConfigMap.
pub const NAME: &str = "tidegate-term";
/// Others may raise at the same moment; each time somebody wins.
const TRIES: usize = 16;

const TERM: &str = "term";
const CLUSTER: &str = "etcdClusterId";
const REVISION: &str = "etcdRevision";

/// What the ConfigMap says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Term {
    /// The number of the last takeover.
    pub number: u64,
    /// The identity of the etcd cluster that was published to last.
    pub etcd_cluster: Option<u64>,
    /// Its revision then.
    pub etcd_revision: Option<i64>,
}

impl Term {
    /// Whether a store is the one that was published to last, and no older state of it: another one has forgotten
    /// which sessions were ended one by one, so all of them have to end.
    #[must_use]
    pub fn is_of(&self, store: &EtcdIdentity) -> bool {
        self.etcd_cluster.is_none_or(|cluster| cluster == store.cluster)
            && self.etcd_revision.is_none_or(|revision| revision <= store.revision)
    }
}

/// Why there is no term.
#[derive(Debug, thiserror::Error)]
pub enum TermError {
    /// The API server refused or did not answer.
    #[error(transparent)]
    Call(#[from] CallError),
    /// Somebody edited the ConfigMap.
    #[error(
        "ConfigMap {NAME}: {key} is {value:?}; write a number that is not smaller than any term logged so far"
    )]
    NoNumber {
        /// Which key.
        key: &'static str,
        /// What it says.
        value: String,
    },
    /// Somebody edited what is noted of the store.
    #[error(
        "ConfigMap {NAME}: {key} is {value:?}; remove it and write \"0\" as {CLUSTER}: everybody logs in again then, \
         since the store may have forgotten whose sessions were ended"
    )]
    NoIdentity {
        /// Which key.
        key: &'static str,
        /// What it says.
        value: String,
    },
    /// Others raised it again and again.
    #[error("ConfigMap {NAME} changes without an end")]
    Contended,
}

/// Raises the term above what it was, and above `floor`; returns what was before, with the new number.
pub async fn raise(maps: &Api<ConfigMap>, floor: u64) -> Result<Term, TermError> {
    change(maps, |term| term.number = term.number.max(floor).saturating_add(1)).await
}

/// What the ConfigMap says now; nothing when somebody deleted it.
pub async fn current(maps: &Api<ConfigMap>) -> Result<Term, TermError> {
    call(maps.get_opt(NAME)).await?.as_ref().map_or_else(|| Ok(Term::default()), read)
}

/// Notes which etcd cluster is published to, and how far it is, so that a restored or wiped one is recognised.
/// Nothing is written by a leader whose term has passed.
pub async fn note(maps: &Api<ConfigMap>, own: u64, cluster: u64, revision: i64) -> Result<(), TermError> {
    change(maps, |term| {
        if term.number == own {
            term.etcd_cluster = Some(cluster);
            term.etcd_revision = Some(revision);
        }
    })
    .await
    .map(|_| ())
}

async fn change(maps: &Api<ConfigMap>, apply: impl Fn(&mut Term)) -> Result<Term, TermError> {
    for _ in 0..TRIES {
        let known = call(maps.get_opt(NAME)).await?;
        let mut term = known.as_ref().map_or_else(|| Ok(Term::default()), read)?;
        let before = term.clone();
        apply(&mut term);
        let written = match known {
            Some(_) if term == before => return Ok(term),
            // The version it was read at goes along, so that nobody else's change is lost.
            Some(mut map) => {
                write(&mut map, &term);
                call(maps.replace(NAME, &PostParams::default(), &map)).await
            }
            None => {
                let metadata = ObjectMeta {
                    name: Some(NAME.into()),
                    labels: Some(labels::managed()),
                    ..ObjectMeta::default()
                };
                let mut map = ConfigMap { metadata, ..ConfigMap::default() };
                write(&mut map, &term);
                call(maps.create(&PostParams::default(), &map)).await
            }
        };
        match written {
            Ok(_) => return Ok(term),
            Err(error) if error.is_conflict() || error.is_missing() => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(TermError::Contended)
}

fn read(map: &ConfigMap) -> Result<Term, TermError> {
    let data = map.data.as_ref();
    let text = |key: &str| data.and_then(|data| data.get(key)).map(|text| text.trim());
    // A map without a term is not a first one: somebody emptied it, and small numbers would be refused later.
    let number = text(TERM).unwrap_or_default();
    let odd = |_| TermError::NoNumber { key: TERM, value: number.into() };
    Ok(Term {
        number: number.parse().map_err(odd)?,
        etcd_cluster: identity(CLUSTER, text(CLUSTER))?,
        etcd_revision: identity(REVISION, text(REVISION))?,
    })
}

/// What is noted of the store. Something that is no number is not taken for nothing: then any store would pass for the
/// one that was published to.
fn identity<T: FromStr>(key: &'static str, text: Option<&str>) -> Result<Option<T>, TermError> {
    let odd = |value: &str| TermError::NoIdentity { key, value: value.into() };
    text.map(|text| text.parse().map_err(|_| odd(text))).transpose()
}

fn write(map: &mut ConfigMap, term: &Term) {
    let data = map.data.get_or_insert_with(BTreeMap::new);
    data.insert(TERM.into(), term.number.to_string());
    for (key, value) in [
        (CLUSTER, term.etcd_cluster.map(|id| id.to_string())),
        (REVISION, term.etcd_revision.map(|revision| revision.to_string())),
    ] {
        if let Some(value) = value {
            data.insert(key.into(), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_that_was_wiped_or_restored_is_another_one() {
        let store = |cluster, revision| EtcdIdentity { cluster, revision };
        let term = Term { number: 1, etcd_cluster: Some(5), etcd_revision: Some(100) };
        assert!(term.is_of(&store(5, 100)));
        assert!(!term.is_of(&store(5, 99)));
        assert!(!term.is_of(&store(6, 100)));
        assert!(Term::default().is_of(&store(6, 1)), "the first store there is");
    }

    #[test]
    fn a_term_is_read_as_it_was_written() {
        let term = Term { number: 7, etcd_cluster: Some(u64::MAX), etcd_revision: Some(12) };
        let mut map = ConfigMap::default();
        write(&mut map, &term);
        assert_eq!(read(&map).expect("a term"), term);
        map.data.as_mut().expect("data").insert(TERM.into(), "seven".into());
        assert!(read(&map).is_err());
        map.data = None;
        assert!(read(&map).is_err(), "an emptied map is no first one");
    }

    #[test]
    fn an_identity_that_cannot_be_read_is_no_first_store() {
        let term = Term { number: 7, etcd_cluster: Some(5), etcd_revision: Some(12) };
        for key in [CLUSTER, REVISION] {
            let mut map = ConfigMap::default();
            write(&mut map, &term);
            map.data.as_mut().expect("data").insert(key.into(), "0x5".into());
            let error = read(&map).expect_err("it is no number").to_string();
            assert!(error.contains(key) && error.contains("0x5"), "{error}");
            let data = map.data.as_mut().expect("data");
            data.remove(key);
            data.insert(CLUSTER.into(), "0".into());
            let edited = read(&map).expect("what the error says to write");
            assert!(!edited.is_of(&EtcdIdentity { cluster: 5, revision: 12 }), "everybody logs in again");
        }
    }
}
