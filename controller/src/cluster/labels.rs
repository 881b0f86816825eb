//! The labels by which the controller and people find what it made.

use std::collections::BTreeMap;

/// Who keeps an object.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// What an object is a part of.
pub const NAME: &str = "app.kubernetes.io/name";
/// Which pool an object belongs to.
pub const POOL: &str = "tidegate.dev/pool";
/// Which department a namespace is of.
pub const DEPARTMENT: &str = "tidegate.dev/department";

/// The labels of everything the controller makes.
#[must_use]
pub fn managed() -> BTreeMap<String, String> {
    BTreeMap::from([(MANAGED_BY.into(), super::FIELD_MANAGER.into())])
}

/// The labels that pods of a pool, and only they, carry.
#[must_use]
pub fn pods(pool: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(NAME.into(), "tidegate-gateway".into()), (POOL.into(), pool.into())])
}

/// The labels of everything that is made for a pool.
#[must_use]
pub fn of_pool(pool: &str) -> BTreeMap<String, String> {
    let mut labels = managed();
    labels.extend(pods(pool));
    labels
}
