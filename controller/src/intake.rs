//! From what a reader found to what a build starts from: identity, validity, meaning.
//!
//! ```text
//!  Reading --judge (against what earlier specs promised)--> register --convert--> Items
//! ```
//!
//! A reader (a folder or a cluster) says which objects there are; everything that is decided
//! about them is decided here, the same way for both. A reading shares with the one before whatever is
//! the same: what was judged once is not judged again until it, or something it was judged by, is
//! different.

mod reading;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use tidegate_core::{Code, Source, Timestamp};
use tidegate_crd::convert::{Context, Form};
use tidegate_crd::{Violation, convert, validate};

use crate::form::{Item, Items, Refusal};
use crate::identity::{Register, Round, Sighting};
use crate::last_good::KINDS;
use crate::objects::{ObjectKey, ObjectKind, TenantName, pack};
use crate::state::StateError;

pub use reading::{ConfigMaps, Found, Objects, Reading, Tenant, Written};

/// What was judged before of one tenant.
#[derive(Debug, Default)]
pub struct Intake {
    known: BTreeMap<ObjectKey, Judged>,
}

#[derive(Debug)]
struct Judged {
    found: Arc<Found>,
    /// The spec of a kind that keeps its last good form.
    spec: Option<Arc<Value>>,
    wrong: Option<Box<Wrong>>,
    meaning: Option<Meaning>,
}

/// What is wrong with an object.
#[derive(Debug)]
struct Wrong {
    violations: Vec<Violation>,
    /// What the spec was held against.
    held: Option<Value>,
}

/// What an object was found to mean, and what that depends on beside the object.
#[derive(Debug)]
struct Meaning {
    source: Source,
    approved: Option<Timestamp>,
    /// Nothing for an account: whoever takes it keeps what it needs.
    form: Option<Arc<Form>>,
}

/// Objects that were judged just now, each as a tree.
pub type News = BTreeMap<ObjectKey, Arc<Value>>;

/// What became of a tenant's objects.
#[derive(Debug)]
pub struct Taken {
    /// All objects, but of the accounts only those that are new or changed.
    pub items: Items,
    /// Who came and went.
    pub round: Round,
    /// Whether time alone may make one acceptable that is not.
    pub may_ripen: bool,
}

impl Intake {
    /// Judges whatever is new or different. It changes nothing but what is known here, so tenants can be
    /// judged side by side; [`Self::settle`] has to follow.
    pub fn judge(&mut self, tenant: &Tenant, register: &Register) -> News {
        self.known.retain(|key, _| tenant.found.contains_key(key));
        let mut news = News::new();
        for (key, found) in tenant.found.iter() {
            if self.is_known(key, found, register) {
                continue;
            }
            let value = found.written.value(key);
            self.known.insert(key.clone(), judge(key, found, &value, register));
            news.insert(key.clone(), value);
        }
        news
    }

    fn is_known(&mut self, key: &ObjectKey, found: &Arc<Found>, register: &Register) -> bool {
        let Some(judged) = self.known.get_mut(key) else { return false };
        let same = Arc::ptr_eq(&judged.found, found) || judged.found.is_as_written_in(found);
        if !same || judged.wrong.as_ref().is_some_and(|wrong| wrong.held != register.held(key)) {
            return false;
        }
        judged.found = Arc::clone(found);
        true
    }

    /// Takes note of the identities of what was judged, and gives what it means. After an error nothing
    /// is known any more: everything is judged again.
    pub fn settle(
        &mut self,
        name: &TenantName,
        tenant: &Tenant,
        news: &News,
        register: &mut Register,
        now: Timestamp,
    ) -> Result<Taken, StateError> {
        let sightings = news.iter().filter_map(|(key, value)| {
            let judged = self.known.get(key)?;
            Some(Sighting {
                key,
                spec: value.get("spec").filter(|spec| !spec.is_null()),
                valid: judged.wrong.is_none(),
                identity: judged.found.identity.as_ref(),
            })
        });
        let round = register.observe(name, |key| tenant.found.contains_key(key), sightings, now);
        let round = match round {
            Ok(round) => round,
            Err(error) => {
                self.forget();
                return Err(error);
            }
        };
        let mut taken = Taken { items: Items::new(), round, may_ripen: false };
        for (key, judged) in &mut self.known {
            let Some(source) = register.source(key) else { continue };
            let approved = register.approved_since(key);
            let tree = || news.get(key).cloned().unwrap_or_else(|| judged.found.written.value(key));
            let same =
                judged.meaning.as_ref().filter(|known| known.source == source && known.approved == approved);
            let form = match same {
                Some(Meaning { form: Some(form), .. }) => Ok(Arc::clone(form)),
                Some(_) if key.kind == ObjectKind::VpnUser => continue,
                _ => match &judged.wrong {
                    Some(wrong) => Err(wrong.violations.clone()),
                    None => {
                        let at = approved.unwrap_or(now);
                        meaning_of(key, &tree(), &source, at, &tenant.config_maps, now).map(Arc::new)
                    }
                },
            };
            let is_account = key.kind == ObjectKind::VpnUser;
            let is_final = form.is_ok() || judged.wrong.is_some();
            taken.may_ripen |= !is_final;
            judged.meaning = is_final.then(|| Meaning {
                source: source.clone(),
                approved,
                form: form.as_ref().ok().filter(|_| !is_account).map(Arc::clone),
            });
            let spec = judged.spec.clone().unwrap_or_default();
            let item = match form {
                Ok(form) => Item { source, spec, violations: Vec::new(), form: Ok(form) },
                Err(violations) => {
                    let refusal = Refusal::of(&violations).unwrap_or_else(unsaid);
                    Item { source, spec, violations, form: Err(refusal) }
                }
            };
            taken.items.insert(key.clone(), item);
        }
        Ok(taken)
    }

    /// Judges and settles in one step.
    pub fn take(
        &mut self,
        name: &TenantName,
        tenant: &Tenant,
        register: &mut Register,
        now: Timestamp,
    ) -> Result<Taken, StateError> {
        let news = self.judge(tenant, register);
        self.settle(name, tenant, &news, register, now)
    }

    /// Forgets everything, so that everything is judged again.
    pub fn forget(&mut self) {
        self.known.clear();
    }

    /// Takes no more room than it needs.
    pub fn pack(&mut self) {
        pack(&mut self.known);
    }

    /// Forgets what things mean, since something they all depend on is another.
    pub fn forget_meanings(&mut self) {
        self.known.values_mut().for_each(|judged| judged.meaning = None);
    }
}

fn judge(key: &ObjectKey, found: &Arc<Found>, value: &Value, register: &Register) -> Judged {
    let held = register.held(key);
    let violations = if found.violations.is_empty() {
        let old = held.as_ref().map(|held| json!({ "spec": held }));
        validate(key.kind, value, old.as_ref())
    } else {
        found.violations.clone()
    };
    let keeps = KINDS.contains(&key.kind);
    Judged {
        found: Arc::clone(found),
        spec: keeps.then(|| Arc::new(value.get("spec").cloned().unwrap_or_default())),
        wrong: (!violations.is_empty()).then(|| Box::new(Wrong { violations, held })),
        meaning: None,
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

    const NOW: Timestamp = Timestamp(1_760_000_000);

    fn key() -> ObjectKey {
        ObjectKey::new(ObjectKind::VpnUser, "dept-sbj", "li")
    }

    fn user(spec: Value) -> Found {
        Found::of(json!({
            "apiVersion": "tidegate.dev/v1alpha1",
            "kind": "VpnUser",
            "metadata": {"name": "li", "namespace": "dept-sbj"},
            "spec": spec,
        }))
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

    fn taken(intake: &mut Intake, register: &mut Register, found: Found, now: Timestamp) -> Items {
        let reading = Reading::of([(key(), found)], ConfigMaps::new());
        let tenant = &reading.tenants["dept-sbj"];
        intake.take(key().tenant(), tenant, register, now).unwrap().items
    }

    #[test]
    fn an_approval_without_a_date_counts_from_when_it_was_first_seen() {
        let mut register = Register::default();
        for now in [NOW, NOW.plus(86_400)] {
            let items = taken(&mut Intake::default(), &mut register, user(spec("Active", 0)), now);
            let Ok(Form::VpnUser(user)) = items[&key()].form.as_deref() else { panic!("{items:?}") };
            assert_eq!(user.account.approval.as_ref().unwrap().until, NOW.plus(365 * 86_400));
        }
    }

    #[test]
    fn later_specs_are_held_against_earlier_valid_ones() {
        let (mut intake, mut register) = (Intake::default(), Register::default());
        let mut refused = |spec: Value| {
            let items = taken(&mut intake, &mut register, user(spec), NOW);
            items[&key()].form.as_ref().err().map(|refusal| refusal.code)
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
        let mut found = user(spec("Active", 0));
        let overlap = Violation::new("spec.state", Code::FragmentsOverlap, "written twice", "remove one");
        found.violations.push(overlap);
        let items = taken(&mut intake, &mut register, found, NOW);
        assert_eq!(items[&key()].form.as_ref().unwrap_err().code, Code::FragmentsOverlap);
        let items = taken(&mut intake, &mut register, user(spec("Active", 0)), NOW);
        assert!(items[&key()].form.is_ok());
    }

    #[test]
    fn an_account_that_is_the_same_is_not_given_again() {
        let (mut intake, mut register) = (Intake::default(), Register::default());
        assert_eq!(taken(&mut intake, &mut register, user(spec("Active", 0)), NOW).len(), 1);
        assert!(taken(&mut intake, &mut register, user(spec("Active", 0)), NOW.plus(9)).is_empty());
        intake.forget_meanings();
        assert_eq!(taken(&mut intake, &mut register, user(spec("Active", 0)), NOW.plus(9)).len(), 1);
    }
}
