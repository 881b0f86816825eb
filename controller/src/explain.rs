//! Why somebody may or may not open something: the decision itself, put into words.
//!
//! Nothing is decided here. The question goes through [`tidegate_core::decide`] with an evaluator of the
//! caller's choice on the very modules gateways run; the answer says which rule it was, or what was
//! missing.

mod near;
mod words;

use std::net::IpAddr;

use serde::Serialize;
use tidegate_core::policy::{Device, Effect, Evaluate, Subject};
use tidegate_core::{
    Account, AccountId, Decision, Denial, DenyReason, Question, ResourceId, RuleName, Snapshot, Timestamp,
    decide,
};

use crate::time::rfc3339;

pub use near::{NearMiss, RulesInForce};

/// What is asked.
#[derive(Clone, Debug)]
pub struct Ask {
    /// Who.
    pub account: AccountId,
    /// What.
    pub resource: ResourceId,
    /// When.
    pub at: Timestamp,
    /// Where the computer is.
    pub source: IpAddr,
    /// Kind of client.
    pub device: Device,
    /// Set of factors used, bit = [`tidegate_core::policy::Factor`].
    pub factors: u8,
    /// HTTP method in upper case; empty for the tile.
    pub method: String,
    /// Normalised path; empty for the tile.
    pub path: String,
}

/// The answer, with a stable shape for `-o json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// Who, `<code>/<name>`.
    pub account: String,
    /// What, `<code>/<name>`.
    pub resource: String,
    /// The instant it is about.
    pub at: String,
    /// Whether it is allowed.
    pub allowed: bool,
    /// The code, when it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The reason's stable name, when it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    /// The rule that said so, if one did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<RuleRef>,
    /// When it opens, if only the time is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub opens_at: Option<String>,
    /// Until when time alone does not change the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub holds_until: Option<String>,
    /// Whether a rule's expression failed on the way.
    pub rule_error: bool,
    /// Rules of the owner that would have allowed it but for one condition; see [`Explanation::near`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub near: Vec<NearMiss>,
    /// In words.
    pub words: Words,
}

/// A rule and whose it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RuleRef {
    /// The department; the platform when there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub department: Option<String>,
    /// The policy object.
    pub policy: String,
    /// The rule in it.
    pub rule: String,
    /// `Allow` or `Deny`.
    pub effect: &'static str,
}

/// The answer in both languages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Words {
    /// Simplified Chinese.
    #[serde(rename = "zh-CN")]
    pub zh_cn: String,
    /// English.
    pub en: String,
}

/// Answers `ask` from `snapshot`. `prepare` makes what `evaluator` wants to know of the person.
pub fn explain<E: Evaluate>(
    snapshot: &Snapshot,
    ask: &Ask,
    evaluator: &mut E,
    prepare: impl FnOnce(&Subject) -> E::Prepared,
) -> Explanation {
    let decision = match known(snapshot, ask) {
        Err(reason) => Decision::Deny(Denial::of(reason)),
        Ok(account) => {
            let question = Question {
                snapshot,
                member: &ask.account.department,
                account,
                resource: &ask.resource,
                method: &ask.method,
                path: &ask.path,
            };
            decide(&question, &prepare(&subject(account, ask)), ask.at, evaluator)
        }
    };
    answer(snapshot, ask, &decision)
}

impl Explanation {
    /// Adds, to the words too, what the owner's rules that came nearest wanted, when no rule said no.
    #[must_use]
    pub fn near(mut self, rules: &RulesInForce, snapshot: &Snapshot, ask: &Ask) -> Self {
        let judged = self.code.is_some() && self.rule.is_none();
        if judged
            && snapshot.account(&ask.account).is_some_and(|account| account.standing(ask.at).denied.is_none())
        {
            self.near = near::misses(rules, snapshot, ask);
            for miss in &self.near {
                self.words.zh_cn.push_str(&format!("\n  {}。", miss.words.zh_cn));
                self.words.en.push_str(&format!("\n  {}.", miss.words.en));
            }
        }
        self
    }
}

fn known<'a>(snapshot: &'a Snapshot, ask: &Ask) -> Result<&'a Account, DenyReason> {
    if snapshot.department(ask.account.department.as_str()).is_none() {
        return Err(DenyReason::DepartmentUnknown);
    }
    snapshot.account(&ask.account).map(|account| &**account).ok_or(DenyReason::AccountUnknown)
}

fn subject(account: &Account, ask: &Ask) -> Subject {
    Subject {
        department: ask.account.department.clone(),
        name: account.name.clone(),
        uid: account.source.uid.clone(),
        unit: account.person.unit.clone(),
        groups: account.person.groups.clone(),
        attributes: account.person.attributes.clone(),
        device: ask.device,
        factors: ask.factors,
        source: ask.source,
    }
}

fn answer(snapshot: &Snapshot, ask: &Ask, decision: &Decision) -> Explanation {
    let rule_ref = |department: Option<String>, rule: &RuleName| RuleRef {
        department,
        policy: rule.policy.to_string(),
        rule: rule.rule.to_string(),
        effect: match rule.effect {
            Effect::Allow => "Allow",
            Effect::Deny => "Deny",
        },
    };
    let instant = |at: Timestamp| (at < Timestamp(i64::MAX / 2)).then(|| rfc3339(at));
    let (allowed, denial, rule, valid_until, rule_error) = match decision {
        Decision::Permit(permit) => {
            let rule = permit.rule().map(|rule| rule_ref(Some(permit.owner().code.to_string()), rule));
            (true, None, rule, permit.valid_until(), permit.rule_error())
        }
        Decision::Deny(denial) => {
            let department = denial.department.as_ref().map(ToString::to_string);
            let rule = denial.rule.as_ref().map(|rule| rule_ref(department, rule));
            (false, Some(denial), rule, denial.valid_until, denial.rule_error)
        }
    };
    Explanation {
        account: ask.account.to_string(),
        resource: ask.resource.to_string(),
        at: rfc3339(ask.at),
        allowed,
        code: denial.map(|denial| denial.reason.code().id()),
        reason: denial.map(|denial| denial.reason.name()),
        opens_at: denial.and_then(|denial| denial.opens_at).and_then(instant),
        holds_until: instant(valid_until),
        rule_error,
        near: Vec::new(),
        words: words::of(snapshot, ask, denial, rule.as_ref()),
        rule,
    }
}

#[cfg(test)]
mod tests;
