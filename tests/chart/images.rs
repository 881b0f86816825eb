//! Images: the same programs give the same bytes, and what an archive says of itself is true.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tidegate_tests::programs::{run, tool};

use crate::settings::beside;

/// One image of every way they are made; the program in it is built already when all tests run.
const IMAGES: [(&str, &str); 2] = [
    ("gateway", concat!("docker.io/tidegate/gateway:", env!("CARGO_PKG_VERSION"))),
    ("pause", "tidegate.dev/pause:1"),
];

#[test]
fn packing_twice_gives_the_same_bytes() {
    let [programs, first, second] = [(); 3].map(|()| tempfile::tempdir().expect("a directory"));
    let Some(program) = beside("tidegate-gateway") else { return };
    // A copy, lest it be built anew meanwhile.
    fs::copy(&program, programs.path().join("tidegate-gateway")).expect("a copy");
    for directory in [&first, &second] {
        let [from, into] = [&programs, directory].map(|directory| directory.path().to_string_lossy());
        let mut arguments = vec!["--programs", &from, "--into", &into];
        arguments.extend(IMAGES.map(|(image, _)| image));
        tool("images", &arguments).unwrap_or_else(|error| panic!("{error}"));
    }
    for (image, name) in IMAGES {
        let archive = first.path().join(format!("{image}.tar"));
        let [one, other] = [&archive, &second.path().join(format!("{image}.tar"))]
            .map(|path| fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())));
        assert!(one == other, "{image}: two archives of the same program differ");

        let unpacked = first.path().join(image);
        fs::create_dir(&unpacked).expect("a directory");
        unpack(&archive, &unpacked);
        check(&unpacked, name);
    }
}

/// Follows the archive from its index to its layers.
fn check(image: &Path, name: &str) {
    let index = json(&image.join("index.json"));
    let entry = &index["manifests"][0];
    assert_eq!(entry["annotations"]["io.containerd.image.name"], name);
    let manifest = json(&blob(image, entry));
    let config = json(&blob(image, &manifest["config"]));
    assert_eq!(config["config"]["User"], "65534:65534", "{name} runs as nobody");

    let root = image.join("root");
    fs::create_dir(&root).expect("a directory");
    for layer in manifest["layers"].as_array().expect("layers") {
        unpack(&blob(image, layer), &root);
    }
    let entrypoint = config["config"]["Entrypoint"][0].as_str().expect("a program");
    let program = root.join(entrypoint.trim_start_matches('/'));
    assert!(program.exists(), "{name}: {entrypoint} is not in it");
    if name.contains("/gateway:") {
        // The loader and the libraries in the image are enough, whatever this machine has.
        let loader = root.join("lib64/ld-linux-x86-64.so.2");
        let libraries = root.join("lib/x86_64-linux-gnu");
        let mut command = Command::new(loader);
        command.arg("--library-path").arg(libraries).arg(program).arg("--version").env_clear();
        let version = run(&mut command).unwrap_or_else(|error| panic!("{error}"));
        assert!(version.contains(env!("CARGO_PKG_VERSION")), "{version}");
        assert!(root.join("etc/ssl/certs/ca-certificates.crt").exists(), "{name} trusts nobody");
    }
}

/// The file of a descriptor, whose size is as it says; its name is its digest.
fn blob(image: &Path, descriptor: &Value) -> std::path::PathBuf {
    let digest =
        descriptor["digest"].as_str().and_then(|digest| digest.strip_prefix("sha256:")).expect("a digest");
    let path = image.join("blobs/sha256").join(digest);
    let size = fs::metadata(&path).unwrap_or_else(|error| panic!("{digest}: {error}")).len();
    assert_eq!(descriptor["size"], size, "{digest}");
    let sum = run(Command::new("sha256sum").arg(&path)).unwrap_or_else(|error| panic!("{error}"));
    assert!(sum.starts_with(digest), "{sum}");
    path
}

fn unpack(archive: &Path, into: &Path) {
    run(Command::new("tar").arg("-xf").arg(archive).arg("-C").arg(into))
        .unwrap_or_else(|error| panic!("{error}"));
}

fn json(path: &Path) -> Value {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
