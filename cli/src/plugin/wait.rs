//! Waiting until what was written is in force on every gateway.

use std::time::Duration;

use anyhow::Result;
use kube_client::Api;
use tidegate_crd::types::VpnUser;
use tokio::time::Instant;

use crate::cluster::call;

/// How often the object is read; a change is in force within a second.
const POLL: Duration = Duration::from_millis(200);

/// The condition that is waited for.
const CONDITION: &str = "Propagated";

/// What became of the wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Propagation {
    /// Whether every known gateway enforces it.
    pub(crate) in_force: bool,
    /// The condition's own words, or why there are none.
    pub(crate) message: String,
}

/// Reads the object again and again until its condition speaks about what was written, and is true.
pub(crate) async fn until_in_force(
    users: &Api<VpnUser>,
    written: &VpnUser,
    deadline: Duration,
) -> Result<Propagation> {
    let name = written.metadata.name.as_deref().unwrap_or_default();
    let end = Instant::now() + deadline;
    let mut last = judged(written, written.metadata.generation);
    while !last.in_force && Instant::now() < end {
        tokio::time::sleep(POLL).await;
        // The API server may be away for a moment; what was seen last counts until the deadline.
        last = match call(users.get(name)).await {
            Ok(user) => judged(&user, written.metadata.generation),
            Err(failure) if failure.is_not_found() => anyhow::bail!("the account was removed meanwhile"),
            Err(failure) if failure.is_forbidden() => return Err(failure.explained("")),
            Err(_) => last,
        };
    }
    Ok(last)
}

fn judged(user: &VpnUser, generation: Option<i64>) -> Propagation {
    let mut conditions = user.status.iter().flat_map(|status| &status.conditions);
    let condition = conditions
        .rfind(|condition| condition.r#type == CONDITION && condition.observed_generation >= generation);
    match condition {
        Some(condition) => {
            Propagation { in_force: condition.status == "True", message: condition.message.clone() }
        }
        None => {
            let message = "the controller has not taken it up yet; `tidegate check` says why".to_owned();
            Propagation { in_force: false, message }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn user(conditions: Value) -> VpnUser {
        serde_json::from_value(json!({
            "apiVersion": "tidegate.dev/v1alpha1", "kind": "VpnUser",
            "metadata": {"name": "li-qiang", "generation": 3},
            "spec": {"request": {"person": "Li Qiang"}, "requestedBy": "zhou.ke"},
            "status": {"conditions": conditions},
        }))
        .expect("a VpnUser")
    }

    fn condition(status: &str, generation: i64) -> Value {
        json!([{"type": "Propagated", "status": status, "reason": "R", "message": "words",
            "observedGeneration": generation, "lastTransitionTime": "2026-11-25T00:00:00Z"}])
    }

    #[test]
    fn only_a_true_condition_of_this_generation_counts() {
        let in_force = |conditions| judged(&user(conditions), Some(3)).in_force;
        assert!(in_force(condition("True", 3)));
        assert!(in_force(condition("True", 4)));
        for conditions in [json!([]), condition("True", 2), condition("False", 3), condition("Unknown", 3)] {
            assert!(!in_force(conditions));
        }
    }
}
