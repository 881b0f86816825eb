//! From manifests to core's words: what no schema can check is refused here.

mod department;
mod gateway;
mod policy;
mod resource;
mod text;
mod vpn_user;
mod zone;

use serde::de::DeserializeOwned;
use serde_json::Value;
use tidegate_core::policy::Policy;
use tidegate_core::{
    Account, Code, Department, DepartmentCode, Localized, Resource, Source, Timestamp, Zone,
};

use crate::kind::Kind;
use crate::types;
use crate::violation::Violation;

pub use vpn_user::{APPROVAL_DAYS, REISSUE_ANNOTATION, REVIEW_DAYS_MAX};
pub use zone::{ZONE_YEARS, zone};

/// The namespace of a department begins with this.
const NAMESPACE_PREFIX: &str = "dept-";

/// What an accepted object means.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// The account, without a credential.
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

/// Looks up a ConfigMap's key: namespace, name, key.
pub type ConfigMaps<'a> = dyn Fn(&str, &str, &str) -> Option<String> + 'a;

/// What a conversion needs beside the object.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// The object's UID and generation.
    pub source: &'a Source,
    /// The time, for bounds on dates and for the years a time zone is compiled for.
    pub now: Timestamp,
    /// When the object's approval was first seen as it stands; an approval without a date counts from here.
    pub approved: Timestamp,
    /// The ConfigMaps the object may refer to.
    pub config_maps: &'a ConfigMaps<'a>,
}

/// What a valid object means, or everything that keeps it from meaning anything.
///
/// `value` is expected to have passed [`crate::validate`]; one that has not is refused, never a panic.
pub fn convert(kind: Kind, value: &Value, context: &Context<'_>) -> Result<Form, Vec<Violation>> {
    let name = value.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    let namespace = value.pointer("/metadata/namespace").and_then(Value::as_str).unwrap_or_default();
    let spec = value.get("spec").unwrap_or(&Value::Null);
    let mut problems = Problems::default();
    let form = match kind {
        Kind::Department => read::<types::DepartmentSpec>(spec, &mut problems)
            .and_then(|spec| department::convert(&spec, context, &mut problems))
            .map(|department| Form::Department(Box::new(department))),
        Kind::VpnUser => owner(namespace, &mut problems).and_then(|owner| {
            let spec = read::<types::VpnUserSpec>(spec, &mut problems)?;
            let reissue = vpn_user::reissue(value, &mut problems);
            let user = vpn_user::convert(name, &owner, &spec, reissue, context, &mut problems)?;
            Some(Form::VpnUser(Box::new(user)))
        }),
        Kind::Resource => read::<types::ResourceSpec>(spec, &mut problems)
            .and_then(|spec| resource::convert(namespace, name, &spec, context, &mut problems))
            .map(|resource| Form::Resource(Box::new(resource))),
        Kind::AccessPolicy => owner(namespace, &mut problems).and_then(|owner| {
            let spec = read::<types::AccessPolicySpec>(spec, &mut problems)?;
            policy::convert(name, &owner, &spec, &mut problems).map(Form::AccessPolicy)
        }),
        Kind::ClusterAccessPolicy => read::<types::ClusterAccessPolicySpec>(spec, &mut problems)
            .map(|spec| policy::convert_guardrail(name, &spec, &mut problems))
            .map(|policy| Form::ClusterAccessPolicy(Rules::Written(policy))),
        Kind::VpnGateway => read::<types::VpnGatewaySpec>(spec, &mut problems)
            .map(|spec| Form::VpnGateway(gateway::convert(&spec, context, &mut problems))),
        Kind::Recertification => {
            problems.add(
                "kind",
                Code::NotYetSupported,
                "Recertification is not built yet",
                "remove the object",
            );
            None
        }
    };
    match form {
        Some(form) if problems.0.is_empty() => Ok(form),
        _ => Err(problems.0),
    }
}

/// The department a namespace belongs to: `dept-<code>`.
#[must_use]
pub fn department_of(namespace: &str) -> Option<DepartmentCode> {
    namespace.strip_prefix(NAMESPACE_PREFIX)?.parse().ok()
}

/// What a conversion found wrong so far. A converter returns `None` only after adding to it.
#[derive(Default)]
struct Problems(Vec<Violation>);

impl Problems {
    fn add(
        &mut self,
        path: impl Into<String>,
        code: Code,
        message: impl Into<String>,
        fix: impl Into<String>,
    ) {
        self.0.push(Violation::new(path, code, message, fix));
    }

    /// The value of a result, its error noted.
    fn take<T, E: std::fmt::Display>(&mut self, path: &str, result: Result<T, E>, fix: &str) -> Option<T> {
        result.map_err(|error| self.add(path, Code::SchemaViolation, error.to_string(), fix)).ok()
    }
}

fn read<T: DeserializeOwned>(spec: &Value, problems: &mut Problems) -> Option<T> {
    let fix = "correct it after the reference of the kinds";
    // serde would take a list for an object with its fields in order.
    let object = spec.as_object().ok_or("spec is not an object".to_owned());
    problems.take("spec", object.and_then(|_| T::deserialize(spec).map_err(|error| error.to_string())), fix)
}

fn owner(namespace: &str, problems: &mut Problems) -> Option<DepartmentCode> {
    let owner = department_of(namespace);
    if owner.is_none() {
        let message = format!("{namespace:?} is not the namespace of a department");
        problems.add("metadata.namespace", Code::WrongNamespace, message, "write dept-<code>");
    }
    owner
}
