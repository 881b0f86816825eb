//! `tidegate audit verify`.

use serde_json::Value;
use tidegate_store::audit::{AuditLog, Event, ObjectRef, Record};

use crate::process::tidegate;

#[tokio::test]
async fn a_whole_chain_and_a_broken_one() {
    let temporary = tempfile::tempdir().expect("a folder");
    let dir = temporary.path().join("audit");
    let log = AuditLog::open(&dir, "standalone").expect("open");
    for generation in 1..=3 {
        let object = ObjectRef {
            kind: "Resource".into(),
            namespace: "dept-sbj".into(),
            name: "pension".into(),
            generation,
            origin: "".into(),
        };
        let event = Event::Object { object, refused: None };
        log.record(Record { at: tidegate_core::Timestamp(1_795_594_500), event }).expect("room");
    }
    log.synced().await.expect("written");
    let verify = |format: &str| {
        let mut command = tidegate(temporary.path());
        let output = command.args(["audit", "verify", "-o", format]).arg(&dir).output().expect("it runs");
        (output.status.code(), String::from_utf8(output.stdout).expect("text"))
    };
    let (code, text) = verify("text");
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("3 records") && text.contains("the chain is whole"), "{text}");

    let file = std::fs::read_dir(&dir).expect("a folder").next().expect("one").expect("an entry").path();
    let changed = std::fs::read_to_string(&file).expect("text").replacen("pension", "pensiom", 1);
    std::fs::write(&file, changed).expect("written");
    let (code, text) = verify("json");
    assert_eq!(code, Some(3), "{text}");
    let value: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!((&value["whole"], &value["streams"][0]["broken"]["line"]), (&false.into(), &2.into()));

    let empty = temporary.path().join("empty");
    std::fs::create_dir(&empty).expect("made");
    let output = tidegate(temporary.path()).args(["audit", "verify"]).arg(&empty).output().expect("it runs");
    assert_eq!(output.status.code(), Some(1));
}
