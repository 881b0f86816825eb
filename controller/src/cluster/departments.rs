//! Who may do what in departments' namespaces: RoleBindings from `Department.spec.roles`; and what departments open to
//! gateways.
//!
//! ```text
//!  Departments + Namespaces (labelled) --wanted()--> RoleBindings --difference--> API server
//! ```
//!
//! A namespace counts only if its label says whose it is: nobody becomes a department's administrator by giving a
//! namespace a name. The controller binds itself there, too, to lay out activation codes; it can bind only roles
//! of the chart.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube_client::api::{DeleteParams, ListParams, Patch};
use kube_client::{Api, Client};
use serde_json::{Value, json};
use tidegate_core::Cidr;
use tidegate_crd::types::Roles;

use super::apply::params;
use super::call::{CallError, call};
use super::children::Reach;
use super::{FIELD_MANAGER, labels};
use crate::intake::Objects;
use crate::objects::ObjectKind;

/// Objects of one page of a list.
const PAGE: u32 = 500;
/// Most pages of a list.
const PAGES_MAX: usize = 100;
/// The rights of the controller in a department's namespace.
const OWN_ROLE: &str = "tidegate-controller-department";
const RBAC: &str = "rbac.authorization.k8s.io";

/// The RoleBindings there have to be, by namespace and name.
pub type Wanted = BTreeMap<(String, String), Value>;

/// The service account that is bound.
#[derive(Clone, Debug)]
pub struct Account {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// The roles of every Department among the platform's objects, by code.
#[must_use]
pub fn roles(platform: &Objects) -> BTreeMap<String, Roles> {
    platform
        .iter()
        .filter(|(key, _)| key.kind == ObjectKind::Department)
        .map(|(key, found)| {
            let value = found.written.value(key);
            let roles = value.pointer("/spec/roles").cloned().unwrap_or_default();
            // What does not parse gives nobody a right.
            (key.name.to_string(), serde_json::from_value(roles).unwrap_or_default())
        })
        .collect()
}

/// What every Department among the platform's objects opens to gateways. What does not parse opens nothing.
#[must_use]
pub fn reach(platform: &Objects) -> Reach {
    let mut reach = Reach::default();
    for (key, found) in platform.iter().filter(|(key, _)| key.kind == ObjectKind::Department) {
        let value = found.written.value(key);
        let texts = |pointer: &str| {
            let list = value.pointer(pointer).and_then(Value::as_array);
            list.into_iter().flatten().filter_map(Value::as_str)
        };
        reach.networks.extend(texts("/spec/networks").filter_map(|text| text.parse::<Cidr>().ok()));
        reach.resolvers.extend(texts("/spec/resolvers").filter_map(resolver));
    }
    reach
}

/// A name server: an address, with a port unless it is the usual one.
fn resolver(text: &str) -> Option<SocketAddr> {
    text.parse().ok().or_else(|| Some(SocketAddr::new(text.parse().ok()?, 53)))
}

/// The RoleBindings of these departments in namespaces that are theirs.
#[must_use]
pub fn wanted(
    departments: &BTreeMap<String, Roles>,
    namespaces: &BTreeSet<String>,
    account: &Account,
) -> Wanted {
    let mut wanted = Wanted::new();
    for (code, roles) in departments {
        let namespace = format!("dept-{code}");
        if !namespaces.contains(&namespace) {
            continue;
        }
        let own = json!([{"kind": "ServiceAccount", "name": account.name, "namespace": account.namespace}]);
        let groups = |groups: &[String]| {
            groups.iter().map(|group| json!({"kind": "Group", "apiGroup": RBAC, "name": group})).collect()
        };
        for (name, role, subjects) in [
            ("tidegate-controller", OWN_ROLE, own),
            ("tidegate-requesters", "tidegate-requester", groups(&roles.requesters)),
            ("tidegate-approvers", "tidegate-approver", groups(&roles.approvers)),
            ("tidegate-reviewers", "tidegate-reviewer", groups(&roles.reviewers)),
            ("tidegate-policy-authors", "tidegate-policy-author", groups(&roles.policy_authors)),
            ("tidegate-admins", "tidegate-department-admin", groups(&roles.admins)),
        ] {
            if subjects.as_array().is_none_or(Vec::is_empty) {
                continue;
            }
            let binding = json!({
                "apiVersion": format!("{RBAC}/v1"),
                "kind": "RoleBinding",
                "metadata": {"name": name, "namespace": namespace, "labels": labels::managed()},
                "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": role},
                "subjects": subjects,
            });
            wanted.insert((namespace.clone(), name.to_owned()), binding);
        }
    }
    wanted
}

/// Makes the cluster's RoleBindings of ours as wanted.
pub async fn keep(
    client: &Client,
    departments: &BTreeMap<String, Roles>,
    account: &Account,
) -> Result<(), CallError> {
    let namespaces = adopted(client).await?;
    let wanted = wanted(departments, &namespaces, account);
    let api: Api<RoleBinding> = Api::all(client.clone());
    let ours = list(&api, &format!("{}={FIELD_MANAGER}", labels::MANAGED_BY)).await?;
    let mut there = BTreeSet::new();
    for binding in ours {
        let key = (
            binding.metadata.namespace.clone().unwrap_or_default(),
            binding.metadata.name.clone().unwrap_or_default(),
        );
        let found = serde_json::to_value(&binding).unwrap_or_default();
        match wanted.get(&key) {
            Some(wanted) if says(&found, wanted) => _ = there.insert(key),
            // The role of a binding cannot be changed, only its subjects.
            Some(wanted) if found.get("roleRef") == wanted.get("roleRef") => {}
            _ => refused_alone(&key, remove(client, &key).await)?,
        }
    }
    for (key, binding) in wanted.iter().filter(|(key, _)| !there.contains(*key)) {
        let api: Api<RoleBinding> = Api::namespaced(client.clone(), &key.0);
        let bound = call(api.patch(&key.1, &params(FIELD_MANAGER), &Patch::Apply(binding))).await;
        refused_alone(key, bound.map(drop))?;
    }
    Ok(())
}

/// The namespace is going, or somebody's binding of this name has another role: the others go on.
fn refused_alone(key: &(String, String), outcome: Result<(), CallError>) -> Result<(), CallError> {
    match outcome {
        Err(error @ CallError::Refused { .. }) => {
            tracing::error!(namespace = key.0, binding = key.1, %error, "a role cannot be bound or unbound");
            Ok(())
        }
        other => other,
    }
}

/// Whether a binding has the role and exactly the subjects that are wanted.
fn says(found: &Value, wanted: &Value) -> bool {
    let subjects = |binding: &Value| -> BTreeSet<String> {
        let subjects = binding.get("subjects").and_then(Value::as_array);
        let text = |subject: &Value| {
            let part = |key: &str| subject.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
            [part("kind"), part("namespace"), part("name")].join("/")
        };
        subjects.into_iter().flatten().map(text).collect()
    };
    found.get("roleRef") == wanted.get("roleRef") && subjects(found) == subjects(wanted)
}

async fn remove(client: &Client, key: &(String, String)) -> Result<(), CallError> {
    let api: Api<RoleBinding> = Api::namespaced(client.clone(), &key.0);
    match call(api.delete(&key.1, &DeleteParams::default())).await {
        Err(error) if !error.is_missing() => Err(error),
        _ => Ok(()),
    }
}

/// Namespaces whose label and name agree on the department, and which are not going.
async fn adopted(client: &Client) -> Result<BTreeSet<String>, CallError> {
    let namespaces = list(&Api::<Namespace>::all(client.clone()), labels::DEPARTMENT).await?;
    let ours = |namespace: Namespace| {
        let name = namespace.metadata.name?;
        let code = namespace.metadata.labels?.get(labels::DEPARTMENT)?.clone();
        (name == format!("dept-{code}") && namespace.metadata.deletion_timestamp.is_none()).then_some(name)
    };
    Ok(namespaces.into_iter().filter_map(ours).collect())
}

async fn list<K>(api: &Api<K>, selector: &str) -> Result<Vec<K>, CallError>
where
    K: Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    let mut params = ListParams::default().labels(selector).limit(PAGE);
    let mut items = Vec::new();
    for _ in 0..PAGES_MAX {
        let page = call(api.list(&params)).await?;
        items.extend(page.items);
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => return Ok(items),
        }
    }
    Err(CallError::Unanswered(format!("more than {} objects", PAGES_MAX * PAGE as usize)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roles_of(approvers: &[&str]) -> Roles {
        Roles { approvers: approvers.iter().map(|&group| group.to_owned()).collect(), ..Roles::default() }
    }

    fn account() -> Account {
        Account { namespace: "tidegate-system".into(), name: "tidegate-controller".into() }
    }

    #[test]
    fn only_labelled_namespaces_get_bindings() {
        let departments =
            BTreeMap::from([("sbj".to_owned(), roles_of(&["rs"])), ("jy".to_owned(), roles_of(&["rs"]))]);
        let wanted = wanted(&departments, &BTreeSet::from(["dept-sbj".to_owned()]), &account());
        let names: Vec<&str> = wanted.keys().map(|(_, name)| name.as_str()).collect();
        assert_eq!(names, ["tidegate-approvers", "tidegate-controller"]);
        assert!(wanted.keys().all(|(namespace, _)| namespace == "dept-sbj"));
    }

    #[test]
    fn other_subjects_are_noticed_in_any_order() {
        let binding = |groups: &[&str]| {
            let departments = BTreeMap::from([("sbj".to_owned(), roles_of(groups))]);
            let wanted = wanted(&departments, &BTreeSet::from(["dept-sbj".to_owned()]), &account());
            wanted[&("dept-sbj".to_owned(), "tidegate-approvers".to_owned())].clone()
        };
        assert!(says(&binding(&["a", "b"]), &binding(&["b", "a"])));
        assert!(!says(&binding(&["a", "b"]), &binding(&["a"])));
    }
}
