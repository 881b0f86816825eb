//! What each object contributes: its newest form, else the last good one.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use tidegate_core::{Code, DepartmentCode, Source};

use super::DEPARTMENTS_MAX;
use crate::form::{Form, Items, Refusal};
use crate::last_good::{Good, KINDS, LastGood};
use crate::objects::{ObjectKey, ObjectKind};

/// One object's contribution. Accounts have none: they are never kept.
#[derive(Clone, Debug)]
pub struct Part {
    /// The newest form, unless it is refused.
    pub newest: Option<(Arc<Form>, Good)>,
    /// The last good form, when it differs from the newest.
    pub kept: Option<(Arc<Form>, Good)>,
    /// Why the newest form is refused.
    pub refusal: Option<Refusal>,
}

impl Part {
    /// What is in force, for kinds that need no compiling.
    #[must_use]
    pub fn in_force(&self) -> Option<&Form> {
        self.form_in_force().map(|form| &**form)
    }

    fn form_in_force(&self) -> Option<&Arc<Form>> {
        self.newest.as_ref().or(self.kept.as_ref()).map(|(form, _)| form)
    }

    fn good_in_force(&self) -> Option<&Good> {
        self.newest.as_ref().or(self.kept.as_ref()).map(|(_, good)| good)
    }
}

/// The contributions of a tenant's objects.
#[derive(Clone, Debug, Default)]
pub struct Parts {
    by_key: BTreeMap<ObjectKey, Part>,
    departments: BTreeMap<DepartmentCode, ObjectKey>,
}

/// Judges every object of a kind that keeps its last good form. `reread` gives a kept spec its meaning.
pub fn parts(
    items: &Items,
    last_good: &LastGood,
    reread: impl Fn(&ObjectKey, &Source, &Value) -> Result<Form, Refusal>,
) -> Parts {
    let mut parts = Parts::default();
    for (key, item) in items.iter().filter(|(key, _)| KINDS.contains(&key.kind)) {
        // In the wrong place an object counts for nothing, not even as it once was.
        let misplaced = item.form.as_ref().is_err_and(|refusal| refusal.code == Code::WrongNamespace);
        let kept = last_good.get(key, &item.source.uid).filter(|good| good.spec != item.spec && !misplaced);
        let kept =
            kept.and_then(|good| Some((Arc::new(reread(key, &good.source, &good.spec).ok()?), good.clone())));
        let part = match &item.form {
            Ok(form) => {
                let good = Good { source: item.source.clone(), spec: Arc::clone(&item.spec) };
                Part { newest: Some((Arc::clone(form), good)), kept, refusal: None }
            }
            Err(refusal) => Part { newest: None, kept, refusal: Some(refusal.clone()) },
        };
        parts.by_key.insert(key.clone(), part);
    }
    parts.find_departments();
    parts
}

impl Parts {
    /// Each code belongs to the first Department, by name, that claims it.
    fn find_departments(&mut self) {
        for (key, part) in self.by_key.iter_mut().filter(|(key, _)| key.kind == ObjectKind::Department) {
            let Some(Form::Department(settings)) = part.in_force() else { continue };
            let code = settings.code.clone();
            let refusal = if let Some(owner) = self.departments.get(&code) {
                Refusal::new(
                    Code::SchemaViolation,
                    format!("spec.code {code}: Department {} has this code; choose another", owner.name),
                )
            } else if self.departments.len() >= DEPARTMENTS_MAX {
                Refusal::new(
                    Code::SchemaViolation,
                    format!("there are {DEPARTMENTS_MAX} departments already; one pool serves no more"),
                )
            } else {
                self.departments.insert(code, key.clone());
                continue;
            };
            *part = Part { newest: None, kept: None, refusal: Some(refusal) };
        }
    }

    /// The contributions of one kind, by key.
    pub fn of(&self, kind: ObjectKind) -> impl Iterator<Item = (&ObjectKey, &Part)> {
        self.by_key.iter().filter(move |(key, _)| key.kind == kind)
    }

    /// The form in force of the Department with this code.
    #[must_use]
    pub fn department(&self, code: &DepartmentCode) -> Option<&Arc<Form>> {
        self.by_key.get(self.departments.get(code)?)?.form_in_force()
    }

    /// The codes of all departments.
    pub fn codes(&self) -> impl Iterator<Item = &DepartmentCode> {
        self.departments.keys()
    }

    /// Whether a department has this code.
    #[must_use]
    pub fn has_department(&self, code: &DepartmentCode) -> bool {
        self.departments.contains_key(code)
    }

    /// Objects whose newest form is refused, and why.
    pub fn refusals(&self) -> impl Iterator<Item = (ObjectKey, Refusal)> {
        self.by_key.iter().filter_map(|(key, part)| Some((key.clone(), part.refusal.clone()?)))
    }

    /// The generation of an object that is in force, for kinds that need no compiling.
    #[must_use]
    pub fn generation_in_force(&self, key: &ObjectKey) -> Option<i64> {
        Some(self.by_key.get(key)?.good_in_force()?.source.generation)
    }

    /// The forms in force of every kind that needs no compiling.
    #[must_use]
    pub fn settled_forms(&self) -> BTreeMap<ObjectKey, Good> {
        self.by_key
            .iter()
            .filter(|(key, _)| {
                !matches!(key.kind, ObjectKind::AccessPolicy | ObjectKind::ClusterAccessPolicy)
            })
            .filter_map(|(key, part)| Some((key.clone(), part.good_in_force()?.clone())))
            .collect()
    }
}
