//! A finalizer on what must not be gone before every gateway knows: `kubectl delete` waits for it.

use serde_json::{Value, json};
use tidegate_core::Uid;
use tidegate_crd::API_VERSION;

use super::patches::{Aspect, Target};
use super::status::metadata;
use crate::objects::{ObjectKey, ObjectKind};

/// The finalizer.
pub(super) const IN_FORCE: &str = "tidegate.dev/in-force";

/// The kinds whose deletion waits: what they gave is in people's hands until a gateway takes it away.
pub(super) const KINDS: [ObjectKind; 2] = [ObjectKind::VpnUser, ObjectKind::Department];

pub(super) fn target(key: &ObjectKey) -> Target {
    Target { key: key.clone(), aspect: Aspect::Finalizers }
}

/// What is applied: our finalizer, or none of ours any more. Others' stay as they are.
pub(super) fn body(key: &ObjectKey, uid: &Uid, held: bool) -> Value {
    let mut metadata = metadata(key, uid.as_str());
    if held {
        metadata["finalizers"] = json!([IN_FORCE]);
    }
    json!({ "apiVersion": API_VERSION, "kind": key.kind.as_str(), "metadata": metadata })
}
