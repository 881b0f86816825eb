//! The audit trail: its chain, its files, and the examples in its documentation.

use std::path::{Path, PathBuf};

use tidegate_core::policy::Effect;
use tidegate_core::session::{EndReason, Kind};
use tidegate_core::{Code, DenyReason, Generation, RuleName, SessionId, Timestamp};
use tidegate_store::audit::{
    Actor, AuditError, AuditLog, Event, FlowRef, Lost, ObjectRef, Protocol, Record, Rotation, RuleRef,
    Stream, Verdict, verify,
};
use tidegate_store::{IntentId, Outcome};

fn actor() -> Actor {
    Actor {
        account: Some("sbj/wang.fang".parse().expect("an id")),
        uid: Some("4f5c2c1e-0000-4000-8000-000000000001".parse().expect("a uid")),
        session: Some(SessionId([0xab; 16])),
        source: Some("192.0.2.7".parse().expect("an address")),
        request: Some("01JDJ0V6Q8".into()),
        alone: false,
    }
}

fn events() -> Vec<Event> {
    let unknown = || Actor { uid: None, session: None, ..actor() };
    let rule = |owner: Option<&str>, effect| RuleRef {
        department: owner.map(|code| code.parse().expect("a code")),
        rule: RuleName { policy: "pension-access".into(), rule: "office-hours".into(), effect },
    };
    let decision = |verdict, rule, count| Event::Decision {
        actor: actor(),
        resource: "sbj/pension".parse().expect("an id"),
        verdict,
        rule,
        generation: Generation { term: 3, sequence: 14 },
        count,
    };
    let object = ObjectRef {
        kind: "AccessPolicy".into(),
        namespace: "dept-sbj".into(),
        name: "pension-access".into(),
        generation: 2,
        origin: "sbj/policies.yaml:12:9".into(),
    };
    let account = || "sbj/wang.fang".parse().expect("an id");
    vec![
        Event::Activation { actor: unknown(), refused: None },
        Event::Activation { actor: unknown(), refused: Some(Code::ActivationRefused) },
        Event::PasswordChange { actor: actor(), refused: None },
        Event::Login { actor: actor(), kind: Kind::Portal, refused: None },
        Event::Login { actor: Actor { alone: true, ..actor() }, kind: Kind::Portal, refused: None },
        Event::Login { actor: unknown(), kind: Kind::Portal, refused: Some(Code::LoginFailed) },
        Event::SessionEnd { actor: actor(), kind: Kind::Portal, reason: EndReason::LoggedOut },
        Event::SessionEnd {
            actor: actor(),
            kind: Kind::Portal,
            reason: EndReason::Standing(DenyReason::AccountSuspended),
        },
        decision(Verdict::Allowed, Some(rule(Some("sbj"), Effect::Allow)), 17),
        decision(Verdict::Denied(Code::PlatformVeto), Some(rule(None, Effect::Deny)), 1),
        decision(Verdict::Withdrawn(Code::AccountSuspended), None, 1),
        Event::FlowEnd {
            actor: Actor { request: None, ..actor() },
            resource: "sbj/files".parse().expect("an id"),
            flow: FlowRef {
                protocol: Protocol::Tcp,
                host: "files.example.org".into(),
                address: Some("10.20.3.5".parse().expect("an address")),
                port: 22,
            },
            up: 18_230,
            down: 4_411_002,
            seconds: 95,
            reason: Some(Code::OutsideSchedule),
        },
        Event::Object { object: object.clone(), refused: None },
        Event::Object { object, refused: Some((Code::RuleSyntax, "expected `)`".into())) },
        Event::IntentSettled {
            intent: IntentId(0x0193_5f00_0000_0000_0000_0000_0000_0001),
            account: account(),
            outcome: Outcome::Done { version: 4 },
        },
        Event::IntentSettled {
            intent: IntentId(0x0193_5f00_0000_0000_0000_0000_0000_0002),
            account: account(),
            outcome: Outcome::Refused(Code::CredentialChanged),
        },
    ]
}

const AT: Timestamp = Timestamp(1_795_594_500);

fn record(event: &Event) -> Record {
    Record { at: AT, event: event.clone() }
}

async fn write(dir: &Path, rotation: Rotation, rounds: usize) -> AuditLog {
    let log = AuditLog::open_with(dir, "gateway", rotation).expect("open");
    for _ in 0..rounds {
        for event in events() {
            log.record(record(&event)).expect("room");
        }
        log.synced().await.expect("written");
    }
    log
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> =
        std::fs::read_dir(dir).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    files
}

fn only(dir: &Path) -> Stream {
    let mut streams = verify(dir).expect("readable");
    assert_eq!(streams.len(), 1);
    streams.remove(0)
}

#[tokio::test]
async fn the_chain_goes_on_after_a_restart() {
    let dir = tempfile::tempdir().expect("a folder");
    for _ in 0..3 {
        drop(write(dir.path(), Rotation::default(), 2).await);
    }
    let stream = only(dir.path());
    let records = 3 * 2 * events().len() as u64;
    assert_eq!((stream.files, stream.first, stream.records, stream.lost), (1, 1, records, 0));
    assert_eq!((stream.name.as_str(), stream.broken), ("gateway", None));
}

#[tokio::test]
async fn whatever_is_changed_is_found() {
    let dir = tempfile::tempdir().expect("a folder");
    write(dir.path(), Rotation::default(), 1).await;
    let file = files(dir.path()).remove(0);
    let text = std::fs::read_to_string(&file).expect("text");
    let lines: Vec<&str> = text.lines().collect();
    let head = only(dir.path()).head;
    let found = |lines: &[&str]| {
        std::fs::write(&file, format!("{}\n", lines.join("\n"))).expect("written");
        only(dir.path())
    };

    let mut changed = lines.clone();
    let forged = changed[4].replace("192.0.2.7", "192.0.2.8");
    changed[4] = &forged;
    let broken = found(&changed).broken.expect("a changed record");
    assert_eq!((broken.line, broken.why.as_str()), (6, "the record before it was changed"));

    let without: Vec<&str> = [&lines[..4], &lines[5..]].concat();
    assert_eq!(found(&without).broken.expect("a missing record").line, 5);
    let twice: Vec<&str> = [&lines[..5], &lines[4..]].concat();
    assert_eq!(found(&twice).broken.expect("a doubled record").line, 6);

    let shorter = found(&lines[..9]);
    assert!(shorter.broken.is_none() && shorter.head != head, "a cut end shows in the head alone");
    std::fs::write(&file, "{}\n").expect("written");
    assert!(only(dir.path()).broken.is_some());
    std::fs::write(&file, [0xff; 200_000]).expect("written");
    assert!(only(dir.path()).broken.is_some());
}

#[tokio::test]
async fn an_unfinished_line_is_cut_off_and_told() {
    let dir = tempfile::tempdir().expect("a folder");
    write(dir.path(), Rotation::default(), 1).await;
    let file = files(dir.path()).remove(0);
    let mut text = std::fs::read_to_string(&file).expect("text");
    text.push_str("{\"seq\":15,\"prev\":\"00");
    std::fs::write(&file, &text).expect("written");
    let torn = only(dir.path());
    assert!(torn.unfinished && torn.broken.is_none());
    write(dir.path(), Rotation::default(), 1).await;
    let stream = only(dir.path());
    assert_eq!((stream.broken, stream.lost, stream.records), (None, 1, 2 * events().len() as u64 + 1));

    std::fs::write(&file, "somebody else's file\n").expect("written");
    let refused = AuditLog::open(dir.path(), "gateway").map(drop);
    assert!(matches!(refused, Err(AuditError::Foreign { .. })), "{refused:?}");
}

#[tokio::test]
async fn files_are_bounded_in_size_and_number() {
    let dir = tempfile::tempdir().expect("a folder");
    let rotation = Rotation { file_bytes: 16 * 1024, files: 3 };
    drop(write(dir.path(), rotation, 12).await);
    drop(write(dir.path(), rotation, 12).await);
    let stream = only(dir.path());
    assert_eq!((stream.files, stream.broken), (3, None));
    assert!(stream.first > 1);
    assert_eq!(stream.first + stream.records - 1, 24 * events().len() as u64);
    for file in files(dir.path()) {
        assert!(std::fs::metadata(file).expect("there").len() <= rotation.file_bytes);
    }
    std::fs::remove_file(&files(dir.path())[1]).expect("removed");
    let broken = only(dir.path()).broken.expect("a missing file");
    assert!(broken.why.contains("are missing before it"), "{broken:?}");
}

#[tokio::test]
async fn lost_records_are_counted_and_told() {
    let parent = tempfile::tempdir().expect("a folder");
    let dir = parent.path().join("audit");
    // Every batch begins a file, so a vanished folder fails the write.
    let rotation = Rotation { file_bytes: 1, files: 100 };
    let log = write(&dir, rotation, 1).await;
    std::fs::remove_dir_all(&dir).expect("removed");
    let event = events().remove(0);
    log.record(record(&event)).expect("the queue has room");
    log.synced().await.expect("tried");
    assert_eq!(log.lost(), 1);
    std::fs::create_dir(&dir).expect("made");
    log.record(record(&event)).expect("room");
    log.synced().await.expect("written");
    let stream = only(&dir);
    assert_eq!((stream.broken, stream.lost, stream.records), (None, 1, 2));
    assert_eq!(log.lost(), 1);
    let gone = Lost;
    assert_eq!(gone.to_string(), "an audit record was lost");
}

#[test]
fn a_stream_has_a_plain_name() {
    let dir = tempfile::tempdir().expect("a folder");
    for name in ["", "../x", "a-b", "Upper", &"x".repeat(33)] {
        assert!(matches!(AuditLog::open(dir.path(), name).map(drop), Err(AuditError::Name(_))), "{name}");
    }
}

/// The examples in the documentation are the records this code writes; `UPDATE_EXPECT=1` writes them anew.
#[tokio::test]
async fn the_documented_examples_are_real() {
    const BEGIN: &str = "<!-- examples: begin -->\n";
    const END: &str = "<!-- examples: end -->\n";
    let dir = tempfile::tempdir().expect("a folder");
    write(dir.path(), Rotation::default(), 1).await;
    let text = std::fs::read_to_string(files(dir.path()).remove(0)).expect("text");
    let mut examples = String::from("\n");
    for line in text.lines() {
        let value: serde_json::Value = serde_json::from_str(line).expect("JSON");
        let pretty = serde_json::to_string_pretty(&value).expect("JSON");
        let event = value["event"].as_str().expect("a name");
        let refused = if value["status_id"] == 2 && !event.contains("ed") { ", refused" } else { "" };
        let away = if value["store"] == "away" { ", while etcd was away" } else { "" };
        examples.push_str(&format!("### `{event}`{refused}{away}\n\n```json\n{pretty}\n```\n\n"));
    }
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/audit.md");
    let written = std::fs::read_to_string(&page).expect("the page");
    let (head, rest) = written.split_once(BEGIN).expect("a begin mark");
    let (_, tail) = rest.split_once(END).expect("an end mark");
    let wanted = format!("{head}{BEGIN}{examples}{END}{tail}");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(&page, &wanted).expect("written");
    }
    let written = std::fs::read_to_string(&page).expect("the page");
    assert!(written == wanted, "docs/reference/audit.md differs; UPDATE_EXPECT=1 writes it");
}
