//! What the objects of one tenant came to, kept for as long as nothing it depends on is another.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate_core::{AccountId, Code, Department, Timestamp};
use tidegate_crd::Violation;

use super::parts::{Parts, parts};
use super::{department, settings_of};
use crate::credentials::{Effect, Vault};
use crate::form::{Form, Items, Refusal, department_of};
use crate::identity::{Register, Round};
use crate::intake::{self, Intake, News, Tenant};
use crate::last_good::{Good, LastGood};
use crate::objects::{ObjectKey, ObjectKind, TenantName};
use crate::people::People;
use crate::publish::Published;
use crate::rules::{Candidate, Ruling, Scope, compile};
use crate::state::{State, StateError};

/// What can become acceptable by time alone is looked at again this many seconds later.
const RIPENS_S: i64 = 3_600;

/// One tenant.
#[derive(Debug, Default)]
pub struct Kept {
    read: Arc<Tenant>,
    /// The form of the Department in force; nothing when there is none.
    department_form: Option<Arc<Form>>,
    intake: Intake,
    /// The objects, accounts apart.
    items: Items,
    parts: Parts,
    people: People,
    /// Everything that is wrong with objects as written.
    violations: BTreeMap<ObjectKey, Vec<Violation>>,
    /// Why objects are not accepted.
    refusals: BTreeMap<ObjectKey, Refusal>,
    compiled: Option<(Vec<Candidate>, Ruling)>,
    /// Objects in force as written and objects that are not, by kind.
    counts: BTreeMap<ObjectKind, (i64, i64)>,
    department: Option<Arc<Department>>,
    ripens: bool,
    /// When it was judged.
    judged: Option<Timestamp>,
    holds_until: Option<Timestamp>,
}

impl Kept {
    /// Whether all that was made of it still holds for `tenant` at `now`.
    pub(super) fn holds(&mut self, tenant: &Arc<Tenant>, now: Timestamp) -> bool {
        let same = self.read.is_judged_as(tenant);
        if same {
            self.read = Arc::clone(tenant);
        }
        // A clock that went back may have judged by a day that is not here yet.
        same && self.judged.is_none_or(|at| at <= now) && now < self.holds_until()
    }

    /// When time alone changes something.
    pub(super) fn holds_until(&self) -> Timestamp {
        self.holds_until.unwrap_or(Timestamp::NEVER)
    }

    /// Whether there is any object.
    pub(super) fn has_objects(&self) -> bool {
        !self.read.found.is_empty()
    }

    /// Whether there is anything to be kept of it.
    pub(super) fn is_needed(&self) -> bool {
        self.has_objects() || self.department_form.is_some()
    }

    /// Whether it was made with this form of its Department.
    pub(super) fn has_department(&self, form: Option<&Arc<Form>>) -> bool {
        match (&self.department_form, form) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (one, other) => one.is_none() && other.is_none(),
        }
    }

    /// What is read of it.
    #[must_use]
    pub fn tenant(&self) -> &Tenant {
        &self.read
    }

    /// Everything that is wrong with an object as written.
    #[must_use]
    pub fn violations(&self, key: &ObjectKey) -> &[Violation] {
        self.violations.get(key).map_or(&[], Vec::as_slice)
    }

    /// Why an object is not accepted.
    pub(super) fn refusal(&self, key: &ObjectKey) -> Option<&Refusal> {
        let refused = || self.items.get(key).and_then(|item| item.form.as_ref().err());
        self.refusals.get(key).or_else(refused)
    }

    /// Why an object is not in force as written: not accepted, or not compiled.
    #[must_use]
    pub fn refused(&self, key: &ObjectKey) -> Option<&Refusal> {
        self.ruling().refusals.get(key).or_else(|| self.refusal(key))
    }

    /// Policies whose newest form is not in force.
    #[must_use]
    pub fn compile_problems(&self) -> usize {
        self.ruling().refusals.len()
    }

    /// How many objects are in force as written, and how many are not, by kind.
    #[must_use]
    pub fn counts(&self) -> &BTreeMap<ObjectKind, (i64, i64)> {
        &self.counts
    }

    /// The accounts.
    #[must_use]
    pub fn people(&self) -> &People {
        &self.people
    }

    pub(super) fn parts(&self) -> &Parts {
        &self.parts
    }

    pub(super) fn department(&self) -> Option<&Arc<Department>> {
        self.department.as_ref()
    }

    pub(super) fn ruling(&self) -> &Ruling {
        const NONE: &Ruling = &Ruling::NONE;
        self.compiled.as_ref().map_or(NONE, |(_, ruling)| ruling)
    }

    pub(super) fn forget_meanings(&mut self) {
        self.intake.forget_meanings();
    }

    /// Takes no more room than it needs.
    pub(super) fn pack(&mut self) {
        self.intake.pack();
        self.people.pack();
    }

    /// Takes a newer reading.
    pub(super) fn read(&mut self, tenant: Arc<Tenant>) {
        if !Arc::ptr_eq(&self.read.config_maps, &tenant.config_maps)
            && self.read.config_maps != tenant.config_maps
        {
            self.forget_meanings();
        }
        self.read = tenant;
    }

    /// Judges the objects that are new or changed.
    pub(super) fn judge(&mut self, register: &Register) -> News {
        self.intake.judge(&self.read, register)
    }

    /// Says who is who, and what each object contributes.
    pub(super) fn settle(
        &mut self,
        name: &TenantName,
        news: &News,
        department: Option<Arc<Form>>,
        register: &mut Register,
        last_good: &LastGood,
        now: Timestamp,
    ) -> Result<Round, StateError> {
        if self.department_form.is_some() != department.is_some() {
            // Accounts of a department that does not exist are refused, so each is looked at again.
            self.forget_meanings();
        }
        self.department_form = department;
        let taken = self.intake.settle(name, &self.read, news, register, now)?;
        let there = |key: &ObjectKey| self.read.found.contains_key(key);
        self.violations.retain(|key, _| there(key) && !taken.items.contains_key(key));
        for (key, item) in taken.items.iter().filter(|(_, item)| !item.violations.is_empty()) {
            self.violations.insert(key.clone(), item.violations.clone());
        }
        self.people.update(&taken.items, there, |_| self.department_form.is_some(), register);
        self.items = taken.items;
        self.items.retain(|key, _| key.kind != ObjectKind::VpnUser);
        self.parts = parts(&self.items, last_good, |key, source, spec| {
            intake::reread(key, source, spec, &self.read.config_maps, now)
        });
        self.ripens = taken.may_ripen;
        Ok(taken.round)
    }

    /// Tells the vault what the accounts' objects say.
    pub(super) fn observe(
        &mut self,
        name: &TenantName,
        vault: &mut Vault,
        state: &State,
        now: Timestamp,
    ) -> Vec<(AccountId, Effect)> {
        let ripens = if self.ripens { now.plus(RIPENS_S) } else { Timestamp::NEVER };
        self.judged = Some(now);
        self.holds_until = Some(ripens);
        let Some(code) = department_of(name) else { return Vec::new() };
        let age = self.department_form.as_deref().and_then(settings_of);
        let age = age.map_or(0, |settings| settings.login.password_max_age_days);
        let (effects, holds_until) = self.people.observe(&code, age, vault, state, now);
        self.holds_until = Some(ripens.min(holds_until));
        self.tell(vault);
        effects
    }

    /// Adds to the accounts the credentials that may be told now.
    pub(super) fn tell(&mut self, vault: &Vault) {
        self.people.tell(vault);
    }

    /// The names of the Resources in the newest objects, valid or not: the others are gone at once.
    pub fn resource_names(&self) -> impl Iterator<Item = &str> {
        self.items.keys().filter(|key| key.kind == ObjectKind::Resource).map(|key| &*key.name)
    }

    /// Compiles the rules and makes the department.
    pub(super) fn build(&mut self, name: &TenantName, published: &Published) {
        let code = department_of(name).filter(|_| self.department_form.is_some());
        let scope = match &code {
            Some(code) => Some((Scope::Department(code.clone()), ObjectKind::AccessPolicy)),
            None if name.is_empty() => Some((Scope::Platform, ObjectKind::ClusterAccessPolicy)),
            None => None,
        };
        match scope {
            Some((scope, kind)) => self.compile(&scope, kind),
            None => self.compiled = None,
        }
        let accounts = self.people.all().map(|(_, person)| (&person.key, person.refusal.as_deref()));
        let accounts = accounts.filter_map(|(key, refusal)| Some((key.clone(), refusal?.clone())));
        let mut refusals: BTreeMap<ObjectKey, Refusal> = self.parts.refusals().collect();
        refusals.extend(self.people.refused.iter().map(|(key, refusal)| (key.clone(), refusal.clone())));
        refusals.extend(accounts);
        let settings = self.department_form.as_deref().and_then(settings_of);
        self.department = settings.zip(code.as_ref()).map(|(settings, code)| {
            let published = published.departments.get(code);
            let (parts, people, ruling) = (&self.parts, &self.people, self.ruling());
            department::department(settings, parts, people, ruling, published, &mut refusals)
        });
        self.refusals = refusals;
        self.refuse_strays();
        let mut counts: BTreeMap<ObjectKind, (i64, i64)> = BTreeMap::new();
        for key in self.read.found.keys() {
            let (accepted, refused) = counts.entry(key.kind).or_default();
            *if self.refused(key).is_none() { accepted } else { refused } += 1;
        }
        self.counts = counts;
    }

    fn compile(&mut self, scope: &Scope, kind: ObjectKind) {
        let candidates: Vec<Candidate> =
            self.parts.of(kind).map(|(key, part)| Candidate::of(key, part)).collect();
        if self.compiled.as_ref().is_none_or(|(known, _)| *known != candidates) {
            let ruling = compile(scope, &candidates);
            self.compiled = Some((candidates, ruling));
        }
    }

    /// Objects in a namespace of no department count for nothing; they are told so.
    fn refuse_strays(&mut self) {
        if self.department_form.is_some() {
            return;
        }
        let strays = self
            .items
            .keys()
            .filter(|key| matches!(key.kind, ObjectKind::Resource | ObjectKind::AccessPolicy));
        for key in strays {
            let refusal = match department_of(&key.namespace) {
                None => Refusal::new(
                    Code::WrongNamespace,
                    format!(
                        "metadata.namespace {:?}: a {} lies in its department's namespace; write dept-<code>",
                        key.namespace,
                        key.kind.as_str()
                    ),
                ),
                Some(code) => Refusal::new(
                    Code::DepartmentMissing,
                    format!("there is no Department with the code {code}; create it, or move the object"),
                ),
            };
            self.refusals.entry(key.clone()).or_insert(refusal);
        }
    }

    /// The last good forms this build relies on or makes.
    pub(super) fn forms(&self) -> BTreeMap<ObjectKey, Good> {
        let mut forms = self.parts.settled_forms();
        forms.extend(self.ruling().last_good.iter().map(|(key, good)| (key.clone(), good.clone())));
        forms
    }

    /// Shares what is equal with the department as it was published.
    pub(super) fn share_with(&mut self, published: &Arc<Department>) {
        self.people.share_with(published);
        if self.department.as_ref().is_some_and(|own| crate::publish::same(published, own)) {
            self.department = Some(Arc::clone(published));
            if let Some((_, ruling)) = &mut self.compiled {
                ruling.state = published.policy.clone();
            }
        }
    }
}
