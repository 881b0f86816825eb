use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use tempfile::tempdir;

use super::*;

#[test]
fn a_new_directory_is_private_and_complete() {
    let dir = tempdir().unwrap();
    let root = dir.path().join("state");
    let state = State::open(&root).unwrap();
    assert_eq!(state.term(), 1);
    assert_eq!(state.pool_keys().len(), 1);
    for directory in DIRECTORIES {
        let mode = fs::metadata(root.join(directory)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "{directory}");
    }
    for file in ["lock", "boot", "keys/root", "keys/pool/1"] {
        let mode = fs::metadata(root.join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    assert!(!root.join("probe.tmp").exists());
}

#[test]
fn every_start_raises_the_term_and_keeps_the_keys() {
    let dir = tempdir().unwrap();
    let first = State::open(dir.path()).unwrap();
    let (root, pool) = (first.root_key().0, first.pool_keys()[0].key);
    drop(first);
    let second = State::open(dir.path()).unwrap();
    assert_eq!(second.term(), 2);
    assert_eq!(second.root_key().0, root);
    assert_eq!(second.pool_keys()[0].key, pool);
}

#[test]
fn a_second_process_is_refused() {
    let dir = tempdir().unwrap();
    let _first = State::open(dir.path()).unwrap();
    let error = State::open(dir.path()).unwrap_err();
    assert_eq!(error.code, Code::StateLocked);
}

#[test]
fn rights_of_others_are_taken_away() {
    let dir = tempdir().unwrap();
    fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
    let _state = State::open(dir.path()).unwrap();
    assert_eq!(fs::metadata(dir.path()).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn an_unusable_place_is_refused_with_advice() {
    let dir = tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "x").unwrap();
    // Root ignores permission bits, so an existing file in the way stands for "cannot be written".
    for path in [file.clone(), file.join("below")] {
        let error = State::open(&path).unwrap_err();
        assert_eq!(error.code, Code::StateUnusable);
        assert!(error.to_string().contains("--state"), "{error}");
    }
}

#[test]
fn damaged_counter_and_keys_are_named() {
    for (file, content) in [("boot", "seven"), ("keys/root", "short"), ("keys/pool/1", "short")] {
        let dir = tempdir().unwrap();
        drop(State::open(dir.path()).unwrap());
        fs::write(dir.path().join(file), content).unwrap();
        let error = State::open(dir.path()).unwrap_err();
        assert_eq!(error.code, Code::StateCorrupt, "{file}");
        assert!(error.path.ends_with(file));
    }
}

#[test]
fn half_written_files_are_swept_and_never_listed() {
    let dir = tempdir().unwrap();
    let state = State::open(dir.path()).unwrap();
    state.write(Path::new("credentials/sbj/a.json"), b"{}").unwrap();
    fs::write(dir.path().join("credentials/sbj/b.json.tmp"), "{").unwrap();
    assert_eq!(state.files(Path::new("credentials")).unwrap(), [Path::new("credentials/sbj/a.json")]);
    drop(state);
    let _state = State::open(dir.path()).unwrap();
    assert!(!dir.path().join("credentials/sbj/b.json.tmp").exists());
}

#[test]
fn files_are_replaced_read_and_removed() {
    let dir = tempdir().unwrap();
    let state = State::open(dir.path()).unwrap();
    let path = Path::new("status/x.json");
    assert_eq!(state.read(path).unwrap(), None);
    state.write(path, b"one").unwrap();
    state.write(path, b"two").unwrap();
    assert_eq!(state.read(path).unwrap().as_deref(), Some(b"two".as_slice()));
    state.remove(path).unwrap();
    state.remove(path).unwrap();
    assert_eq!(state.read(path).unwrap(), None);
}

#[test]
fn many_files_are_replaced_together_and_fail_alone() {
    let dir = tempdir().unwrap();
    let state = State::open(dir.path()).unwrap();
    let path = |n: usize| PathBuf::from(format!("credentials/d{}/{n}.json", n % 3));
    fs::create_dir_all(dir.path().join("credentials/d2/5.json.tmp")).unwrap();
    let outcomes = state.write_many((0..300).map(|n| (path(n), n.to_string().into_bytes())).collect());
    for (n, outcome) in outcomes.iter().enumerate() {
        assert_eq!(outcome.is_err(), n == 5, "{n}");
        let expected = (n != 5).then(|| n.to_string().into_bytes());
        assert_eq!(state.read(&path(n)).unwrap(), expected);
    }
}

#[test]
fn the_state_may_not_lie_in_the_folder() {
    let dir = tempdir().unwrap();
    let folder = dir.path().join("manifests");
    fs::create_dir(&folder).unwrap();
    let inside = State::check_outside(&folder.join("a/state"), &folder).unwrap_err();
    assert_eq!(inside.code, Code::StateUnusable);
    assert!(State::check_outside(&folder, &folder).is_err());
    assert!(State::check_outside(&dir.path().join("manifests-state"), &folder).is_ok());
    let link = dir.path().join("link");
    std::os::unix::fs::symlink(&folder, &link).unwrap();
    assert!(State::check_outside(&link.join("state"), &folder).is_err());
}

#[test]
fn default_paths_differ_by_folder() {
    let one = State::default_path(Path::new("/a/haikou")).unwrap();
    let two = State::default_path(Path::new("/b/haikou")).unwrap();
    assert_ne!(one, two);
    assert!(one.file_name().unwrap().to_str().unwrap().starts_with("haikou-"));
}
