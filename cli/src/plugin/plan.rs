//! What one verb changes about one account: shown first, then written. Pure.

use anyhow::{Result, bail};
use serde_json::{Value, json};
use tidegate_crd::convert::REISSUE_ANNOTATION;
use tidegate_crd::types::{State, VpnUser};
use tidegate_crd::{API_VERSION, Kind};

/// Why an application was turned down, and by whom; for people, no program reads it.
pub(crate) const DENIED_ANNOTATION: &str = "tidegate.dev/denied";

/// Letters of a reason.
const REASON_MAX: usize = 500;

/// What somebody wants for an account.
#[derive(Clone, Debug)]
pub(crate) enum Verb {
    /// A yes to the application.
    Approve {
        /// The paper it rests on.
        reference: Option<String>,
        /// How long it counts, RFC 3339 in UTC.
        until: Option<String>,
        /// Whether to take the fields over from another field manager.
        force: bool,
    },
    /// A no.
    Deny {
        /// Why.
        reason: Option<String>,
    },
    /// The account stops.
    Suspend,
    /// Its sessions end.
    Revoke,
    /// It gets a new activation code.
    Activate,
}

impl Verb {
    /// As it is reported when done.
    pub(crate) fn done(&self) -> &'static str {
        match self {
            Self::Approve { .. } => "approved",
            Self::Deny { .. } => "denied",
            Self::Suspend => "suspended",
            Self::Revoke => "sessions revoked",
            Self::Activate => "new activation code asked for",
        }
    }

    /// Whether people look at it twice before it is written; what takes access away is never held up.
    pub(crate) fn asks(&self) -> bool {
        matches!(self, Self::Approve { .. } | Self::Deny { .. })
    }
}

/// One field before and after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    /// The field as manifests name it.
    pub(crate) field: &'static str,
    /// What it is.
    pub(crate) before: Option<String>,
    /// What it will be.
    pub(crate) after: Option<String>,
}

/// One call that writes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Write {
    /// Server-side apply as `tidegate-approve`.
    Apply {
        /// The fields that are applied.
        object: Value,
        /// Whether fields of other managers are taken over.
        force: bool,
    },
    /// A merge patch.
    Merge(Value),
}

/// What will change, and how.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// For people to see.
    pub(crate) changes: Vec<Change>,
    /// In this order; the first one is what admission judges.
    pub(crate) writes: Vec<Write>,
}

impl Plan {
    /// What `verb` of the user `me` does to `user`.
    pub(crate) fn of(verb: &Verb, user: &VpnUser, me: &str) -> Result<Self> {
        let mut plan = Self { changes: Vec::new(), writes: Vec::new() };
        match verb {
            Verb::Approve { reference, until, force } => {
                if user.spec.state == State::Left {
                    bail!(
                        "TG-6021 the person has left, which is final; apply for a new account under another name"
                    );
                }
                plan.approve(user, me, reference.as_deref(), until.as_deref(), *force);
            }
            Verb::Deny { reason } => plan.deny(user, me, reason.as_deref())?,
            Verb::Suspend => {
                if user.spec.state == State::Left {
                    bail!("the person has left already: nobody can log in with this account");
                }
                plan.state(user, State::Suspended);
                if !plan.changes.is_empty() {
                    plan.writes.push(Write::Merge(json!({"spec": {"state": "Suspended"}})));
                }
            }
            Verb::Revoke => {
                let before = user.spec.session_generation;
                let Some(next) = before.checked_add(1) else { bail!("spec.sessionGeneration cannot grow") };
                plan.change("spec.sessionGeneration", Some(before.to_string()), Some(next.to_string()));
                plan.writes.push(unchanged(user, json!({"spec": {"sessionGeneration": next}})));
            }
            Verb::Activate => {
                let before = annotation(user, REISSUE_ANNOTATION);
                let number: u64 = before.as_deref().and_then(|text| text.parse().ok()).unwrap_or(0);
                let next = number.saturating_add(1).to_string();
                plan.change(
                    "metadata.annotations[tidegate.dev/reissue-activation]",
                    before,
                    Some(next.clone()),
                );
                let annotations = json!({REISSUE_ANNOTATION: next});
                plan.writes.push(unchanged(user, json!({"metadata": {"annotations": annotations}})));
            }
        }
        Ok(plan)
    }

    fn approve(
        &mut self,
        user: &VpnUser,
        me: &str,
        reference: Option<&str>,
        until: Option<&str>,
        force: bool,
    ) {
        let before = user.spec.approval.as_ref();
        let mut approval = json!({"by": me});
        let fields = [
            ("spec.approval.by", "by", before.map(|approval| approval.by.clone()), Some(me)),
            ("spec.approval.reference", "reference", before.and_then(|a| a.reference.clone()), reference),
            ("spec.approval.until", "until", before.and_then(|a| a.until.clone()), until),
        ];
        for (field, key, before, after) in fields {
            if let Some(after) = after {
                approval[key] = after.into();
            }
            self.change(field, before, after.map(str::to_owned));
        }
        if !self.changes.is_empty() {
            let object = json!({
                "apiVersion": API_VERSION,
                "kind": Kind::VpnUser.as_str(),
                "metadata": {"name": user.metadata.name, "namespace": user.metadata.namespace},
                "spec": {"approval": approval},
            });
            self.writes.push(Write::Apply { object, force });
        }
        // The state stays whoever's it is: a field that is applied here could never be suspended elsewhere.
        let denied = annotation(user, DENIED_ANNOTATION);
        let stopped = user.spec.state != State::Active;
        self.state(user, State::Active);
        let mut merge = json!({});
        if stopped {
            merge["spec"] = json!({"state": "Active"});
        }
        if denied.is_some() {
            self.change("metadata.annotations[tidegate.dev/denied]", denied, None);
            merge["metadata"] = json!({"annotations": {DENIED_ANNOTATION: null}});
        }
        if merge != json!({}) {
            self.writes.push(Write::Merge(merge));
        }
    }

    fn deny(&mut self, user: &VpnUser, me: &str, reason: Option<&str>) -> Result<()> {
        if reason.is_some_and(|text| text.chars().count() > REASON_MAX || text.chars().any(char::is_control))
        {
            bail!("--reason: write one line of at most {REASON_MAX} letters");
        }
        let mut spec = json!({});
        if let Some(approval) = &user.spec.approval {
            self.change("spec.approval.by", Some(approval.by.clone()), None);
            spec["approval"] = Value::Null;
        }
        if user.spec.state == State::Active {
            self.state(user, State::Suspended);
            spec["state"] = "Suspended".into();
        }
        let before = annotation(user, DENIED_ANNOTATION);
        let after = reason.map_or_else(|| me.to_owned(), |reason| format!("{me}: {reason}"));
        if before.as_ref() == Some(&after) && spec == json!({}) {
            return Ok(());
        }
        self.change("metadata.annotations[tidegate.dev/denied]", before, Some(after.clone()));
        let annotations = json!({DENIED_ANNOTATION: after});
        self.writes.push(Write::Merge(json!({"metadata": {"annotations": annotations}, "spec": spec})));
        Ok(())
    }

    fn state(&mut self, user: &VpnUser, after: State) {
        self.change("spec.state", Some(format!("{:?}", user.spec.state)), Some(format!("{after:?}")));
    }

    fn change(&mut self, field: &'static str, before: Option<String>, after: Option<String>) {
        if before != after {
            self.changes.push(Change { field, before, after });
        }
    }
}

/// A merge patch that counts only while nobody else has written: two people who both count up by one
/// would otherwise end one session generation, not two.
fn unchanged(user: &VpnUser, mut patch: Value) -> Write {
    patch["metadata"]["resourceVersion"] = json!(user.metadata.resource_version);
    Write::Merge(patch)
}

fn annotation(user: &VpnUser, name: &str) -> Option<String> {
    user.metadata.annotations.as_ref()?.get(name).cloned()
}

#[cfg(test)]
mod tests;
