//! Bytes that were published must be readable for ever, so they lie in the tree.
//!
//! `UPDATE_EXPECT=1` writes them anew. Only a new part may ever need that: a changed file means that what
//! older versions published cannot be read any more.

use std::path::Path;

use tidegate_core::{Code, DenyReason, Generation, session::EndReason};
use tidegate_store::conformance::sample;
use tidegate_store::wire::{pack_department, pack_platform, v1};
use tidegate_store::{Intent, IntentAction, IntentId, Outcome};

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
        at: tidegate_core::Timestamp(1_790_000_000),
    };
    hold("intent-activate", &v1::encode_intent(&intent));
    let action = IntentAction::ChangePassword { password: "$argon2id$".into() };
    hold("intent-change-password", &v1::encode_intent(&Intent { action, ..intent }));
    hold("outcome-done", &v1::encode_outcome(Outcome::Done { version: 4 }));
    hold("outcome-refused", &v1::encode_outcome(Outcome::Refused(Code::CredentialChanged)));
    hold("ended", &v1::encode_ended(EndReason::Standing(DenyReason::AccountSuspended)));
}
