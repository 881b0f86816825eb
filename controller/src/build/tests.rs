use serde_json::{Value, json};
use tempfile::TempDir;
use tidegate_core::policy::{Departments, Effect, Match, Mode, Policy, Rule, Target};
use tidegate_core::{
    AccountState, Approval, Contact, DenyReason, Endpoint, Hotline, LoginRules, Person, PolicyState,
    SessionRules, Source, UpstreamScheme, UpstreamTls, Web,
};

use super::*;
use crate::form::{Item, Rules, User};
use crate::identity::{Register, Sighting};
use crate::last_good::LastGood;
use crate::people::{self, people};
use crate::publish::losses;
use crate::state::State;
use crate::status::{ConditionType, Truth};

const NOW: Timestamp = Timestamp(1_760_000_000);
const DAY: i64 = 86_400;

/// A state directory and the objects of a small platform.
struct World {
    _dir: TempDir,
    state: State,
    register: Register,
    vault: Vault,
    last_good: LastGood,
    compiler: Compiler,
    published: Published,
    /// What is written: spec and form by object.
    written: BTreeMap<ObjectKey, (Value, Result<Form, Refusal>)>,
    /// Every form by its spec, to read kept ones again.
    meanings: Vec<(Value, Form)>,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(dir.path()).unwrap();
        let (vault, _) = Vault::load(&state).unwrap();
        let (last_good, _) = LastGood::load(&state).unwrap();
        let mut world = Self {
            _dir: dir,
            state,
            register: Register::default(),
            vault,
            last_good,
            compiler: Compiler::default(),
            published: Published::default(),
            written: BTreeMap::new(),
            meanings: Vec::new(),
        };
        world.write(department_key(), json!({"code": "sbj"}), Form::Department(Box::new(department())));
        world.write(user_key("li"), json!({"li": 1}), Form::VpnUser(Box::new(user("li"))));
        world.write(resource_key(), json!({"port": 80}), Form::Resource(Box::new(resource(80))));
        world.write(policy_key("all"), json!({"all": 1}), allow("all", None));
        world
    }

    fn write(&mut self, key: ObjectKey, spec: Value, form: Form) {
        self.meanings.push((spec.clone(), form.clone()));
        self.written.insert(key, (spec, Ok(form)));
    }

    fn damage(&mut self, key: &ObjectKey) {
        let refusal = Refusal::new(Code::SchemaViolation, "spec: broken");
        self.written.insert(key.clone(), (json!({"broken": true}), Err(refusal)));
    }

    fn items(&mut self, now: Timestamp) -> Items {
        let seen: Vec<_> = self
            .written
            .iter()
            .map(|(key, (spec, form))| Sighting {
                key,
                spec: Some((spec, crate::identity::digest_of(spec))),
                valid: form.is_ok(),
                identity: None,
            })
            .collect();
        self.register.observe(seen, now).unwrap();
        self.written
            .iter()
            .map(|(key, (spec, form))| {
                let source = self.register.source(key).unwrap();
                let form = form.clone().map(|form| Arc::new(with_source(form, &source)));
                (key.clone(), Item { source, spec: Arc::new(spec.clone()), violations: Vec::new(), form })
            })
            .collect()
    }

    /// A round without its store: what was lost first, then what was built.
    fn round(&mut self, now: Timestamp) -> (Option<tidegate_store::Publication>, Built) {
        let items = self.items(now);
        let meanings = self.meanings.clone();
        let parts = parts(&items, &self.last_good, |_, source, spec| {
            let known = meanings.iter().find(|(known, _)| known == spec);
            known.map(|(_, form)| with_source(form.clone(), source)).ok_or(Refusal::new(Code::NotYaml, ""))
        });
        let people = people(&items, &parts.codes(), &self.register);
        people::observe(&people, &parts, &mut self.vault, &self.state, now);
        let lost =
            losses(&self.published, &parts.codes(), &existing_resources(&items), &people, &self.vault, now);
        assert!(self.vault.save(&self.state).is_empty());
        let settings = Settings {
            title: Localized::default(),
            zone: Zone::utc(),
            not_before: Timestamp(0),
            approvals_enforced: false,
        };
        let input = Input {
            items: &items,
            parts: &parts,
            people: &people,
            vault: &self.vault,
            published: &self.published,
            settings: &settings,
            now,
        };
        let built = build(&input, &mut self.compiler);
        self.last_good.replace(built.last_good.clone());
        self.last_good.save(&self.state).unwrap();
        self.published.platform = Some(Arc::clone(&built.platform));
        self.published.departments = built.departments.clone();
        (lost, built)
    }

    fn built(&mut self) -> Built {
        self.round(NOW).1
    }
}

fn with_source(form: Form, source: &Source) -> Form {
    let source = source.clone();
    match form {
        Form::Department(settings) => Form::Department(Box::new(Department { source, ..*settings })),
        Form::Resource(resource) => Form::Resource(Box::new(Resource { source, ..*resource })),
        Form::VpnUser(user) => {
            let account = Account { source, ..user.account.clone() };
            Form::VpnUser(Box::new(User { account, ..*user }))
        }
        other => other,
    }
}

fn source() -> Source {
    Source { uid: "none".parse().unwrap(), generation: 0 }
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

fn department() -> Department {
    Department {
        source: source(),
        generation: tidegate_core::Generation::default(),
        code: code(),
        title: Localized { zh_cn: Some("社保局".into()), en: None },
        notice: Localized::default(),
        hotline: Hotline::default(),
        zone: Zone::utc(),
        networks: vec!["10.20.0.0/16".parse().unwrap()],
        resolvers: Vec::new(),
        login: LoginRules { password_max_age_days: 0 },
        session: SessionRules::default(),
        accounts: Default::default(),
        resources: BTreeMap::new(),
        policy: PolicyState::Absent,
    }
}

fn user(name: &str) -> User {
    User {
        account: Account {
            source: source(),
            name: name.parse().unwrap(),
            person: Person {
                display_name: "李强".into(),
                unit: "窗口".into(),
                groups: vec!["sbj/staff".parse().unwrap()],
                attributes: BTreeMap::new(),
            },
            state: AccountState::Active,
            approval: Some(Approval { by: "zhang".into(), until: NOW.plus(300 * DAY) }),
            review: None,
            valid_from: None,
            valid_until: None,
            credential: None,
        },
        requested_by: "wang".into(),
        kubernetes_user: Some("li@example.org".into()),
        session_generation: 0,
        reissue: 0,
    }
}

fn resource(port: u16) -> Resource {
    Resource {
        source: source(),
        name: "fees".parse().unwrap(),
        title: Localized::default(),
        description: Localized::default(),
        category: Localized::default(),
        icon: "generic".into(),
        contact: Contact::default(),
        labels: BTreeMap::new(),
        visible: true,
        endpoint: Endpoint::Web(Web {
            scheme: UpstreamScheme::Http,
            host: "10.20.1.1".into(),
            port,
            start_path: "/".into(),
            tls: UpstreamTls::default(),
        }),
    }
}

fn allow(name: &str, when: Option<&str>) -> Form {
    Form::AccessPolicy(Rules::Written(Policy {
        name: name.into(),
        target: Target::Resources { names: Vec::new(), match_labels: BTreeMap::new() },
        mode: Mode::Enforce,
        rules: vec![Rule {
            name: "rule".into(),
            effect: Effect::Allow,
            matches: Match { departments: Departments::Own, ..Match::default() },
            when: when.map(Into::into),
        }],
    }))
}

fn condition(built: &Built, key: &ObjectKey, r#type: ConditionType) -> (Truth, String) {
    let status = built.statuses.iter().find(|status| status.key == *key).unwrap();
    let condition = status.get(r#type).unwrap();
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
    assert!(first.refusals.is_empty());
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

    world.write(resource_key(), json!({"port": 81}), Form::Resource(Box::new(self::resource(81))));
    let built = world.built();
    assert_eq!(built.departments[&code()].resources["fees"].upstream().1, 81);

    let other = ObjectKey::new(ObjectKind::Resource, "dept-sbj", "new");
    world.damage(&other);
    let built = world.built();
    assert_eq!(built.departments[&code()].resources.len(), 1);
    assert_eq!(condition(&built, &other, ConditionType::Accepted), (Truth::False, "SchemaViolation".into()));
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
    world.write(user_key("wu"), json!({"wu": 1}), Form::VpnUser(Box::new(user("wu"))));
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
    world.write(policy_key("other"), json!({"other": 1}), allow("other", None));
    let before = world.built();
    world.write(policy_key("all"), json!({"all": 2}), allow("all", Some("user.unit = 'x' +")));
    let built = world.built();
    assert_eq!(built.departments[&code()].policy, before.departments[&code()].policy);
    let (truth, reason) = condition(&built, &policy_key("all"), ConditionType::Compiled);
    assert_eq!((truth, reason.as_str()), (Truth::False, "RuleSyntax"));
    assert_eq!(condition(&built, &policy_key("other"), ConditionType::Compiled).0, Truth::True);
    assert_eq!(built.compile_problems, 1);

    // A new policy that is refused has no form to fall back to.
    world.write(policy_key("new"), json!({"new": 1}), allow("new", Some("user.unit = 'x' +")));
    let built = world.built();
    assert_eq!(built.departments[&code()].policy, before.departments[&code()].policy);
    assert_eq!(built.compile_problems, 2);
}

#[test]
fn a_custom_module_is_an_object_but_not_in_force() {
    let mut world = World::new();
    world.write(policy_key("own"), json!({"own": 1}), Form::AccessPolicy(Rules::Module));
    let built = world.built();
    let compiled = condition(&built, &policy_key("own"), ConditionType::Compiled);
    assert_eq!(compiled, (Truth::False, "UnsupportedClass".into()));
    assert_eq!(condition(&built, &policy_key("own"), ConditionType::Accepted).0, Truth::True);
}

#[test]
fn approver_requester_and_subject_are_three_people() {
    for (by, valid) in [("zhang", true), ("wang", false), ("li@example.org", false)] {
        let mut world = World::new();
        let mut written = user("li");
        written.account.approval = Some(Approval { by: by.into(), until: NOW.plus(DAY) });
        world.write(user_key("li"), json!({ "by": by }), Form::VpnUser(Box::new(written)));
        let built = world.built();
        assert_eq!(account(&built, "li").approval.is_some(), valid, "{by}");
        let accepted = condition(&built, &user_key("li"), ConditionType::Accepted);
        assert_eq!(accepted.1, if valid { "Accepted" } else { "FourEyes" });
    }
}

#[test]
fn who_left_does_not_come_back() {
    let mut world = World::new();
    let mut left = user("li");
    left.account.state = AccountState::Left;
    world.write(user_key("li"), json!({"state": "Left"}), Form::VpnUser(Box::new(left)));
    world.built();
    world.written.remove(&user_key("li"));
    world.built();
    world.write(user_key("li"), json!({"state": "Active"}), Form::VpnUser(Box::new(user("li"))));
    let built = world.built();
    assert_eq!(account(&built, "li").state, AccountState::Left);
    assert_eq!(condition(&built, &user_key("li"), ConditionType::Accepted).1, "AccountLeftFinal");
}

#[test]
fn losses_come_first_and_gains_do_not() {
    let mut world = World::new();
    world.write(user_key("wu"), json!({"wu": 1}), Form::VpnUser(Box::new(user("wu"))));
    let mut suspended = user("su");
    suspended.account.state = AccountState::Suspended;
    world.write(user_key("su"), json!({"su": 1}), Form::VpnUser(Box::new(suspended.clone())));
    let before = world.built();

    // One is suspended, one vanishes, one comes back, one is new, a resource goes, a rule changes.
    let mut li = user("li");
    li.account.state = AccountState::Suspended;
    world.write(user_key("li"), json!({"li": 2}), Form::VpnUser(Box::new(li)));
    world.written.remove(&user_key("wu"));
    world.write(user_key("su"), json!({"su": 2}), Form::VpnUser(Box::new(user("su"))));
    world.write(user_key("xu"), json!({"xu": 1}), Form::VpnUser(Box::new(user("xu"))));
    world.written.remove(&resource_key());
    world.write(policy_key("all"), json!({"all": 2}), allow("all", Some("user.unit == 'x'")));
    let (lost, built) = world.round(NOW.plus(1));

    let lost = lost.unwrap();
    let [tidegate_store::Change::Put(reduced)] = lost.departments.as_slice() else { panic!("{lost:?}") };
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
    assert!(matches!(lost.unwrap().departments.as_slice(), [tidegate_store::Change::Remove(_)]));
    assert!(built.departments.is_empty());
    let accepted = condition(&built, &user_key("li"), ConditionType::Accepted);
    assert_eq!(accepted, (Truth::False, "DepartmentMissing".into()));
    assert_eq!(condition(&built, &resource_key(), ConditionType::Accepted).1, "DepartmentMissing");

    world.write(department_key(), json!({"code": "sbj"}), Form::Department(Box::new(department())));
    let after = account(&world.built(), "li").credential.clone().unwrap();
    assert!(after.epoch > before.epoch);
}

#[test]
fn a_code_belongs_to_one_department() {
    let mut world = World::new();
    let twin = ObjectKey::new(ObjectKind::Department, "", "twin");
    world.write(twin.clone(), json!({"code": "sbj", "twin": 1}), Form::Department(Box::new(department())));
    let built = world.built();
    assert_eq!(built.departments.len(), 1);
    assert_eq!(condition(&built, &twin, ConditionType::Accepted).0, Truth::False);
    assert_eq!(condition(&built, &department_key(), ConditionType::Accepted).0, Truth::True);
}

#[test]
fn dates_flip_conditions_and_raise_epochs() {
    let mut world = World::new();
    let mut short = user("li");
    short.account.valid_until = Some(NOW.plus(DAY));
    world.write(user_key("li"), json!({"short": 1}), Form::VpnUser(Box::new(short)));
    let before = world.built();
    let (_, after) = world.round(NOW.plus(DAY));
    let epoch = |built: &Built| account(built, "li").credential.as_ref().unwrap().epoch;
    assert_eq!(epoch(&after), epoch(&before) + 1);
    let status = after.statuses.iter().find(|status| status.key == user_key("li")).unwrap();
    assert_eq!(status.says_no.as_ref().unwrap().0, "AccountExpired");
}

#[test]
fn objects_in_no_departments_namespace_are_refused() {
    let mut world = World::new();
    let stray = ObjectKey::new(ObjectKind::Resource, "default", "x");
    world.write(stray.clone(), json!({"x": 1}), Form::Resource(Box::new(resource(80))));
    let unknown = ObjectKey::new(ObjectKind::VpnUser, "kube-system", "y");
    world.write(unknown.clone(), json!({"y": 1}), Form::VpnUser(Box::new(user("y"))));
    let built = world.built();
    assert_eq!(condition(&built, &stray, ConditionType::Accepted).1, "WrongNamespace");
    assert_eq!(condition(&built, &unknown, ConditionType::Accepted).1, "WrongNamespace");
    assert_eq!(built.departments[&code()].accounts.len(), 1);
}
