//! Bytes that were published must be readable for ever, so they lie in the tree.
//!
//! `UPDATE_EXPECT=1` writes them anew. Only a new part may ever need that: a changed file means that what
//! older versions published cannot be read any more.

use std::path::Path;

use tidegate_core::session::{EndReason, Kind};
use tidegate_core::{Code, DenyReason, Generation, SessionId, Timestamp};
use tidegate_store::conformance::sample;
use tidegate_store::wire::{pack_department, pack_platform, v1};
use tidegate_store::{Ack, GatewayId, Intent, IntentAction, IntentId, Outcome, SessionReport, TunnelReport};

fn hold(name: &str, bytes: &[u8]) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(format!("{name}.cbor"));
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(&file, bytes).expect("the file can be written");
    }
    let golden = std::fs::read(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    assert!(golden == bytes, "{name}: the bytes differ from golden/{name}.cbor");
}

#[test]
fn parts_have_their_golden_bytes() {
    let department = sample::department("sbj", &["wang.fang", "li.qiang"]);
    let mut packed = pack_department(&department).expect("it fits");
    packed.manifest.generation = Generation { term: 3, sequence: 14 };
    let part = |part: v1::Part| &*packed.blobs[&part.digest];
    hold("department-manifest", &v1::encode_manifest(&packed.manifest));
    hold("settings", part(packed.manifest.settings));
    hold("accounts", part(packed.manifest.shards[0]));
    hold("resources", part(packed.manifest.resources.expect("resources")));
    let v1::PolicyParts::Module { rules, .. } = packed.manifest.policy else { panic!("a module") };
    hold("rules", part(rules));

    let packed = pack_platform(&sample::platform()).expect("it fits");
    hold("platform-manifest", &v1::encode_manifest(&packed.manifest));
    hold("platform", &packed.blobs[&packed.manifest.settings.digest]);
}

#[test]
fn facts_have_their_golden_bytes() {
    let intent = Intent {
        id: IntentId(0x0193_5f00_0000_0000_0000_0000_0000_0001),
        account: "sbj/wang.fang".parse().expect("an id"),
        uid: "uid-1".parse().expect("a uid"),
        replaces: 3,
        action: IntentAction::Activate { code: [7; 32], password: "$argon2id$".into() },
        at: Timestamp(1_790_000_000),
    };
    hold("intent-activate", &v1::encode_intent(&intent));
    let action = IntentAction::ChangePassword { password: "$argon2id$".into() };
    hold("intent-change-password", &v1::encode_intent(&Intent { action, ..intent }));
    hold("outcome-done", &v1::encode_outcome(Outcome::Done { version: 4 }));
    hold("outcome-refused", &v1::encode_outcome(Outcome::Refused(Code::CredentialChanged)));
    hold("ended", &v1::encode_ended(EndReason::Standing(DenyReason::AccountSuspended)));
}

#[test]
fn live_facts_have_their_golden_bytes() {
    let head = v1::Head { generation: Generation { term: 3, sequence: 14 }, platform: None };
    hold("head-before-platform", &v1::encode_head(head));
    let head = v1::Head { platform: Some(Generation { term: 2, sequence: 7 }), ..head };
    hold("head", &v1::encode_head(head));
    assert_eq!(v1::decode_head(&v1::encode_head(head)).expect("a head"), head);
    hold("timed", &v1::encode_timed(Timestamp(1_790_000_000), b"fact"));
    let ack = Ack {
        gateway: GatewayId("g1".into()),
        generation: head.generation,
        broken: [("tax".parse().expect("a code"), "class A check".into())].into(),
        evaluators: vec![[4; 32]],
        kids: Vec::new(),
        at: Timestamp(1_790_000_000),
    };
    hold("ack", &v1::encode_ack(&ack));
    assert_eq!(v1::decode_ack(&v1::encode_ack(&ack)).expect("an ack"), ack);
    let ack = Ack { kids: vec![1, 2], ..ack };
    hold("ack-kids", &v1::encode_ack(&ack));
    assert_eq!(v1::decode_ack(&v1::encode_ack(&ack)).expect("an ack"), ack);
    let session = SessionReport {
        session: SessionId([1; 16]),
        account: "sbj/wang.fang".parse().expect("an id"),
        kind: Kind::Tunnel,
        source: "2001:db8::7".parse().expect("an address"),
        since: Timestamp(1_790_000_000),
        seen: Timestamp(1_790_000_060),
        tunnel: None,
    };
    let bytes = v1::encode_sessions(&[&session]);
    hold("sessions", &bytes);
    assert_eq!(v1::decode_sessions(&bytes).expect("sessions"), std::slice::from_ref(&session));
    let tunnel = TunnelReport {
        client: "Open AnyConnect VPN Agent v9.01-3".into(),
        up: 1 << 20,
        down: 1 << 33,
        flows: 7,
    };
    let session = SessionReport { tunnel: Some(tunnel), ..session };
    let bytes = v1::encode_sessions(&[&session]);
    hold("sessions-tunnel", &bytes);
    assert_eq!(v1::decode_sessions(&bytes).expect("sessions"), [session]);
    for bytes in [&b""[..], b"\xff", b"\x9f"] {
        assert!(v1::decode_head(bytes).is_err() && v1::decode_ack(bytes).is_err());
        assert!(v1::decode_sessions(bytes).is_err() && v1::decode_timed(bytes).is_err());
    }
}
