use serde_json::{Value, json};
use tempfile::TempDir;
use tidegate_core::{Account, AccountState, DenyReason, PolicyState};
use tidegate_store::Change;

use super::*;
use crate::intake::{ConfigMaps, Found};
use crate::status::{ConditionType, Truth};

mod random;

const NOW: Timestamp = Timestamp(1_760_000_000);
const DAY: i64 = 86_400;

/// A state directory and the objects of a small platform.
struct World {
    _dir: TempDir,
    state: State,
    builder: Builder,
    published: Published,
    written: BTreeMap<ObjectKey, Value>,
}

/// What a round gave.
struct Built {
    platform: Arc<Platform>,
    departments: BTreeMap<DepartmentCode, Arc<Department>>,
    statuses: BTreeMap<ObjectKey, ObjectStatus>,
    compile_problems: usize,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(dir.path()).unwrap();
        let settings = Settings {
            title: Localized::default(),
            zone: Zone::utc(),
            not_before: Timestamp(0),
            approvals_enforced: false,
        };
        let (builder, _) = Builder::load(&state, settings).unwrap();
        let published = Published::default();
        let mut world = Self { _dir: dir, state, builder, published, written: BTreeMap::new() };
        world.write(department_key(), department("社保局"));
        world.write(user_key("li"), user());
        world.write(resource_key(), resource(80));
        world.write(policy_key("all"), allow(None));
        world
    }

    fn write(&mut self, key: ObjectKey, spec: Value) {
        self.written.insert(key, spec);
    }

    fn damage(&mut self, key: &ObjectKey) {
        self.written.insert(key.clone(), json!({"broken": true}));
    }

    fn reading(&self) -> Reading {
        let found = self.written.iter().map(|(key, spec)| {
            let mut metadata = json!({"name": &*key.name});
            if key.kind.namespaced() {
                metadata["namespace"] = json!(&*key.namespace);
            }
            let value = json!({"apiVersion": tidegate_crd::API_VERSION, "kind": key.kind.as_str(),
                "metadata": metadata, "spec": spec});
            (key.clone(), Found::of(value))
        });
        Reading::of(found, ConfigMaps::new())
    }

    /// A round without its store: what was lost first, then what was built.
    fn round(&mut self, now: Timestamp) -> (Option<Publication>, Built) {
        self.builder.take(&self.reading(), &self.state, now).unwrap();
        let lost = self.builder.losses(&self.published, now);
        assert!(self.builder.save(&self.state).unwrap().is_empty());
        self.builder.build(&self.published, &self.state).unwrap();
        self.published.platform = self.builder.platform();
        self.published.departments = self.builder.departments();
        self.builder.done(&self.published);
        self.builder.forget_gone(&self.state).unwrap();
        let status = |key: &ObjectKey| Some((key.clone(), self.builder.status(key, now)?));
        let built = Built {
            platform: self.builder.platform().unwrap(),
            departments: self.builder.departments(),
            statuses: self.written.keys().filter_map(status).collect(),
            compile_problems: self.builder.tenants().map(|(_, kept)| kept.compile_problems()).sum(),
        };
        (lost, built)
    }

    fn built(&mut self) -> Built {
        self.round(NOW).1
    }
}

fn code() -> DepartmentCode {
    "sbj".parse().unwrap()
}

fn department_key() -> ObjectKey {
    ObjectKey::new(ObjectKind::Department, "", "sbj")
}

fn user_key(name: &str) -> ObjectKey {
    ObjectKey::new(ObjectKind::VpnUser, "dept-sbj", name)
}

fn resource_key() -> ObjectKey {
    ObjectKey::new(ObjectKind::Resource, "dept-sbj", "fees")
}

fn policy_key(name: &str) -> ObjectKey {
    ObjectKey::new(ObjectKind::AccessPolicy, "dept-sbj", name)
}

fn department(name: &str) -> Value {
    json!({"code": "sbj", "names": {"zh-CN": name}, "networks": ["10.20.0.0/16"], "timeZone": "Asia/Shanghai"})
}

fn user() -> Value {
    json!({
        "request": {"person": "李强", "unit": "窗口", "groups": ["sbj/staff"], "kubernetesUser": "li@example.org"},
        "requestedBy": "wang",
        "approval": {"by": "zhang", "until": crate::time::rfc3339(NOW.plus(300 * DAY))},
    })
}

fn with(mut spec: Value, pointer: &str, value: Value) -> Value {
    let (parent, field) = pointer.rsplit_once('/').unwrap();
    spec.pointer_mut(parent).unwrap()[field] = value;
    spec
}

fn resource(port: u16) -> Value {
    json!({"names": {"en": "Fees"}, "web": {"url": format!("http://10.20.1.1:{port}/")}})
}

fn allow(when: Option<&str>) -> Value {
    let mut rule = json!({"name": "rule", "effect": "Allow"});
    if let Some(when) = when {
        rule["when"] = json!(when);
    }
    json!({"target": {"resources": {}}, "rules": [rule]})
}

fn condition(built: &Built, key: &ObjectKey, r#type: ConditionType) -> (Truth, String) {
    let condition = built.statuses[key].get(r#type).unwrap();
    (condition.status, condition.reason.clone())
}

fn account(built: &Built, name: &str) -> Arc<Account> {
    Arc::clone(&built.departments[&code()].accounts[name])
}

#[test]
fn the_same_objects_give_the_same_snapshot() {
    let mut world = World::new();
    let first = world.built();
    let second = world.built();
    assert_eq!(first.platform, second.platform);
    assert_eq!(first.departments, second.departments);
    assert!(Arc::ptr_eq(&first.departments[&code()], &second.departments[&code()]), "equal parts are shared");
    assert_eq!(first.statuses, second.statuses);
    assert!(first.statuses.values().all(|status| status.is(ConditionType::Accepted)));
    assert!(matches!(first.departments[&code()].policy, PolicyState::Module(_)));
}

#[test]
fn a_broken_resource_keeps_its_last_good_form_and_a_new_one_is_absent() {
    let mut world = World::new();
    world.built();
    world.damage(&resource_key());
    let built = world.built();
    let resource = &built.departments[&code()].resources["fees"];
    assert_eq!((resource.upstream().1, resource.source.generation), (80, 1));
    assert_eq!(condition(&built, &resource_key(), ConditionType::Accepted).0, Truth::False);

    world.write(resource_key(), self::resource(81));
    let built = world.built();
    assert_eq!(built.departments[&code()].resources["fees"].upstream().1, 81);

    let other = ObjectKey::new(ObjectKind::Resource, "dept-sbj", "new");
    world.damage(&other);
    let built = world.built();
    assert_eq!(built.departments[&code()].resources.len(), 1);
    assert_eq!(condition(&built, &other, ConditionType::Accepted), (Truth::False, "UnknownField".into()));
}

#[test]
fn a_broken_department_keeps_its_settings_and_its_people() {
    let mut world = World::new();
    world.built();
    world.damage(&department_key());
    let built = world.built();
    assert_eq!(built.departments[&code()].title.zh_cn.as_deref(), Some("社保局"));
    assert_eq!(account(&built, "li").standing(NOW).denied, None);
}

#[test]
fn a_broken_account_is_denied_and_its_neighbours_are_not() {
    let mut world = World::new();
    world.write(user_key("wu"), user());
    let before = world.built();
    world.damage(&user_key("li"));
    let (lost, built) = world.round(NOW);
    assert_eq!(account(&built, "li").standing(NOW).denied, Some(DenyReason::AccountInvalid));
    assert_eq!(account(&built, "wu"), account(&before, "wu"));
    assert!(lost.is_some());
    assert_eq!(condition(&built, &user_key("li"), ConditionType::Accepted).0, Truth::False);
}

#[test]
fn a_refused_rule_keeps_the_policy_that_was_in_force_and_its_neighbours() {
    let mut world = World::new();
    world.write(policy_key("other"), allow(None));
    let before = world.built();
    world.write(policy_key("all"), allow(Some("user.unit = 'x' +")));
    let built = world.built();
    assert_eq!(built.departments[&code()].policy, before.departments[&code()].policy);
    let (truth, reason) = condition(&built, &policy_key("all"), ConditionType::Compiled);
    assert_eq!((truth, reason.as_str()), (Truth::False, "RuleSyntax"));
    assert_eq!(condition(&built, &policy_key("other"), ConditionType::Compiled).0, Truth::True);
    assert_eq!(built.compile_problems, 1);

    // A new policy that is refused has no form to fall back to.
    world.write(policy_key("new"), allow(Some("user.unit = 'x' +")));
    let built = world.built();
    assert_eq!(built.departments[&code()].policy, before.departments[&code()].policy);
    assert_eq!(built.compile_problems, 2);
}

#[test]
fn a_custom_module_is_an_object_but_not_in_force() {
    let mut world = World::new();
    let module = json!({"configMap": {"name": "own", "key": "module.wasm"}, "digest": format!("sha256:{}", "0".repeat(64))});
    world.write(policy_key("own"), json!({"target": {"resources": {}}, "module": module}));
    let built = world.built();
    let compiled = condition(&built, &policy_key("own"), ConditionType::Compiled);
    assert_eq!(compiled, (Truth::False, "UnsupportedClass".into()));
    assert_eq!(condition(&built, &policy_key("own"), ConditionType::Accepted).0, Truth::True);
}

#[test]
fn approver_requester_and_subject_are_three_people() {
    for (by, valid) in [("zhang", true), ("wang", false), ("li@example.org", false)] {
        let mut world = World::new();
        world.write(user_key("li"), with(user(), "/approval/by", json!(by)));
        let built = world.built();
        assert_eq!(account(&built, "li").approval.is_some(), valid, "{by}");
        let accepted = condition(&built, &user_key("li"), ConditionType::Accepted);
        assert_eq!(accepted.1, if valid { "Accepted" } else { "FourEyes" });
    }
}

#[test]
fn who_left_does_not_come_back() {
    let mut world = World::new();
    world.write(user_key("li"), with(user(), "/state", json!("Left")));
    world.built();
    world.written.remove(&user_key("li"));
    world.built();
    world.write(user_key("li"), with(user(), "/state", json!("Active")));
    let built = world.built();
    assert_eq!(account(&built, "li").state, AccountState::Left);
    assert_eq!(condition(&built, &user_key("li"), ConditionType::Accepted).1, "AccountLeftFinal");
}

#[test]
fn losses_come_first_and_gains_do_not() {
    let mut world = World::new();
    world.write(user_key("wu"), user());
    let suspended = || with(user(), "/state", json!("Suspended"));
    world.write(user_key("su"), suspended());
    let before = world.built();

    // One is suspended, one vanishes, one comes back, one is new, a resource goes, a rule changes.
    world.write(user_key("li"), suspended());
    world.written.remove(&user_key("wu"));
    world.write(user_key("su"), user());
    world.write(user_key("xu"), user());
    world.written.remove(&resource_key());
    world.write(policy_key("all"), allow(Some("user.unit == 'x'")));
    let (lost, built) = world.round(NOW.plus(1));

    let lost = lost.unwrap();
    let [Change::Put(reduced)] = lost.departments.as_slice() else { panic!("{lost:?}") };
    assert_eq!(reduced.accounts["li"].standing(NOW).denied, Some(DenyReason::AccountSuspended));
    let epoch = |account: &Account| account.credential.as_ref().unwrap().epoch;
    assert!(epoch(&reduced.accounts["li"]) > epoch(&account(&before, "li")));
    assert!(!reduced.accounts.contains_key("wu"));
    assert!(reduced.accounts["su"].standing(NOW).denied.is_some());
    assert!(!reduced.accounts.contains_key("xu"));
    assert!(reduced.resources.is_empty());
    assert_eq!(reduced.policy, before.departments[&code()].policy);

    assert_eq!(account(&built, "su").standing(NOW).denied, None);
    assert!(built.departments[&code()].accounts.contains_key("xu"));
    assert_ne!(built.departments[&code()].policy, reduced.policy);
    let (lost, _) = world.round(NOW.plus(2));
    assert!(lost.is_none(), "nothing more is lost");
}

#[test]
fn a_department_that_vanishes_takes_its_people_and_their_epochs_with_it() {
    let mut world = World::new();
    let before = account(&world.built(), "li").credential.clone().unwrap();
    world.written.remove(&department_key());
    let (lost, built) = world.round(NOW);
    assert!(matches!(lost.unwrap().departments.as_slice(), [Change::Remove(_)]));
    assert!(built.departments.is_empty());
    let accepted = condition(&built, &user_key("li"), ConditionType::Accepted);
    assert_eq!(accepted, (Truth::False, "DepartmentMissing".into()));
    assert_eq!(condition(&built, &resource_key(), ConditionType::Accepted).1, "DepartmentMissing");

    world.write(department_key(), department("新"));
    let after = account(&world.built(), "li").credential.clone().unwrap();
    assert!(after.epoch > before.epoch);
}

#[test]
fn a_department_of_which_everything_is_deleted_stays_empty() {
    for all_at_once in [true, false] {
        let mut world = World::new();
        world.built();
        for key in [user_key("li"), resource_key(), policy_key("all")] {
            world.written.remove(&key);
            if !all_at_once {
                world.built();
            }
        }
        let department = Arc::clone(&world.built().departments[&code()]);
        assert!(department.accounts.is_empty() && department.resources.is_empty());
        assert_eq!(department.policy, PolicyState::Absent);
    }
}

#[test]
fn a_code_belongs_to_one_department() {
    let mut world = World::new();
    let twin = ObjectKey::new(ObjectKind::Department, "", "twin");
    world.write(twin.clone(), department("双"));
    let built = world.built();
    assert_eq!(built.departments.len(), 1);
    assert_eq!(condition(&built, &twin, ConditionType::Accepted).0, Truth::False);
    assert_eq!(condition(&built, &department_key(), ConditionType::Accepted).0, Truth::True);
}

#[test]
fn dates_flip_conditions_and_raise_epochs() {
    let mut world = World::new();
    let until = json!(crate::time::rfc3339(NOW.plus(DAY)));
    world.write(user_key("li"), with(user(), "/request/validUntil", until));
    let before = world.built();
    let (_, after) = world.round(NOW.plus(DAY));
    let epoch = |built: &Built| account(built, "li").credential.as_ref().unwrap().epoch;
    assert_eq!(epoch(&after), epoch(&before) + 1);
    assert_eq!(after.statuses[&user_key("li")].says_no.as_ref().unwrap().0, "AccountExpired");
}

#[test]
fn objects_in_no_departments_namespace_are_refused() {
    let mut world = World::new();
    let stray = ObjectKey::new(ObjectKind::Resource, "default", "x");
    world.write(stray.clone(), resource(80));
    let unknown = ObjectKey::new(ObjectKind::VpnUser, "kube-system", "y");
    world.write(unknown.clone(), user());
    let built = world.built();
    assert_eq!(condition(&built, &stray, ConditionType::Accepted).1, "WrongNamespace");
    assert_eq!(condition(&built, &unknown, ConditionType::Accepted).1, "WrongNamespace");
    assert_eq!(built.departments[&code()].accounts.len(), 1);
}

#[test]
fn a_clock_that_went_back_takes_back_what_it_said() {
    let mut world = World::new();
    let mut short = user();
    short["request"]["validUntil"] = json!(crate::time::rfc3339(NOW.plus(DAY)));
    world.write(user_key("li"), short);
    let reading = world.reading();
    let mut has_standing = |now| {
        world.builder.take(&reading, &world.state, now).unwrap();
        // What is not stored would be due for that.
        assert!(world.builder.save(&world.state).unwrap().is_empty());
        world.builder.done(&Published::default());
        let uid = world.builder.source(&user_key("li")).unwrap().uid;
        world.builder.vault.record(&uid).unwrap().has_standing()
    };
    assert!(has_standing(NOW));
    assert!(!has_standing(NOW.plus(2 * DAY)));
    assert!(has_standing(NOW.plus(1)));
}
