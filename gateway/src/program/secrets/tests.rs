use std::os::unix::fs::symlink;
use std::path::PathBuf;

use super::*;

fn pair(folder: &Path, name: &str) -> KeyPair {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).expect("a certificate");
    std::fs::write(folder.join("tls.crt"), made.cert.pem()).expect("written");
    std::fs::write(folder.join("tls.key"), made.signing_key.serialize_pem()).expect("written");
    KeyPair { certificate_file: folder.join("tls.crt"), key_file: folder.join("tls.key") }
}

#[test]
fn keys_are_read_as_a_secret_volume_shows_them() {
    let volume = tempfile::tempdir().expect("a folder");
    let data = volume.path().join("..2026_11_25");
    std::fs::create_dir(&data).expect("made");
    for (kid, byte) in [("1", 1), ("12", 2)] {
        std::fs::write(data.join(kid), [byte; 32]).expect("written");
        symlink(PathBuf::from("..data").join(kid), volume.path().join(kid)).expect("linked");
    }
    symlink("..2026_11_25", volume.path().join("..data")).expect("linked");
    let keys = PoolKeys::read(volume.path()).expect("keys");
    assert_eq!((keys.keys.as_slice(), keys.sealing), ([(1, [1; 32]), (12, [2; 32])].as_slice(), 12));
    std::fs::write(volume.path().join("current"), "1\n").expect("written");
    let keys = PoolKeys::read(volume.path()).expect("keys");
    assert_eq!(keys.sealing, 1);
    assert_eq!(keys.in_order(), [(12, [2; 32]), (1, [1; 32])]);
    assert!(!format!("{keys:?}").contains("[1, 1"), "keys are not printed");
}

#[test]
fn a_ring_that_cannot_be_used_says_why() {
    let folder = tempfile::tempdir().expect("a folder");
    let refusal = || PoolKeys::read(folder.path()).expect_err("no ring");
    assert!(refusal().ends_with("no key"));
    for (name, content, said) in [
        ("1", vec![1; 31], "31 bytes, not 32"),
        ("1", vec![1; 33], "longer than 32 bytes"),
        ("01", vec![1; 32], "named by its number"),
        ("key", vec![1; 32], "named by its number"),
        ("4294967296", vec![1; 32], "named by its number"),
        ("current", b"x".to_vec(), "the number of a key"),
    ] {
        let file = folder.path().join(name);
        std::fs::write(&file, content).expect("written");
        assert!(refusal().contains(said), "{name}: {}", refusal());
        std::fs::remove_file(file).expect("removed");
    }
    std::fs::write(folder.path().join("7"), [7; 32]).expect("written");
    std::fs::write(folder.path().join("current"), "8").expect("written");
    assert!(refusal().ends_with("there is no key 8"));
}

#[test]
fn a_certificate_needs_its_own_key() {
    let read = |files: &KeyPair| Certificate::read(files).and_then(|pair| pair.parse());
    let folder = tempfile::tempdir().expect("a folder");
    let files = pair(folder.path(), "a.example");
    assert!(read(&files).is_ok());
    let foreign = rcgen::KeyPair::generate().expect("a key").serialize_pem();
    std::fs::write(&files.key_file, foreign).expect("written");
    assert!(read(&files).expect_err("a foreign key").contains("do not belong together"));
    std::fs::write(&files.key_file, "none").expect("written");
    assert!(read(&files).expect_err("no key").contains("no PEM key"));
    std::fs::write(&files.certificate_file, "none").expect("written");
    assert!(read(&files).expect_err("no certificate").contains("no certificate in it"));
}

#[tokio::test]
async fn changes_are_taken_once_they_can_be_used() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path().to_owned();
    std::fs::write(at.join("1"), [1; 32]).expect("written");
    let known = PoolKeys::read(&at).expect("keys");
    let (taken, mut news) = tokio::sync::mpsc::channel(8);
    let (refused, mut refusals) = tokio::sync::mpsc::channel(8);
    let folder_of = at.clone();
    // A full channel has said so often enough.
    let read = move || {
        PoolKeys::read(&folder_of).inspect_err(|_| {
            let _ = refused.try_send(());
        })
    };
    let take = move |keys: &PoolKeys| taken.try_send(keys.sealing).map_err(|error| error.to_string());
    let following = tokio::spawn(follow("the ring", known, read, take));
    std::fs::write(at.join("2"), [2; 32]).expect("written");
    // A file that is still empty is refused, and whole a moment later.
    assert_eq!(news.recv().await, Some(2));
    while refusals.try_recv().is_ok() {}
    std::fs::write(at.join("broken"), "").expect("written");
    for _ in 0..3 {
        refusals.recv().await.expect("it is refused, and tried again");
    }
    std::fs::write(at.join("3"), [3; 32]).expect("written");
    // Those that are in the channel already, and one from after.
    for _ in 0..10 {
        refusals.recv().await.expect("it is refused");
    }
    assert!(news.try_recv().is_err(), "the ring before stays in use");
    std::fs::remove_file(at.join("broken")).expect("removed");
    assert_eq!(news.recv().await, Some(3));
    following.abort();
}
