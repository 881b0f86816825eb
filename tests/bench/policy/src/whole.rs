//! The whole decision of a gateway: standing, guardrails, own department, owner.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tidegate_core::{
    Account, AccountState, Approval, Contact, Decision, Department, Endpoint, Generation, Hotline, Localized,
    LoginRules, Person, Platform, PolicyModule, PolicyState, Resource, ResourceId, SessionRules, Snapshot,
    Source, Timestamp, UpstreamScheme, UpstreamTls, Web, Zone, decide,
};
use tidegate_policy_engine::{PreparedSubject, Worker};

use crate::workload::{PORT, Question, Workload};

/// A snapshot of one department with the workload's rules, and a platform with guardrails.
pub struct Gateway {
    snapshot: Snapshot,
    asked: Vec<(Account, ResourceId)>,
    now: Timestamp,
}

impl Gateway {
    pub fn new(workload: &Workload, rules: Arc<PolicyModule>, guardrails: Arc<PolicyModule>) -> Self {
        let code = workload.questions[0].owner.clone();
        // Tuesday, 10:00.
        let now = Timestamp(1_764_064_800);
        let department = Department {
            source: source("department"),
            generation: Generation { term: 1, sequence: 1 },
            code: code.clone(),
            title: Localized::default(),
            notice: Localized::default(),
            hotline: Hotline::default(),
            zone: Zone::utc(),
            networks: vec![],
            resolvers: vec![],
            login: LoginRules { password_max_age_days: 0 },
            session: SessionRules::default(),
            accounts: HashMap::new(),
            resources: workload.questions.iter().map(resource).collect(),
            policy: PolicyState::Module(rules),
        };
        let platform = Platform {
            title: Localized::default(),
            policy: PolicyState::Module(guardrails),
            zone: Zone::utc(),
            not_before: Timestamp(0),
            approvals_enforced: true,
        };
        let asked = workload.questions.iter().map(|question| {
            let id = ResourceId { department: code.clone(), name: question.resource.clone() };
            (account(question, now), id)
        });
        Self {
            snapshot: Snapshot {
                generation: Generation { term: 1, sequence: 1 },
                platform: Arc::new(platform),
                departments: BTreeMap::from([(code.clone(), Arc::new(department))]),
            },
            asked: asked.collect(),
            now,
        }
    }

    /// Whether a question is permitted.
    pub fn permits(
        &self,
        worker: &mut Worker,
        prepared: &PreparedSubject,
        question: &Question,
        number: usize,
    ) -> bool {
        let (account, resource) = &self.asked[number];
        let asked = tidegate_core::Question {
            snapshot: &self.snapshot,
            member: &question.owner,
            account,
            resource,
            method: question.method,
            path: &question.path,
        };
        matches!(decide(&asked, prepared, self.now, worker), Decision::Permit(_))
    }
}

fn source(uid: &str) -> Source {
    Source { uid: uid.parse().expect("a uid"), generation: 1 }
}

fn account(question: &Question, now: Timestamp) -> Account {
    let subject = &question.subject;
    Account {
        source: source(subject.uid.as_str()),
        name: subject.name.clone(),
        person: Person {
            display_name: "somebody".into(),
            unit: subject.unit.clone(),
            groups: subject.groups.clone(),
            attributes: subject.attributes.clone(),
        },
        state: AccountState::Active,
        approval: Some(Approval { by: "somebody else".into(), until: now.plus(1_000_000) }),
        review: None,
        valid_from: None,
        valid_until: None,
        credential: None,
    }
}

fn resource(question: &Question) -> (tidegate_core::ResourceName, Arc<Resource>) {
    let web = Web {
        scheme: UpstreamScheme::Https,
        host: question.host.as_str().into(),
        port: PORT,
        start_path: "/".into(),
        tls: UpstreamTls::default(),
    };
    let resource = Resource {
        source: source("resource"),
        name: question.resource.clone(),
        title: Localized::default(),
        description: Localized::default(),
        category: Localized::default(),
        icon: "".into(),
        contact: Contact::default(),
        labels: question.labels.clone(),
        visible: true,
        endpoint: Endpoint::Web(web),
    };
    (question.resource.clone(), Arc::new(resource))
}
