//! The examples do what their READMEs say.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tidegate_controller::explain::{Ask, explain};
use tidegate_controller::folder::{FolderReader, watch};
use tidegate_controller::form::Items;
use tidegate_controller::identity::Register;
use tidegate_controller::intake::{Intake, Reading};
use tidegate_core::policy::{Device, Factor};
use tidegate_core::{DenyReason, PolicyState, Snapshot, Timestamp};
use tidegate_policy_engine::{Engine, Library, PreparedSubject, Worker};

use crate::world::World;

fn examples(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(name)
}

/// Thursday, 10:00 in Haikou.
const OFFICE: Timestamp = Timestamp(1_795_658_400);

/// Saturday, 03:00 there.
const NIGHT: Timestamp = Timestamp(1_795_806_000);

/// Asks the modules gateways run.
struct Judge<'a> {
    snapshot: &'a Snapshot,
    worker: Worker,
}

impl<'a> Judge<'a> {
    fn new(snapshot: &'a Snapshot) -> Self {
        let library = Library::new(Engine::new().unwrap());
        let departments = snapshot.departments.values().map(|department| &department.policy);
        for policy in departments.chain([&snapshot.platform.policy]) {
            if let PolicyState::Module(module) = policy {
                library.load(&module.digest, &module.wasm).unwrap();
            }
        }
        Self { snapshot, worker: Worker::new(library.into()) }
    }

    /// The code of a refusal; empty when it is allowed.
    fn code(&mut self, account: &str, resource: &str, at: Timestamp, method: &str) -> String {
        let ask = Ask {
            account: account.parse().unwrap(),
            resource: resource.parse().unwrap(),
            at,
            source: [192, 0, 2, 1].into(),
            device: Device::Browser,
            factors: Factor::Password.bit(),
            method: method.to_owned(),
            path: if method.is_empty() { String::new() } else { "/".to_owned() },
        };
        let prepare = |subject: &_| PreparedSubject::new(subject).unwrap();
        explain(self.snapshot, &ask, &mut self.worker, prepare).code.unwrap_or_default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn haikou_is_what_its_readme_says() {
    let (watcher, readings) = watch(examples("haikou")).unwrap();
    let world = World::start_on(tempfile::tempdir().unwrap(), readings, |_, _| ()).await;
    world.problems(|problems| problems.trim() == "[]").await;
    let view = world
        .view(|view| view.snapshot.as_ref().is_some_and(|snapshot| snapshot.departments.len() == 3))
        .await;
    let snapshot = view.snapshot.unwrap();

    let now = tidegate_controller::time::now();
    let standing = |id: &str| snapshot.account(&id.parse().unwrap()).unwrap().standing(now).denied;
    assert_eq!(standing("sbj/wangfang"), None);
    assert_eq!(standing("sbj/zhangwei"), None);
    assert_eq!(standing("sbj/liuyang"), Some(DenyReason::AccountSuspended));
    assert_eq!(standing("sbj/zhaolei"), Some(DenyReason::AccountLeft));
    assert_eq!(standing("sbj/sunli"), Some(DenyReason::AccountNotApproved));
    assert_eq!(standing("rsj/liqiang"), None);
    assert_eq!(standing("rsj/huangmei"), Some(DenyReason::AccountExpired));
    assert_eq!(standing("rsj/zhoujie"), Some(DenyReason::AccountNotYetValid));
    assert_eq!(standing("xqrsj/chenjing"), None);
    assert_eq!(standing("xqrsj/wujun"), Some(DenyReason::AccountReviewOverdue));

    let mut judge = Judge::new(&snapshot);
    for at in [OFFICE, NIGHT] {
        for (account, resource) in [
            ("sbj/wangfang", "sbj/records"),
            ("sbj/wangfang", "sbj/archive"),
            ("sbj/wangfang", "rsj/exchange"),
            ("sbj/zhangwei", "rsj/analysis"),
            ("rsj/liqiang", "rsj/analysis"),
            ("xqrsj/chenjing", "rsj/exchange"),
        ] {
            assert_eq!(judge.code(account, resource, at, ""), "", "{account} {resource}");
        }
        assert_eq!(judge.code("sbj/wangfang", "sbj/fund", at, ""), "TG-3001");
        assert_eq!(judge.code("xqrsj/chenjing", "sbj/archive", at, ""), "TG-3001");
        assert_eq!(judge.code("xqrsj/chenjing", "sbj/records", at, "GET"), "");
        assert_eq!(judge.code("xqrsj/chenjing", "sbj/records", at, "POST"), "TG-3009");
        assert_eq!(judge.code("sbj/wangfang", "sbj/records", at, "DELETE"), "TG-3004");
    }
    assert_eq!(judge.code("sbj/zhangwei", "sbj/fund", OFFICE, ""), "");
    assert_eq!(judge.code("sbj/zhangwei", "sbj/fund", NIGHT, ""), "TG-3005");
    world.stop().await;
    drop(watcher);
}

/// Reads a folder as if it had settled long ago.
fn settled(folder: &Path) -> Reading {
    let later = SystemTime::now() + Duration::from_secs(60);
    let scan = FolderReader::new(folder).scan(later).unwrap();
    Reading::clone(&scan.reading.unwrap())
}

#[test]
fn each_refused_manifest_is_refused_as_it_says() {
    let mut files = 0;
    for entry in std::fs::read_dir(examples("refused")).unwrap() {
        let file = entry.unwrap().path();
        if file.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        files += 1;
        let text = std::fs::read_to_string(&file).unwrap();
        let mut words = text.lines().next().unwrap().strip_prefix("# expect: ").unwrap().splitn(3, ' ');
        let (code, path, advice) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());

        let folder = tempfile::tempdir().unwrap();
        std::fs::copy(&file, folder.path().join("manifest.yaml")).unwrap();
        let reading = settled(folder.path());
        let now = tidegate_controller::time::now();
        let mut register = Register::default();
        let mut items = Items::new();
        for (name, tenant) in &reading.tenants {
            items.extend(Intake::default().take(name, tenant, &mut register, now).unwrap().items);
        }
        let mut said: Vec<(String, String, String)> = reading
            .problems
            .iter()
            .map(|problem| (problem.code.clone(), "-".to_owned(), problem.message.clone()))
            .collect();
        for (key, item) in &items {
            for violation in &item.violations {
                assert!(reading.place(key, &violation.path).contains("manifest.yaml:"));
                said.push((violation.code.id(), violation.path.clone(), violation.to_string()));
            }
            assert!(item.form.is_err(), "{key}");
        }
        let [(said_code, said_path, message)] = &said[..] else { panic!("{}: {said:#?}", file.display()) };
        assert_eq!((said_code.as_str(), said_path.as_str()), (code, path), "{}: {message}", file.display());
        assert!(message.contains(advice), "{}: {message}", file.display());
    }
    assert!(files >= 15);
}
