//! Wire format: what was written is read, and nothing else breaks the reader.

use std::sync::Arc;

use tidegate_core::policy::Effect;
use tidegate_core::{DenyReason, Department, RuleName, session::EndReason};
use tidegate_store::conformance::sample::{self, Dice};
use tidegate_store::wire::{Packed, Previous, bounds, pack_department, unpack_department, v1};
use tidegate_store::{StoreError, StoreResult};

fn unpack(packed: &Packed, previous: Option<Previous<'_, Department>>) -> StoreResult<Department> {
    let source = |part: v1::Part| {
        packed.blobs.get(&part.digest).cloned().ok_or_else(|| StoreError::Unreadable("missing".into()))
    };
    unpack_department(&"sbj".parse().expect("a code"), &packed.manifest, &source, previous)
}

/// Whether bytes were taken.
type Decoder = fn(&[u8]) -> bool;

fn unreadable<T>(result: StoreResult<T>) -> bool {
    matches!(result, Err(StoreError::Unreadable(_)))
}

#[test]
fn any_department_comes_back_equal() {
    let mut dice = Dice(0x7_1de6);
    for round in 0..200 {
        let department = dice.department(if round % 20 == 0 { 400 } else { 12 });
        let packed = pack_department(&department).expect("it fits");
        assert_eq!(unpack(&packed, None).expect("readable"), department, "round {round}");
        let manifest = v1::decode_manifest(&v1::encode_manifest(&packed.manifest)).expect("readable");
        assert_eq!(manifest, packed.manifest);
    }
}

#[test]
fn sharing_with_the_previous_changes_nothing_but_the_work() {
    let mut dice = Dice(0x5a4e);
    let mut before = dice.department(300);
    let mut packed_before = pack_department(&before).expect("it fits");
    for round in 0..100 {
        let mut after = before.clone();
        let other = dice.department(3);
        after.accounts.extend(other.accounts);
        let gone = after.accounts.keys().nth(usize::try_from(dice.below(40)).expect("small")).cloned();
        if let Some(gone) = gone {
            after.accounts.remove(&gone);
        }
        if dice.below(2) == 0 {
            after.resources = other.resources;
        }
        if dice.below(2) == 0 {
            after.policy = other.policy;
        }
        let packed = pack_department(&after).expect("it fits");
        let previous = Previous { manifest: &packed_before.manifest, value: &before };
        assert_eq!(unpack(&packed, Some(previous)).expect("readable"), after, "round {round}");
        (before, packed_before) = (after, packed);
    }
}

#[test]
fn equal_departments_have_equal_bytes() {
    let people: Vec<String> = (0..500).map(|n| format!("p{n}")).collect();
    let forth: Vec<&str> = people.iter().map(String::as_str).collect();
    let back: Vec<&str> = people.iter().rev().map(String::as_str).collect();
    let one = pack_department(&sample::department("sbj", &forth)).expect("it fits");
    let other = pack_department(&sample::department("sbj", &back)).expect("it fits");
    assert_eq!(one.manifest, other.manifest);
    assert_eq!(one.blobs, other.blobs);
    assert_eq!(one.manifest.shards.len(), 8, "500 accounts at 64 each");
    assert!(one.manifest.shards.iter().all(|shard| shard.len <= bounds::SHARD_BYTES as u64));
}

#[test]
fn damaged_bytes_are_refused_or_harmless_and_never_panic() {
    let mut dice = Dice(0xbad);
    let decoders: [(&str, Decoder); 9] = [
        ("platform", |b| v1::decode_platform(b).is_ok()),
        ("settings", |b| v1::decode_settings(b).is_ok()),
        ("accounts", |b| v1::decode_accounts(b).is_ok()),
        ("resources", |b| v1::decode_resources(b).is_ok()),
        ("rules", |b| v1::decode_rules(b).is_ok()),
        ("manifest", |b| v1::decode_manifest(b).is_ok()),
        ("intent", |b| v1::decode_intent(b).is_ok()),
        ("outcome", |b| v1::decode_outcome(b).is_ok()),
        ("ended", |b| v1::decode_ended(b).is_ok()),
    ];
    let packed = pack_department(&sample::department("sbj", &["wang.fang"])).expect("it fits");
    let mut seeds: Vec<Vec<u8>> = packed.blobs.values().map(|bytes| bytes.to_vec()).collect();
    seeds.push(v1::encode_manifest(&packed.manifest));
    seeds.push(v1::encode_ended(EndReason::Replaced));
    for seed in &seeds {
        for (name, decode) in decoders {
            for cut in 0..seed.len() {
                assert!(!decode(&seed[..cut]), "{name} took {cut} bytes of {}", seed.len());
            }
            let longer = [seed.as_slice(), &[0]].concat();
            assert!(!decode(&longer), "{name} took bytes after the end");
        }
    }
    for _ in 0..20_000 {
        let mut bytes = seeds[usize::try_from(dice.below(seeds.len() as u64)).expect("small")].clone();
        for _ in 0..=dice.below(4) {
            let at = usize::try_from(dice.below(bytes.len() as u64)).expect("small");
            bytes[at] = dice.roll().to_be_bytes()[0];
        }
        let noise: Vec<u8> = (0..dice.below(64)).map(|_| dice.roll().to_be_bytes()[0]).collect();
        for (_, decode) in decoders {
            decode(&bytes);
            decode(&noise);
        }
    }
}

#[test]
fn a_part_under_a_foreign_name_is_refused() {
    let mut packed = pack_department(&sample::department("sbj", &["a"])).expect("it fits");
    for (part, bytes) in packed.blobs.clone() {
        let mut changed = bytes.to_vec();
        changed.push(0);
        packed.blobs.insert(part, changed.into());
        assert!(unreadable(unpack(&packed, None)));
        packed.blobs.insert(part, bytes);
    }
    let other = pack_department(&sample::department("tax", &["a"])).expect("it fits");
    assert!(unreadable(unpack(&other, None)), "another department's parts");
    assert!(unpack(&packed, None).is_ok());
}

#[test]
fn lists_and_texts_are_bounded() {
    let mut department = sample::department("sbj", &["a"]);
    department.networks = vec!["10.0.0.0/8".parse().expect("a range"); bounds::LIST + 1];
    assert!(unreadable(unpack(&pack_department(&department).expect("it packs"), None)));

    let mut account = sample::account("sbj", "a");
    account.person.unit = "x".repeat(bounds::NAME + 1).into();
    assert!(unreadable(v1::decode_accounts(&v1::encode_accounts(&[&account]))));
    account.person.unit = "x".repeat(bounds::NAME).into();
    assert_eq!(v1::decode_accounts(&v1::encode_accounts(&[&account])).expect("fits"), [Arc::new(account)]);

    let rule = RuleName { policy: "p".into(), rule: "r".into(), effect: Effect::Allow };
    assert!(unreadable(v1::decode_rules(&v1::encode_rules(&vec![rule; bounds::RULES + 1]))));
    assert!(unreadable(v1::decode_manifest(&vec![0; bounds::MANIFEST + 1])));
}

#[test]
fn every_reason_comes_back() {
    let plain = [
        EndReason::LoggedOut,
        EndReason::Replaced,
        EndReason::Kicked,
        EndReason::Idle,
        EndReason::Expired,
        EndReason::Revoked,
        EndReason::GatewayStale,
        EndReason::StoreReset,
    ];
    for reason in plain.into_iter().chain(DenyReason::ALL.iter().map(|r| EndReason::Standing(*r))) {
        assert_eq!(v1::decode_ended(&v1::encode_ended(reason)).expect("readable"), reason);
    }
}
