//! Activation codes in the departments' namespaces, for whoever hands them over.
//!
//! The controller may make and remove Secrets there and cannot look at them. So it keeps a list of its
//! own of what it laid out, written before the Secret is made and shortened after it is removed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube_client::Api;
use kube_client::api::{DeleteParams, PostParams};

use super::super::call::{CallError, DEADLINE, call};
use super::super::{FIELD_MANAGER, labels};
use super::stored::Place;
use super::{AT_ONCE, Keep, SLACK, each};
use crate::state::StateError;

/// The key that has the code.
const KEY: &str = "code";

/// Calls one code may take: make, remove, make again.
const CALLS_MAX: u32 = 3;

impl Keep {
    pub(crate) fn hand_out(&self, codes: Vec<(PathBuf, Vec<u8>)>) -> Vec<Result<(), StateError>> {
        let listed = self.write_many(codes.iter().map(|(path, _)| (path.clone(), b"1".to_vec())).collect());
        let jobs: Vec<_> = codes
            .iter()
            .zip(&listed)
            .filter(|(_, listed)| listed.is_ok())
            .filter_map(|((path, bytes), _)| Some((Slip::of(path)?, bytes.clone())))
            .collect();
        let place = self.place.clone();
        let mut outcomes = self
            .all(jobs, move |(slip, code): (Slip, Vec<u8>)| {
                let place = place.clone();
                async move { slip.make(&place, &code).await }
            })
            .into_iter();
        let outcomes = codes.iter().zip(listed).map(|((path, _), listed)| {
            listed?;
            self.said(path, outcomes.next())
        });
        outcomes.collect()
    }

    pub(crate) fn take_back(&self, codes: Vec<PathBuf>) -> Vec<Result<(), StateError>> {
        let jobs: Vec<Slip> = codes.iter().filter_map(|path| Slip::of(path)).collect();
        let place = self.place.clone();
        let mut outcomes = self
            .all(jobs, move |slip: Slip| {
                let place = place.clone();
                async move { slip.remove(&place).await }
            })
            .into_iter();
        let mut outcomes: Vec<_> = codes.iter().map(|path| self.said(path, outcomes.next())).collect();
        let removed = codes.into_iter().zip(&outcomes).filter(|(_, outcome)| outcome.is_ok());
        let unlisted = self.change(removed.map(|(path, _)| (path, None)));
        for (outcome, unlisted) in outcomes.iter_mut().filter(|outcome| outcome.is_ok()).zip(unlisted) {
            *outcome = unlisted;
        }
        outcomes
    }

    fn all<J, F>(&self, jobs: Vec<J>, work: impl Fn(J) -> F + Send + 'static) -> Vec<Result<(), String>>
    where
        J: Send + 'static,
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        if jobs.is_empty() {
            return Vec::new();
        }
        let rounds = u32::try_from(jobs.len().div_ceil(AT_ONCE)).unwrap_or(u32::MAX);
        let deadline = (DEADLINE * CALLS_MAX).saturating_mul(rounds) + SLACK;
        self.wait(deadline, each(jobs, work)).unwrap_or_default()
    }

    fn said(&self, path: &Path, outcome: Option<Result<(), String>>) -> Result<(), StateError> {
        let outcome = outcome.unwrap_or_else(|| Err("the program is stopping".to_owned()));
        outcome.map_err(|why| self.failed(path, &why))
    }
}

/// One code's Secret.
struct Slip {
    namespace: String,
    name: String,
}

impl Slip {
    fn of(path: &Path) -> Option<Self> {
        let account = path.file_name()?.to_str()?;
        let department = path.parent()?.file_name()?.to_str()?;
        Some(Self { namespace: format!("dept-{department}"), name: format!("tidegate-activation-{account}") })
    }

    fn api(&self, place: &Place) -> Api<Secret> {
        Api::namespaced(place.client.clone(), &self.namespace)
    }

    async fn make(&self, place: &Place, code: &[u8]) -> Result<(), String> {
        let code = String::from_utf8_lossy(code).trim().to_owned();
        let secret = Secret {
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                labels: Some(labels::managed()),
                ..ObjectMeta::default()
            },
            string_data: Some(BTreeMap::from([(KEY.to_owned(), code)])),
            ..Secret::default()
        };
        let parameters = PostParams { field_manager: Some(FIELD_MANAGER.into()), ..PostParams::default() };
        let api = self.api(place);
        match call(api.create(&parameters, &secret)).await {
            // It may hold an earlier code, and we cannot look.
            Err(error) if error.is_conflict() => {
                self.remove(place).await?;
                call(api.create(&parameters, &secret)).await.map(drop).map_err(|error| self.advise(&error))
            }
            outcome => outcome.map(drop).map_err(|error| self.advise(&error)),
        }
    }

    async fn remove(&self, place: &Place) -> Result<(), String> {
        match call(self.api(place).delete(&self.name, &DeleteParams::default())).await {
            Err(error) if !error.is_missing() => Err(error.to_string()),
            _ => Ok(()),
        }
    }

    fn advise(&self, error: &CallError) -> String {
        if error.is_missing() {
            return format!("{error}; make the namespace {}", self.namespace);
        }
        error.to_string()
    }
}
