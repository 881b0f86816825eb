//! The policies themselves: bound, in force, and every expression of them of the right type.

use serde_json::Value;
use tidegate_tests::findings::Findings;
use tidegate_tests::wait;

use crate::DEADLINE;
use crate::setting::Setting;

/// What the chart installs. `tidegate check` has a list of its own: one that both took could lose a policy unseen.
const POLICIES: [&str; 7] = [
    "activation.vpnusers.tidegate.dev",
    "approval.vpnusers.tidegate.dev",
    "publish.accesspolicies.tidegate.dev",
    "request.vpnusers.tidegate.dev",
    "review.vpnusers.tidegate.dev",
    "state.vpnusers.tidegate.dev",
    "supervisor.departments.tidegate.dev",
];

/// Waits until Kubernetes has checked each, and finds nothing wrong with any.
pub(crate) fn check(setting: &Setting<'_>) {
    let names = |kind: &str| -> Vec<String> {
        let listed = setting.plane.kubectl(&["get", kind, "--output=name"], "");
        let listed = listed.unwrap_or_else(|error| panic!("{error}"));
        listed.lines().filter_map(|line| line.rsplit('/').next()).map(str::to_owned).collect()
    };
    assert_eq!(names("validatingadmissionpolicy"), POLICIES);
    assert_eq!(names("validatingadmissionpolicybinding"), POLICIES);

    let mut findings = Findings::default();
    for name in POLICIES {
        let policy = wait::until(name, DEADLINE, || {
            let text =
                setting.plane.kubectl(&["get", "validatingadmissionpolicy", name, "--output=json"], "")?;
            let policy: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
            let checked = policy["status"]["observedGeneration"] == policy["metadata"]["generation"]
                && policy["status"]["typeChecking"].is_object();
            if checked { Ok(policy) } else { Err(format!("its status is {}", policy["status"])) }
        })
        .unwrap_or_else(|error| panic!("{error}"));
        for warning in policy["status"]["typeChecking"]["expressionWarnings"].as_array().into_iter().flatten()
        {
            findings.add(format!("{name}: {warning}"));
        }
    }
    findings.assert_none();
}
