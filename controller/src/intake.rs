//! From what a reader found to what a build starts from: identity, validity, meaning.
//!
//! ```text
//!  Reading --validate(against what earlier specs promised)--> register --convert--> Items
//! ```
//!
//! A reader (a folder or a cluster) says which objects there are; everything that is decided
//! about them is decided here, the same way for both. What was judged once is not judged again until
//! it, or something it was judged by, is different.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use tidegate_core::{Code, Source, Timestamp, Uid};
use tidegate_crd::convert::{Context, Form};
use tidegate_crd::{Violation, convert, validate};

use crate::digest::Digest;
use crate::events::Problem;
use crate::folder::Places;
use crate::form::{Item, Items, Refusal};
use crate::identity::{Register, Round, Sighting, digest_of};
use crate::objects::ObjectKey;
use crate::state::StateError;
use crate::status::Said;
use crate::time::year;

/// Values of ConfigMaps by namespace, name and key.
pub type ConfigMaps = BTreeMap<(String, String, String), String>;

/// One complete reading of wherever objects come from.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// Every object that is there, usable or not.
    pub found: BTreeMap<ObjectKey, Found>,
    /// ConfigMaps that objects may refer to.
    pub config_maps: Arc<ConfigMaps>,
    /// Documents and files that are no objects.
    pub problems: Vec<Problem>,
    /// Objects that are being deleted: they count for nothing any more, and their deletion waits until
    /// that is in force. Only a cluster has them.
    pub leaving: BTreeMap<ObjectKey, Uid>,
    /// Objects whose deletion would not wait yet, though it should.
    pub unheld: BTreeMap<ObjectKey, Uid>,
    /// Accounts among the objects that are missing and not believed to be gone.
    pub held_back: usize,
}

/// One object as it was found.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// The whole object, its fragments merged.
    pub value: Arc<Value>,
    /// What the reader found wrong with it, such as fragments that overlap; it is refused then.
    pub violations: Vec<Violation>,
    /// Where its fields were written.
    pub places: Arc<Places>,
    /// The UID and generation it came with; in a folder there are none, and the register gives them.
    pub identity: Option<Source>,
    /// The conditions it came with: what an earlier controller said about it.
    pub said: Option<Arc<Said>>,
}

impl Reading {
    /// Where a field of an object was written.
    #[must_use]
    pub fn place(&self, key: &ObjectKey, path: &str) -> String {
        self.found.get(key).map_or_else(String::new, |found| found.places.at(path))
    }
}

/// What was judged before.
#[derive(Debug, Default)]
pub struct Intake {
    known: BTreeMap<ObjectKey, Judged>,
}

#[derive(Debug)]
struct Judged {
    value: Arc<Value>,
    spec: Arc<Value>,
    digest: Digest,
    found_wrong: Vec<Violation>,
    /// What the spec was held against, if it was found wanting.
    held: Option<Value>,
    violations: Vec<Violation>,
    meaning: Option<Meaning>,
}

/// What a valid object means, and what that depends on beside the object.
#[derive(Debug)]
struct Meaning {
    source: Source,
    approved: Timestamp,
    config_maps: Arc<ConfigMaps>,
    /// Time zones are compiled from the beginning of the year.
    year: i16,
    form: Arc<Form>,
}

impl Intake {
    /// Judges a reading: identities are in the register afterwards, meanings in the items.
    pub fn take(
        &mut self,
        reading: &Reading,
        register: &mut Register,
        now: Timestamp,
    ) -> Result<(Items, Round), StateError> {
        self.known.retain(|key, _| reading.found.contains_key(key));
        for (key, found) in &reading.found {
            self.judge(key, found, register);
        }
        let known = &self.known;
        let sightings = known.iter().map(|(key, judged)| Sighting {
            key,
            spec: (!judged.spec.is_null()).then_some((&*judged.spec, judged.digest)),
            valid: judged.violations.is_empty(),
            identity: reading.found.get(key).and_then(|found| found.identity.as_ref()),
        });
        let round = register.observe(sightings, now)?;
        let mut items = Items::new();
        for (key, judged) in &mut self.known {
            let Some(source) = register.source(key) else { continue };
            let approved = register.approved_since(key).unwrap_or(now);
            let outcome = judged.convert(key, source.clone(), approved, &reading.config_maps, now);
            let spec = Arc::clone(&judged.spec);
            let item = match outcome {
                Ok(form) => Item { source, spec, violations: Vec::new(), form: Ok(form) },
                Err(violations) => {
                    let refusal = Refusal::of(&violations).unwrap_or_else(unsaid);
                    Item { source, spec, violations, form: Err(refusal) }
                }
            };
            items.insert(key.clone(), item);
        }
        Ok((items, round))
    }

    fn judge(&mut self, key: &ObjectKey, found: &Found, register: &Register) {
        if let Some(judged) = self.known.get(key)
            && (Arc::ptr_eq(&judged.value, &found.value) || judged.value == found.value)
            && judged.found_wrong == found.violations
            && (judged.violations.is_empty() || judged.held == register.held(key))
        {
            return;
        }
        let held = register.held(key);
        let violations = if found.violations.is_empty() {
            let old = held.as_ref().map(|held| json!({ "spec": held }));
            validate(key.kind, &found.value, old.as_ref())
        } else {
            found.violations.clone()
        };
        let spec = found.value.get("spec").cloned().unwrap_or_default();
        let judged = Judged {
            value: Arc::clone(&found.value),
            digest: digest_of(&spec),
            spec: Arc::new(spec),
            found_wrong: found.violations.clone(),
            held,
            violations,
            meaning: None,
        };
        self.known.insert(key.clone(), judged);
    }
}

impl Judged {
    fn convert(
        &mut self,
        key: &ObjectKey,
        source: Source,
        approved: Timestamp,
        config_maps: &Arc<ConfigMaps>,
        now: Timestamp,
    ) -> Result<Arc<Form>, Vec<Violation>> {
        if !self.violations.is_empty() {
            return Err(self.violations.clone());
        }
        let year = year(now);
        if let Some(meaning) = &self.meaning
            && meaning.source == source
            && meaning.approved == approved
            && meaning.config_maps == *config_maps
            && meaning.year == year
        {
            return Ok(Arc::clone(&meaning.form));
        }
        self.meaning = None;
        let form = Arc::new(meaning_of(key, &self.value, &source, approved, config_maps, now)?);
        let config_maps = Arc::clone(config_maps);
        self.meaning = Some(Meaning { source, approved, config_maps, year, form: Arc::clone(&form) });
        Ok(form)
    }
}

fn meaning_of(
    key: &ObjectKey,
    value: &Value,
    source: &Source,
    approved: Timestamp,
    config_maps: &ConfigMaps,
    now: Timestamp,
) -> Result<Form, Vec<Violation>> {
    let lookup = |namespace: &str, name: &str, entry: &str| {
        config_maps.get(&(namespace.to_owned(), name.to_owned(), entry.to_owned())).cloned()
    };
    let context = Context { source, now, approved, config_maps: &lookup };
    convert(key.kind, value, &context)
}

/// Gives a kept spec its meaning again.
pub fn reread(
    key: &ObjectKey,
    source: &Source,
    spec: &Value,
    config_maps: &ConfigMaps,
    now: Timestamp,
) -> Result<Form, Refusal> {
    let value = json!({
        "metadata": { "name": &*key.name, "namespace": &*key.namespace },
        "spec": spec,
    });
    meaning_of(key, &value, source, now, config_maps, now)
        .map_err(|violations| Refusal::of(&violations).unwrap_or_else(unsaid))
}

fn unsaid() -> Refusal {
    Refusal::new(Code::SchemaViolation, "the object cannot be used as written")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::ObjectKind;

    const NOW: Timestamp = Timestamp(1_760_000_000);

    fn key() -> ObjectKey {
        ObjectKey::new(ObjectKind::VpnUser, "dept-sbj", "li")
    }

    fn user(spec: Value) -> Reading {
        let value = json!({
            "apiVersion": "tidegate.dev/v1alpha1",
            "kind": "VpnUser",
            "metadata": {"name": "li", "namespace": "dept-sbj"},
            "spec": spec,
        });
        let found = Found { value: Arc::new(value), ..Found::default() };
        Reading { found: BTreeMap::from([(key(), found)]), ..Reading::default() }
    }

    fn spec(state: &str, generation: i64) -> Value {
        json!({
            "request": {"person": "李强"},
            "requestedBy": "wang",
            "approval": {"by": "zhang"},
            "state": state,
            "sessionGeneration": generation,
        })
    }

    fn form(items: &Items) -> &Result<Arc<Form>, Refusal> {
        &items[&key()].form
    }

    #[test]
    fn an_approval_without_a_date_counts_from_when_it_was_first_seen() {
        let (mut intake, mut register) = (Intake::default(), Register::default());
        for now in [NOW, NOW.plus(86_400)] {
            let (items, _) = intake.take(&user(spec("Active", 0)), &mut register, now).unwrap();
            let Ok(Form::VpnUser(user)) = form(&items).as_deref() else { panic!("{items:?}") };
            assert_eq!(user.account.approval.as_ref().unwrap().until, NOW.plus(365 * 86_400));
        }
    }

    #[test]
    fn later_specs_are_held_against_earlier_valid_ones() {
        let (mut intake, mut register) = (Intake::default(), Register::default());
        let mut refused = |spec: Value| {
            let (items, _) = intake.take(&user(spec), &mut register, NOW).unwrap();
            form(&items).as_ref().err().map(|refusal| refusal.code)
        };
        assert_eq!(refused(spec("Active", 3)), None);
        assert_eq!(refused(spec("Active", 2)), Some(Code::FieldImmutable));
        assert_eq!(refused(spec("Active", 4)), None);
        let mut other = spec("Active", 4);
        other["requestedBy"] = json!("somebody");
        assert_eq!(refused(other), Some(Code::FieldImmutable));
        assert_eq!(refused(spec("Left", 4)), None);
        assert_eq!(refused(spec("Active", 4)), Some(Code::AccountLeftFinal));
        assert_eq!(refused(spec("Left", 4)), None);
    }

    #[test]
    fn what_the_reader_found_wrong_is_not_judged_again() {
        let (mut intake, mut register) = (Intake::default(), Register::default());
        let mut reading = user(spec("Active", 0));
        let overlap = Violation::new("spec.state", Code::FragmentsOverlap, "written twice", "remove one");
        reading.found.get_mut(&key()).unwrap().violations.push(overlap);
        let (items, _) = intake.take(&reading, &mut register, NOW).unwrap();
        assert_eq!(form(&items).as_ref().unwrap_err().code, Code::FragmentsOverlap);
        let (items, _) = intake.take(&user(spec("Active", 0)), &mut register, NOW).unwrap();
        assert!(form(&items).is_ok());
    }
}
