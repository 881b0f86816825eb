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
    let reach = Reach {
        networks: ["10.20.0.0/16", "10.20.1.0/24", "10.9.0.0/16", "fd00:20::/32", "fd00:20:1::/48"]
            .into_iter()
            .map(|network| network.parse().expect("a network"))
            .collect(),
        resolvers: ["10.20.1.53:53", "[fd00:20::53]:5353"]
            .into_iter()
            .map(|resolver| resolver.parse().expect("an address"))
            .collect(),
    };
    children(&gateway(spec), &settings(), &Observed { sessions, reach, ..Observed::default() })
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
    assert_eq!(superfluous(&gateway(json!({"replicas": 3})), &settings()).len(), 1);

    let scaled = made(json!({"autoscaling": {"min": 2, "max": 4}}), 0);
    assert!(of(&scaled, "Deployment")["spec"].get("replicas").is_none());
    assert!(superfluous(&gateway(json!({"autoscaling": {"min": 2, "max": 4}})), &settings()).is_empty());
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

/// The rules of a pool's policy, with these settings beside the usual ones.
fn egress(settings: &str, observed: &Observed) -> Vec<Value> {
    let settings = Settings::parse(settings.as_bytes()).expect("settings");
    let children = children(&gateway(json!({})), &settings, observed);
    of(&children, "NetworkPolicy")["spec"]["egress"].as_array().expect("a list").clone()
}

#[test]
fn gateways_reach_etcd_names_and_what_departments_published() {
    let made = made(json!({}), 0);
    let egress = of(&made, "NetworkPolicy")["spec"]["egress"].as_array().expect("a list");
    assert_eq!(egress[1]["to"][0]["podSelector"]["matchLabels"]["app.kubernetes.io/name"], "tidegate-etcd");
    assert_eq!(egress[1]["ports"], json!([{"protocol": "TCP", "port": 2379}]));
    let cidrs: Vec<&Value> =
        egress[2]["to"].as_array().expect("a list").iter().map(|to| &to["ipBlock"]["cidr"]).collect();
    assert_eq!(cidrs, ["10.9.0.0/16", "10.20.0.0/16", "fd00:20::/32"], "and none that lies in another");
    assert_eq!(egress[3]["to"][0]["ipBlock"]["cidr"], "10.20.1.53/32");
    assert_eq!(egress[4]["ports"][0]["port"], 5353);
    assert_eq!(egress.len(), 5, "and nothing else");
}

#[test]
fn somebody_elses_etcd_is_reached_by_address_or_port() {
    let external = |endpoints: &str| {
        let settings = SETTINGS.replacen("[https://tidegate-etcd.tidegate-system.svc:2379]", endpoints, 1);
        let settings = settings.replacen("etcd:", "etcd:\n  mode: External", 1);
        egress(&settings, &Observed::default())[1].clone()
    };
    let by_address = external("[\"https://192.0.2.7:2379\", \"https://[2001:db8::7]:2380\"]");
    assert_eq!(by_address["to"][1]["ipBlock"]["cidr"], "2001:db8::7/128");
    assert_eq!(by_address["ports"].as_array().map(Vec::len), Some(2));
    let by_name = external("[\"https://etcd.example.org:2379\"]");
    assert!(by_name.get("to").is_none(), "a policy knows no names");
}

#[test]
fn a_policy_can_be_widened_or_switched_off() {
    let widened = SETTINGS.replacen(
        "gateway:",
        "gateway:\n  networkPolicy: {extraEgress: [{ports: [{port: 514, protocol: UDP}]}]}",
        1,
    );
    let egress = egress(&widened, &Observed::default());
    assert_eq!(egress.last().expect("a rule")["ports"][0]["port"], 514);

    let off = SETTINGS.replacen("gateway:", "gateway:\n  networkPolicy: {enabled: false}", 1);
    let off = Settings::parse(off.as_bytes()).expect("settings");
    let gateway = gateway(json!({"autoscaling": {"min": 2, "max": 4}}));
    let children = children(&gateway, &off, &Observed::default());
    assert!(children.iter().all(|child| child.resource.kind != "NetworkPolicy"));
    assert_eq!(superfluous(&gateway, &off)[0].kind, "NetworkPolicy", "one that is there is removed");
}

#[test]
fn what_is_not_stored_has_no_children() {
    let mut gateway = gateway(json!({}));
    gateway.metadata.uid = None;
    assert!(children(&gateway, &settings(), &Observed::default()).is_empty());
}
