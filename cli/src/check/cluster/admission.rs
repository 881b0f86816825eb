//! The admission policies that decide who may: present, in force, and understood by the API server.
//!
//! A binding whose policy is missing enforces nothing and says nothing, so each is looked at by its name.

use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use kube_client::Api;
use kube_client::api::ListParams;

use super::seen;
use crate::check::report::Finding;
use crate::cluster::{Cluster, call};

/// The policies of the chart; a test holds the list to it.
const POLICIES: [&str; 7] = [
    "activation.vpnusers.tidegate.dev",
    "approval.vpnusers.tidegate.dev",
    "publish.accesspolicies.tidegate.dev",
    "request.vpnusers.tidegate.dev",
    "review.vpnusers.tidegate.dev",
    "state.vpnusers.tidegate.dev",
    "supervisor.departments.tidegate.dev",
];

const UPGRADE: &str = "install or upgrade the chart; without it anybody who can write may also approve";

/// One finding for each policy.
pub(crate) async fn check(cluster: &Cluster) -> Vec<Finding> {
    let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(cluster.client.clone());
    let listed = call(bindings.list(&ListParams::default())).await;
    let bindings = match seen("admission-bound", "bindings of admission policies", listed, &cluster.address) {
        Ok(list) => list.map(|list| list.items).unwrap_or_default(),
        Err(finding) => return vec![finding],
    };
    let policies: Api<ValidatingAdmissionPolicy> = Api::all(cluster.client.clone());
    let mut findings = Vec::new();
    for name in POLICIES {
        let found = seen("admission-policy", name, call(policies.get(name)).await, &cluster.address);
        findings.push(match found {
            Err(finding) => finding,
            Ok(None) => Finding::error("admission-policy", format!("{name} is not there"), UPGRADE),
            Ok(Some(policy)) => judge(name, &policy, &bindings),
        });
    }
    findings
}

fn judge(
    name: &str,
    policy: &ValidatingAdmissionPolicy,
    bindings: &[ValidatingAdmissionPolicyBinding],
) -> Finding {
    let spec = policy.spec.as_ref();
    if spec.and_then(|spec| spec.failure_policy.as_deref()) == Some("Ignore") {
        let what = format!("{name} lets everything through when it fails");
        return Finding::error("admission-policy", what, "set failurePolicy: Fail, as in the chart");
    }
    let status = policy.status.as_ref();
    if status.and_then(|status| status.observed_generation) != policy.metadata.generation {
        let what = format!("{name} has not been type-checked by the API server yet");
        let hint = "try again in a few seconds; the kube-controller-manager does it";
        return Finding::warning("admission-type-checked", what, hint);
    }
    let warnings = status
        .and_then(|status| status.type_checking.as_ref())
        .and_then(|checking| checking.expression_warnings.as_deref())
        .unwrap_or_default();
    if let Some(first) = warnings.first() {
        let what = format!("{name} is not understood: {}: {}", first.field_ref, first.warning);
        return Finding::error("admission-type-checked", what, "upgrade chart and kinds together");
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
    if bindings.iter().any(denies) {
        Finding::ok("admission-policy", format!("{name} is in force"))
    } else {
        let what = format!("{name} is there, but no binding makes it deny everywhere");
        Finding::error("admission-bound", what, UPGRADE)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::super::report::Outcome;
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

    fn outcome(policy: Value, binding: Value) -> (&'static str, Outcome) {
        let policy = serde_json::from_value(policy).expect("a policy");
        let binding = serde_json::from_value(binding).expect("a binding");
        let finding = judge("p", &policy, &[binding]);
        (finding.name, finding.outcome)
    }

    #[test]
    fn a_policy_counts_only_when_it_is_checked_and_denies_everywhere() {
        let policy = json!({"metadata": {"generation": 2}, "spec": {"failurePolicy": "Fail"},
            "status": {"observedGeneration": 2}});
        let binding = json!({"metadata": {}, "spec": {"policyName": "p", "validationActions": ["Deny"]}});
        assert_eq!(outcome(policy.clone(), binding.clone()), ("admission-policy", Outcome::Ok));

        let mut other = binding.clone();
        other["spec"]["policyName"] = "q".into();
        let mut audits = binding.clone();
        audits["spec"]["validationActions"] = json!(["Audit"]);
        let mut narrow = binding.clone();
        narrow["spec"]["matchResources"] = json!({"namespaceSelector": {}});
        for binding in [other, audits, narrow] {
            assert_eq!(outcome(policy.clone(), binding), ("admission-bound", Outcome::Error));
        }

        let mut old = policy.clone();
        old["status"]["observedGeneration"] = 1.into();
        assert_eq!(outcome(old, binding.clone()), ("admission-type-checked", Outcome::Warning));
        let mut warned = policy.clone();
        warned["status"]["typeChecking"] = json!({"expressionWarnings": [{"fieldRef": "f", "warning": "w"}]});
        assert_eq!(outcome(warned, binding.clone()), ("admission-type-checked", Outcome::Error));
        let mut open = policy;
        open["spec"]["failurePolicy"] = "Ignore".into();
        assert_eq!(outcome(open, binding), ("admission-policy", Outcome::Error));
    }
}
