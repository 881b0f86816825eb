//! Schemas of values that many fields share, each with its bounds.

use schemars::generate::SchemaGenerator;
use schemars::{Schema, json_schema};

const CODE: &str = "^[a-z][a-z0-9]{1,14}$";
const GROUP: &str = "^([a-z][a-z0-9]{1,14}/)?[A-Za-z0-9._-]{1,63}$";
const FULL_GROUP: &str = "^[a-z][a-z0-9]{1,14}/[A-Za-z0-9._-]{1,63}$";
const LABEL_VALUE: &str = "^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$";
const LABEL: &str = "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$";

fn list(kind: &str, min: u32, max: u32, items: &Schema) -> Schema {
    json_schema!({
        "type": "array",
        "minItems": min,
        "maxItems": max,
        "x-kubernetes-list-type": kind,
        "items": items,
    })
}

fn string(max: u32) -> Schema {
    json_schema!({"type": "string", "minLength": 1, "maxLength": max})
}

fn pattern(max: u32, pattern: &str, example: &str) -> Schema {
    json_schema!({
        "type": "string",
        "minLength": 1,
        "maxLength": max,
        "pattern": pattern,
        "example": example,
    })
}

fn text(max: u32) -> Schema {
    json_schema!({
        "type": "object",
        "minProperties": 1,
        "properties": {
            "zh-CN": {
                "description": "The text in simplified Chinese.",
                "type": "string", "minLength": 1, "maxLength": max,
            },
            "en": {
                "description": "The text in English.",
                "type": "string", "minLength": 1, "maxLength": max,
            },
        },
    })
}

fn map(max: u32, values: &Schema) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": max,
        "additionalProperties": values,
    })
}

/// A department's code.
pub(super) fn code(_: &mut SchemaGenerator) -> Schema {
    pattern(15, CODE, "sbj")
}

/// Departments by code.
pub(super) fn codes(_: &mut SchemaGenerator) -> Schema {
    list("set", 1, 256, &pattern(15, CODE, "sbj"))
}

/// Departments by code, or `*` for all.
pub(super) fn codes_or_all(_: &mut SchemaGenerator) -> Schema {
    list("set", 1, 256, &pattern(15, "^([a-z][a-z0-9]{1,14}|[*])$", "sbj"))
}

/// A name for people.
pub(super) fn title(_: &mut SchemaGenerator) -> Schema {
    text(80)
}

/// A sentence for people.
pub(super) fn sentence(_: &mut SchemaGenerator) -> Schema {
    text(300)
}

/// A notice for people.
pub(super) fn notice(_: &mut SchemaGenerator) -> Schema {
    text(2_000)
}

/// One line in one language.
pub(super) fn line(_: &mut SchemaGenerator) -> Schema {
    string(128)
}

/// A few lines in one language.
pub(super) fn paragraph(_: &mut SchemaGenerator) -> Schema {
    string(500)
}

/// A Kubernetes user name, or a portal account.
pub(super) fn user(_: &mut SchemaGenerator) -> Schema {
    string(253)
}

/// Kubernetes groups.
pub(super) fn subjects(_: &mut SchemaGenerator) -> Schema {
    list("set", 1, 16, &string(253))
}

/// A telephone number as dialled.
pub(super) fn phone(_: &mut SchemaGenerator) -> Schema {
    pattern(40, "^[0-9+*# ()-]+$", "0898-00000000")
}

/// Address ranges.
pub(super) fn cidrs(_: &mut SchemaGenerator) -> Schema {
    list("set", 1, 64, &pattern(43, "^[0-9A-Fa-f:.]+/[0-9]{1,3}$", "10.20.0.0/16"))
}

/// Name servers.
pub(super) fn resolvers(_: &mut SchemaGenerator) -> Schema {
    list("set", 1, 8, &pattern(53, r"^(\[[0-9A-Fa-f:.]+\]|[0-9A-Fa-f:.]+)(:[0-9]{1,5})?$", "10.20.0.53"))
}

/// A name of the time zone database.
pub(super) fn time_zone(_: &mut SchemaGenerator) -> Schema {
    pattern(64, "^[A-Za-z][A-Za-z0-9_+/-]*$", "Asia/Shanghai")
}

/// An instant.
pub(super) fn instant(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "format": "date-time",
        "maxLength": 40,
        "pattern": INSTANT,
        "example": "2027-01-31T16:00:00Z",
    })
}

/// A time of day.
pub(super) fn time_of_day(_: &mut SchemaGenerator) -> Schema {
    pattern(5, "^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$", "08:00")
}

/// Groups of the own department, or of another as `<code>/<group>`.
pub(super) fn groups(_: &mut SchemaGenerator) -> Schema {
    list("set", 1, 64, &pattern(79, GROUP, "clerks"))
}

/// Groups written in full.
pub(super) fn full_groups(_: &mut SchemaGenerator) -> Schema {
    list("set", 0, 32, &pattern(79, FULL_GROUP, "sbj/clerks"))
}

/// Attributes of a person.
pub(super) fn attributes(_: &mut SchemaGenerator) -> Schema {
    map(16, &string(128))
}

/// Labels.
pub(super) fn labels(_: &mut SchemaGenerator) -> Schema {
    map(16, &pattern(63, LABEL_VALUE, "personal-data"))
}

/// Labels to select by.
pub(super) fn match_labels(_: &mut SchemaGenerator) -> Schema {
    let mut labels = map(8, &pattern(63, LABEL_VALUE, "personal-data"));
    labels.insert("minProperties".to_owned(), 1.into());
    labels
}

/// Resources by name.
pub(super) fn resource_names(_: &mut SchemaGenerator) -> Schema {
    list("set", 1, 128, &pattern(40, LABEL, "records"))
}

/// The name of an icon.
pub(super) fn icon(_: &mut SchemaGenerator) -> Schema {
    pattern(32, "^[a-z0-9-]+$", "ledger")
}

/// A web address without user, query and fragment.
pub(super) fn web_url(_: &mut SchemaGenerator) -> Schema {
    pattern(512, "^https?://[^/?#@ ]+(/[^?# ]*)?$", "http://10.20.1.10:8080/")
}

/// A host name.
pub(super) fn host(_: &mut SchemaGenerator) -> Schema {
    pattern(253, HOST, "records.example.org")
}

/// Host names.
pub(super) fn hosts(_: &mut SchemaGenerator) -> Schema {
    list("set", 1, 64, &pattern(253, HOST, "records.example.org"))
}

const INSTANT: &str =
    "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})$";

const HOST: &str = "^[A-Za-z0-9:]([A-Za-z0-9.:-]*[A-Za-z0-9:])?$";

/// Host names, exact or `*.suffix`.
pub(super) fn host_patterns(_: &mut SchemaGenerator) -> Schema {
    list("set", 1, 64, &pattern(255, "^([*][.])?[a-z0-9:]([a-z0-9.:-]*[a-z0-9:])?$", "*.example.org"))
}

/// Ports and ranges of ports.
pub(super) fn ports(_: &mut SchemaGenerator) -> Schema {
    let port = json_schema!({
        "x-kubernetes-int-or-string": true,
        "anyOf": [{"type": "integer"}, {"type": "string"}],
        "minimum": 1,
        "maximum": 65_535,
        "maxLength": 11,
        "pattern": "^[0-9]{1,5}(-[0-9]{1,5})?$",
        "example": "8000-8100",
    });
    list("atomic", 1, 64, &port)
}

/// HTTP methods.
pub(super) fn methods(_: &mut SchemaGenerator) -> Schema {
    list("set", 1, 16, &pattern(16, "^[A-Z][A-Z-]*$", "GET"))
}

/// Beginnings of paths.
pub(super) fn path_prefixes(_: &mut SchemaGenerator) -> Schema {
    list("set", 1, 64, &pattern(256, "^/[^?# ]*$", "/reports"))
}

/// A public key's digest.
pub(super) fn pin(_: &mut SchemaGenerator) -> Schema {
    pattern(71, "^sha256:[0-9a-f]{64}$", "sha256:<64 hexadecimal digits>")
}

/// The name of an object or a rule.
pub(super) fn object_name(_: &mut SchemaGenerator) -> Schema {
    pattern(63, "^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$", "office-hours")
}

/// A key of a ConfigMap.
pub(super) fn data_key(_: &mut SchemaGenerator) -> Schema {
    pattern(253, "^[A-Za-z0-9._-]+$", "ca.crt")
}

/// The free expression of a rule.
pub(super) fn expression(_: &mut SchemaGenerator) -> Schema {
    string(4_096)
}
