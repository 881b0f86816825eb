//! Whether four eyes hold: each admission policy of the chart is there, fails closed and is bound so that it denies.
//!
//! The API server holds them alone. When somebody removed one, nothing fails: whoever can write may then approve. So the
//! leader looks, and says it in its log and metrics; `tidegate check` looks by itself.

use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use kube_client::api::ListParams;
use kube_client::{Api, Client};

use super::call::{CallError, call};

/// The policies of the chart.
pub const POLICIES: [&str; 7] = [
    "activation.vpnusers.tidegate.dev",
    "approval.vpnusers.tidegate.dev",
    "publish.accesspolicies.tidegate.dev",
    "request.vpnusers.tidegate.dev",
    "review.vpnusers.tidegate.dev",
    "state.vpnusers.tidegate.dev",
    "supervisor.departments.tidegate.dev",
];

/// Why a policy does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is not there.
    Missing,
    /// It lets everything through when it fails.
    Open,
    /// No binding makes it deny everywhere.
    Unbound,
    /// The API server does not understand an expression: which, and why.
    NotUnderstood(String),
    /// The API server has not checked its newest form against the kinds yet; it holds all the same.
    Unchecked,
}

/// The first thing that is wrong with a policy.
#[must_use]
pub fn fault(
    name: &str,
    policy: Option<&ValidatingAdmissionPolicy>,
    bindings: &[ValidatingAdmissionPolicyBinding],
) -> Option<Fault> {
    let Some(policy) = policy else { return Some(Fault::Missing) };
    let spec = policy.spec.as_ref();
    if spec.and_then(|spec| spec.failure_policy.as_deref()) == Some("Ignore") {
        return Some(Fault::Open);
    }
    let denies = |binding: &ValidatingAdmissionPolicyBinding| {
        binding.spec.as_ref().is_some_and(|spec| {
            let actions = spec.validation_actions.as_deref().unwrap_or_default();
            spec.policy_name.as_deref() == Some(name)
                && actions.iter().any(|action| action == "Deny")
                // A selector would leave somebody out.
                && spec.match_resources.is_none()
        })
    };
    if !bindings.iter().any(denies) {
        return Some(Fault::Unbound);
    }
    let status = policy.status.as_ref();
    if status.and_then(|status| status.observed_generation) != policy.metadata.generation {
        return Some(Fault::Unchecked);
    }
    let warnings = status
        .and_then(|status| status.type_checking.as_ref())
        .and_then(|checking| checking.expression_warnings.as_deref())
        .unwrap_or_default();
    let first = warnings.first()?;
    Some(Fault::NotUnderstood(format!("{}: {}", first.field_ref, first.warning)))
}

/// The policies that do not hold now, by name.
pub async fn gaps(client: &Client) -> Result<Vec<&'static str>, CallError> {
    let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(client.clone());
    let bindings = call(bindings.list(&ListParams::default())).await?.items;
    let policies: Api<ValidatingAdmissionPolicy> = Api::all(client.clone());
    let policies = call(policies.list(&ListParams::default())).await?.items;
    let holds = |name: &str| {
        let policy = policies.iter().find(|policy| policy.metadata.name.as_deref() == Some(name));
        matches!(fault(name, policy, &bindings), None | Some(Fault::Unchecked))
    };
    Ok(POLICIES.into_iter().filter(|name| !holds(name)).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn the_list_is_the_charts() {
        let chart = concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/tidegate/templates/admission");
        let mut names: Vec<String> = std::fs::read_dir(chart)
            .expect("the chart")
            .filter_map(|file| {
                let text = std::fs::read_to_string(file.ok()?.path()).ok()?;
                Some(text.split_once("$name := \"")?.1.split_once('"')?.0.to_owned())
            })
            .collect();
        names.sort();
        assert_eq!(names, POLICIES);
    }

    fn fault_of(policy: Value, binding: Value) -> Option<Fault> {
        let policy = serde_json::from_value(policy).expect("a policy");
        let binding = serde_json::from_value(binding).expect("a binding");
        fault("p", Some(&policy), &[binding])
    }

    #[test]
    fn a_policy_holds_only_when_it_denies_everywhere() {
        let policy = json!({"metadata": {"generation": 2}, "spec": {"failurePolicy": "Fail"},
            "status": {"observedGeneration": 2}});
        let binding = json!({"metadata": {}, "spec": {"policyName": "p", "validationActions": ["Deny"]}});
        assert_eq!(fault_of(policy.clone(), binding.clone()), None);
        assert_eq!(fault("p", None, &[]), Some(Fault::Missing));

        let mut other = binding.clone();
        other["spec"]["policyName"] = "q".into();
        let mut audits = binding.clone();
        audits["spec"]["validationActions"] = json!(["Audit"]);
        let mut narrow = binding.clone();
        narrow["spec"]["matchResources"] = json!({"namespaceSelector": {}});
        for binding in [other, audits, narrow] {
            assert_eq!(fault_of(policy.clone(), binding), Some(Fault::Unbound));
        }

        let mut old = policy.clone();
        old["status"]["observedGeneration"] = 1.into();
        assert_eq!(fault_of(old, binding.clone()), Some(Fault::Unchecked));
        let mut warned = policy.clone();
        warned["status"]["typeChecking"] = json!({"expressionWarnings": [{"fieldRef": "f", "warning": "w"}]});
        assert_eq!(fault_of(warned, binding.clone()), Some(Fault::NotUnderstood("f: w".into())));
        let mut open = policy;
        open["spec"]["failurePolicy"] = "Ignore".into();
        assert_eq!(fault_of(open, binding), Some(Fault::Open));
    }
}
