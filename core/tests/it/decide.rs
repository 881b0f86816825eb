//! The decision against the sentence it implements: any veto wins, then the owner's word, else no.

use proptest::prelude::*;
use std::sync::Arc;

use tidegate_core::policy::{Effect, Evaluate, Fault, Hint, HintKind, Request, Side, Verdict};
use tidegate_core::{
    Account, AccountState, Decision, DenyReason, LocalTime, PolicyModule, PolicyState, Question, ResourceId,
    Snapshot, decide,
};

use crate::world::{NOW, mk_account, mk_department, mk_module, mk_resource, mk_snapshot};

/// Answers by module and side from a list, and remembers who was asked.
struct Scripted {
    answers: [Result<Verdict, Fault>; 3],
    asked: Vec<(u8, Side)>,
}

impl Evaluate for Scripted {
    type Prepared = ();

    fn evaluate(
        &mut self,
        module: &PolicyModule,
        side: Side,
        (): &(),
        _: &Request<'_>,
        _: LocalTime,
    ) -> Result<Verdict, Fault> {
        self.asked.push((module.digest[0], side));
        self.answers[side as usize]
    }
}

fn mk_world(platform: PolicyState, member: PolicyState, owner: PolicyState) -> Snapshot {
    let mut theirs = mk_department("sbj", owner);
    let resource = mk_resource("records");
    theirs.resources.insert(resource.name.clone(), Arc::new(resource));
    mk_snapshot(platform, vec![mk_department("rsj", member), theirs])
}

fn ask(snapshot: &Snapshot, account: &Account, evaluator: &mut Scripted) -> Decision {
    let question = Question {
        snapshot,
        member: &"rsj".parse().unwrap(),
        account,
        resource: &ResourceId { department: "sbj".parse().unwrap(), name: "records".parse().unwrap() },
        method: "GET",
        path: "/",
    };
    decide(&question, &(), NOW, evaluator)
}

fn reason(decision: &Decision) -> Option<DenyReason> {
    match decision {
        Decision::Permit(_) => None,
        Decision::Deny(denial) => Some(denial.reason),
    }
}

fn verdict(effect: Option<Effect>) -> Result<Verdict, Fault> {
    Ok(Verdict { effect, ..Verdict::NOTHING })
}

#[test]
fn modules_are_asked_in_the_order_of_the_contract_and_no_further_than_needed() {
    let snapshot = mk_world(mk_module(1), mk_module(2), mk_module(3));
    let allow = verdict(Some(Effect::Allow));
    let mut all = Scripted { answers: [verdict(None), verdict(None), allow], asked: Vec::new() };
    assert_eq!(reason(&ask(&snapshot, &mk_account("wang"), &mut all)), None);
    assert_eq!(all.asked, [(1, Side::Platform), (2, Side::Member), (3, Side::Owner)]);

    let deny = verdict(Some(Effect::Deny));
    let mut vetoed = Scripted { answers: [deny, allow, allow], asked: Vec::new() };
    assert_eq!(reason(&ask(&snapshot, &mk_account("wang"), &mut vetoed)), Some(DenyReason::PlatformVeto));
    assert_eq!(vetoed.asked.len(), 1);

    let suspended = Account { state: AccountState::Suspended, ..mk_account("wang") };
    let mut unasked = Scripted { answers: [allow, allow, allow], asked: Vec::new() };
    assert_eq!(reason(&ask(&snapshot, &suspended, &mut unasked)), Some(DenyReason::AccountSuspended));
    assert!(unasked.asked.is_empty());
}

#[test]
fn an_allow_of_the_platform_or_of_the_own_department_opens_nothing() {
    let snapshot = mk_world(mk_module(1), mk_module(2), mk_module(3));
    let allow = verdict(Some(Effect::Allow));
    let mut evaluator = Scripted { answers: [allow, allow, verdict(None)], asked: Vec::new() };
    assert_eq!(reason(&ask(&snapshot, &mk_account("wang"), &mut evaluator)), Some(DenyReason::NoRule));
}

#[test]
fn without_any_rule_nothing_is_open() {
    let snapshot = mk_world(PolicyState::Absent, PolicyState::Absent, PolicyState::Absent);
    let mut evaluator = Scripted { answers: [verdict(Some(Effect::Allow)); 3], asked: Vec::new() };
    assert_eq!(reason(&ask(&snapshot, &mk_account("wang"), &mut evaluator)), Some(DenyReason::NoRule));
}

#[test]
fn a_schedule_that_nearly_matched_says_when_it_opens() {
    let snapshot = mk_world(PolicyState::Absent, PolicyState::Absent, mk_module(3));
    let miss = Verdict {
        hint: Hint { kind: HintKind::Schedule, next_minute: NOW.minute() + 5 },
        valid_until_minute: NOW.minute() + 5,
        ..Verdict::NOTHING
    };
    let mut evaluator = Scripted { answers: [verdict(None), verdict(None), Ok(miss)], asked: Vec::new() };
    let Decision::Deny(denial) = ask(&snapshot, &mk_account("wang"), &mut evaluator) else {
        panic!("allowed");
    };
    assert_eq!(denial.reason, DenyReason::OutsideSchedule);
    assert_eq!(denial.opens_at.map(|at| at.minute()), Some(NOW.minute() + 5));
    assert_eq!(denial.valid_until.minute(), NOW.minute() + 5);
}

#[test]
fn a_permit_is_asked_for_again_when_clocks_are_moved() {
    let mut snapshot = mk_world(PolicyState::Absent, PolicyState::Absent, mk_module(3));
    let mut owner = snapshot.departments["sbj"].as_ref().clone();
    owner.zone.transitions = [(NOW.plus(-5), 3_600), (NOW.plus(90), 0)].into();
    snapshot.departments.insert(owner.code.clone(), Arc::new(owner));
    let mut evaluator = Scripted { answers: [verdict(Some(Effect::Allow)); 3], asked: Vec::new() };
    let Decision::Permit(permit) = ask(&snapshot, &mk_account("wang"), &mut evaluator) else {
        panic!("denied");
    };
    assert_eq!(permit.valid_until(), NOW.plus(90));
}

fn answer() -> impl Strategy<Value = Result<Option<Effect>, Fault>> {
    prop_oneof![
        3 => Just(Ok(None)),
        3 => Just(Ok(Some(Effect::Allow))),
        2 => Just(Ok(Some(Effect::Deny))),
        1 => Just(Err(Fault::Trap)),
        1 => Just(Err(Fault::Timeout)),
        1 => Just(Err(Fault::Malformed)),
        1 => Just(Err(Fault::NotLoaded)),
        1 => Just(Err(Fault::Quarantined)),
        1 => Just(Err(Fault::RequestTooLarge)),
    ]
}

#[derive(Clone, Copy, Debug)]
enum Policy {
    Absent,
    Broken,
    Module,
}

fn policy() -> impl Strategy<Value = Policy> {
    prop_oneof![1 => Just(Policy::Absent), 1 => Just(Policy::Broken), 4 => Just(Policy::Module)]
}

fn state(policy: Policy, id: u8) -> PolicyState {
    match policy {
        Policy::Absent => PolicyState::Absent,
        Policy::Broken => PolicyState::Broken,
        Policy::Module => mk_module(id),
    }
}

proptest! {
    #[test]
    fn allowed_means_no_fault_no_veto_and_the_owners_allow(
        policies in [policy(), policy(), policy()],
        answers in [answer(), answer(), answer()],
    ) {
        let snapshot = mk_world(state(policies[0], 1), state(policies[1], 2), state(policies[2], 3));
        let mut evaluator = Scripted {
            answers: answers.map(|a| a.and_then(verdict)),
            asked: Vec::new(),
        };
        let effective = |i: usize| match policies[i] {
            Policy::Absent => Ok(None),
            Policy::Broken => Err(Fault::NotLoaded),
            Policy::Module => answers[i],
        };
        let open = effective(0).is_ok_and(|e| e != Some(Effect::Deny))
            && effective(1).is_ok_and(|e| e != Some(Effect::Deny))
            && effective(2) == Ok(Some(Effect::Allow));
        let decision = ask(&snapshot, &mk_account("wang"), &mut evaluator);
        prop_assert_eq!(matches!(decision, Decision::Permit(_)), open);
    }
}
