//! Builders for small worlds.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tidegate_core::{
    Account, AccountState, Approval, Contact, Credential, Department, Endpoint, Generation, Hotline,
    Localized, LoginRules, Person, Platform, PolicyModule, PolicyState, Resource, SessionRules, Snapshot,
    Source, Timestamp, UpstreamScheme, UpstreamTls, Web, Zone,
};

pub(crate) const NOW: Timestamp = Timestamp(1_800_000_000);

pub(crate) fn mk_source(uid: &str) -> Source {
    Source { uid: uid.parse().unwrap(), generation: 1 }
}

pub(crate) fn mk_account(name: &str) -> Account {
    Account {
        source: mk_source(&format!("uid-{name}")),
        name: name.parse().unwrap(),
        person: Person {
            display_name: name.into(),
            unit: "".into(),
            groups: Vec::new(),
            attributes: BTreeMap::new(),
        },
        state: AccountState::Active,
        approval: Some(Approval { by: "li".into(), until: NOW.plus(100 * 86_400) }),
        review: None,
        valid_from: None,
        valid_until: None,
        credential: Some(Credential {
            version: 1,
            epoch: 3,
            password: Some("hash".into()),
            history: Vec::new(),
            must_change: false,
            activation: None,
            activation_until: NOW,
        }),
    }
}

pub(crate) fn mk_resource(name: &str) -> Resource {
    Resource {
        source: mk_source(&format!("uid-{name}")),
        name: name.parse().unwrap(),
        title: Localized::default(),
        description: Localized::default(),
        category: Localized::default(),
        icon: "".into(),
        contact: Contact::default(),
        labels: BTreeMap::new(),
        visible: true,
        endpoint: Endpoint::Web(Web {
            scheme: UpstreamScheme::Http,
            host: "10.20.1.10".into(),
            port: 8080,
            start_path: "/".into(),
            tls: UpstreamTls::default(),
        }),
    }
}

/// A module that is told apart by its first digest byte.
pub(crate) fn mk_module(id: u8) -> PolicyState {
    PolicyState::Module(Arc::new(PolicyModule { digest: [id; 32], wasm: Arc::from([id]), rules: Vec::new() }))
}

pub(crate) fn mk_department(code: &str, policy: PolicyState) -> Department {
    Department {
        source: mk_source(&format!("uid-{code}")),
        generation: Generation { term: 1, sequence: 1 },
        code: code.parse().unwrap(),
        title: Localized::default(),
        notice: Localized::default(),
        hotline: Hotline::default(),
        zone: Zone::utc(),
        networks: Vec::new(),
        resolvers: Vec::new(),
        login: LoginRules { password_max_age_days: 0 },
        session: SessionRules::default(),
        accounts: HashMap::new(),
        resources: BTreeMap::new(),
        policy,
    }
}

pub(crate) fn mk_snapshot(platform: PolicyState, departments: Vec<Department>) -> Snapshot {
    Snapshot {
        generation: Generation { term: 1, sequence: 7 },
        platform: Arc::new(Platform {
            title: Localized::default(),
            policy: platform,
            zone: Zone::utc(),
            not_before: Timestamp(0),
            approvals_enforced: true,
        }),
        departments: departments.into_iter().map(|d| (d.code.clone(), Arc::new(d))).collect(),
    }
}
