//! Values: each is explained, and what is not one is refused before it reaches the cluster.

use serde_json::Value;
use tidegate_tests::findings::Findings;
use tidegate_tests::helm::Helm;
use tidegate_tests::manifest;
use tidegate_tests::tree::{File, files_below};

/// Values that are refused, and the word of the refusal that says which.
const REFUSED: [(&str, &str); 13] = [
    ("replicas=2", "replicas"),
    (r#"replicaCount="two""#, "replicaCount"),
    ("replicaCount=-1", "replicaCount"),
    (r#"image.pullPolicy="Sometimes""#, "pullPolicy"),
    (r#"image.digest="sha256:abc""#, "digest"),
    (r#"image.repository="""#, "repository"),
    ("image.name=1", "name"),
    (r#"crds.enabled="yes""#, "enabled"),
    ("gateway.replicas=3", "replicas"),
    (r#"gateway.service.type="ExternalName""#, "type"),
    (r#"gateway.proxyProtocol=["10.0.0.1"]"#, "proxyProtocol"),
    (r#"etcd.external.endpoints=["http://etcd:2379"]"#, "endpoints"),
    (r#"serviceAccount.name="a'b""#, "name"),
];

#[test]
fn what_is_no_value_is_refused_by_both_helms() {
    let Some(helms) = Helm::both_or_skip() else { return };
    for (value, word) in REFUSED {
        for helm in &helms {
            match helm.template(&[value], &[]) {
                Ok(_) => panic!("{} takes {value}", helm.name()),
                Err(error) => assert!(error.contains(word), "{}: {value}: {error}", helm.name()),
            }
        }
    }
}

#[test]
fn every_value_has_a_schema_and_is_explained() {
    let file = |path: &str| -> File {
        files_below("charts")
            .into_iter()
            .chain(files_below("docs/reference"))
            .find(|file| file.path == path)
            .unwrap_or_else(|| panic!("{path} is missing"))
    };
    let values =
        manifest::parse(&file("charts/tidegate/values.yaml").text).unwrap_or_else(|error| panic!("{error}"));
    let schema: Value = serde_json::from_str(&file("charts/tidegate/values.schema.json").text).expect("JSON");
    let reference = file("docs/reference/chart.md").text;

    let mut findings = Findings::default();
    let mut keys = Vec::new();
    paths(&values[0], &schema, "", &mut keys, &mut findings);
    for key in keys {
        if !reference.contains(&format!("`{key}`")) {
            findings.add(format!("docs/reference/chart.md does not explain `{key}`."));
        }
    }
    findings.assert_none();
}

/// The paths of the leaves of the values, each of which the schema describes.
fn paths(values: &Value, schema: &Value, above: &str, keys: &mut Vec<String>, findings: &mut Findings) {
    for (name, value) in values.as_object().into_iter().flatten() {
        let path = if above.is_empty() { name.clone() } else { format!("{above}.{name}") };
        let own = &schema["properties"][name];
        if own["description"].as_str().is_none_or(str::is_empty) {
            findings.add(format!("charts/tidegate/values.schema.json does not describe `{path}`."));
        }
        if own["properties"].is_object() {
            paths(value, own, &path, keys, findings);
        } else {
            keys.push(path);
        }
    }
}
