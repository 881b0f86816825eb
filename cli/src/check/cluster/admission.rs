//! The admission policies that decide who may: present, in force, and understood by the API server.
//!
//! A binding whose policy is missing enforces nothing and says nothing, so each is looked at by its name.

use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use kube_client::Api;
use kube_client::api::ListParams;
use tidegate_controller::cluster::admission::{Fault, POLICIES, fault};

use super::controller::Installed;
use super::seen;
use crate::check::report::Finding;
use crate::cluster::{Cluster, call};

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
            Ok(policy) => judge(name, fault(name, policy.as_ref(), &bindings)),
        });
    }
    findings
}

fn judge(name: &str, fault: Option<Fault>) -> Finding {
    match fault {
        None => Finding::ok("admission-policy", format!("{name} is in force")),
        Some(Fault::Missing) => Finding::error("admission-policy", format!("{name} is not there"), UPGRADE),
        Some(Fault::Open) => {
            let what = format!("{name} lets everything through when it fails");
            Finding::error("admission-policy", what, "set failurePolicy: Fail, as in the chart")
        }
        Some(Fault::Unbound) => {
            let what = format!("{name} is there, but no binding makes it deny everywhere");
            Finding::error("admission-bound", what, UPGRADE)
        }
        Some(Fault::NotUnderstood(why)) => {
            let what = format!("{name} is not understood: {why}");
            Finding::error("admission-type-checked", what, "upgrade chart and kinds together")
        }
        Some(Fault::Unchecked) => {
            let what = format!("{name} has not been type-checked by the API server yet");
            let hint = "try again in a few seconds; the kube-controller-manager does it";
            Finding::warning("admission-type-checked", what, hint)
        }
    }
}

/// What the leading replica sees of them, for whoever may not look.
pub(crate) fn watched(installed: &Installed) -> Finding {
    let gaps = installed.leader().and_then(|metrics| metrics.value("tidegate_controller_admission_gaps"));
    match gaps {
        Some(0.0) => Finding::ok("admission-watched", "the controller finds all admission policies in force"),
        Some(gaps) => {
            let what = format!("the controller finds {gaps} admission policies that are not in force");
            Finding::error("admission-watched", what, UPGRADE)
        }
        None => {
            let what = "what the controller finds of admission policies cannot be read";
            let hint = "it is read through the API server: you need `get` on pods/proxy, and a leader";
            Finding::skipped("admission-watched", what, hint)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::report::Outcome;
    use super::*;

    #[test]
    fn only_what_is_not_checked_yet_is_a_warning() {
        let outcome = |fault| {
            let finding = judge("p", fault);
            (finding.name, finding.outcome)
        };
        assert_eq!(outcome(None), ("admission-policy", Outcome::Ok));
        assert_eq!(outcome(Some(Fault::Missing)), ("admission-policy", Outcome::Error));
        assert_eq!(outcome(Some(Fault::Open)), ("admission-policy", Outcome::Error));
        assert_eq!(outcome(Some(Fault::Unbound)), ("admission-bound", Outcome::Error));
        let odd = Fault::NotUnderstood("f: w".into());
        assert_eq!(outcome(Some(odd)), ("admission-type-checked", Outcome::Error));
        assert_eq!(outcome(Some(Fault::Unchecked)), ("admission-type-checked", Outcome::Warning));
    }
}
