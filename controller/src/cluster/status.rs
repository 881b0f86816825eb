//! Conditions in the form in which they are applied to an object's status.

use serde_json::{Value, json};
use tidegate_core::{Source, Uid};
use tidegate_crd::API_VERSION;

use super::patches::{Aspect, Target};
use crate::objects::ObjectKey;
use crate::status::{Condition, Document, Said};
use crate::time::parse_rfc3339;

pub(super) fn target(key: &ObjectKey) -> Target {
    Target { key: key.clone(), aspect: Aspect::Status }
}

/// Whether it is an object's status that is applied.
pub(super) fn is_target(target: &Target) -> bool {
    target.aspect == Aspect::Status
}

/// What is applied. The UID is part of it, so that it never comes to another object of the same name.
pub(super) fn body(key: &ObjectKey, status: &Document) -> Value {
    json!({
        "apiVersion": API_VERSION,
        "kind": key.kind.as_str(),
        "metadata": metadata(key, &status.uid),
        "status": {
            "observedGeneration": status.generation,
            "conditions": status.conditions,
        },
    })
}

/// The metadata that name one object and no other.
pub(super) fn metadata(key: &ObjectKey, uid: &str) -> Value {
    let mut metadata = json!({ "name": &*key.name, "uid": uid });
    if key.kind.namespaced() {
        metadata["namespace"] = json!(&*key.namespace);
    }
    metadata
}

/// What the status of the object with this UID says, JSON, if a controller wrote it.
pub(super) fn said(uid: Uid, status: &str) -> Option<Said> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Status {
        observed_generation: i64,
        conditions: Vec<Condition>,
    }
    let mut status: Status = serde_json::from_str(status).ok()?;
    status.conditions.sort_by_key(|condition| condition.r#type);
    let since = |condition: &Condition| parse_rfc3339(&condition.last_transition_time);
    let source = Source { uid, generation: status.observed_generation };
    Some(Said::of(&source, &status.conditions, since))
}

#[cfg(test)]
mod tests {
    use tidegate_core::Timestamp;

    use super::*;
    use crate::objects::ObjectKind;
    use crate::status::{ConditionType, ObjectStatus, Truth};

    #[test]
    fn what_was_written_is_recognised() {
        let key = ObjectKey::new(ObjectKind::VpnUser, "dept-sbj", "li");
        let mut status =
            ObjectStatus::new(key.clone(), Source { uid: "u-1".parse().unwrap(), generation: 3 });
        status.set(ConditionType::Accepted, Truth::True, "Accepted", "valid as written");
        status.set(ConditionType::Approved, Truth::False, "AccountNotApproved", "");
        let now = Timestamp(1_760_000_000);
        let written = Said::of(&status.source, &status.conditions, |_| Some(now));
        let body = body(&key, &Document::of(&status, &written));
        assert_eq!(body["metadata"]["uid"], "u-1");
        let uid = || status.source.uid.clone();
        assert_eq!(said(uid(), &body["status"].to_string()), Some(written));
        assert_eq!(said(uid(), r#"{"conditions": []}"#), None);
    }
}
