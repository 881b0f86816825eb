//! Accounts from the newest objects: nothing here keeps a last good form.
//!
//! This is the part of a build that waits for nothing, neither compiler nor disk: from it
//! [`crate::publish::losses`] takes what must be in force at once.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_core::{
    Account, AccountId, AccountName, AccountState, Code, DepartmentCode, Person as CorePerson, Timestamp, Uid,
};

use crate::build::Parts;
use crate::credentials::{Effect, Observed, Vault};
use crate::form::{Form, Item, Items, Refusal, User, department_of};
use crate::identity::Register;
use crate::objects::{ObjectKey, ObjectKind};
use crate::state::State;

/// One account of a department that exists.
#[derive(Clone, Debug)]
pub struct Person {
    /// The object it came from.
    pub key: ObjectKey,
    /// The account, credential apart.
    pub account: Account,
    /// Why the object is not accepted, if it is not; the account is denied then.
    pub refusal: Option<Refusal>,
    session_generation: i64,
    reissue: u64,
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

    /// Every account, by department and name.
    pub fn all(&self) -> impl Iterator<Item = (AccountId, &Person)> {
        self.by_department.iter().flat_map(|(department, people)| {
            people.iter().map(move |(name, person)| {
                (AccountId { department: department.clone(), name: name.clone() }, person)
            })
        })
    }
}

/// Judges every VpnUser. `departments` are those that will be published.
#[must_use]
pub fn people(items: &Items, departments: &BTreeSet<DepartmentCode>, register: &Register) -> People {
    let mut people = People::default();
    for (key, item) in items.iter().filter(|(key, _)| key.kind == ObjectKind::VpnUser) {
        match person(key, item, departments, register) {
            Ok((id, person)) => {
                people.by_department.entry(id.department).or_default().insert(id.name, person);
            }
            Err(refusal) => {
                people.refused.insert(key.clone(), refusal);
            }
        }
    }
    people
}

fn person(
    key: &ObjectKey,
    item: &Item,
    departments: &BTreeSet<DepartmentCode>,
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
    if !departments.contains(&department) {
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
        account: unusable(item, name.clone(), state),
        refusal: Some(refusal),
        session_generation: 0,
        reissue: 0,
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
        account,
        refusal,
        session_generation: user.session_generation,
        reissue: user.reissue,
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

/// Tells the vault what every account's object says now, and which have none any more. Returns what became different, and when time
/// alone changes a standing or a record next.
pub fn observe(
    people: &People,
    parts: &Parts,
    vault: &mut Vault,
    state: &State,
    now: Timestamp,
) -> (Vec<(AccountId, Effect)>, Timestamp) {
    let mut effects = Vec::new();
    let mut holds_until = Timestamp::NEVER;
    let present: BTreeSet<&Uid> = people.all().map(|(_, person)| &person.account.source.uid).collect();
    vault.miss(&present, now);
    let ages: BTreeMap<&DepartmentCode, u16> =
        parts.departments().map(|(code, settings)| (code, settings.login.password_max_age_days)).collect();
    for (id, person) in people.all() {
        let password_max_age_days = ages.get(&id.department).copied().unwrap_or(0);
        let standing = person.account.standing(now);
        let seen = Observed {
            at: now,
            standing: standing.denied.is_none(),
            session_generation: person.session_generation,
            reissue: person.reissue,
            password_max_age_days,
        };
        let uid = &person.account.source.uid;
        effects.extend(vault.observe(state, &id, uid, &seen).into_iter().map(|effect| (id.clone(), effect)));
        let record =
            vault.record(uid).map_or(Timestamp::NEVER, |record| record.holds_until(password_max_age_days));
        holds_until = holds_until.min(standing.holds_until).min(record);
    }
    (effects, holds_until)
}
