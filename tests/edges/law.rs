//! The table.

/// A name that a crate may not contain.
pub(crate) enum Never {
    /// This crate.
    Crate(&'static str),
    /// Every crate whose name begins so.
    Prefix(&'static str),
    /// Every crate at all.
    Any,
}

use Never::{Any, Crate, Prefix};

impl Never {
    pub(crate) fn covers(&self, name: &str) -> bool {
        match self {
            Crate(own) => name == *own,
            Prefix(start) => name.starts_with(start),
            Any => true,
        }
    }
}

/// What one of our crates may and may not.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    /// The crates of ours it may use.
    pub(crate) may_use: &'static [&'static str],
    /// What may be nowhere below it.
    pub(crate) never: &'static [Never],
    /// Why that is so, without a full stop.
    pub(crate) why: &'static str,
    /// What to do instead of crossing the edge, without a full stop.
    pub(crate) instead: &'static str,
}

impl Row {
    /// Why a crate may be nowhere below this one, if so.
    pub(crate) fn forbids(&self, name: &str) -> Option<&'static str> {
        let everywhere = NOWHERE.iter().find(|(nowhere, _)| *nowhere == name).map(|(_, why)| *why);
        everywhere.or_else(|| self.never.iter().any(|never| never.covers(name)).then_some(self.why))
    }
}

const CORE: &str = "tidegate-core";
const CRD: &str = "tidegate-crd";
const STORE: &str = "tidegate-store";
const EVALUATOR: &str = "tidegate-policy-evaluator";
const COMPILER: &str = "tidegate-policy-compiler";
const ENGINE: &str = "tidegate-policy-engine";
const SDK: &str = "tidegate-policy-sdk";
const CONTROLLER: &str = "tidegate-controller";
const GATEWAY: &str = "tidegate-gateway";
const CLI: &str = "tidegate-cli";
const TESTS: &str = "tidegate-tests";

/// One row per crate.
pub(crate) const CRATES: &[Row] = &[
    Row {
        name: CORE,
        may_use: &[],
        never: &[Any],
        why: "the rules of the house are pure: no runtime, no serialisation, no clock, no randomness",
        instead: "give core what it needs to know as a value",
    },
    Row {
        name: EVALUATOR,
        may_use: &[],
        never: &[Any],
        why: "it runs inside every department's policy module, where only its own code may be",
        instead: "write the few lines it needs",
    },
    Row {
        name: SDK,
        may_use: &[],
        never: &[Prefix("tokio"), Prefix("kube"), Prefix("wasmtime"), Crate("aws-lc-sys")],
        why: "authors of modules build it for wasm32",
        instead: "keep to what compiles there",
    },
    Row {
        name: COMPILER,
        may_use: &[CORE, EVALUATOR],
        never: &[
            Prefix("wasmtime"),
            Prefix("kube"),
            Prefix("k8s-"),
            Crate("tokio"),
            Crate("hyper"),
            Crate("rustls"),
        ],
        why: "rules are compiled without a sandbox, a cluster or a network, in every tool",
        instead: "take values in and give bytes out; the engine runs them",
    },
    Row {
        name: ENGINE,
        may_use: &[CORE, EVALUATOR],
        never: &[
            Prefix("kube"),
            Prefix("k8s-"),
            Prefix("etcd-client"),
            Crate("tokio"),
            Crate("hyper"),
            Crate("rustls"),
        ],
        why: "the sandbox that departments' programs run in has no network below it",
        instead: "let the caller fetch the module and hand over its bytes",
    },
    Row {
        name: CRD,
        may_use: &[CORE],
        never: &[
            Prefix("kube-client"),
            Prefix("kube-runtime"),
            Crate("tokio"),
            Crate("hyper"),
            Crate("rustls"),
        ],
        why: "the kinds are types and schemas, and whoever only reads a file must not link a cluster's client",
        instead: "let the controller talk to the API server",
    },
    Row {
        name: STORE,
        may_use: &[CORE],
        never: &[Prefix("kube"), Prefix("k8s-"), Prefix("wasmtime"), Crate(COMPILER)],
        why: "what controller and gateways tell each other is bytes, whoever makes or runs them",
        instead: "carry modules as bytes and configuration as core's types",
    },
    Row {
        name: CONTROLLER,
        may_use: &[CORE, CRD, STORE, COMPILER, ENGINE],
        never: &[Crate(GATEWAY)],
        why: "user traffic never passes the program that can change the configuration",
        instead: "publish it through the store, from where gateways take it",
    },
    Row {
        name: GATEWAY,
        may_use: &[CORE, STORE, ENGINE],
        never: &[
            Prefix("kube"),
            Prefix("k8s-"),
            Prefix("schemars"),
            Crate(CRD),
            Crate(COMPILER),
            Crate(CONTROLLER),
            Crate("saphyr-parser"),
        ],
        why: "the program that faces the Internet holds no Kubernetes client, no manifests and no compiler",
        instead: "read what it needs from the snapshot; let the controller put it there",
    },
    Row {
        name: CLI,
        may_use: &[CORE, CRD, STORE, EVALUATOR, COMPILER, ENGINE, CONTROLLER, GATEWAY],
        never: &[Crate(TESTS)],
        why: "what people install holds no test code",
        instead: "move the helper to the crate whose noun it helps",
    },
    Row {
        name: TESTS,
        may_use: &[CORE, CRD],
        never: &[Prefix("wasmtime"), Crate("tokio")],
        why: "it is part of the quick loop and talks to programs from outside",
        instead: "test it in its own crate, or start the program",
    },
];

/// A dependency that only its owners may list.
pub(crate) struct Owned {
    pub(crate) name: &'static str,
    pub(crate) owners: &'static [&'static str],
    /// Without a full stop.
    pub(crate) why: &'static str,
}

const fn owned(name: &'static str, owners: &'static [&'static str], why: &'static str) -> Owned {
    Owned { name, owners, why }
}

/// Dependencies with owners.
pub(crate) const OWNED: &[Owned] = &[
    owned("argon2", &[GATEWAY], "passwords are hashed where people type them and nowhere else"),
    owned("askama", &[GATEWAY], "pages are the gateway's"),
    owned("etcd-client", &[STORE], "keys, leases and watches are private to the store"),
    owned(
        "hyper",
        &[GATEWAY, CONTROLLER, CLI],
        "only what is asked over HTTP, and the demo's systems, speak it",
    ),
    owned(
        "k8s-openapi",
        &[CRD, CONTROLLER, CLI],
        "Kubernetes is known to the kinds, the controller and people's tools only",
    ),
    owned("kube", &[CRD, CONTROLLER], "Kubernetes is known to the kinds and the controller only"),
    owned("kube-client", &[CONTROLLER, CLI], "only the controller and people's tools talk to the API server"),
    owned("kube-runtime", &[CONTROLLER], "only the controller follows the API server"),
    owned("notify", &[CONTROLLER], "one place watches the folder"),
    owned(
        "rcgen",
        &[CONTROLLER, CLI, TESTS],
        "certificates are made where keys are kept, never where users connect",
    ),
    owned("redb", &[STORE], "the embedded store is private to the store"),
    owned("rustls", &[GATEWAY, CLI], "one place decides on protocol versions, suites and verification"),
    owned("saphyr-parser", &[CONTROLLER, TESTS], "one place reads YAML that people write"),
    owned("schemars", &[CRD], "schemas come from the kinds only"),
    owned("tokio-rustls", &[GATEWAY, CLI], "one place decides on protocol versions, suites and verification"),
    owned("wasm-encoder", &[COMPILER], "one place makes modules"),
    owned(
        "wasmparser",
        &[COMPILER, ENGINE],
        "modules are taken apart where they are made and where they are checked",
    ),
    owned("wasmtime", &[ENGINE], "departments' code runs behind the engine's limits only"),
];

const ONE_TLS: &str = "there is one TLS stack and one crypto provider: rustls with aws-lc-rs";
const ONE_RUNTIME: &str = "there is one async runtime: tokio";

/// What is compiled into nothing of ours.
pub(crate) const NOWHERE: &[(&str, &str)] = &[
    ("ring", ONE_TLS),
    ("openssl", ONE_TLS),
    ("openssl-sys", ONE_TLS),
    ("native-tls", ONE_TLS),
    ("boring", ONE_TLS),
    ("async-std", ONE_RUNTIME),
    ("smol", ONE_RUNTIME),
    ("async-executor", ONE_RUNTIME),
    ("async-global-executor", ONE_RUNTIME),
];
