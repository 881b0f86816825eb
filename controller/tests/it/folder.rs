//! From a file somebody saves to a snapshot a gateway sees.

use std::path::Path;

use serde_json::Value;
use tidegate_controller::folder::watch;
use tidegate_core::DenyReason;
use tidegate_store::Store;

use crate::manifests::{department, policy, resource, small, user};
use crate::world::{World, account, reason};

/// JSON is YAML.
fn save(folder: &Path, name: &str, objects: &[Value]) {
    let documents: Vec<String> =
        objects.iter().map(|object| serde_json::to_string_pretty(object).unwrap()).collect();
    std::fs::write(folder.join(name), documents.join("\n---\n")).unwrap();
}

fn now() -> tidegate_core::Timestamp {
    tidegate_controller::time::now()
}

#[tokio::test(flavor = "multi_thread")]
async fn saved_files_are_in_force_and_broken_ones_cost_only_themselves() {
    let folder = tempfile::tempdir().unwrap();
    save(folder.path(), "all.yaml", &[department(), resource(), policy(None)]);
    save(folder.path(), "people.yaml", &[user("li")]);
    let (watcher, readings) = watch(folder.path()).unwrap();
    let world = World::start_on(tempfile::tempdir().unwrap(), readings, |_, _| ()).await;
    let first = world.account(|account| account.credential.is_some()).await;
    assert_eq!(first.standing(now()).denied, None);

    // Half a file, as a full disk or a careless copy leaves it: everybody in it stays as they were.
    std::fs::write(folder.path().join("people.yaml"), "apiVersion: tidegate.dev/v1alpha1\nkind: [Vpn")
        .unwrap();
    let problems = world.problems(|problems| problems.contains("people.yaml")).await;
    assert!(problems.contains("TG-6003"), "{problems}");
    assert_eq!(account(&world.store.subscribe().borrow()).unwrap(), first);

    // A wrong field: the account is denied, with file, line and column of the field.
    let mut broken = user("li");
    broken["spec"]["state"] = "Retired".into();
    save(folder.path(), "people.yaml", &[broken]);
    let denied = world.account(|account| account.standing(now()).denied.is_some()).await;
    assert_eq!(denied.standing(now()).denied, Some(DenyReason::AccountInvalid));
    let problems = world.problems(|problems| problems.contains("spec.state")).await;
    assert!(problems.contains("people.yaml:"), "{problems}");
    let status =
        world.status("vpnuser-dept-sbj-li.json", |status| reason(status, "Accepted") != "Accepted").await;
    assert_eq!(reason(&status, "Propagated"), "NotAccepted");

    // Suspended.
    let mut suspended = user("li");
    suspended["spec"]["state"] = "Suspended".into();
    save(folder.path(), "people.yaml", &[suspended]);
    let denied =
        world.account(|account| account.standing(now()).denied == Some(DenyReason::AccountSuspended)).await;
    assert!(denied.credential.as_ref().unwrap().epoch > first.credential.as_ref().unwrap().epoch);

    // The file goes: so does the account, and it comes back as itself.
    std::fs::remove_file(folder.path().join("people.yaml")).unwrap();
    world.view(|view| account(view).is_none()).await;
    save(folder.path(), "people.yaml", &[user("li")]);
    let back = world.account(|account| account.standing(now()).denied.is_none()).await;
    assert_eq!(back.source.uid, first.source.uid);
    assert_eq!(back.credential.as_ref().unwrap().epoch, denied.credential.as_ref().unwrap().epoch);
    world.problems(|problems| problems.trim() == "[]").await;
    world.stop().await;
    drop(watcher);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_folder_gives_the_same_snapshot_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    save(folder.path(), "all.yaml", &small());
    let mut dir = tempfile::tempdir().unwrap();
    let mut seen = None;
    for _ in 0..2 {
        let (watcher, readings) = watch(folder.path()).unwrap();
        let world = World::start_on(dir, readings, |_, _| ()).await;
        let snapshot = world.view(|view| account(view).is_some()).await.snapshot.unwrap();
        let (generation, departments) =
            seen.get_or_insert((snapshot.generation, snapshot.departments.clone()));
        assert_eq!((*generation, &*departments), (snapshot.generation, &snapshot.departments));
        dir = world.stop().await;
        drop(watcher);
    }
}
