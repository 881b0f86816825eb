//! What Helm makes of the chart: the same in Helm 3 and 4, as committed, with nothing random, and no more rights than
//! the reference says.
//!
//! `UPDATE_EXPECT=1` writes the committed renderings anew.

mod images;
mod rights;
mod settings;
mod values;

use std::fs;

use serde_json::Value;
use tidegate_tests::helm::Helm;
use tidegate_tests::manifest;
use tidegate_tests::tree::root;

/// Renderings that are committed: their file, and the values that make them.
const GOLDEN: [(&str, &[&str]); 2] = [
    ("default", &["crds.enabled=false"]),
    (
        "external",
        &[
            "crds.enabled=false",
            "replicaCount=1",
            r#"image={"registry":"registry.example.org/public","tag":"1.2.3"}"#,
            r#"imagePullSecrets=[{"name":"pull"}]"#,
            r#"etcd.external.endpoints=["https://etcd-0.example.org:2379","https://etcd-1.example.org:2379"]"#,
            r#"gateway.service={"type":"LoadBalancer","externalTrafficPolicy":"Local"}"#,
            r#"gateway.proxyProtocol=["10.0.0.0/8"]"#,
            r#"main={"hosts":["vpn.example.org"],"replicas":3}"#,
            r#"tolerations=[{"operator":"Exists"}]"#,
        ],
    ),
];

#[test]
fn both_helms_have_nothing_against_it() {
    let Some(helms) = Helm::both_or_skip() else { return };
    for helm in helms {
        helm.lint().unwrap_or_else(|error| panic!("{}: {error}", helm.name()));
    }
}

#[test]
fn renderings_are_as_committed_and_the_same_in_both_helms() {
    let Some([four, three]) = Helm::both_or_skip() else { return };
    for (name, values) in GOLDEN {
        let text = template(&four, values);
        assert_eq!(
            documents(&text),
            documents(&template(&three, values)),
            "{name}: Helm 4 and Helm 3 differ"
        );

        let path = root().join(format!("tests/chart/golden/{name}.yaml"));
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            fs::write(&path, &text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        }
        let committed = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            committed == text,
            "{name} changed; look at it with: UPDATE_EXPECT=1, then git diff tests/chart"
        );
    }
}

#[test]
fn definitions_come_and_stay_as_the_values_say() {
    let Some([helm, _]) = Helm::both_or_skip() else { return };
    let definitions = |values: &[&str]| -> Vec<Value> {
        let all = documents(&template(&helm, values)).into_iter();
        all.filter(|document| document["kind"] == "CustomResourceDefinition").collect()
    };
    let kept =
        |definition: &Value| definition.pointer("/metadata/annotations/helm.sh~1resource-policy").is_some();
    let all = tidegate_crd::Kind::ALL.len();

    let shipped = definitions(&[]);
    assert!(shipped.len() == all && shipped.iter().all(kept), "shipped: they come, and stay at the end");
    let free = definitions(&["crds.keep=false"]);
    assert!(free.len() == all && !free.iter().any(kept), "crds.keep=false: they go with the chart");
    assert!(definitions(&["crds.enabled=false"]).is_empty(), "crds.enabled=false: they do not come");
}

#[test]
fn no_template_is_random_or_looks_into_the_cluster() {
    let forbidden = ["rand", "gen", "uuid", "lookup", "now", "htpasswd", "bcrypt", "getHostByName"];
    for file in tidegate_tests::tree::files_below("charts/tidegate/templates") {
        let words = file.text.split("{{").skip(1).filter_map(|rest| rest.split_once("}}"));
        for (action, _) in words {
            for word in action.split(|letter: char| !letter.is_alphanumeric()) {
                let found = forbidden.iter().find(|prefix| match **prefix {
                    "now" | "lookup" => word == **prefix,
                    prefix => word.starts_with(prefix),
                });
                assert!(found.is_none(), "{}: {word} makes every rendering another one", file.path);
            }
        }
    }
}

#[test]
fn an_older_kubernetes_is_refused() {
    for helm in Helm::both_or_skip().into_iter().flatten() {
        let error = helm.template(&[], &["--kube-version", "1.32.9"]).expect_err("1.33 is the oldest");
        assert!(error.contains("kubeVersion"), "{}: {error}", helm.name());
    }
}

fn template(helm: &Helm, values: &[&str]) -> String {
    helm.template(values, &[]).unwrap_or_else(|error| panic!("{}: {error}", helm.name()))
}

/// The rendered objects, in order.
fn documents(text: &str) -> Vec<Value> {
    manifest::parse(text).unwrap_or_else(|error| panic!("{error}"))
}
