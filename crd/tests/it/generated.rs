//! The generated files are what the types say, and every node of a schema is bounded and described.

use std::path::{Path, PathBuf};

use serde_json::Value;
use tidegate_crd::{Kind, chart_file, definition, reference, schema};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[track_caller]
fn held(path: &Path, expected: &str) {
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(path, expected).unwrap();
        return;
    }
    let found = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        found == expected,
        "{} is out of date; run UPDATE_EXPECT=1 cargo test -p tidegate-crd",
        path.display()
    );
}

#[test]
fn the_chart_holds_the_definitions() {
    for kind in Kind::ALL {
        let (name, text) = chart_file(kind);
        held(&root().join("charts/tidegate/templates/crds").join(name), &text);
        let plain: Vec<&str> = text.lines().filter(|line| !line.starts_with("{{")).collect();
        assert_eq!(plain.len() + 5, text.lines().count());
        assert!(!plain.iter().any(|line| line.contains("{{")), "{kind}: only whole lines are template");
    }
}

#[test]
fn the_reference_holds_the_fields() {
    held(&root().join("docs/reference/kinds.md"), &reference());
}

fn walk(schema: &Value, path: &str, visit: &mut impl FnMut(&Value, &str)) {
    visit(schema, path);
    for (name, inner) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        walk(inner, &format!("{path}.{name}"), visit);
    }
    for key in ["items", "additionalProperties"] {
        if let Some(inner) = schema.get(key) {
            walk(inner, &format!("{path}[]"), visit);
        }
    }
}

#[test]
fn everything_is_bounded_and_described() {
    for kind in Kind::ALL {
        walk(schema(kind), kind.as_str(), &mut |schema, path| {
            let has = |key: &str| schema.get(key).is_some();
            match schema.get("type").and_then(Value::as_str) {
                Some("string") => assert!(has("maxLength") || has("enum"), "{path} is an unbounded text"),
                Some("array") => {
                    assert!(has("maxItems"), "{path} is an unbounded list");
                    assert!(has("x-kubernetes-list-type"), "{path} has no merge strategy");
                }
                Some("object") => {
                    assert!(has("properties") || has("maxProperties"), "{path} is an unbounded object");
                }
                Some("integer" | "boolean") => {}
                other => assert!(has("x-kubernetes-int-or-string"), "{path} has type {other:?}"),
            }
            assert!(!has("nullable"), "{path} may be null");
            if !path.ends_with("[]") {
                let text = schema.get("description").and_then(Value::as_str).unwrap_or_default();
                assert!(text.ends_with('.') && text.len() > 10, "{path} is not described: {text:?}");
            }
        });
    }
}

#[test]
fn every_rule_says_what_is_wrong_and_what_to_do() {
    for kind in Kind::ALL {
        walk(schema(kind), kind.as_str(), &mut |schema, path| {
            for rule in schema.get("x-kubernetes-validations").and_then(Value::as_array).into_iter().flatten()
            {
                let message = rule["message"].as_str().unwrap();
                let code = message.split(' ').next().unwrap();
                assert!(tidegate_core::Code::ALL.iter().any(|known| known.id() == code), "{path}: {message}");
                assert!(message.contains("; ") && !message.ends_with('.'), "{path}: {message}");
            }
        });
    }
}

#[test]
fn names_are_those_of_the_design() {
    let short = |kind| definition(kind).pointer("/spec/names/shortNames/0").and_then(Value::as_str).unwrap();
    assert_eq!(Kind::ALL.map(short), ["dept", "vu", "vres", "vpol", "cvpol", "vgw", "vrec"]);
    for kind in Kind::ALL {
        let definition = definition(kind);
        assert_eq!(definition.pointer("/spec/names/categories/0").unwrap(), "tidegate");
        assert_eq!(definition.pointer("/spec/group").unwrap(), "tidegate.dev");
        assert!(definition.pointer("/spec/versions/0/subresources/status").is_some());
        let scope = definition.pointer("/spec/scope").unwrap();
        assert_eq!(scope, if kind.namespaced() { "Namespaced" } else { "Cluster" });
    }
}
