//! Sends children to the API server: server-side apply, so that what others add to an object stays.

use kube_client::api::{DeleteParams, Patch, PatchParams, Preconditions, ValidationDirective};
use kube_client::core::{ApiResource, DynamicObject};
use kube_client::{Api, Client};
use serde_json::Value;

use super::call::{CallError, call};
use super::children::{Child, replicas_only};
use super::{FIELD_MANAGER, labels};

/// Under this name the number of gateways is held from the moment the controller leaves it to an autoscaler until
/// that one has spoken; without it the number would fall to one.
const HANDOVER: &str = "tidegate-autoscaling";

/// The parameters of every apply.
#[must_use]
pub fn params(manager: &str) -> PatchParams {
    let mut params = PatchParams::apply(manager).force();
    // A field the API server does not know is a mistake of ours, not something to drop.
    params.field_validation = Some(ValidationDirective::Strict);
    params
}

/// Applies one object; what the API server has afterwards.
pub async fn apply(client: &Client, namespace: &str, child: &Child) -> Result<DynamicObject, CallError> {
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &child.resource);
    if child.resource.kind == "Deployment" && child.manifest.pointer("/spec/replicas").is_none() {
        hand_over(&api, child).await?;
    }
    call(api.patch(&child.name, &params(FIELD_MANAGER), &Patch::Apply(&child.manifest))).await
}

/// Keeps the number of a Deployment that the controller is about to stop saying.
async fn hand_over(api: &Api<DynamicObject>, child: &Child) -> Result<(), CallError> {
    let Some(found) = call(api.get_opt(&child.name)).await? else { return Ok(()) };
    let said_by_us = found.metadata.managed_fields.iter().flatten().any(|entry| {
        entry.manager.as_deref() == Some(FIELD_MANAGER)
            && entry.fields_v1.as_ref().is_some_and(|fields| fields.0.pointer("/f:spec/f:replicas").is_some())
    });
    let replicas = found.data.pointer("/spec/replicas").and_then(Value::as_i64);
    match replicas.and_then(|replicas| i32::try_from(replicas).ok()).filter(|_| said_by_us) {
        Some(replicas) => {
            let patch = replicas_only(child, replicas);
            call(api.patch(&child.name, &params(HANDOVER), &Patch::Apply(&patch))).await.map(|_| ())
        }
        None => Ok(()),
    }
}

/// Removes an object of ours that is no longer wanted.
pub async fn remove(
    client: &Client,
    namespace: &str,
    resource: &ApiResource,
    name: &str,
) -> Result<(), CallError> {
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, resource);
    let Some(found) = call(api.get_opt(name)).await? else { return Ok(()) };
    let ours = found.metadata.labels.as_ref().and_then(|labels| labels.get(labels::MANAGED_BY));
    if ours.is_none_or(|by| by != FIELD_MANAGER) {
        return Ok(());
    }
    let preconditions = Preconditions { uid: found.metadata.uid, ..Preconditions::default() };
    let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::background() };
    match call(api.delete(name, &params)).await {
        Err(error) if !error.is_missing() => Err(error),
        _ => Ok(()),
    }
}
