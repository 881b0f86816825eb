//! Parts that several kinds share.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema;

/// A text in the languages of the product.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Text {
    /// The text in simplified Chinese.
    #[serde(rename = "zh-CN", default, skip_serializing_if = "Option::is_none")]
    pub zh_cn: Option<String>,
    /// The text in English.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub en: Option<String>,
}

impl Text {
    /// Whether there is no text in any language.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.zh_cn.is_none() && self.en.is_none()
    }
}

/// A key of a ConfigMap in the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KeyRef {
    /// The ConfigMap's name.
    #[schemars(schema_with = "schema::object_name")]
    pub name: String,
    /// The key in it.
    #[schemars(schema_with = "schema::data_key")]
    pub key: String,
}

/// What the controller says about an object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The generation of the object that the conditions speak about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The conditions of the object, one of each type.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// One aspect of an object, as Kubernetes tools know it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// The aspect: Accepted, Approved, ReviewCurrent, Compiled, Propagated or Ready.
    #[schemars(length(min = 1, max = 64))]
    pub r#type: String,
    /// True, False or Unknown.
    #[schemars(length(max = 7), regex(pattern = "^(True|False|Unknown)$"))]
    pub status: String,
    /// The reason in one word for programs.
    #[schemars(length(min = 1, max = 128))]
    pub reason: String,
    /// The reason in a sentence for people.
    #[schemars(length(max = 4_096))]
    pub message: String,
    /// The generation this condition was judged from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The instant at which the status last changed.
    #[schemars(schema_with = "schema::instant")]
    pub last_transition_time: String,
}
