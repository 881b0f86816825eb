//! Rules to a module: parse, check, index, emit. Also the reference evaluator the module is held
//! against, `explain`, and the generators of random rule sets and requests.
//!
//! [`compile`] takes all policies of one department (or of the platform) and leaves out, with a
//! [`Problem`], each rule that cannot be in force; [`check_policy`] judges one policy alone, before
//! it is written. Equal input gives equal bytes.

mod accept;
mod code;
mod data;
pub mod explain;
#[doc(hidden)]
pub mod generate;
pub mod limits;
mod lower;
mod module;
mod problem;
pub mod reference;
mod tables;
mod tree;
pub mod when;

use tidegate_core::policy::Policy;
use tidegate_core::{Code, RuleName};
use tidegate_policy_evaluator as evaluator;

pub use accept::Scope;
pub use module::{BadEvaluator, emit};
pub use problem::{Fault, Place, Problem};
pub use when::parse as parse_when;

use accept::Accepted;
use data::Data;
use tree::Tree;

/// What is compiled together.
#[derive(Clone, Debug)]
pub struct Input<'a> {
    /// Whose rules they are.
    pub scope: Scope,
    /// The policies; their order gives rules their indexes.
    pub policies: &'a [Policy],
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Output {
    /// The module; it answers "nothing matched" when no rule is in force.
    pub wasm: Vec<u8>,
    /// The rules in force, by the index a verdict carries.
    pub rules: Vec<RuleName>,
    /// What is wrong with the rules left out.
    pub problems: Vec<Problem>,
}

/// Compiles all policies of one scope.
///
/// Only `Enforce` is compiled: `Disabled` is left out, `DryRun` is judged but never in force (its
/// evaluation beside the enforced rules comes later).
#[must_use]
pub fn compile(input: &Input<'_>) -> Output {
    let (tables, rules, problems) = compile_tables(input);
    // The committed evaluator is well-formed (a test compiles with it); if it ever were not, an
    // empty module is one every gateway refuses, and refusing denies.
    let wasm = emit(evaluator::WASM, &tables).unwrap_or_default();
    Output { wasm, rules, problems }
}

/// Compiles to bare tables, for running the evaluator natively.
#[doc(hidden)]
#[must_use]
pub fn compile_tables(input: &Input<'_>) -> (Vec<u8>, Vec<RuleName>, Vec<Problem>) {
    let mut problems = Vec::new();
    let mut accepted = accept::all(&input.scope, input.policies, &mut problems);
    for rule in accepted.drain(limits::MAX_RULES.min(accepted.len())..) {
        let fault = Fault::whole(
            Code::TooManyRules,
            format!("there are more than {} rules", limits::MAX_RULES),
            "join rules that differ in one list",
        );
        problems.push(refused(&rule, fault));
    }
    loop {
        let (tables, dropped) = build(&input.scope, &accepted);
        let too_large = tables.len() > limits::MAX_MODULE - evaluator::WASM.len() - 1_024;
        if dropped.is_empty() && !too_large {
            return (tables, accepted.iter().map(Accepted::name).collect(), problems);
        }
        // Too large as a whole: the latest quarter goes, until it fits.
        let keep = if dropped.is_empty() { accepted.len() * 3 / 4 } else { accepted.len() };
        let mut kept = Vec::new();
        for (index, rule) in accepted.into_iter().enumerate() {
            if dropped.contains(&index) {
                problems.push(refused(&rule, reach_fault()));
            } else if index >= keep {
                let fault = Fault::whole(
                    Code::ModuleTooLarge,
                    "the rules together are larger than a gateway loads",
                    "join rules, or select resources by label instead of long lists",
                );
                problems.push(refused(&rule, fault));
            } else {
                kept.push(rule);
            }
        }
        accepted = kept;
    }
}

fn build(scope: &Scope, accepted: &[Accepted<'_>]) -> (Vec<u8>, std::collections::BTreeSet<usize>) {
    let mut data = Data::new();
    let lowered: Vec<_> = accepted
        .iter()
        .enumerate()
        .map(|(index, rule)| lower::lower(&mut data, rule, index as u32, scope))
        .collect();
    let mut tree = Tree::build(&lowered);
    let dropped = tree.enforce_limit(&lowered, limits::MAX_REQUEST_COST);
    (tables::write(data, &tree, &lowered), dropped)
}

fn reach_fault() -> Fault {
    Fault::whole(
        Code::RuleCost,
        format!("with this rule one request could cost more than {} units", limits::MAX_REQUEST_COST),
        "let the rule name resources or groups, so that fewer rules speak about one request",
    )
}

fn refused(rule: &Accepted<'_>, fault: Fault) -> Problem {
    Problem { policy: rule.policy.name.clone(), rule: rule.rule.name.clone(), fault }
}

/// Judges one policy alone: everything but what depends on the department's other policies.
#[must_use]
pub fn check_policy(policy: &Policy) -> Vec<Problem> {
    let mut problems = Vec::new();
    accept::policy(policy, None, &mut problems);
    problems
}

#[cfg(test)]
mod tests;
