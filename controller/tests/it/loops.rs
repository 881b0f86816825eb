//! Objects, intents and dates in; publications, credentials and status out.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;
use tidegate_controller::ControllerEvent;
use tidegate_controller::activation::digest_of;
use tidegate_controller::credentials::Vault;
use tidegate_core::{Code, DenyReason, Generation, PolicyState, Timestamp};
use tidegate_store::{Ack, GatewayId, Intent, IntentAction, IntentId, Outcome, Report, Store};

use crate::manifests::{department, policy, resource, small, user};
use crate::world::{DEADLINE, World, account, li, reason};

fn now() -> Timestamp {
    tidegate_controller::time::now()
}

fn instant(at: Timestamp) -> String {
    tidegate_controller::time::rfc3339(at)
}

async fn outcome(world: &World, id: IntentId) -> Outcome {
    let mut tick = tokio::time::interval(Duration::from_millis(5));
    let wait = async {
        loop {
            tick.tick().await;
            if let Some(outcome) = world.store.outcome(id).await.unwrap() {
                return outcome;
            }
        }
    };
    tokio::time::timeout(DEADLINE, wait).await.expect("the intent is settled")
}

/// A gateway says that it enforces this generation.
async fn report(world: &World, generation: Generation) {
    let ack = Ack {
        gateway: GatewayId("one".into()),
        generation,
        broken: BTreeMap::new(),
        evaluators: Vec::new(),
        kids: Vec::new(),
        at: now(),
    };
    world.store.report(Report { ack, sessions: Vec::new() }).await.unwrap();
}

fn phc(text: &str) -> Box<str> {
    format!("$argon2id$v=19$m=19456,t=2,p=1$c2FsdA${text}").into()
}

/// The intent of a person who types the code of the slip.
async fn activation(world: &World, id: u128) -> Intent {
    let account = world.account(|account| account.credential.is_some()).await;
    let code = std::fs::read_to_string(world.path("activation/sbj/li")).unwrap();
    Intent {
        id: IntentId(id),
        account: li(),
        uid: account.source.uid.clone(),
        replaces: account.credential.as_ref().unwrap().version,
        action: IntentAction::Activate { code: digest_of(&code), password: phc("one") },
        at: now(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_is_published() {
    let world = World::start(small()).await;
    let view = world.view(|view| account(view).is_some()).await;
    let snapshot = view.snapshot.unwrap();
    let department = snapshot.department("sbj").unwrap();
    assert_eq!(department.title.en.as_deref(), Some("Social Insurance"));
    assert_eq!(department.zone.name.as_ref(), "Asia/Shanghai");
    assert!(department.resources.contains_key("fees"));
    assert!(matches!(department.policy, PolicyState::Module(_)));
    let account = department.accounts["li"].clone();
    assert_eq!(account.standing(now()).denied, None);
    assert!(account.credential.as_ref().unwrap().activation.is_some());
    assert!(!snapshot.platform.approvals_enforced);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_publishes_nothing_new() {
    let world = World::start(small()).await;
    let before = world.view(|view| account(view).is_some()).await.snapshot.unwrap();
    let dir = world.stop().await;
    let world = World::start_in(dir, small(), |_, _| ()).await;
    let after = world.view(|view| account(view).is_some()).await.snapshot.unwrap();
    assert_eq!(before.generation, after.generation);
    assert_eq!(before.departments, after.departments);
    assert_eq!(before.platform, after.platform);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wiped_store_is_filled_again_and_voids_old_tickets() {
    let world = World::start(small()).await;
    let before = world.view(|view| account(view).is_some()).await.snapshot.unwrap();
    let dir = world.stop().await;
    std::fs::remove_file(dir.path().join("state/store.redb")).unwrap();
    let world = World::start_in(dir, small(), |_, _| ()).await;
    let after = world.view(|view| account(view).is_some()).await.snapshot.unwrap();
    assert!(after.generation > before.generation);
    assert!(after.platform.not_before >= before.platform.not_before);
    let accounts = |snapshot: &tidegate_core::Snapshot| snapshot.department("sbj").unwrap().accounts.clone();
    assert_eq!(accounts(&before), accounts(&after));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspension_voids_tickets_and_coming_back_does_not_revive_them() {
    let mut world = World::start(small()).await;
    let first = world.account(|account| account.credential.is_some()).await;
    let epoch = first.credential.as_ref().unwrap().epoch;
    let mut suspended = user("li");
    suspended["spec"]["state"] = json!("Suspended");
    world.write(suspended);
    let lost = world.account(|account| account.standing(now()).denied.is_some()).await;
    assert_eq!(lost.standing(now()).denied, Some(DenyReason::AccountSuspended));
    assert!(lost.credential.as_ref().unwrap().epoch > epoch);
    world.write(user("li"));
    let back = world.account(|account| account.standing(now()).denied.is_none()).await;
    assert_eq!(back.credential.as_ref().unwrap().epoch, lost.credential.as_ref().unwrap().epoch);
    assert_eq!(back.source.uid, first.source.uid);
    assert_eq!(back.source.generation, 3);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_vanishes_and_returns_is_the_same_with_a_higher_epoch() {
    let mut world = World::start(small()).await;
    let first = world.account(|account| account.credential.is_some()).await;
    world.remove(&user("li"));
    world.view(|view| view.snapshot.is_some() && account(view).is_none()).await;
    world.event(|event| matches!(event, ControllerEvent::Removed { .. })).await;
    assert!(!world.path("activation/sbj/li").exists());
    // Across a restart, too.
    let dir = world.stop().await;
    let world = World::start_in(dir, small(), |_, _| ()).await;
    let back = world.account(|account| account.credential.is_some()).await;
    assert_eq!(back.source.uid, first.source.uid);
    assert!(back.credential.as_ref().unwrap().epoch > first.credential.as_ref().unwrap().epoch);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_activates_with_the_code_of_the_slip() {
    let mut world = World::start(small()).await;
    let intent = activation(&world, 1).await;
    world.store.offer(intent.clone()).await.unwrap();
    let Outcome::Done { version } = outcome(&world, intent.id).await else { panic!("refused") };
    // Who hears "done" finds it in force.
    let published = account(&world.store.subscribe().borrow()).unwrap().credential.clone().unwrap();
    assert_eq!((published.version, published.password), (version, Some(phc("one"))));
    assert_eq!(published.activation, None);
    assert!(!world.path("activation/sbj/li").exists());
    world.event(|event| matches!(event, ControllerEvent::IntentSettled { refused: None, .. })).await;

    // The code is used up, and a stale version is refused.
    let again = Intent { id: IntentId(2), replaces: version, ..intent.clone() };
    world.store.offer(again).await.unwrap();
    assert_eq!(outcome(&world, IntentId(2)).await, Outcome::Refused(Code::ActivationRefused));
    let stale = Intent { id: IntentId(3), ..intent };
    world.store.offer(stale).await.unwrap();
    assert_eq!(outcome(&world, IntentId(3)).await, Outcome::Refused(Code::CredentialChanged));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slip_that_cannot_be_laid_out_holds_up_nobodys_password() {
    let mut world = World::start(small()).await;
    let intent = activation(&world, 1).await;
    std::fs::create_dir_all(world.path("activation/sbj/wu/in-the-way")).unwrap();
    world.write(user("wu"));
    world.event(|event| matches!(event, ControllerEvent::WriteFailed { .. })).await;
    world.store.offer(intent.clone()).await.unwrap();
    assert!(matches!(outcome(&world, intent.id).await, Outcome::Done { .. }));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_without_an_end_hold_up_neither_passwords_nor_conditions() {
    let world = World::start(small()).await;
    let intent = activation(&world, 1).await;
    let (wu, mut other) = ("sbj/wu".parse().unwrap(), user("wu"));
    other["spec"]["request"]["unit"] = json!("elsewhere");
    let storm = world.storm(user("wu"), other);
    world.view(|view| view.snapshot.as_ref().is_some_and(|snapshot| snapshot.account(&wu).is_some())).await;
    world.store.offer(intent.clone()).await.unwrap();
    assert!(matches!(outcome(&world, intent.id).await, Outcome::Done { .. }));
    world.status("vpnuser-dept-sbj-wu.json", |status| reason(status, "Accepted") == "Accepted").await;
    storm.abort();
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_between_truth_and_settling_repeats_as_a_no_op() {
    let world = World::start(small()).await;
    let intent = activation(&world, 1).await;
    let dir = world.stop().await;
    let mut done = None;
    let world = World::start_in(dir, small(), |state, store| {
        // What a controller does before it dies: the truth is written, the intent is still there.
        let (mut vault, _) = Vault::load(state).unwrap();
        done = Some(vault.intend(state, &intent, now()).unwrap().unwrap().0);
        let runtime = tokio::runtime::Handle::current();
        tokio::task::block_in_place(|| runtime.block_on(store.offer(intent.clone()))).unwrap();
    })
    .await;
    assert_eq!(outcome(&world, intent.id).await, Outcome::Done { version: done.unwrap() });
    let published = world.account(|account| account.credential.as_ref().unwrap().password.is_some()).await;
    assert_eq!(published.credential.as_ref().unwrap().version, done.unwrap());
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_rule_keeps_what_was_in_force_also_across_a_restart() {
    let mut world = World::start(small()).await;
    let before = world.view(|view| account(view).is_some()).await.snapshot.unwrap();
    let broken = policy(Some("user.unit == "));
    world.write(broken.clone());
    let event = world.event(|event| matches!(event, ControllerEvent::Refused(_))).await;
    let ControllerEvent::Refused(problem) = event else { unreachable!() };
    assert!(problem.message.contains("spec.rules[0].when"), "{problem:?}");
    let file = "accesspolicy-dept-sbj-office.json";
    world.status(file, |status| reason(status, "Compiled") == "RuleSyntax").await;
    let policy_of = |snapshot: &tidegate_core::Snapshot| snapshot.department("sbj").unwrap().policy.clone();
    let kept = world.view(|view| account(view).is_some()).await.snapshot.unwrap();
    assert_eq!(policy_of(&kept), policy_of(&before));

    let dir = world.stop().await;
    let objects = vec![department(), user("li"), resource(), broken];
    let mut world = World::start_in(dir, objects, |_, _| ()).await;
    let kept = world.view(|view| account(view).is_some()).await.snapshot.unwrap();
    assert_eq!(policy_of(&kept), policy_of(&before));
    world.write(policy(Some("user.unit == '窗口'")));
    world
        .view(|view| view.snapshot.as_ref().is_some_and(|snapshot| policy_of(snapshot) != policy_of(&before)))
        .await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_day_ends_at_its_second() {
    let mut short = user("li");
    // Long enough for a controller to start on a machine that is busy with everything else.
    let until = now().plus(6);
    short["spec"]["request"]["validUntil"] = json!(instant(until));
    let mut world = World::start(vec![department(), short]).await;
    let before = world.account(|account| account.credential.is_some()).await;
    world.event(|event| matches!(event, ControllerEvent::SessionsVoid { .. })).await;
    let epoch = before.credential.as_ref().unwrap().epoch;
    let after = world.account(|account| account.credential.as_ref().unwrap().epoch > epoch).await;
    assert_eq!(after.standing(until).denied, Some(DenyReason::AccountExpired));
    assert!(now() >= until);
    let file = "vpnuser-dept-sbj-li.json";
    report(&world, Generation { term: u64::MAX, sequence: 0 }).await;
    world.status(file, |status| reason(status, "Ready") == "AccountExpired").await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn propagated_is_what_every_gateway_says() {
    let mut world = World::start(small()).await;
    let file = "vpnuser-dept-sbj-li.json";
    let status = world.status(file, |status| reason(status, "Propagated") == "NoGateway").await;
    assert_eq!(reason(&status, "Ready"), "NoGateway");
    let generation = world.view(|view| account(view).is_some()).await.snapshot.unwrap().generation;
    report(&world, generation).await;
    world.write(user("wu"));
    world.status(file, |status| reason(status, "Ready") == "Ready").await;
    let other = "vpnuser-dept-sbj-wu.json";
    world.status(other, |status| reason(status, "Propagated") == "GatewayPending").await;
    let newer = world.view(|view| view.snapshot.as_ref().unwrap().generation > generation).await;
    report(&world, newer.snapshot.unwrap().generation).await;
    world.status(other, |status| reason(status, "Ready") == "Ready").await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_account_is_denied_and_the_audit_knows() {
    let mut world = World::start(small()).await;
    let mut broken = user("li");
    broken["spec"]["state"] = json!("Retired");
    world.write(broken);
    let account = world.account(|account| account.standing(now()).denied.is_some()).await;
    assert_eq!(account.standing(now()).denied, Some(DenyReason::AccountInvalid));
    world.status("vpnuser-dept-sbj-li.json", |status| reason(status, "Accepted") == "SchemaViolation").await;
    let dir = world.stop().await;
    let trail: String = std::fs::read_dir(dir.path().join("state/audit"))
        .unwrap()
        .map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap())
        .collect();
    assert!(trail.contains("TG-6001"), "{trail}");
}

#[tokio::test(flavor = "multi_thread")]
async fn intents_of_one_account_are_limited() {
    let world = World::start(small()).await;
    let mut intent = activation(&world, 1).await;
    intent.action = IntentAction::Activate { code: [0; 32], password: phc("guess") };
    for id in 1..=11 {
        intent.id = IntentId(id);
        world.store.offer(intent.clone()).await.unwrap();
        let expected = if id <= 10 { Code::ActivationRefused } else { Code::IntentRefused };
        assert_eq!(outcome(&world, intent.id).await, Outcome::Refused(expected));
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_joins_later_is_noticed() {
    let world = World::start(small()).await;
    let file = "vpnuser-dept-sbj-li.json";
    world.status(file, |status| reason(status, "Ready") == "NoGateway").await;
    let generation = world.view(|view| account(view).is_some()).await.snapshot.unwrap().generation;
    report(&world, generation).await;
    world.status(file, |status| reason(status, "Ready") == "Ready").await;
    world.stop().await;
}
