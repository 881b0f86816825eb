//! Rules in force: each policy's newest form if the compiler takes it, else its last good one.
//!
//! All rules of a department become one module, so one refused rule would take the others with it. It
//! does not: the policy it is in falls back, alone, and the rest is compiled again.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate_core::policy::{Mode, Policy};
use tidegate_core::{Code, DepartmentCode, PolicyModule, PolicyState};

use tidegate_policy_compiler as compiler;

use crate::build::Part;
use crate::digest::sha256;
use crate::form::{Form, Refusal, Rules};
use crate::last_good::Good;
use crate::objects::ObjectKey;

/// Whose rules are compiled together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// The guardrails of the platform.
    Platform,
    /// One department's.
    Department(DepartmentCode),
}

/// A policy object and the forms it may be in force in.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    key: ObjectKey,
    newest: Option<(Rules, Good)>,
    kept: Option<(Rules, Good)>,
}

/// What became of the policies of one scope.
#[derive(Debug)]
pub struct Ruling {
    /// The module.
    pub state: PolicyState,
    /// The form of each policy that is in force.
    pub last_good: BTreeMap<ObjectKey, Good>,
    /// Why the newest form of a policy is not.
    pub refusals: BTreeMap<ObjectKey, Refusal>,
    modes: BTreeMap<ObjectKey, Mode>,
}

impl Candidate {
    /// The forms a policy object offers.
    #[must_use]
    pub fn of(key: &ObjectKey, part: &Part) -> Self {
        let rules = |offer: &Option<(Arc<Form>, Good)>| {
            let (form, good) = offer.as_ref()?;
            match &**form {
                Form::AccessPolicy(rules) | Form::ClusterAccessPolicy(rules) => {
                    Some((rules.clone(), good.clone()))
                }
                _ => None,
            }
        };
        Self { key: key.clone(), newest: rules(&part.newest), kept: rules(&part.kept) }
    }
}

impl Ruling {
    /// Where there are no policies.
    pub const NONE: Self = Self {
        state: PolicyState::Absent,
        last_good: BTreeMap::new(),
        refusals: BTreeMap::new(),
        modes: BTreeMap::new(),
    };

    /// What a policy that is compiled does, in words.
    #[must_use]
    pub fn note(&self, key: &ObjectKey) -> &'static str {
        match self.modes.get(key) {
            Some(Mode::DryRun) => "compiled; evaluated but not in force (mode DryRun)",
            Some(Mode::Disabled) => "compiled; not evaluated (mode Disabled)",
            Some(Mode::Enforce) | None => "compiled and in force",
        }
    }
}

/// What one attempt at compiling gave.
struct Attempt {
    state: PolicyState,
    /// The policies it refuses, by name; empty when the module is good.
    refused: Vec<(Box<str>, Refusal)>,
}

/// The module of one scope, and what became of each policy.
#[must_use]
pub fn compile(scope: &Scope, candidates: &[Candidate]) -> Ruling {
    settle(candidates, |policies| attempt(scope, policies))
}

/// Compiles the newest forms; a policy that is refused falls back to its last good form, then to
/// nothing, until the rest compiles. Each round takes a form away, so it ends.
fn settle(candidates: &[Candidate], mut compile: impl FnMut(&[&Policy]) -> Attempt) -> Ruling {
    let mut ruling = Ruling::NONE;
    let mut offers: BTreeMap<&ObjectKey, Vec<(&Policy, &Good)>> = BTreeMap::new();
    for candidate in candidates {
        let offered = offers.entry(&candidate.key).or_default();
        for (rules, good) in candidate.kept.iter().chain(&candidate.newest) {
            match rules {
                Rules::Written(policy) => offered.push((policy, good)),
                Rules::Module => {
                    ruling.refusals.insert(
                        candidate.key.clone(),
                        Refusal::new(
                            Code::ModuleUnsupportedClass,
                            "spec.module: custom modules are not supported yet; write spec.rules instead",
                        ),
                    );
                }
            }
        }
    }
    loop {
        let chosen: BTreeMap<&ObjectKey, (&Policy, &Good)> =
            offers.iter().filter_map(|(key, offered)| Some((*key, *offered.last()?))).collect();
        let policies: Vec<&Policy> = chosen.values().map(|(policy, _)| *policy).collect();
        let attempt = compile(&policies);
        let mut fell = false;
        for (name, refusal) in attempt.refused {
            let Some(key) = chosen.iter().find(|(_, (policy, _))| policy.name == name).map(|(key, _)| *key)
            else {
                continue;
            };
            // The first refusal speaks about the newest form; that an older one fails too adds nothing.
            ruling.refusals.entry(key.clone()).or_insert(refusal);
            if let Some(offered) = offers.get_mut(key) {
                fell |= offered.pop().is_some();
            }
        }
        if fell {
            continue;
        }
        ruling.modes = chosen.iter().map(|(key, (policy, _))| ((*key).clone(), policy.mode)).collect();
        ruling.last_good = chosen.into_iter().map(|(key, (_, good))| (key.clone(), good.clone())).collect();
        ruling.state = attempt.state;
        return ruling;
    }
}

/// Asks the compiler. It would leave a refused rule out and go on; we let its whole policy fall back,
/// since an allow without the deny beside it is not what its author wrote.
fn attempt(scope: &Scope, policies: &[&Policy]) -> Attempt {
    let policies: Vec<Policy> = policies.iter().map(|policy| (*policy).clone()).collect();
    let scope = match scope {
        Scope::Platform => compiler::Scope::Platform,
        Scope::Department(code) => compiler::Scope::Department(code.clone()),
    };
    let output = compiler::compile(&compiler::Input { scope, policies: &policies });
    let refused = output.problems.iter().map(|problem| (problem.policy.clone(), refusal(problem, &policies)));
    let refused = refused.collect();
    let state = if output.rules.is_empty() {
        PolicyState::Absent
    } else {
        PolicyState::Module(Arc::new(PolicyModule {
            digest: sha256(&output.wasm),
            wasm: output.wasm.into(),
            rules: output.rules,
        }))
    };
    Attempt { state, refused }
}

/// A compiler's problem with the field it is about.
fn refusal(problem: &compiler::Problem, policies: &[Policy]) -> Refusal {
    let fault = &problem.fault;
    let found = policies.iter().find(|policy| policy.name == problem.policy).and_then(|policy| {
        let index = policy.rules.iter().position(|rule| rule.name == problem.rule)?;
        Some((index, policy.rules.get(index)?))
    });
    let Some((index, rule)) = found else {
        return Refusal::new(fault.code, format!("{}; {}", fault.message, fault.fix));
    };
    let when = rule.when.as_deref().filter(|_| fault.span.is_some());
    let path = format!("spec.rules[{index}].{}", if when.is_some() { "when" } else { "match" });
    let place = when.and_then(|when| fault.place(when)).map_or_else(String::new, |place| {
        format!(", line {}, column {} of the expression", place.line, place.column)
    });
    let message = format!("{path} of rule {:?}{place}: {}; {}", rule.name, fault.message, fault.fix);
    Refusal { code: fault.code, message, path }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(name: &str, generation: i64) -> (Rules, Good) {
        let policy = Policy {
            name: name.into(),
            target: tidegate_core::policy::Target::Platform,
            mode: Mode::Enforce,
            rules: Vec::new(),
        };
        let source = tidegate_core::Source { uid: name.parse().unwrap(), generation };
        (Rules::Written(policy), Good { source, spec: Arc::new(generation.into()) })
    }

    fn candidate(name: &str, newest: Option<i64>, kept: Option<i64>) -> Candidate {
        Candidate {
            key: ObjectKey::new(crate::objects::ObjectKind::AccessPolicy, "dept-sbj", name),
            newest: newest.map(|generation| policy(name, generation)),
            kept: kept.map(|generation| policy(name, generation)),
        }
    }

    /// Settles with a compiler that refuses the `refused` policies the first so many times it sees them.
    fn settled(candidates: &[Candidate], refused: &[(&str, usize)]) -> (Vec<(String, i64)>, usize) {
        let mut left: BTreeMap<&str, usize> = refused.iter().copied().collect();
        let ruling = settle(candidates, |policies| {
            let mut refused = Vec::new();
            for policy in policies {
                if let Some(times) = left.get_mut(&*policy.name).filter(|times| **times > 0) {
                    *times -= 1;
                    refused.push((policy.name.clone(), Refusal::new(Code::RuleCost, "")));
                }
            }
            Attempt { state: PolicyState::Absent, refused }
        });
        let in_force = ruling
            .last_good
            .iter()
            .map(|(key, good)| (key.name.to_string(), good.source.generation))
            .collect();
        (in_force, ruling.refusals.len())
    }

    #[test]
    fn each_policy_falls_back_by_itself() {
        let all = [
            candidate("a", Some(2), Some(1)),
            candidate("b", Some(2), None),
            candidate("c", None, Some(1)),
            candidate("d", None, None),
        ];
        let force = |entries: &[(&str, i64)]| {
            entries.iter().map(|(name, generation)| ((*name).to_owned(), *generation)).collect::<Vec<_>>()
        };
        assert_eq!(settled(&all, &[]), (force(&[("a", 2), ("b", 2), ("c", 1)]), 0));
        assert_eq!(settled(&all, &[("a", 1)]), (force(&[("a", 1), ("b", 2), ("c", 1)]), 1));
        assert_eq!(settled(&all, &[("a", 2), ("b", 1)]), (force(&[("c", 1)]), 2));
        assert_eq!(settled(&all, &[("c", 9)]), (force(&[("a", 2), ("b", 2)]), 1));
    }
}
