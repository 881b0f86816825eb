//! What the API server's own audit log keeps of it: evidence at no extra cost.

use std::fs;

use serde_json::Value;
use tidegate_tests::control_plane::AUDIT_LOG;
use tidegate_tests::wait;

use crate::DEADLINE;
use crate::setting::Setting;

/// What has to stand there at least once: the annotation, and its words.
const EVIDENCE: [(&str, &str); 9] = [
    ("request.vpnusers.tidegate.dev/application", "requested by chen.xia"),
    ("approval.vpnusers.tidegate.dev/approval", "requested by chen.xia, approved by li.qiang"),
    ("approval.vpnusers.tidegate.dev/approval", "approval by li.qiang withdrawn"),
    ("state.vpnusers.tidegate.dev/state", "Suspended to Active"),
    ("activation.vpnusers.tidegate.dev/activation", "activation code number 1"),
    ("review.vpnusers.tidegate.dev/review", "reviewed by zhou.min until 2027-06-30T16:00:00Z"),
    ("publish.accesspolicies.tidegate.dev/publish", "published in mode Enforce"),
    ("supervisor.departments.tidegate.dev/supervisor", "parent rsj, supervisor rsj"),
    ("validation.policy.admission.k8s.io/validation_failure", "TG-6025"),
];

/// Finds each piece of evidence.
pub(crate) fn check(setting: &Setting<'_>) {
    let path = setting.plane.files().join(AUDIT_LOG);
    wait::until("the audit log", DEADLINE, || {
        let log = fs::read_to_string(&path).map_err(|error| error.to_string())?;
        let records: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let stands = |key: &str, words: &str| {
            records
                .iter()
                .filter_map(|record| record["annotations"][key].as_str())
                .any(|text| text.contains(words))
        };
        match EVIDENCE.iter().find(|(key, words)| !stands(key, words)) {
            None => Ok(()),
            Some((key, words)) => Err(format!("{} records, none with {key}: {words}", records.len())),
        }
    })
    .unwrap_or_else(|error| panic!("{error}"));
}
