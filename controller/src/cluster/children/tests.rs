use std::path::Path;

use serde_json::{Value, json};
use tidegate_crd::types::VpnGateway;

use super::*;

const SETTINGS: &str = "
etcd:
  endpoints: [https://tidegate-etcd.tidegate-system.svc:2379]
gateway:
  image: tidegate-gateway:0.1.0
  resources: {requests: {cpu: 100m}}
  proxyProtocol: [10.0.0.0/8]
  service: {type: NodePort, nodePort: 30443, externalTrafficPolicy: Local}
";

fn gateway(spec: Value) -> VpnGateway {
    serde_json::from_value(json!({
        "apiVersion": API_VERSION, "kind": "VpnGateway",
        "metadata": {"name": "main", "namespace": "tidegate-system", "uid": "3c9b6c0e-0000-4000-8000-000000000001"},
        "spec": spec,
    }))
    .expect("a VpnGateway")
}

fn settings() -> Settings {
    Settings::parse(SETTINGS.as_bytes()).expect("settings")
}

fn made(spec: Value, sessions: u32) -> Vec<Child> {
    children(&gateway(spec), &settings(), Observed { sessions })
}

fn of<'a>(children: &'a [Child], kind: &str) -> &'a Value {
    &children.iter().find(|child| child.resource.kind == kind).expect(kind).manifest
}

/// The manifests, compared with the file beside this one; `UPDATE_EXPECT=1` writes it.
#[test]
fn golden() {
    let children = made(
        json!({"hosts": ["vpn.example.org"], "staleness": {"newLoginsMinutes": 5, "endSessionsMinutes": 30},
               "autoscaling": {"min": 2, "max": 10, "sessionsPerPod": 1000}}),
        4_500,
    );
    let manifests: Vec<&Value> = children.iter().map(|child| &child.manifest).collect();
    let text = serde_json::to_string_pretty(&manifests).expect("JSON") + "\n";
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cluster/children/golden.json");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(&file, &text).expect("written");
    }
    let golden = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(text == golden, "the manifests differ from {}; look, then UPDATE_EXPECT=1", file.display());
}

#[test]
fn a_fixed_number_is_the_deployments_and_an_autoscaler_keeps_its_own() {
    let fixed = made(json!({"replicas": 3}), 0);
    assert_eq!(of(&fixed, "Deployment")["spec"]["replicas"], 3);
    assert!(fixed.iter().all(|child| child.resource.kind != "HorizontalPodAutoscaler"));
    assert!(superfluous(&gateway(json!({"replicas": 3}))).is_some());

    let scaled = made(json!({"autoscaling": {"min": 2, "max": 4}}), 0);
    assert!(of(&scaled, "Deployment")["spec"].get("replicas").is_none());
    assert!(superfluous(&gateway(json!({"autoscaling": {"min": 2, "max": 4}}))).is_none());
}

#[test]
fn sessions_raise_the_fewest_gateways_within_the_bounds() {
    let least = |sessions| {
        let children = made(json!({"autoscaling": {"min": 2, "max": 4, "sessionsPerPod": 100}}), sessions);
        of(&children, "HorizontalPodAutoscaler")["spec"]["minReplicas"].clone()
    };
    assert_eq!(least(0), 2);
    assert_eq!(least(301), 4);
    assert_eq!(least(1_000_000), 4);
}

#[test]
fn another_configuration_is_another_pod() {
    let digest = |hosts: Value| {
        let children = made(json!({"hosts": hosts}), 0);
        of(&children, "Deployment")["spec"]["template"]["metadata"]["annotations"]["tidegate.dev/config"]
            .clone()
    };
    assert_eq!(digest(json!(["a.example.org"])), digest(json!(["a.example.org"])));
    assert_ne!(digest(json!(["a.example.org"])), digest(json!(["b.example.org"])));
}

#[test]
fn a_certificate_of_ones_own_is_mounted() {
    let children = made(json!({"tls": {"secretName": "vpn-tls"}}), 0);
    let volumes =
        of(&children, "Deployment")["spec"]["template"]["spec"]["volumes"].as_array().expect("a list");
    assert!(volumes.iter().any(|volume| volume["secret"]["secretName"] == "vpn-tls"));
}

#[test]
fn what_is_not_stored_has_no_children() {
    let mut gateway = gateway(json!({}));
    gateway.metadata.uid = None;
    assert!(children(&gateway, &settings(), Observed::default()).is_empty());
}
