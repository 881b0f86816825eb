//! From what a reader found to what a build starts from.

use std::collections::BTreeMap;

use serde_json::Value;
use tidegate_core::{Code, Source};

use crate::events::Problem;
use crate::form::{Form, Item, Items, Refusal};
use crate::identity::{Register, Sighting};
use crate::objects::ObjectKey;

/// One complete reading of wherever objects come from.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// Every object that is there, readable or not.
    pub found: BTreeMap<ObjectKey, Found>,
    /// Documents and files that are no objects.
    pub problems: Vec<Problem>,
}

/// One object as it was found.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its spec as written; null when it could not even be decoded.
    pub spec: Value,
    /// Why it is not valid.
    pub refusal: Option<Refusal>,
    /// Where it was read.
    pub origin: String,
}

impl Reading {
    /// What the register of UIDs has to know.
    pub fn sightings(&self) -> impl Iterator<Item = Sighting<'_>> {
        self.found.iter().map(|(key, _)| Sighting { key, spec: None, left: false })
    }

    /// Where an object was read.
    #[must_use]
    pub fn origin(&self, key: &ObjectKey) -> String {
        self.found.get(key).map_or_else(String::new, |found| found.origin.clone())
    }
}

/// Gives every object its identity and its meaning.
pub fn items(reading: &Reading, register: &Register) -> Items {
    let item = |(key, found): (&ObjectKey, &Found)| {
        let source = register.source(key)?;
        let form = reread(key, &source, &found.spec);
        Some((key.clone(), Item { source, spec: found.spec.clone(), form }))
    };
    reading.found.iter().filter_map(item).collect()
}

/// Gives a kept spec its meaning.
pub fn reread(_key: &ObjectKey, _source: &Source, _spec: &Value) -> Result<Form, Refusal> {
    Err(Refusal::new(Code::UnknownKind, ""))
}
