use super::*;

const WHOLE: &str = r#"{
  "pool": "main",
  "id": "0b1c7a52-9f3e-4d0e-8f55-6d2f0f7f9a11",
  "host": "vpn.example.org",
  "publicPort": 8443,
  "listen": "0.0.0.0:8443",
  "metricsListen": "0.0.0.0:9090",
  "shards": 2,
  "etcd": {
    "endpoints": ["https://etcd.tidegate.svc:2379"],
    "caFile": "/etc/tidegate/etcd/ca.crt",
    "certificateFile": "/etc/tidegate/etcd/tls.crt",
    "keyFile": "/etc/tidegate/etcd/tls.key"
  },
  "keysDirectory": "/etc/tidegate/keys",
  "tls": {"certificateFile": "/etc/tidegate/tls/tls.crt", "keyFile": "/etc/tidegate/tls/tls.key"},
  "upstreamCaFile": "/etc/tidegate/upstreams/ca.crt",
  "snapshotFile": "/var/lib/tidegate/snapshot",
  "staleness": {"newLoginsSeconds": 60, "endSessionsSeconds": 120},
  "drain": {"settleSeconds": 5, "tunnelsSeconds": 4, "requestsSeconds": 3},
  "proxyProtocol": {"trusted": ["10.0.0.0/8", "fd00::/8"]},
  "audit": {"directory": "/var/lib/tidegate/audit", "stdout": false}
}"#;

fn read(text: &str) -> Result<File, FileError> {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("gateway.json");
    std::fs::write(&file, text).expect("written");
    File::read(&file, Some("pod-1".into()))
}

/// The refusal of the whole file with one value changed.
fn refusal(pointer: &str, value: serde_json::Value) -> String {
    let mut whole: serde_json::Value = serde_json::from_str(WHOLE).expect("JSON");
    *whole.pointer_mut(pointer).expect("a field") = value;
    let said = read(&whole.to_string()).expect_err(pointer).to_string();
    said.split_once("gateway.json: ").map(|(_, said)| said.to_owned()).expect("the file is named")
}

#[test]
fn every_field_is_taken() {
    let file = read(WHOLE).expect("a file");
    assert_eq!((file.pool.as_str(), file.public_port, file.shards), ("main", 8_443, Some(2)));
    assert_eq!(file.id.as_deref(), Some("0b1c7a52-9f3e-4d0e-8f55-6d2f0f7f9a11"));
    assert_eq!(file.proxy_protocol.trusted.len(), 2);
    assert_eq!(file.drain, Drain { settle_seconds: 5, tunnels_seconds: 4, requests_seconds: 3 });
    assert_eq!(file.staleness.new_logins_seconds, 60);
    assert!(!file.audit.stdout);
}

#[test]
fn what_is_left_out_is_as_documented() {
    let file = read(
        r#"{"pool": "main", "host": "localhost", "etcd": {"endpoints": ["http://127.0.0.1:2379"]},
            "keysDirectory": "/k", "tls": {"certificateFile": "/c", "keyFile": "/p"}, "audit": {"directory": "/a"}}"#,
    )
    .expect("a file");
    assert_eq!(file.id.as_deref(), Some("pod-1"));
    assert_eq!(
        (file.listen.to_string(), file.metrics_listen.to_string()),
        ("[::]:8443".into(), "[::]:9090".into())
    );
    assert_eq!((file.public_port, file.shards, file.snapshot_file), (443, None, None));
    assert_eq!(file.staleness, Staleness { new_logins_seconds: 900, end_sessions_seconds: 3_600 });
    assert_eq!(file.drain, Drain { settle_seconds: 15, tunnels_seconds: 10, requests_seconds: 10 });
    assert!(file.audit.stdout);
}

#[test]
fn what_makes_no_sense_is_refused_by_name() {
    let json = |text: &str| serde_json::from_str::<serde_json::Value>(text).expect("JSON");
    for (pointer, value, said) in [
        ("/pool", json(r#""Main""#), "pool: "),
        ("/id", json(r#""a/b""#), "id: "),
        ("/host", json(r#""https://vpn.example.org""#), "host: "),
        ("/publicPort", json("0"), "publicPort: "),
        ("/shards", json("0"), "shards: "),
        ("/etcd/endpoints", json("[]"), "etcd.endpoints: "),
        ("/etcd/endpoints", json(r#"["http://etcd:2379"]"#), "etcd.endpoints: `http://etcd:2379` must begin"),
        ("/etcd/keyFile", json("null"), "etcd: caFile"),
        ("/staleness/newLoginsSeconds", json("121"), "staleness: sessions would end before"),
        ("/staleness/newLoginsSeconds", json("0"), "staleness: write 1 to"),
        ("/drain/settleSeconds", json("601"), "drain: "),
        ("/proxyProtocol/trusted", json(r#"["10.0.0.1/8"]"#), "`10.0.0.1/8` is not an address range"),
        ("/listen", json(r#""8443""#), "invalid socket address"),
        ("/drain", json(r#"{"settle": 5}"#), "unknown field `settle`"),
    ] {
        let refused = refusal(pointer, value);
        assert!(refused.starts_with(said), "{pointer}: {refused}");
    }
}

#[test]
fn a_gateway_without_a_name_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("gateway.json");
    let mut whole: serde_json::Value = serde_json::from_str(WHOLE).expect("JSON");
    whole.as_object_mut().expect("an object").remove("id");
    std::fs::write(&file, whole.to_string()).expect("written");
    let said = File::read(&file, None).expect_err("no name").to_string();
    assert!(said.contains("or set POD_UID"), "{said}");
    assert!(File::read(&folder.path().join("absent"), None).is_err());
}

#[test]
fn what_the_controller_writes_is_taken() {
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/../controller/src/cluster/children/golden.json");
    let text = std::fs::read_to_string(golden).expect("what the controller is tested against");
    let objects: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let objects = objects.as_array().expect("a list of objects");
    let files: Vec<&str> =
        objects.iter().filter_map(|object| object.pointer("/data/gateway.json")?.as_str()).collect();
    assert!(!files.is_empty(), "there is a ConfigMap with the file");
    for file in files {
        read(file).expect("the gateway takes it");
    }
}
