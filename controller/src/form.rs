//! Objects after validation, in core's words: what a build starts from.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;
use tidegate_core::policy::Policy;
use tidegate_core::{Account, Code, Department, DepartmentCode, Localized, Resource, Source, Zone};

use crate::objects::ObjectKey;

/// Every object of one reading, each with what became of it.
pub type Items = BTreeMap<ObjectKey, Item>;

/// One object.
#[derive(Clone, Debug)]
pub struct Item {
    /// Its UID and generation.
    pub source: Source,
    /// Its spec as written, kept as last good form when it is accepted.
    pub spec: Value,
    /// What it means, or why it cannot be used.
    pub form: Result<Form, Refusal>,
}

/// What an accepted object means.
#[derive(Clone, Debug)]
pub enum Form {
    /// Settings of a department, without people, systems or rules.
    Department(Box<Department>),
    /// An account.
    VpnUser(Box<User>),
    /// A business system.
    Resource(Box<Resource>),
    /// A department's rules.
    AccessPolicy(Rules),
    /// Guardrails of the platform.
    ClusterAccessPolicy(Rules),
    /// Settings of the pool.
    VpnGateway(Pool),
}

/// The rules of one policy object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rules {
    /// Written in the rule language.
    Written(Policy),
    /// A program of the department's own.
    Module,
}

/// An account as its object has it, credentials apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The account; its credential is filled in by the build.
    pub account: Account,
    /// Who asked for it.
    pub requested_by: Box<str>,
    /// The Kubernetes user the account belongs to, if there is one.
    pub kubernetes_user: Option<Box<str>>,
    /// A higher number than before voids every ticket.
    pub session_generation: i64,
    /// A higher number than before asks for a new activation code.
    pub reissue: u64,
}

/// What a VpnGateway says about the pool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pool {
    /// Name of the service, on every page.
    pub title: Localized,
    /// Zone in which guardrail schedules are read, when the object names one.
    pub zone: Option<Zone>,
}

/// Why an object, or a part of one, is not in force as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The stable code.
    pub code: Code,
    /// A sentence with the field, the value and what to write instead.
    pub message: String,
}

impl Refusal {
    /// A refusal.
    #[must_use]
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// The code as a condition's reason, for example `FourEyes`.
    #[must_use]
    pub fn reason(&self) -> String {
        format!("{:?}", self.code)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.code, self.message)
    }
}

/// The department a namespace belongs to: `dept-<code>`.
#[must_use]
pub fn department_of(namespace: &str) -> Option<DepartmentCode> {
    namespace.strip_prefix("dept-")?.parse().ok()
}
