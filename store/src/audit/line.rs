//! A record as a line of JSON: OCSF's classes and attributes, with our chain beside them.

use serde_json::{Map, Value, json};
use tidegate_core::session::{EndReason, Kind};
use tidegate_core::{Code, Timestamp};

use super::record::{Actor, Event, FlowRef, ObjectRef, Protocol, Record, RuleRef, Verdict};
use crate::Outcome;
use crate::wire::{Digest, digest_of};

/// The version of OCSF the shape follows.
const OCSF: &str = "1.3.0";
/// Texts from outside are cut here, in characters.
const TEXT_MAX: usize = 1_024;
/// No line is longer; a reader refuses more.
pub(super) const LINE_MAX: usize = 64 * 1024;

/// The digest before the first record.
pub(super) const GENESIS: Digest = [0; 32];

/// The digest that the next line carries.
pub(super) fn link(line: &str) -> Digest {
    digest_of(line.as_bytes())
}

/// Lower-case hexadecimal digits.
pub(super) fn hex(digest: &Digest) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What a line is about: OCSF's class and activity, and how it ended.
struct Shape {
    name: &'static str,
    class: (u32, &'static str),
    activity: u32,
    refused: Option<Code>,
    fields: Map<String, Value>,
}

const ACCOUNT_CHANGE: (u32, &str) = (3001, "Account Change");
const AUTHENTICATION: (u32, &str) = (3002, "Authentication");
const ENTITY_MANAGEMENT: (u32, &str) = (3004, "Entity Management");
const NETWORK_ACTIVITY: (u32, &str) = (4001, "Network Activity");
const WEB_RESOURCE_ACCESS: (u32, &str) = (6004, "Web Resource Access Activity");
/// "Other" in every class of OCSF.
const OTHER: u32 = 99;

fn fields(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

fn cut(text: &str) -> String {
    text.chars().take(TEXT_MAX).collect()
}

fn actor_fields(actor: &Actor) -> Map<String, Value> {
    let mut map = Map::new();
    if let Some(account) = &actor.account {
        let mut user = fields(json!({
            "name": account.name.as_str(),
            "org": {"uid": account.department.as_str()},
        }));
        if let Some(uid) = &actor.uid {
            user.insert("uid".into(), json!(uid.as_str()));
        }
        map.insert("user".into(), Value::Object(user));
    }
    if let Some(session) = actor.session {
        map.insert("session".into(), json!({"uid": session.to_string()}));
    }
    if let Some(source) = actor.source {
        map.insert("src_endpoint".into(), json!({"ip": source.to_string()}));
    }
    if actor.alone {
        map.insert("store".into(), json!("away"));
    }
    if let Some(request) = &actor.request {
        map.insert("http_request".into(), json!({"uid": cut(request)}));
    }
    map
}

fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Portal => "portal",
        Kind::Tunnel => "tunnel",
    }
}

fn shape(event: &Event) -> Shape {
    match event {
        Event::Activation { actor, refused } => Shape {
            name: "activation",
            class: ACCOUNT_CHANGE,
            activity: 3,
            refused: *refused,
            fields: actor_fields(actor),
        },
        Event::PasswordChange { actor, refused } => Shape {
            name: "password_change",
            class: ACCOUNT_CHANGE,
            activity: 3,
            refused: *refused,
            fields: actor_fields(actor),
        },
        Event::Login { actor, kind, refused } => {
            let mut fields = actor_fields(actor);
            fields.insert("logon_type".into(), json!(kind_name(*kind)));
            Shape { name: "login", class: AUTHENTICATION, activity: 1, refused: *refused, fields }
        }
        Event::SessionEnd { actor, kind, reason } => session_end(actor, *kind, *reason),
        Event::Decision { actor, resource, verdict, rule, generation, count } => {
            let mut fields = actor_fields(actor);
            fields.insert("web_resources".into(), json!([{"uid": resource.to_string()}]));
            fields.insert("generation".into(), json!(generation.to_string()));
            fields.insert("count".into(), json!(count));
            if let Some(rule) = rule {
                fields.insert("policy".into(), policy(rule));
            }
            decision(*verdict, fields)
        }
        Event::FlowEnd { actor, resource, flow, up, down, seconds, reason } => {
            let mut fields = actor_fields(actor);
            fields.insert("web_resources".into(), json!([{"uid": resource.to_string()}]));
            fields.insert("connection_info".into(), json!({"protocol_name": protocol(flow.protocol)}));
            fields.insert("dst_endpoint".into(), endpoint(flow));
            fields.insert("traffic".into(), json!({"bytes_out": up, "bytes_in": down}));
            fields.insert("duration".into(), json!(seconds.saturating_mul(1_000)));
            if let Some(reason) = reason {
                fields.insert("end_code".into(), json!(reason.to_string()));
                fields.insert("end_reason".into(), json!(reason.name()));
            }
            Shape { name: "flow_end", class: NETWORK_ACTIVITY, activity: 2, refused: None, fields }
        }
        Event::Object { object, refused } => object_shape(object, refused.as_ref()),
        Event::IntentSettled { intent, account, outcome } => {
            let mut map = actor_fields(&Actor { account: Some(account.clone()), ..Actor::default() });
            map.insert("intent".into(), json!(format!("{:032x}", intent.0)));
            let refused = match outcome {
                Outcome::Done { version } => {
                    map.insert("credential_version".into(), json!(version));
                    None
                }
                Outcome::Refused(code) => Some(*code),
            };
            Shape { name: "intent_settled", class: ACCOUNT_CHANGE, activity: OTHER, refused, fields: map }
        }
    }
}

fn protocol(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
        Protocol::Icmp => "icmp",
    }
}

fn endpoint(flow: &FlowRef) -> Value {
    let mut endpoint = fields(json!({"hostname": cut(&flow.host), "port": flow.port}));
    if let Some(address) = flow.address {
        endpoint.insert("ip".into(), json!(address.to_string()));
    }
    Value::Object(endpoint)
}

fn session_end(actor: &Actor, kind: Kind, reason: EndReason) -> Shape {
    let mut map = actor_fields(actor);
    map.insert("logon_type".into(), json!(kind_name(kind)));
    map.insert("end_code".into(), json!(reason.code().to_string()));
    map.insert("end_reason".into(), json!(reason.code().name()));
    let name = if reason == EndReason::LoggedOut { "logout" } else { "session_end" };
    Shape { name, class: AUTHENTICATION, activity: 2, refused: None, fields: map }
}

fn decision(verdict: Verdict, fields: Map<String, Value>) -> Shape {
    let (name, activity, refused) = match verdict {
        Verdict::Allowed => ("access_allowed", 1, None),
        Verdict::Denied(code) => ("access_denied", 2, Some(code)),
        Verdict::Withdrawn(code) => ("access_withdrawn", 3, Some(code)),
    };
    Shape { name, class: WEB_RESOURCE_ACCESS, activity, refused, fields }
}

fn policy(rule: &RuleRef) -> Value {
    json!({
        "name": cut(&rule.rule.policy),
        "rule": cut(&rule.rule.rule),
        "owner": rule.department.as_ref().map_or("platform", |code| code.as_str()),
    })
}

fn object_shape(object: &ObjectRef, refused: Option<&(Code, Box<str>)>) -> Shape {
    let mut entity = fields(json!({
        "type": cut(&object.kind),
        "name": cut(&object.name),
        "version": object.generation.to_string(),
    }));
    if !object.namespace.is_empty() {
        entity.insert("namespace".into(), json!(cut(&object.namespace)));
    }
    let mut map = Map::new();
    map.insert("entity".into(), Value::Object(entity));
    if !object.origin.is_empty() {
        map.insert("origin".into(), json!(cut(&object.origin)));
    }
    if let Some((_, message)) = refused {
        map.insert("message".into(), json!(cut(message)));
    }
    let name = if refused.is_some() { "object_refused" } else { "object_accepted" };
    Shape {
        name,
        class: ENTITY_MANAGEMENT,
        activity: 3,
        refused: refused.map(|(code, _)| *code),
        fields: map,
    }
}

/// The line of a record at its place in the chain, without the newline.
pub(super) fn of_record(record: &Record, stream: &str, seq: u64, prev: &Digest) -> String {
    finish(shape(&record.event), record.at, stream, seq, prev)
}

/// The line that says how many records before it were lost, and why.
pub(super) fn of_loss(lost: u64, why: &str, at: Timestamp, stream: &str, seq: u64, prev: &Digest) -> String {
    let fields = fields(json!({"count": lost, "message": why}));
    let class = (0, "Base Event");
    finish(
        Shape { name: "records_lost", class, activity: OTHER, refused: None, fields },
        at,
        stream,
        seq,
        prev,
    )
}

fn finish(shape: Shape, at: Timestamp, stream: &str, seq: u64, prev: &Digest) -> String {
    let (class, class_name) = shape.class;
    let mut map = shape.fields;
    map.extend(fields(json!({
        "seq": seq,
        "prev": hex(prev),
        "stream": stream,
        "event": shape.name,
        "time": at.0.saturating_mul(1_000),
        "time_dt": jiff::Timestamp::from_second(at.0).map(|at| at.to_string()).unwrap_or_default(),
        "category_uid": class / 1_000,
        "class_uid": class,
        "class_name": class_name,
        "activity_id": shape.activity,
        "type_uid": class * 100 + shape.activity,
        "severity_id": if shape.refused.is_some() { 2 } else { 1 },
        "status_id": if shape.refused.is_some() { 2 } else { 1 },
        "metadata": {
            "version": OCSF,
            "product": {"name": "Tidegate", "vendor_name": "Tidegate", "version": env!("CARGO_PKG_VERSION")},
        },
    })));
    if let Some(code) = shape.refused {
        map.insert("status_code".into(), json!(code.to_string()));
        map.insert("status_detail".into(), json!(code.name()));
    }
    Value::Object(map).to_string()
}
