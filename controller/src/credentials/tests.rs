use std::path::Path;

use proptest::prelude::*;
use tempfile::tempdir;
use tidegate_core::{AccountId, Uid};
use tidegate_store::IntentId;

use super::*;
use crate::state::State;

const NOW: Timestamp = Timestamp(1_760_000_000);

fn code(issue: u64) -> Digest {
    [u8::try_from(issue % 251).unwrap(); 32]
}

fn seen(standing: bool) -> Observed {
    Observed { at: NOW, standing, session_generation: 0, reissue: 0, password_max_age_days: 0 }
}

fn uid() -> Uid {
    "u-1".parse().unwrap()
}

fn account() -> AccountId {
    "sbj/wangfang".parse().unwrap()
}

fn phc(n: u64) -> Box<str> {
    format!("$argon2id$v=19$m=19456,t=2,p=1$c2FsdA${n}").into()
}

fn activate(id: u128, replaces: u64, code: Digest) -> Intent {
    let action = IntentAction::Activate { code, password: phc(0) };
    Intent { id: IntentId(id), account: account(), uid: uid(), replaces, action, at: NOW }
}

fn change(id: u128, replaces: u64, n: u64) -> Intent {
    let action = IntentAction::ChangePassword { password: phc(n) };
    Intent { id: IntentId(id), account: account(), uid: uid(), replaces, action, at: NOW }
}

fn activated() -> Record {
    let record = Record::first(&seen(true), code).record;
    record.intend(&activate(1, record.version, code(1)), NOW).unwrap().record
}

#[test]
fn the_first_code_comes_with_standing_and_lasts_its_hours() {
    let waiting = Record::first(&seen(false), code);
    assert_eq!(waiting.effects, [Effect::Made]);
    assert!(waiting.record.activation().is_none());

    let approved = waiting.record.observe(&seen(true), code);
    assert_eq!(approved.effects, [Effect::StandingRegained, Effect::CodeIssued]);
    let until = approved.record.activation().unwrap().until();
    assert_eq!(until, NOW.plus(72 * 3_600));
    assert_eq!(approved.record.holds_until(0), until);

    let before = approved.record.observe(&Observed { at: until.plus(-1), ..seen(true) }, code);
    assert_eq!(before.effects, []);
    let after = approved.record.observe(&Observed { at: until, ..seen(true) }, code);
    assert_eq!(after.effects, [Effect::CodeWithdrawn]);
    assert!(after.record.activation().is_none());
    assert_eq!(after.record.observe(&Observed { at: until.plus(1), ..seen(true) }, code).effects, []);
}

#[test]
fn another_code_needs_a_higher_number_and_standing() {
    let record = Record::first(&seen(true), code).record;
    let asked = Observed { reissue: 5, ..seen(false) };
    let suspended = record.observe(&asked, code).record;
    assert_eq!(suspended.activation().unwrap().issue, 1);
    let back = suspended.observe(&Observed { standing: true, ..asked }, code);
    assert_eq!(back.record.activation().unwrap().issue, 2);
    let again = back.record.observe(&Observed { standing: true, ..asked }, code);
    assert_eq!(again.effects, []);
}

#[test]
fn activation_needs_the_outstanding_code_in_time() {
    let record = Record::first(&seen(true), code).record;
    let until = record.activation().unwrap().until();
    assert_eq!(record.intend(&activate(1, 2, code(9)), NOW), Err(Code::ActivationRefused));
    assert_eq!(record.intend(&activate(1, 2, code(1)), until), Err(Code::ActivationRefused));
    assert_eq!(record.intend(&activate(1, 1, code(1)), NOW), Err(Code::CredentialChanged));
    let done = record.intend(&activate(1, 2, code(1)), NOW).unwrap();
    assert!(done.record.activated());
    assert!(done.record.activation().is_none());
    assert!(done.effects.contains(&Effect::EpochRaised));
    // The code is used up, under whatever version it is presented.
    let version = done.record.version;
    assert_eq!(done.record.intend(&activate(2, version, code(1)), NOW), Err(Code::ActivationRefused));
}

#[test]
fn a_repeated_intent_is_a_no_op_with_the_same_answer() {
    let record = activated();
    let intent = change(2, record.version, 1);
    let once = record.intend(&intent, NOW).unwrap().record;
    let twice = once.intend(&intent, NOW).unwrap();
    assert_eq!(twice.effects, []);
    assert_eq!(twice.record, once);
    assert_eq!(once.settled(&intent), Some(once.version));
    assert_eq!(record.settled(&intent), None);
}

#[test]
fn a_stale_version_and_an_account_without_standing_are_refused() {
    let record = activated();
    assert_eq!(record.intend(&change(2, record.version - 1, 1), NOW), Err(Code::CredentialChanged));
    let suspended = record.observe(&seen(false), code).record;
    assert_eq!(suspended.intend(&change(2, suspended.version, 1), NOW), Err(Code::IntentRefused));
}

#[test]
fn only_argon2id_of_bounded_length_is_accepted() {
    let record = activated();
    for password in ["secret".to_owned(), "$2b$10$x".to_owned(), format!("{PHC_PREFIX}{}", "x".repeat(300))] {
        let action = IntentAction::ChangePassword { password: password.into() };
        let intent = Intent { action, ..change(2, record.version, 1) };
        assert_eq!(record.intend(&intent, NOW), Err(Code::IntentRefused));
    }
}

#[test]
fn the_last_five_passwords_are_known() {
    let mut record = activated();
    for n in 1..=9 {
        record = record.intend(&change(u128::from(n) + 1, record.version, n), NOW).unwrap().record;
    }
    assert_eq!(record.password, Some(phc(9)));
    assert_eq!(record.history, [phc(8), phc(7), phc(6), phc(5)]);
    assert!(record.settled.len() <= SETTLED_MAX);
}

#[test]
fn an_old_password_must_be_changed_from_its_day_on() {
    let record = activated();
    let aged = |days: i64| Observed { at: NOW.plus(days * 86_400), password_max_age_days: 90, ..seen(true) };
    assert_eq!(record.holds_until(90), NOW.plus(90 * 86_400));
    assert!(!record.observe(&aged(89), code).record.published().must_change);
    let due = record.observe(&aged(90), code).record;
    assert!(due.published().must_change);
    assert_eq!(due.epoch, record.epoch, "the sessions go on");
    assert_eq!(due.holds_until(90), Timestamp::NEVER);
    let changed = due.intend(&change(2, due.version, 1), NOW.plus(90 * 86_400)).unwrap().record;
    assert!(!changed.published().must_change);
}

#[test]
fn the_json_form_is_stable() {
    let record = activated();
    let text = serde_json::to_string(&record).unwrap();
    assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), record);
    assert_eq!(
        text,
        r#"{"version":3,"epoch":1760000001,"password":"$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$0","passwordAt":1760000000,"mustChange":false,"issues":1,"reissued":0,"sessionGeneration":0,"standing":true,"settled":[{"intent":"00000000000000000000000000000001","version":3}]}"#
    );
    assert!(!format!("{record:?}").contains("argon2"));
}

#[test]
fn standing_given_back_is_told_only_when_stored() {
    let dir = tempdir().unwrap();
    let state = State::open(dir.path()).unwrap();
    let (mut vault, problems) = Vault::load(&state).unwrap();
    assert!(problems.is_empty());
    vault.observe(&state, &account().department, &uid(), &seen(true));
    assert!(vault.published(&uid()).is_none());
    assert!(vault.save(&state).is_empty());
    let first = vault.published(&uid()).unwrap();

    vault.observe(&state, &account().department, &uid(), &seen(false));
    let lost = vault.published(&uid()).unwrap();
    assert!(lost.epoch > first.epoch, "a loss is told at once");
    vault.observe(&state, &account().department, &uid(), &seen(true));
    assert!(vault.published(&uid()).is_none(), "a gain waits for the disk");
    assert!(vault.save(&state).is_empty());
    assert_eq!(vault.published(&uid()).unwrap().epoch, lost.epoch);

    let (reloaded, _) = Vault::load(&state).unwrap();
    assert_eq!(reloaded.record(&uid()), vault.record(&uid()));
}

#[test]
fn an_epoch_published_before_a_crash_is_caught_up_with() {
    let dir = tempdir().unwrap();
    let state = State::open(dir.path()).unwrap();
    let (mut vault, _) = Vault::load(&state).unwrap();
    vault.observe(&state, &account().department, &uid(), &seen(true));
    vault.save(&state);
    let stored = vault.published(&uid()).unwrap().epoch;
    vault.at_least_epoch(&uid(), stored + 1);
    vault.at_least_epoch(&uid(), stored);
    assert_eq!(vault.published(&uid()).unwrap().epoch, stored + 1);
    assert!(vault.has_unsaved());
}

#[test]
fn an_unreadable_record_denies_and_is_kept() {
    let dir = tempdir().unwrap();
    let state = State::open(dir.path()).unwrap();
    let path = Path::new("credentials/sbj/u-1.json");
    state.write(path, b"{\"version\":").unwrap();
    let (mut vault, problems) = Vault::load(&state).unwrap();
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].code, Code::StateCorrupt);
    vault.observe(&state, &account().department, &uid(), &seen(true));
    assert!(vault.save(&state).is_empty());
    assert!(vault.published(&uid()).is_none());
    assert_eq!(state.read(path).unwrap().unwrap(), b"{\"version\":");
}

#[test]
fn a_failed_write_leaves_the_intent_undone() {
    let dir = tempdir().unwrap();
    let state = State::open(dir.path()).unwrap();
    let (mut vault, _) = Vault::load(&state).unwrap();
    vault.observe(&state, &account().department, &uid(), &seen(true));
    vault.save(&state);
    let before = vault.record(&uid()).unwrap().clone();
    let digest = vault.published(&uid()).unwrap().activation.unwrap();
    let intent = activate(1, before.version, digest);

    // A directory where the temporary file has to go makes the write fail, whoever runs the test.
    let obstacle = dir.path().join("credentials/sbj/u-1.json.tmp");
    std::fs::create_dir(&obstacle).unwrap();
    assert!(vault.intend(&state, &intent, NOW).is_err());
    assert_eq!(vault.record(&uid()), Some(&before));
    std::fs::remove_dir(&obstacle).unwrap();

    let (version, effects) = vault.intend(&state, &intent, NOW).unwrap().unwrap();
    assert!(effects.contains(&Effect::PasswordSet));
    // The process dies before it settles, and takes the intent again.
    let (mut reloaded, _) = Vault::load(&state).unwrap();
    assert_eq!(reloaded.intend(&state, &intent, NOW).unwrap().unwrap(), (version, Vec::new()));
}

#[derive(Clone, Debug)]
enum Move {
    Observe { standing: bool, session_generation: i64, reissue: u64 },
    Activate { id: u8, stale: bool, good: bool },
    Change { id: u8, stale: bool },
    Wait(u32),
}

fn moves() -> impl Strategy<Value = Move> {
    prop_oneof![
        (any::<bool>(), 0..4_i64, 0..4_u64).prop_map(|(standing, session_generation, reissue)| {
            Move::Observe { standing, session_generation, reissue }
        }),
        (any::<u8>(), any::<bool>(), any::<bool>()).prop_map(|(id, stale, good)| Move::Activate {
            id,
            stale,
            good
        }),
        (any::<u8>(), any::<bool>()).prop_map(|(id, stale)| Move::Change { id, stale }),
        (0..400_000_u32).prop_map(Move::Wait),
    ]
}

proptest! {
    #[test]
    fn numbers_only_grow_and_access_never_comes_back_under_an_old_epoch(
        moves in prop::collection::vec(moves(), 1..40),
    ) {
        let mut record = Record::first(&seen(true), code).record;
        let mut now = NOW;
        for step in moves {
            let before = record.clone();
            let after = match step {
                Move::Wait(seconds) => { now = now.plus(i64::from(seconds)); continue; }
                Move::Observe { standing, session_generation, reissue } =>
                    record.observe(&Observed { at: now, standing, session_generation, reissue, ..seen(true) }, code),
                Move::Activate { id, stale, good } => {
                    let version = record.version - u64::from(stale);
                    let digest = if good { code(record.issues) } else { code(200) };
                    match record.intend(&activate(u128::from(id), version, digest), now) {
                        Ok(step) => step,
                        Err(_) => continue,
                    }
                }
                Move::Change { id, stale } => {
                    let version = record.version - u64::from(stale);
                    match record.intend(&change(u128::from(id), version, u64::from(id)), now) {
                        Ok(step) => step,
                        Err(_) => continue,
                    }
                }
            };
            record = after.record;
            prop_assert!(record.epoch >= before.epoch);
            prop_assert!(record.version >= before.version);
            prop_assert_eq!(record.version > before.version, record.published() != before.published());
            prop_assert_eq!(after.effects.contains(&Effect::EpochRaised), record.epoch > before.epoch);
            if before.standing && !record.standing {
                prop_assert!(record.epoch > before.epoch);
            }
            if before.password != record.password {
                prop_assert!(record.epoch > before.epoch);
            }
            prop_assert!(record.history.len() < Credential::HISTORY_MAX);
            prop_assert!(record.settled.len() <= SETTLED_MAX);
        }
    }
}
