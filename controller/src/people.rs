//! Accounts from the newest objects: nothing here keeps a last good form.
//!
//! This is the part of a build that waits for nothing, neither compiler nor disk: from it
//! [`crate::publish::losses`] takes what must be in force at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tidegate_core::{
    Account, AccountId, AccountName, AccountState, Code, Department, DepartmentCode, Person as CorePerson,
    Timestamp, Uid,
};

use crate::credentials::{Effect, Observed, Vault};
use crate::form::{Form, Item, Items, Refusal, User, department_of};
use crate::identity::Register;
use crate::objects::{ObjectKey, ObjectKind, pack};
use crate::state::State;

/// One account of a department that exists.
#[derive(Clone, Debug)]
pub struct Person {
    /// The object it came from.
    pub key: ObjectKey,
    /// The account as gateways are told, once [`People::tell`] has been called.
    pub account: Arc<Account>,
    /// Why the object is not accepted, if it is not; the account is denied then.
    pub refusal: Option<Box<Refusal>>,
    session_generation: i64,
    reissue: u64,
    /// The version of the credential that is part of the account.
    told: Option<u64>,
}

/// All accounts by department and name, and the objects that make none.
#[derive(Clone, Debug, Default)]
pub struct People {
    by_department: BTreeMap<DepartmentCode, BTreeMap<AccountName, Person>>,
    /// VpnUsers that cannot even be published as denied.
    pub refused: BTreeMap<ObjectKey, Refusal>,
}

impl People {
    /// The accounts of one department that are published, denied ones included.
    pub fn of(&self, department: &DepartmentCode) -> impl Iterator<Item = (&AccountName, &Person)> {
        self.by_department.get(department).into_iter().flatten()
    }

    /// The account of this name.
    #[must_use]
    pub fn get(&self, department: &DepartmentCode, name: &AccountName) -> Option<&Person> {
        self.by_department.get(department)?.get(name)
    }

    /// The account that an object makes.
    #[must_use]
    pub fn of_object(&self, key: &ObjectKey) -> Option<&Person> {
        self.by_department.get(&department_of(&key.namespace)?)?.get(&*key.name)
    }

    /// Every account, by department and name.
    pub fn all(&self) -> impl Iterator<Item = (AccountId, &Person)> {
        self.by_department.iter().flat_map(|(department, people)| {
            people.iter().map(move |(name, person)| {
                (AccountId { department: department.clone(), name: name.clone() }, person)
            })
        })
    }

    /// Judges the VpnUsers among `items`; of the others, those whose objects are not `present` any more go.
    pub fn update(
        &mut self,
        items: &Items,
        present: impl Fn(&ObjectKey) -> bool,
        exists: impl Fn(&DepartmentCode) -> bool,
        register: &Register,
    ) {
        let stays = |key: &ObjectKey| present(key) && !items.contains_key(key);
        for people in self.by_department.values_mut() {
            people.retain(|_, person| stays(&person.key));
        }
        self.refused.retain(|key, _| stays(key));
        for (key, item) in items.iter().filter(|(key, _)| key.kind == ObjectKind::VpnUser) {
            match person(key, item, &exists, register) {
                Ok((id, person)) => {
                    self.by_department.entry(id.department).or_default().insert(id.name, person);
                }
                Err(refusal) => {
                    self.refused.insert(key.clone(), refusal);
                }
            }
        }
        self.by_department.retain(|_, people| !people.is_empty());
    }

    /// Takes no more room than it needs.
    pub fn pack(&mut self) {
        self.by_department.values_mut().for_each(pack);
    }

    /// Adds to every account the credential that gateways are told now.
    pub fn tell(&mut self, vault: &Vault) {
        for person in self.by_department.values_mut().flat_map(BTreeMap::values_mut) {
            let uid = &person.account.source.uid;
            let version = vault.version(uid);
            if person.told != version {
                let credential = vault.published(uid);
                person.account = Arc::new(Account { credential, ..Account::clone(&person.account) });
                person.told = version;
            }
        }
    }

    /// Shares accounts with the department as it was published: one copy of each is enough.
    pub fn share_with(&mut self, published: &Department) {
        let Some(people) = self.by_department.get_mut(&published.code) else { return };
        for (name, person) in people {
            if let Some(known) = published.accounts.get(name).filter(|known| **known == person.account) {
                person.account = Arc::clone(known);
            }
        }
    }

    /// Tells the vault what every account's object of a department says now, and which have none any more. Returns
    /// what became different, and when time alone changes a standing or a record next.
    pub fn observe(
        &self,
        department: &DepartmentCode,
        password_max_age_days: u16,
        vault: &mut Vault,
        state: &State,
        now: Timestamp,
    ) -> (Vec<(AccountId, Effect)>, Timestamp) {
        let mut effects = Vec::new();
        let mut holds_until = Timestamp::NEVER;
        let present: BTreeSet<&Uid> = self.of(department).map(|(_, person)| person.uid()).collect();
        vault.miss(department, |uid| present.contains(uid), now);
        for (name, person) in self.of(department) {
            let standing = person.account.standing(now);
            let seen = Observed {
                at: now,
                standing: standing.denied.is_none(),
                session_generation: person.session_generation,
                reissue: person.reissue,
                password_max_age_days,
            };
            let id = || AccountId { department: department.clone(), name: name.clone() };
            let observed = vault.observe(state, department, person.uid(), &seen);
            effects.extend(observed.into_iter().map(|effect| (id(), effect)));
            let record = vault.record(person.uid());
            let record = record.map_or(Timestamp::NEVER, |record| record.holds_until(password_max_age_days));
            holds_until = holds_until.min(standing.holds_until).min(record);
        }
        (effects, holds_until)
    }
}

impl Person {
    fn uid(&self) -> &Uid {
        &self.account.source.uid
    }
}

fn person(
    key: &ObjectKey,
    item: &Item,
    exists: &impl Fn(&DepartmentCode) -> bool,
    register: &Register,
) -> Result<(AccountId, Person), Refusal> {
    let department = department_of(&key.namespace).ok_or_else(|| {
        Refusal::new(
            Code::WrongNamespace,
            format!(
                "metadata.namespace {:?}: a VpnUser lies in its department's namespace; write dept-<code>",
                key.namespace
            ),
        )
    })?;
    if !exists(&department) {
        return Err(Refusal::new(
            Code::DepartmentMissing,
            format!("there is no Department with the code {department}; create it, or move the account"),
        ));
    }
    let name: AccountName = key.name.parse().map_err(|error| {
        Refusal::new(Code::SchemaViolation, format!("metadata.name {:?}: {error}", key.name))
    })?;
    let id = AccountId { department, name: name.clone() };
    // Also an object that cannot be used does not unsay that the person left.
    let left = register.left(key);
    let state = if left { AccountState::Left } else { AccountState::Invalid };
    let denied = |refusal: Refusal| Person {
        key: key.clone(),
        account: Arc::new(unusable(item, name.clone(), state)),
        refusal: Some(Box::new(refusal)),
        session_generation: 0,
        reissue: 0,
        told: None,
    };
    let user = match item.form.as_deref() {
        Ok(Form::VpnUser(user)) => user,
        Ok(_) => return Ok((id, denied(Refusal::new(Code::UnknownKind, "this is not a VpnUser")))),
        Err(refusal) => return Ok((id, denied(refusal.clone()))),
    };
    let mut account = Account { source: item.source.clone(), credential: None, ..user.account.clone() };
    let mut refusal = None;
    if left && account.state != AccountState::Left {
        account.state = AccountState::Left;
        refusal = Some(Refusal::new(
            Code::AccountLeftFinal,
            "spec.state: an account that has left cannot come back; apply for a new one under another name",
        ));
    }
    if let Some(reason) = not_four_eyes(user) {
        account.approval = None;
        refusal.get_or_insert(reason);
    }
    if let Some(review) = account.review.take_if(|review| user.kubernetes_user.as_ref() == Some(&review.by)) {
        let message = format!(
            "spec.review.by {:?}: the reviewer is the person the account is for; somebody else has to confirm",
            review.by
        );
        refusal.get_or_insert(Refusal::new(Code::FourEyes, message));
    }
    let person = Person {
        key: key.clone(),
        account: Arc::new(account),
        refusal: refusal.map(Box::new),
        session_generation: user.session_generation,
        reissue: user.reissue,
        told: None,
    };
    Ok((id, person))
}

/// An approval counts when approver, requester and subject are not the same person.
fn not_four_eyes(user: &User) -> Option<Refusal> {
    let approval = user.account.approval.as_ref()?;
    let other = if approval.by == user.requested_by {
        "asked for the account"
    } else if user.kubernetes_user.as_ref() == Some(&approval.by) {
        "is the person the account is for"
    } else {
        return None;
    };
    Some(Refusal::new(
        Code::FourEyes,
        format!(
            "spec.approval.by {:?}: the approver also {other}; somebody else has to approve",
            approval.by
        ),
    ))
}

/// A record that says no more than that the account is denied.
fn unusable(item: &Item, name: AccountName, state: AccountState) -> Account {
    Account {
        source: item.source.clone(),
        name,
        person: CorePerson {
            display_name: Box::default(),
            unit: Box::default(),
            groups: Vec::new(),
            attributes: BTreeMap::new(),
        },
        state,
        approval: None,
        review: None,
        valid_from: None,
        valid_until: None,
        credential: None,
    }
}
