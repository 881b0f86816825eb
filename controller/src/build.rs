//! From readings to a snapshot: the same objects, credentials and last good forms give the same snapshot,
//! and what did not change is not done again.
//!
//! ```text
//!  reading --take()--> identities, accounts, standing      (losses can be published from here on)
//!          --save()--> register and credentials are stored
//!          --build()-> departments, platform, last good forms
//! ```
//!
//! What the objects of a tenant came to is kept. A tenant is done again when one of its objects, its
//! Department, a credential or a date makes it due; the others cost nothing. One broken object costs its
//! own part and nothing else: a problem is a condition on that object, never an error of the build.

mod department;
mod kept;
mod parts;
mod side_by_side;
mod status;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tidegate_core::{
    AccountId, Department, DepartmentCode, Localized, Platform, Source, Timestamp, Uid, Zone,
};
use tidegate_store::Publication;

use crate::credentials::{Effect, Vault};
use crate::form::{Form, department_of, namespace_of};
use crate::identity::Register;
use crate::intake::{News, Reading};
use crate::last_good::LastGood;
use crate::objects::{ObjectKey, ObjectKind, PLATFORM, TenantName};
use crate::publish::{Published, losses};
use crate::state::{State, StateError};
use crate::status::ObjectStatus;
use crate::time::year;

pub use kept::Kept;
pub use parts::{Part, Parts, parts};

use side_by_side::side_by_side;

/// Most departments one pool serves.
pub const DEPARTMENTS_MAX: usize = 1_000;

/// Tenants whose objects are judged in one step: as trees they take room.
const AT_ONCE: usize = 8;

/// What the process says about the platform.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Name of the service when no VpnGateway gives one.
    pub title: Localized,
    /// Zone of guardrail schedules when no VpnGateway gives one.
    pub zone: Zone,
    /// Tickets older than this are void.
    pub not_before: Timestamp,
    /// Whether somebody else than the writer of an approval vouches for it.
    pub approvals_enforced: bool,
}

/// What was read, what is known about it, and what is made of it.
#[derive(Debug)]
pub struct Builder {
    /// The credentials.
    pub vault: Vault,
    settings: Settings,
    register: Register,
    last_good: LastGood,
    tenants: BTreeMap<TenantName, Kept>,
    platform: Option<Arc<Platform>>,
    /// Tenants that have to be done again.
    due: BTreeSet<TenantName>,
    /// Whether everything was looked at once.
    begun: bool,
    /// Time zones are compiled from the beginning of this year.
    year: i16,
    /// Accounts that are not coming back, whose credentials have to go.
    gone: BTreeSet<Uid>,
}

impl Builder {
    /// Reads what earlier runs kept. What cannot be read of credentials and forms is reported.
    pub fn load(state: &State, settings: Settings) -> Result<(Self, Vec<StateError>), StateError> {
        let register = Register::load(state)?;
        let (vault, mut problems) = Vault::load(state)?;
        let (last_good, form_problems) = LastGood::load(state)?;
        problems.extend(form_problems);
        let builder = Self {
            vault,
            settings,
            register,
            last_good,
            tenants: BTreeMap::new(),
            platform: None,
            due: BTreeSet::new(),
            begun: false,
            year: 0,
            gone: BTreeSet::new(),
        };
        Ok((builder, problems))
    }

    /// The settings of the process.
    pub fn settings_mut(&mut self) -> &mut Settings {
        &mut self.settings
    }

    /// The tenants that are being done again: since [`Self::take`], until [`Self::done`].
    pub fn due(&self) -> impl Iterator<Item = &TenantName> {
        self.due.iter()
    }

    /// What a tenant's objects came to.
    #[must_use]
    pub fn tenant(&self, name: &TenantName) -> Option<&Kept> {
        self.tenants.get(name)
    }

    /// What all tenants' objects came to.
    pub fn tenants(&self) -> impl Iterator<Item = (&TenantName, &Kept)> {
        self.tenants.iter()
    }

    /// Something about an account is another than its object says.
    pub fn touch(&mut self, department: &DepartmentCode) {
        self.due.insert(namespace_of(department).into());
    }

    /// Takes a reading: who is who, who may be, and since when not. Returns what became of credentials.
    pub fn take(
        &mut self,
        reading: &Reading,
        state: &State,
        now: Timestamp,
    ) -> Result<Vec<(AccountId, Effect)>, StateError> {
        self.find_due(reading, now);
        let mut effects = Vec::new();
        // The others depend on which departments there are.
        if self.due.contains(&*PLATFORM) {
            effects.extend(self.judge(&[Arc::clone(&PLATFORM)], reading, state, now)?);
        }
        self.find_due_by_department();
        let due: Vec<TenantName> = self.due.iter().filter(|name| **name != *PLATFORM).cloned().collect();
        for some in due.chunks(AT_ONCE) {
            effects.extend(self.judge(some, reading, state, now)?);
        }
        if !std::mem::replace(&mut self.begun, true) {
            self.tenants.values_mut().for_each(Kept::pack);
            self.register.pack();
        }
        let expired = self.register.expire(now);
        self.note_gone(expired);
        Ok(effects)
    }

    fn note_gone(&mut self, gone: Vec<(ObjectKey, Uid)>) {
        let accounts = gone.into_iter().filter(|(key, _)| key.kind == ObjectKind::VpnUser);
        self.gone.extend(accounts.map(|(_, uid)| uid));
    }

    fn find_due(&mut self, reading: &Reading, now: Timestamp) {
        let year = year(now);
        if year != self.year {
            self.year = year;
            if let Some(platform) = self.tenants.get_mut(&*PLATFORM) {
                platform.forget_meanings();
            }
            self.due.insert(Arc::clone(&PLATFORM));
        }
        for (name, tenant) in &reading.tenants {
            if !self.tenants.get_mut(name).is_some_and(|kept| kept.holds(tenant, now)) {
                self.due.insert(Arc::clone(name));
            }
        }
        let gone = self.tenants.keys().filter(|name| !reading.tenants.contains_key(*name));
        self.due.extend(gone.filter(|name| self.tenants.get(*name).is_some_and(Kept::has_objects)).cloned());
        let unsaved = self.vault.unsaved().map(|code| TenantName::from(namespace_of(code)));
        self.due.extend(unsaved);
        if !self.begun {
            self.due.insert(Arc::clone(&PLATFORM));
            self.due.extend(self.register.tenants().chain(self.last_good.tenants()).cloned());
            self.due.extend(self.vault.departments().map(|code| TenantName::from(namespace_of(code))));
        }
    }

    /// Those whose Department is another than before, or not there any more.
    fn find_due_by_department(&mut self) {
        let platform = self.tenants.get(&*PLATFORM).map(Kept::parts);
        for (name, kept) in &self.tenants {
            let now = department_of(name).and_then(|code| platform?.department(&code));
            if !kept.has_department(now) {
                self.due.insert(Arc::clone(name));
            }
        }
        for code in platform.into_iter().flat_map(Parts::codes) {
            let name = TenantName::from(namespace_of(code));
            if !self.tenants.contains_key(&name) {
                self.due.insert(name);
            }
        }
    }

    /// Judges the objects of some tenants, and everything about their accounts.
    fn judge(
        &mut self,
        names: &[TenantName],
        reading: &Reading,
        state: &State,
        now: Timestamp,
    ) -> Result<Vec<(AccountId, Effect)>, StateError> {
        let mut works: Vec<(TenantName, Kept, News)> = Vec::with_capacity(names.len());
        for name in names {
            let mut kept = self.tenants.remove(name).unwrap_or_default();
            kept.read(reading.tenants.get(name).cloned().unwrap_or_default());
            works.push((Arc::clone(name), kept, News::new()));
        }
        let register = &self.register;
        side_by_side(&mut works, |(_, kept, news)| *news = kept.judge(register));
        let mut effects = Vec::new();
        let mut outcome = Ok(());
        for (name, mut kept, news) in works {
            match self.settle(&name, &mut kept, &news, now) {
                Ok(()) => {
                    effects.extend(kept.observe(&name, &mut self.vault, state, now));
                    self.tenants.insert(name, kept);
                }
                // It is not kept, and done again from the start.
                Err(error) => outcome = Err(error),
            }
        }
        outcome.map(|()| effects)
    }

    fn settle(
        &mut self,
        name: &TenantName,
        kept: &mut Kept,
        news: &News,
        now: Timestamp,
    ) -> Result<(), StateError> {
        let platform = self.tenants.get(&*PLATFORM).map(Kept::parts);
        let department = department_of(name).and_then(|code| platform?.department(&code)).cloned();
        let round = kept.settle(name, news, department, &mut self.register, &self.last_good, now)?;
        self.note_gone(round.forgotten);
        Ok(())
    }

    /// What is taken away from `published`, so that it can be in force before anything else is done.
    #[must_use]
    pub fn losses(&self, published: &Published, now: Timestamp) -> Option<Publication> {
        let due = self.due.iter().filter_map(|name| Some((department_of(name)?, self.tenants.get(name)?)));
        losses(published, |code| self.department_exists(code), due, now)
    }

    fn department_exists(&self, code: &DepartmentCode) -> bool {
        self.tenants.get(&*PLATFORM).is_some_and(|platform| platform.parts().has_department(code))
    }

    /// Stores who is who and the credentials, in one step: nothing is given before. The failures of credentials
    /// are returned; their accounts are not given anything.
    pub fn save(&mut self, state: &State) -> Result<Vec<StateError>, StateError> {
        let mut identities = 0;
        let counted = self.register.documents(state).inspect(|_| identities += 1);
        let mut outcomes = state.change_many(counted.chain(self.vault.documents()));
        let credentials = outcomes.split_off(identities.min(outcomes.len()));
        let failures = self.vault.stored(credentials);
        self.register.stored(state, outcomes)?;
        for name in &self.due {
            if let Some(kept) = self.tenants.get_mut(name) {
                kept.tell(&self.vault);
            }
        }
        Ok(failures)
    }

    /// Builds what is due and stores the forms it relies on.
    pub fn build(&mut self, published: &Published, state: &State) -> Result<(), StateError> {
        let mut works: Vec<(TenantName, Kept)> =
            self.due.iter().filter_map(|name| self.tenants.remove_entry(name)).collect();
        side_by_side(&mut works, |(name, kept)| kept.build(name, published));
        for (name, kept) in works {
            self.last_good.replace(&name, kept.forms());
            if name == *PLATFORM {
                self.platform =
                    Some(Arc::new(department::platform(kept.parts(), kept.ruling(), &self.settings)));
            }
            self.tenants.insert(name, kept);
        }
        self.last_good.save(state)
    }

    /// Removes the credentials of accounts that are not coming back.
    pub fn forget_gone(&mut self, state: &State) -> Result<(), StateError> {
        while let Some(uid) = self.gone.first().cloned() {
            self.vault.forget(state, &uid)?;
            self.gone.remove(&uid);
        }
        Ok(())
    }

    /// Everything that is to be in the store.
    #[must_use]
    pub fn departments(&self) -> BTreeMap<DepartmentCode, Arc<Department>> {
        let departments = self.tenants.values().filter_map(Kept::department);
        departments.map(|department| (department.code.clone(), Arc::clone(department))).collect()
    }

    /// What holds for everybody, once it was built.
    #[must_use]
    pub fn platform(&self) -> Option<Arc<Platform>> {
        self.platform.clone()
    }

    /// What has to be published so that the store has everything as it was built last.
    #[must_use]
    pub fn difference(&self, published: &Published) -> Option<Publication> {
        published.difference(self.platform.as_ref()?, &self.departments())
    }

    /// What was due is in the store, which has `published` now: what both have is kept once.
    pub fn done(&mut self, published: &Published) {
        for name in std::mem::take(&mut self.due) {
            let Some(kept) = self.tenants.get_mut(&name) else { continue };
            if let Some(known) = department_of(&name).and_then(|code| published.departments.get(&code)) {
                kept.share_with(known);
            }
            if !kept.is_needed() {
                self.tenants.remove(&name);
            }
        }
    }

    /// When time alone changes something next.
    #[must_use]
    pub fn holds_until(&self) -> Timestamp {
        let tenants = self.tenants.values().map(Kept::holds_until);
        tenants.fold(self.register.holds_until(), Timestamp::min)
    }

    /// What is said about an object, all but `Propagated` and `Ready`.
    #[must_use]
    pub fn status(&self, key: &ObjectKey, now: Timestamp) -> Option<ObjectStatus> {
        let source = self.register.source(key)?;
        let kept = self.tenants.get(key.tenant())?;
        Some(status::status(kept, key, source, self.settings.approvals_enforced, now))
    }

    /// The UID and generation of an object.
    #[must_use]
    pub fn source(&self, key: &ObjectKey) -> Option<Source> {
        self.register.source(key)
    }

    /// Forgets what was kept, so that everything is done from the start again.
    #[cfg(test)]
    pub(crate) fn forget(&mut self) {
        self.tenants.clear();
        self.platform = None;
        self.begun = false;
    }
}

/// The settings that a Department's form gives.
fn settings_of(form: &Form) -> Option<&Department> {
    match form {
        Form::Department(settings) => Some(settings),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
