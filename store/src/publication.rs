//! What the controller publishes.

use std::sync::Arc;

use tidegate_core::{Department, DepartmentCode, Platform};

/// One atomic step: the platform part and any departments that changed.
#[derive(Clone, Debug, Default)]
pub struct Publication {
    /// The platform part, if it changed.
    pub platform: Option<Arc<Platform>>,
    /// The departments that changed.
    pub departments: Vec<Change>,
}

/// What happened to a department.
#[derive(Clone, Debug)]
pub enum Change {
    /// It is new or different.
    Put(Arc<Department>),
    /// It is gone: its accounts and resources with it.
    Remove(DepartmentCode),
}
