//! From what was built to what is published: the differences, losses first.
//!
//! A build compiles and writes files; taking access away must wait for neither. So each round
//! publishes twice when something was lost: first [`losses`], made from the published departments and
//! the newest accounts alone, then everything.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tidegate_core::{Department, DepartmentCode, Generation, Platform, Snapshot, Timestamp};
use tidegate_store::{Change, Publication};

use crate::build::Kept;

/// What the store has, as far as this controller knows.
#[derive(Clone, Debug, Default)]
pub struct Published {
    /// The generation of the newest publication.
    pub generation: Generation,
    /// The platform part.
    pub platform: Option<Arc<Platform>>,
    /// The departments.
    pub departments: BTreeMap<DepartmentCode, Arc<Department>>,
}

impl Published {
    /// What an earlier run published.
    #[must_use]
    pub fn from_snapshot(snapshot: &Snapshot) -> Self {
        Self {
            generation: snapshot.generation,
            platform: Some(Arc::clone(&snapshot.platform)),
            departments: snapshot.departments.clone(),
        }
    }

    /// What has to be published so that the store has `departments` and `platform`; `None` when it has.
    #[must_use]
    pub fn difference(
        &self,
        platform: &Arc<Platform>,
        departments: &BTreeMap<DepartmentCode, Arc<Department>>,
    ) -> Option<Publication> {
        let changed = departments
            .iter()
            .filter(|(code, next)| self.departments.get(*code).is_none_or(|published| !same(published, next)))
            .map(|(_, next)| Change::Put(Arc::clone(next)));
        let gone = self.departments.keys().filter(|code| !departments.contains_key(*code));
        let publication = Publication {
            platform: (self.platform.as_ref() != Some(platform)).then(|| Arc::clone(platform)),
            departments: changed.chain(gone.cloned().map(Change::Remove)).collect(),
        };
        (publication.platform.is_some() || !publication.departments.is_empty()).then_some(publication)
    }

    /// Notes that `publication` is in the store as `generation`.
    pub fn note(&mut self, publication: Publication, generation: Generation) {
        self.generation = generation;
        if let Some(platform) = publication.platform {
            self.platform = Some(platform);
        }
        for change in publication.departments {
            match change {
                Change::Put(department) => {
                    self.departments.insert(department.code.clone(), department);
                }
                Change::Remove(code) => {
                    self.departments.remove(&code);
                }
            }
        }
    }
}

/// Whether two forms of a department differ in nothing but when they were published.
pub(crate) fn same(published: &Arc<Department>, next: &Arc<Department>) -> bool {
    if Arc::ptr_eq(published, next) || published.generation == next.generation {
        return published == next;
    }
    // Accounts and resources are shared, so this copies a map of pointers, not the people.
    **published == Department { generation: published.generation, ..Department::clone(next) }
}

impl Published {
    /// Takes what the store shows in place of what was handed to it, so that there is one copy of it.
    pub fn share_with(&mut self, shown: &Snapshot) {
        if shown.generation != self.generation {
            return;
        }
        for (code, department) in &mut self.departments {
            if let Some(known) = shown.departments.get(code).filter(|known| same(known, department)) {
                *department = Arc::clone(known);
            }
        }
    }
}

/// What is taken away: published departments less the accounts and resources that are gone, with every
/// account as it is now unless that would newly give it standing.
///
/// `exists` says which departments there are; `due` are those that may be others than published.
#[must_use]
pub fn losses<'a>(
    published: &Published,
    exists: impl Fn(&DepartmentCode) -> bool,
    due: impl Iterator<Item = (DepartmentCode, &'a Kept)>,
    now: Timestamp,
) -> Option<Publication> {
    let gone = published.departments.keys().filter(|code| !exists(code));
    let mut changes: Vec<Change> = gone.cloned().map(Change::Remove).collect();
    for (code, kept) in due.filter(|(code, _)| exists(code)) {
        let reduced = published.departments.get(&code).and_then(|published| reduced(published, kept, now));
        changes.extend(reduced.map(|reduced| Change::Put(Arc::new(reduced))));
    }
    (!changes.is_empty()).then_some(Publication { platform: None, departments: changes })
}

fn reduced(published: &Arc<Department>, kept: &Kept, now: Timestamp) -> Option<Department> {
    let mut accounts = None;
    for (name, before) in &published.accounts {
        let after = kept.people().get(&published.code, name).map(|person| &person.account);
        let gained = after.is_some_and(|after| {
            before.standing(now).denied.is_some() && after.standing(now).denied.is_none()
        });
        if gained || after == Some(before) {
            continue;
        }
        let accounts = accounts.get_or_insert_with(|| published.accounts.clone());
        match after {
            Some(after) => accounts.insert(name.clone(), Arc::clone(after)),
            None => accounts.remove(name),
        };
    }
    let there: BTreeSet<&str> = kept.resource_names().collect();
    let fewer = published.resources.keys().any(|name| !there.contains(name.as_str()));
    if accounts.is_none() && !fewer {
        return None;
    }
    let mut reduced = Department::clone(published);
    reduced.resources.retain(|name, _| there.contains(name.as_str()));
    if let Some(accounts) = accounts {
        reduced.accounts = accounts;
    }
    Some(reduced)
}
