//! A real folder, a clock of our own.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use proptest::prelude::*;
use serde_json::{Map, Value, json};
use tidegate_core::Code;

use super::merge::merge;
use super::places::size;
use super::{Excerpt, FolderReader, Places, Scan, read_documents, watch};
use crate::intake::Reading;
use crate::objects::{ObjectKey, ObjectKind};

struct Folder {
    dir: tempfile::TempDir,
    reader: FolderReader,
    now: SystemTime,
}

impl Folder {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let reader = FolderReader::new(dir.path());
        // Ahead of every file that is written below, so that only our clock tells what has settled.
        Self { dir, reader, now: SystemTime::now() + Duration::from_secs(3_600) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file whose content is as new as our clock.
    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::File::options().write(true).open(&path).unwrap().set_modified(self.now).unwrap();
    }

    fn scan(&mut self) -> Scan {
        self.reader.scan(self.now).unwrap()
    }

    fn after(&mut self, millis: u64) -> Scan {
        self.now += Duration::from_millis(millis);
        self.scan()
    }

    #[track_caller]
    fn settled(&mut self) -> Arc<Reading> {
        self.scan();
        self.after(200).reading.expect("something changed")
    }
}

fn user(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: tidegate.dev/v1alpha1\nkind: VpnUser\nmetadata:\n  name: {name}\n  namespace: dept-sbj\n\
         spec:\n{spec}\n"
    )
}

fn key(name: &str) -> ObjectKey {
    ObjectKey::new(ObjectKind::VpnUser, "dept-sbj", name)
}

fn names(reading: &Reading) -> Vec<&str> {
    reading.objects().map(|(key, _)| &*key.name).collect()
}

fn written(reading: &Reading) -> Arc<Value> {
    reading.get(&key("li")).unwrap().written.value(&key("li"))
}

const ACTIVE: &str = "  state: Active";
const SUSPENDED: &str = "  state: Suspended";

#[test]
fn a_change_counts_once_the_file_was_left_alone() {
    let mut folder = Folder::new();
    folder.write("a.yaml", &user("li", ACTIVE));
    assert!(folder.scan().reading.is_none());
    assert!(folder.after(199).reading.is_none());
    let reading = folder.after(1).reading.unwrap();
    assert_eq!(written(&reading)["spec"], json!({"state": "Active"}));
    assert!(folder.after(10).reading.is_none());

    folder.write("a.yaml", &user("li", SUSPENDED));
    assert_eq!(folder.scan().again, Some(Duration::from_millis(200)));
    folder.after(150);
    folder.write("a.yaml", &user("li", "  state: Suspended # again"));
    assert!(folder.after(150).reading.is_none());
    assert_eq!(written(&folder.after(50).reading.unwrap())["spec"]["state"], "Suspended");
}

#[test]
fn what_was_written_long_ago_counts_when_it_is_moved_here() {
    let mut folder = Folder::new();
    folder.write("a.yaml", &user("li", ACTIVE));
    folder.settled();
    folder.write("b.tmp", &user("wang", ACTIVE));
    folder.now += Duration::from_secs(1);
    fs::rename(folder.path("b.tmp"), folder.path("b.yaml")).unwrap();
    assert_eq!(names(&folder.scan().reading.unwrap()), ["li", "wang"]);
}

#[test]
fn an_editor_that_renames_is_never_seen_without_the_file() {
    let mut folder = Folder::new();
    folder.write("a.yaml", &user("li", ACTIVE));
    folder.settled();
    fs::rename(folder.path("a.yaml"), folder.path("a.yaml~")).unwrap();
    assert!(folder.scan().reading.is_none());
    assert!(folder.after(100).reading.is_none());
    folder.write("a.yaml", &user("li", SUSPENDED));
    assert!(folder.scan().reading.is_none());
    assert_eq!(written(&folder.after(200).reading.unwrap())["spec"]["state"], "Suspended");

    fs::remove_file(folder.path("a.yaml")).unwrap();
    assert!(folder.after(10).reading.is_none());
    assert!(names(&folder.after(200).reading.unwrap()).is_empty());
}

#[test]
fn changes_made_together_count_together_within_bounds() {
    let mut folder = Folder::new();
    folder.write("a.yaml", &user("li", ACTIVE));
    folder.write("b.yaml", "");
    folder.settled();
    folder.write("a.yaml", "");
    folder.scan();
    folder.after(100);
    folder.write("b.yaml", &user("li", SUSPENDED));
    folder.scan();
    assert!(folder.after(100).reading.is_none(), "a has settled, b has not");
    assert_eq!(names(&folder.after(100).reading.unwrap()), ["li"]);

    folder.write("a.yaml", &user("wang", ACTIVE));
    let mut waited = 0;
    let reading = loop {
        folder.write("b.yaml", &format!("# {waited}"));
        waited += 50;
        if let Some(reading) = folder.after(50).reading {
            break reading;
        }
    };
    assert_eq!(names(&reading), ["li", "wang"], "b counts as it last did");
    assert!((500..=600).contains(&waited), "{waited}");
}

#[test]
fn a_file_that_is_not_yaml_keeps_what_it_said() {
    let mut folder = Folder::new();
    folder.write("a.yaml", &user("li", ACTIVE));
    folder.write("b.yaml", &user("wang", ACTIVE));
    folder.settled();
    for (text, code) in
        [("a: [1,", Code::NotYaml), ("a: 1\na: 2", Code::NotYaml), ("a: &x 1\nb: *x", Code::NotYaml)]
    {
        folder.write("a.yaml", text);
        let reading = folder.settled();
        assert_eq!(names(&reading), ["li", "wang"], "{text}");
        let problem = &reading.problems[0];
        assert_eq!(problem.code, code.id(), "{problem:?}");
        assert!(problem.origin.contains("a.yaml:"), "{problem:?}");
        assert!(problem.message.contains("stays in force"), "{problem:?}");
    }
    folder.write("a.yaml", &format!("# {}\n", "x".repeat(1 << 20)));
    let reading = folder.settled();
    assert_eq!((names(&reading).len(), reading.problems[0].code.as_str()), (2, "TG-6011"));
    folder.write("a.yaml", "");
    assert_eq!(names(&folder.settled()), ["wang"]);
}

#[test]
fn documents_of_one_object_are_merged() {
    let mut folder = Folder::new();
    folder
        .write("people.yaml", &user("li", "  requestedBy: chen\n  state: Active\n  request: {person: 李强}"));
    folder.write("approvals/wang.yml", &user("li", "  approval:\n    by: wang"));
    let reading = folder.settled();
    let found = reading.get(&key("li")).unwrap();
    assert_eq!(found.violations, []);
    let spec = json!({"requestedBy": "chen", "state": "Active", "request": {"person": "李强"}, "approval": {"by": "wang"}});
    assert_eq!(written(&reading)["spec"], spec);
    let places = found.places.as_ref().unwrap();
    assert!(places.at("spec.approval.by").ends_with("approvals/wang.yml:8:5"));
    assert!(
        places.at("spec.request.person").ends_with("people.yaml:9:13"),
        "{}",
        places.at("spec.request.person")
    );
    assert!(places.at("spec.state").ends_with("people.yaml:8:3"));
    assert!(places.at("").ends_with("approvals/wang.yml:1:1"));

    folder.write("approvals/wu.yaml", &user("li", "  approval:\n    by: wu\n    until: x"));
    let reading = folder.settled();
    let [overlap] = &reading.get(&key("li")).unwrap().violations[..] else { panic!() };
    assert_eq!((overlap.path.as_str(), overlap.code), ("spec.approval.by", Code::FragmentsOverlap));
    assert!(overlap.message.contains("wang.yml:8:5") && overlap.message.contains("wu.yaml:8:5"), "{overlap}");
}

#[test]
fn other_documents() {
    let mut folder = Folder::new();
    let texts = [
        "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: dept-sbj",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: ca, namespace: dept-sbj}\ndata:\n  ca.crt: pem",
        "apiVersion: tidegate.dev/v1alpha1\nkind: VpnUsr",
        "apiVersion: v1\nkind: Resource",
        "- 1",
        "apiVersion: tidegate.dev/v1alpha1\nkind: VpnUser\nmetadata:\n  name: 8",
    ];
    folder.write("a.yaml", &texts.join("\n---\n"));
    let reading = folder.settled();
    assert!(names(&reading).is_empty());
    let entry = ("dept-sbj".to_owned(), "ca".to_owned(), "ca.crt".to_owned());
    assert_eq!(reading.tenants["dept-sbj"].config_maps[&entry], "pem");
    let problems: Vec<_> =
        reading.problems.iter().map(|problem| (problem.code.as_str(), problem.message.as_str())).collect();
    assert_eq!(problems[0], ("TG-6009", "kind: \"VpnUsr\" is not a kind; did you mean VpnUser?"));
    assert_eq!(problems[1].0, "TG-6009");
    assert!(problems[1].1.contains("write tidegate.dev/v1alpha1"));
    assert_eq!(problems[2].0, "TG-6009");
    assert!(problems[3].1.contains("in quotes if it is a number"));
}

#[test]
fn a_mounted_config_map_is_followed_and_hidden_names_are_not() {
    use std::os::unix::fs::symlink;
    let mut folder = Folder::new();
    folder.write("..one/a.yaml", &user("li", ACTIVE));
    symlink("..one", folder.path("..data")).unwrap();
    symlink("..data/a.yaml", folder.path("a.yaml")).unwrap();
    symlink(".", folder.path("loop")).unwrap();
    symlink("nowhere", folder.path("b.yaml")).unwrap();
    assert_eq!(names(&folder.settled()), ["li"]);
    folder.write("..two/a.yaml", &user("wang", ACTIVE));
    symlink("..two", folder.path("..tmp")).unwrap();
    fs::rename(folder.path("..tmp"), folder.path("..data")).unwrap();
    assert_eq!(names(&folder.settled()), ["wang"]);
}

#[test]
fn an_outage_is_never_a_deletion() {
    let mut folder = Folder::new();
    folder.write("a.yaml", &user("li", ACTIVE));
    folder.settled();
    let away = folder.dir.path().with_extension("away");
    fs::rename(folder.dir.path(), &away).unwrap();
    let error = folder.reader.scan(folder.now).unwrap_err();
    let reading = folder.reader.troubled(&error);
    assert_eq!(names(&reading), ["li"]);
    assert!(reading.problems[0].message.contains("everything stays in force"));
    fs::rename(&away, folder.dir.path()).unwrap();
    assert!(folder.after(500).reading.is_none(), "nothing changed");
}

#[test]
fn words_are_read_as_kubectl_reads_them() {
    let text = "a: yes\nb: 'yes'\nc: 0898\nd: 17:30\ne: 1.5\nf: 2027-01-01T00:00:00Z\ng: ~\nh: -3\ni: .inf\nj: 0x1f\nk: 1e3";
    let documents = read_documents(text.as_bytes()).unwrap();
    let expected = json!({"a": true, "b": "yes", "c": 898, "d": "17:30", "e": 1.5, "f": "2027-01-01T00:00:00Z",
        "g": null, "h": -3, "i": ".inf", "j": 31, "k": 1000.0});
    assert_eq!(documents[0].value, expected);
    assert_eq!(documents[0].marks.len(), 12);
}

#[test]
fn hostile_files_are_refused_within_bounds() {
    let code = |bytes: &[u8]| read_documents(bytes).unwrap_err().code;
    assert_eq!(code("[".repeat(100_000).as_bytes()), Code::NotYaml);
    assert_eq!(code(format!("{}1", "- ".repeat(1_000)).as_bytes()), Code::NotYaml);
    assert_eq!(code(format!("[{}]", "1,".repeat(300_000)).as_bytes()), Code::FileTooLarge);
    assert_eq!(code(b"a: \xff"), Code::NotYaml);
    assert_eq!(code(b"a: !!binary x"), Code::NotYaml);
    assert_eq!(code(b"{a: 1}: 2"), Code::NotYaml);
    assert!(read_documents(b"").unwrap().is_empty());
    assert!(read_documents("\u{feff}---\n...\n---\n# nothing\n".as_bytes()).unwrap().is_empty());
    let fault = read_documents("a: 1\n海: \u{3042}\nb: [".as_bytes()).unwrap_err();
    assert!(fault.mark.line >= 3, "{fault:?}");
}

#[test]
fn a_problem_is_shown_with_its_line() {
    let folder = Folder::new();
    folder.write("a.yaml", "a: 1\n人: {b: 2}\n");
    let origin = format!("{}:2:5", folder.path("a.yaml").display());
    let problem = crate::Problem {
        code: "TG-6001".to_owned(),
        object: "VpnUser dept-sbj/li".to_owned(),
        origin: origin.clone(),
        message: "b: wrong; correct it".to_owned(),
    };
    let shown = Excerpt::of(&problem).to_string();
    let expected = format!(
        "{origin}: TG-6001 VpnUser dept-sbj/li: b: wrong; correct it\n  2 | 人: {{b: 2}}\n    |      ^"
    );
    assert_eq!(shown, expected);
    let nowhere = crate::Problem { origin: "gone.yaml:1:1".to_owned(), ..problem };
    assert_eq!(Excerpt::of(&nowhere).to_string().lines().count(), 1);
}

#[test]
fn places_know_names_with_dots_and_lists() {
    let text = "a: [1, {b.c: 2, b: {c: 3}}]\nz:\n  - y: 1\n";
    let document = read_documents(text.as_bytes()).unwrap().remove(0);
    let places = Places::new(Arc::new(document.value), document.marks.into(), Arc::new(["f".into()]));
    let at = |path: &str| places.at(path);
    assert_eq!(
        (at(""), at("a"), at("a[0]"), at("a[1]")),
        ("f:1:1".into(), "f:1:1".into(), "f:1:5".into(), "f:1:8".into())
    );
    assert_eq!((at("a[1].b.c"), at("a[1].b")), ("f:1:9".into(), "f:1:17".into()));
    assert_eq!((at("z[0].y"), at("z[0].nothing.more")), ("f:3:5".into(), "f:3:5".into()));
    assert_eq!(Places::default().at("a"), "");
}

#[tokio::test]
async fn a_folder_that_was_replaced_is_still_watched() {
    let dir = tempfile::tempdir().unwrap();
    let (root, next) = (dir.path().join("now"), dir.path().join("next"));
    fs::create_dir(&root).unwrap();
    fs::write(root.join("a.yaml"), user("li", ACTIVE)).unwrap();
    let (watcher, mut readings) = watch(&root).unwrap();
    assert_eq!(names(&readings.borrow_and_update().clone()), ["li"]);

    fs::create_dir(&next).unwrap();
    fs::write(next.join("a.yaml"), user("wang", ACTIVE)).unwrap();
    fs::rename(&root, dir.path().join("before")).unwrap();
    fs::rename(&next, &root).unwrap();
    let mut becomes = async |name: &str| {
        let wait = readings.wait_for(|reading| reading.get(&key(name)).is_some());
        let reading = tokio::time::timeout(Duration::from_secs(30), wait).await.expect("it is read").unwrap();
        assert_eq!(names(&reading), [name]);
    };
    becomes("wang").await;
    fs::write(root.join("a.yaml"), user("zhao", ACTIVE)).unwrap();
    becomes("zhao").await;
    drop(watcher);
}

fn object() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![Just(json!(1)), Just(json!("x")), Just(json!([1, {"k": 2}]))];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop::collection::btree_map("[a-e]", inner, 0..4)
            .prop_map(|map| Value::Object(map.into_iter().collect::<Map<_, _>>()))
    })
}

fn fragment(value: &Value, name: &str) -> Arc<Places> {
    let document = read_documents(value.to_string().as_bytes()).unwrap().remove(0);
    assert_eq!(document.value, *value);
    Arc::new(Places::new(Arc::new(document.value), document.marks.into(), Arc::new([name.into()])))
}

/// Every path of a value that is no object.
fn leaves(value: &Value, path: &str, out: &mut Vec<String>) {
    match value.as_object().filter(|map| !map.is_empty()) {
        Some(map) => map.iter().for_each(|(key, value)| leaves(value, &format!("{path}.{key}"), out)),
        None => out.push(path.trim_start_matches('.').to_owned()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn marks_follow_their_values_through_a_merge(a in object(), b in object()) {
        let (a, b) = (json!({"spec": a}), json!({"spec": b}));
        let (one, other) = (fragment(&a, "one"), fragment(&b, "other"));
        let (merged, violations) = merge(&[Arc::clone(&one), Arc::clone(&other)]);
        prop_assert_eq!(merged.marks().len(), size(merged.value()));
        let mut paths = Vec::new();
        leaves(merged.value(), "", &mut paths);
        if violations.is_empty() {
            for path in paths {
                prop_assert!([one.at(&path), other.at(&path)].contains(&merged.at(&path)), "{}", path);
            }
        }
        for violation in violations {
            prop_assert!(violation.message.contains(&one.at(&violation.path)), "{}", violation);
            prop_assert!(violation.message.contains(&other.at(&violation.path)), "{}", violation);
        }
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = read_documents(&bytes);
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in "[-a:&*!|>{}\\[\\],?# \n\t'\"%@0.~]{0,80}") {
        if let Ok(documents) = read_documents(text.as_bytes()) {
            for document in documents {
                prop_assert_eq!(document.marks.len(), size(&document.value));
            }
        }
    }
}
