//! The seven kinds: present, served, and of this release.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube_client::Api;
use serde_json::Value;
use tidegate_crd::{GROUP, Kind, VERSION, definition};

use super::seen;
use crate::check::report::Finding;
use crate::cluster::{Cluster, call};

/// One finding for each kind.
pub(crate) async fn check(cluster: &Cluster) -> Vec<Finding> {
    let definitions: Api<CustomResourceDefinition> = Api::all(cluster.client.clone());
    let mut findings = Vec::new();
    for kind in Kind::ALL {
        let plural =
            definition(kind).pointer("/spec/names/plural").and_then(Value::as_str).unwrap_or_default();
        let name = format!("{plural}.{GROUP}");
        let found = seen("kind", &name, call(definitions.get(&name)).await, &cluster.address);
        findings.push(match found {
            Err(finding) => finding,
            Ok(None) => Finding::error(
                "kind",
                format!("{kind} is not there"),
                "install the chart with crds.enabled=true",
            ),
            Ok(Some(found)) => judge(kind, &found),
        });
    }
    findings
}

fn judge(kind: Kind, found: &CustomResourceDefinition) -> Finding {
    let conditions = found.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let established = conditions
        .into_iter()
        .any(|condition| condition.type_ == "Established" && condition.status == "True");
    if !established {
        let hint = "kubectl describe crd says why: most likely another kind has one of its names";
        return Finding::error("kind", format!("{kind} is not established"), hint);
    }
    let Some(version) = found.spec.versions.iter().find(|version| version.name == VERSION && version.served)
    else {
        let hint = "upgrade the chart, or use the `tidegate` of its release";
        return Finding::error("kind", format!("{kind} is not served as {VERSION}"), hint);
    };
    // Both through the same type, since the API server writes numbers in a way of its own.
    let own = serde_json::from_value(tidegate_crd::schema(kind).clone()).ok();
    if own == version.schema.as_ref().and_then(|schema| schema.open_api_v3_schema.clone()) {
        Finding::ok("kind", format!("{kind} is there, {VERSION}, of this release"))
    } else {
        Finding::warning(
            "kind",
            format!(
                "{kind} is there, but its schema is not that of this `tidegate` ({})",
                env!("CARGO_PKG_VERSION")
            ),
            "upgrade the chart and `tidegate` together; the older of the two does not know all fields",
        )
    }
}
