//! One row of the table: somebody tries something, and the API server takes it or says why not.

use serde_json::{Value, json};
use tidegate_crd::API_VERSION;

/// Somebody known to the API server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Who {
    pub(crate) name: &'static str,
    pub(crate) groups: &'static [&'static str],
}

/// How they write.
#[derive(Clone, Debug)]
pub(crate) enum Write {
    /// `kubectl create`.
    Create(Value),
    /// `kubectl create` with `generateName`: the API server makes the name up.
    Generate(Value),
    /// `kubectl apply --server-side` as a field manager, taking over what others own.
    Apply(&'static str, Value),
    /// `kubectl replace`.
    Replace(Value),
    /// `kubectl patch --type=merge`.
    Patch(Value),
    /// `kubectl patch --subresource=status`.
    Status(Value),
    /// `kubectl delete`.
    Delete,
    /// The one request that deletes everything of a kind in the namespace.
    DeleteAll,
}

/// What becomes of it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Then {
    /// It is stored.
    Stored,
    /// It is answered with success, and the specification stays as it was.
    Unchanged,
    /// It is refused with this code.
    Refused(&'static str),
    /// The API server's own rights forbid it, before any policy is asked.
    NoRight,
}

/// One row.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    /// What is tried, in words.
    pub(crate) what: &'static str,
    pub(crate) kind: &'static str,
    /// The object's name; from its row if empty.
    pub(crate) name: String,
    /// The specification that is there before.
    pub(crate) before: Option<Value>,
    pub(crate) who: Who,
    pub(crate) write: Write,
    pub(crate) then: Then,
}

impl Case {
    /// Whether its kind lies in a namespace.
    pub(crate) fn namespaced(&self) -> bool {
        self.kind != "Department"
    }

    /// The object with a specification.
    pub(crate) fn object(&self, spec: &Value) -> Value {
        let mut object = json!({
            "apiVersion": API_VERSION, "kind": self.kind, "metadata": {"name": self.name}, "spec": spec,
        });
        if self.namespaced() {
            object["metadata"]["namespace"] = crate::setting::DEPARTMENT.into();
        }
        object
    }
}

/// A merge patch of the metadata.
pub(crate) fn metadata(patch: Value) -> Write {
    Write::Patch(json!({"metadata": patch}))
}

/// A specification with fields put over it, as a merge patch does.
pub(crate) fn with(mut spec: Value, patch: &Value) -> Value {
    for (name, value) in patch.as_object().into_iter().flatten() {
        match value {
            Value::Null => _ = spec.as_object_mut().and_then(|fields| fields.remove(name)),
            Value::Object(_) if spec[name].is_object() => spec[name] = with(spec[name].clone(), value),
            _ => spec[name] = value.clone(),
        }
    }
    spec
}

/// A merge patch of the specification.
pub(crate) fn spec(patch: Value) -> Write {
    Write::Patch(json!({"spec": patch}))
}
