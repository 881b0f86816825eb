use k8s_openapi::serde::Deserialize as _;
use serde_json::json;

use super::*;

fn raw(value: Value) -> Raw {
    Raw::deserialize(value).unwrap()
}

fn user(name: &str, generation: i64) -> Value {
    json!({
        "apiVersion": "tidegate.dev/v1alpha1",
        "kind": "VpnUser",
        "metadata": {"name": name, "namespace": "dept-sbj", "uid": format!("u-{name}"), "generation": generation,
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"}},
        "spec": {"generation": generation},
    })
}

fn key(name: &str) -> ObjectKey {
    ObjectKey::new(ObjectKind::VpnUser, "dept-sbj", name)
}

fn count(reading: &Reading) -> usize {
    reading.objects().count()
}

fn generation(reading: &Reading, name: &str) -> i64 {
    reading.get(&key(name)).unwrap().identity.as_ref().unwrap().generation
}

const USERS: Source = Source::Kind(ObjectKind::VpnUser);

fn list(inventory: &mut Inventory, source: Source, objects: impl IntoIterator<Item = Value>) {
    inventory.take(source, Event::Init);
    objects.into_iter().for_each(|object| inventory.take(source, Event::InitApply(raw(object))));
    inventory.take(source, Event::InitDone);
}

fn everything_but_users() -> Inventory {
    let mut inventory = Inventory::new("tidegate-system");
    for kind in ObjectKind::ALL.into_iter().filter(|kind| *kind != ObjectKind::VpnUser) {
        list(&mut inventory, Source::Kind(kind), []);
    }
    list(&mut inventory, Source::ConfigMaps, []);
    let labelled = json!({"metadata": {"name": "dept-sbj", "labels": {"tidegate.dev/department": "sbj"}}});
    list(&mut inventory, Source::Namespaces, [labelled]);
    inventory
}

#[test]
fn a_reading_is_complete_or_there_is_none() {
    let mut inventory = everything_but_users();
    inventory.take(USERS, Event::Init);
    inventory.take(USERS, Event::InitApply(raw(user("li", 1))));
    assert!(inventory.reading().is_none());
    inventory.take(USERS, Event::InitDone);
    let reading = inventory.reading().unwrap();
    let found = &reading.get(&key("li")).unwrap();
    assert_eq!(found.identity.as_ref().unwrap().uid.as_str(), "u-li");
    let value = found.written.value(&key("li"));
    assert_eq!(value["metadata"], json!({"name": "li", "namespace": "dept-sbj"}));
    assert_eq!(value["spec"], json!({"generation": 1}));
    assert!(found.violations.is_empty());
    assert!(reading.tenants["dept-sbj"].unheld.contains_key(&key("li")));
    assert!(inventory.reading().is_none(), "nothing changed");
}

#[test]
fn our_own_conditions_are_no_change() {
    let mut inventory = everything_but_users();
    list(&mut inventory, USERS, [user("li", 1)]);
    inventory.reading().unwrap();
    let mut said = user("li", 1);
    said["status"] = json!({"observedGeneration": 1, "conditions": []});
    inventory.take(USERS, Event::Apply(raw(said)));
    assert!(inventory.reading().is_none());
    inventory.take(USERS, Event::Apply(raw(user("li", 2))));
    assert_eq!(generation(&inventory.reading().unwrap(), "li"), 2);
}

#[test]
fn what_objects_say_at_first_is_remembered() {
    let mut inventory = everything_but_users();
    let mut said = user("li", 1);
    said["status"] = json!({"observedGeneration": 1, "conditions": []});
    list(&mut inventory, USERS, [said, user("wang", 1)]);
    inventory.reading().unwrap();
    assert_eq!(inventory.take_said().map(|(key, _)| key).collect::<Vec<_>>(), [key("li")]);
    assert_eq!(inventory.take_said().count(), 0);
}

#[test]
fn what_is_being_deleted_counts_for_nothing() {
    let mut inventory = everything_but_users();
    let mut held = user("li", 1);
    held["metadata"]["finalizers"] = json!(["tidegate.dev/in-force"]);
    list(&mut inventory, USERS, [held.clone()]);
    assert!(inventory.reading().unwrap().tenants["dept-sbj"].unheld.is_empty());
    held["metadata"]["deletionTimestamp"] = json!("2026-11-25T08:00:00Z");
    inventory.take(USERS, Event::Apply(raw(held.clone())));
    let reading = inventory.reading().unwrap();
    assert_eq!(count(&reading), 0);
    assert_eq!(reading.tenants["dept-sbj"].leaving.keys().collect::<Vec<_>>(), [&key("li")]);
    inventory.take(USERS, Event::Delete(raw(held)));
    assert!(!inventory.reading().unwrap().tenants.contains_key("dept-sbj"));
}

#[test]
fn an_object_that_cannot_be_understood_is_there_all_the_same() {
    let mut inventory = everything_but_users();
    let odd = json!({"metadata": {"name": "odd", "namespace": "dept-sbj", "uid": "u-odd"}, "spec": [7]});
    list(&mut inventory, USERS, [odd, json!("nothing"), user("li", 1)]);
    assert_eq!(count(&inventory.reading().unwrap()), 2);
}

#[test]
fn a_namespace_counts_only_when_it_is_labelled() {
    let mut inventory = everything_but_users();
    list(&mut inventory, USERS, [user("li", 1)]);
    let authorities = json!({"metadata": {"name": "ca", "namespace": "dept-sbj"}, "data": {"ca.crt": "PEM"}});
    inventory.take(Source::ConfigMaps, Event::Apply(raw(authorities)));
    assert_eq!(inventory.reading().unwrap().tenants["dept-sbj"].config_maps.len(), 1);
    inventory.take(Source::Namespaces, Event::Apply(raw(json!({"metadata": {"name": "dept-sbj"}}))));
    let reading = inventory.reading().unwrap();
    assert_eq!(reading.get(&key("li")).unwrap().violations[0].code, Code::WrongNamespace);
    assert!(reading.tenants["dept-sbj"].config_maps.is_empty());

    let gateway = |namespace: &str| {
        let gateway =
            json!({"metadata": {"name": "main", "namespace": namespace, "uid": "u-1", "generation": 1}});
        raw(gateway)
    };
    inventory.take(Source::Kind(ObjectKind::VpnGateway), Event::Apply(gateway("tidegate-system")));
    inventory.take(Source::Kind(ObjectKind::VpnGateway), Event::Apply(gateway("elsewhere")));
    let reading = inventory.reading().unwrap();
    let wrong = |namespace: &str| {
        let key = ObjectKey::new(ObjectKind::VpnGateway, namespace, "main");
        !reading.get(&key).unwrap().violations.is_empty()
    };
    assert!(wrong("elsewhere") && !wrong("tidegate-system"));
}

#[test]
fn many_accounts_do_not_vanish_unseen() {
    let names: Vec<String> = (0..200).map(|number| format!("u{number}")).collect();
    let mut inventory = everything_but_users();
    list(&mut inventory, USERS, names.iter().map(|name| user(name, 1)));
    inventory.reading().unwrap();

    // Half of them vanish, one of the others changes: only that is believed.
    let half = names.iter().skip(100).map(|name| user(name, if name == "u150" { 2 } else { 1 }));
    list(&mut inventory, USERS, half);
    let reading = inventory.reading().unwrap();
    assert_eq!((count(&reading), reading.held_back), (200, 100));
    assert_eq!(generation(&reading, "u150"), 2);

    // A deletion that is seen is believed, also of one that is held back.
    inventory.take(USERS, Event::Delete(raw(user("u1", 1))));
    let reading = inventory.reading().unwrap();
    assert_eq!((count(&reading), reading.held_back), (199, 99));

    // They come back.
    list(&mut inventory, USERS, names.iter().map(|name| user(name, 1)));
    assert_eq!(inventory.reading().unwrap().held_back, 0);

    // A few may vanish.
    list(&mut inventory, USERS, names.iter().skip(50).map(|name| user(name, 1)));
    let reading = inventory.reading().unwrap();
    assert_eq!((count(&reading), reading.held_back), (150, 0));
}

#[test]
fn accounts_that_are_missing_raise_the_alarm_and_stay_doubtful_when_others_come_back() {
    let names: Vec<String> = (0..200).map(|number| format!("u{number}")).collect();
    let users = |from: usize| names.iter().skip(from).map(|name| user(name, 1)).collect::<Vec<_>>();
    let mut inventory = everything_but_users();
    list(&mut inventory, USERS, users(0));
    inventory.reading().unwrap();

    // Nothing but that they are missing is news.
    list(&mut inventory, USERS, users(100));
    assert_eq!(inventory.reading().unwrap().held_back, 100);
    // Somebody restores most of them: fewer than may vanish are left, and they are not believed to be gone.
    list(&mut inventory, USERS, users(20));
    let reading = inventory.reading().unwrap();
    assert_eq!((count(&reading), reading.held_back), (200, 20));
    inventory.take(USERS, Event::Apply(raw(user("u1", 1))));
    assert_eq!(inventory.reading().unwrap().held_back, 19);
}

#[test]
fn what_is_known_may_change_when_there_is_no_room_for_more() {
    let mut inventory = everything_but_users();
    inventory.room = 2;
    list(&mut inventory, USERS, [user("li", 1), user("wang", 1), user("zhang", 1)]);
    assert_eq!(count(&inventory.reading().unwrap()), 2);
    inventory.take(USERS, Event::Apply(raw(user("zhang", 1))));
    assert!(inventory.reading().is_none());
    inventory.take(USERS, Event::Apply(raw(user("wang", 2))));
    let reading = inventory.reading().unwrap();
    assert_eq!(generation(&reading, "wang"), 2);
    list(&mut inventory, USERS, [user("li", 2), user("wang", 2)]);
    assert_eq!(count(&inventory.reading().unwrap()), 2);
}

#[test]
fn what_is_too_large_to_be_kept_is_refused_alone() {
    let mut inventory = everything_but_users();
    list(&mut inventory, USERS, [user("li", 1)]);
    let resource = |name: &str, bytes: usize| {
        json!({"metadata": {"name": name, "namespace": "dept-sbj", "uid": "u-1", "generation": 1},
            "spec": {"description": "x".repeat(bytes)}})
    };
    let resources = [resource("large", SPEC_BYTES_MAX), resource("small", SPEC_BYTES_MAX - 64)];
    list(&mut inventory, Source::Kind(ObjectKind::Resource), resources);
    let reading = inventory.reading().unwrap();
    let refused = reading.objects().filter(|(_, found)| !found.violations.is_empty());
    assert_eq!(refused.map(|(key, _)| &*key.name).collect::<Vec<_>>(), ["large"]);
}

#[test]
fn no_namespace_takes_the_room_of_others_with_config_maps() {
    let mut inventory = everything_but_users();
    list(&mut inventory, USERS, []);
    let map = |name: &str, bytes: usize| json!({"metadata": {"name": name, "namespace": "dept-sbj"}, "data": {"ca.crt": "x".repeat(bytes)}});
    let names = |inventory: &mut Inventory| {
        let reading = inventory.reading().unwrap();
        reading.tenants["dept-sbj"].config_maps.keys().map(|(_, name, _)| name.clone()).collect::<Vec<_>>()
    };
    list(&mut inventory, Source::ConfigMaps, [map("a", CONFIG_MAPS_BYTES_MAX - 8), map("b", 9), map("c", 8)]);
    assert_eq!(names(&mut inventory), ["a", "c"]);
    inventory.take(Source::ConfigMaps, Event::Apply(raw(map("a", 1))));
    inventory.take(Source::ConfigMaps, Event::Apply(raw(map("b", 9))));
    assert_eq!(names(&mut inventory), ["a", "b", "c"]);
    inventory.take(Source::ConfigMaps, Event::Apply(raw(map("c", CONFIG_MAPS_BYTES_MAX))));
    assert_eq!(names(&mut inventory), ["a", "b"]);
}

#[test]
fn what_did_not_change_is_shared_with_the_reading_before() {
    let mut inventory = everything_but_users();
    let other = json!({"metadata": {"name": "dept-rsj", "labels": {"tidegate.dev/department": "rsj"}}});
    inventory.take(Source::Namespaces, Event::Apply(raw(other)));
    let mut elsewhere = user("wu", 1);
    elsewhere["metadata"]["namespace"] = json!("dept-rsj");
    list(&mut inventory, USERS, [user("li", 1), user("wang", 1), elsewhere]);
    let first = inventory.reading().unwrap();
    inventory.take(USERS, Event::Apply(raw(user("li", 2))));
    let second = inventory.reading().unwrap();
    let same = |name: &str| first.tenants[name].is_judged_as(&second.tenants[name]);
    assert!(same("dept-rsj") && !same("dept-sbj"));
    let found = |reading: &Reading, name: &str| Arc::clone(reading.get(&key(name)).unwrap());
    assert!(Arc::ptr_eq(&found(&first, "wang"), &found(&second, "wang")));

    let mut said = user("wang", 1);
    said["status"] = json!({"observedGeneration": 1, "conditions": []});
    inventory.take(USERS, Event::Apply(raw(said)));
    assert!(inventory.reading().is_none());
    inventory.take(
        Source::ConfigMaps,
        Event::Apply(raw(json!({"metadata": {"name": "a", "namespace": "dept-rsj"},
        "data": {"a": "b"}}))),
    );
    let third = inventory.reading().unwrap();
    assert!(second.tenants["dept-sbj"].is_judged_as(&third.tenants["dept-sbj"]));
}
