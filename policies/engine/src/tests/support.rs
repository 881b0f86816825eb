//! Modules and questions for the proofs.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use aws_lc_rs::digest::{SHA256, digest};
use tidegate_core::policy::{
    Departments, Device, Effect, Evaluate, Fault, Match, Mode, Policy, Request, Rule, Side, Subject, Target,
    Verdict,
};
use tidegate_core::{DepartmentCode, LocalTime, PolicyModule, ResourceName, RuleName, Uid, Weekday};
use tidegate_policy_compiler::{Input, Scope, compile_tables};
use tidegate_policy_evaluator::{WASM, layout};

use crate::{Digest, Engine, Library, LoadError, PreparedSubject, Worker};

/// One engine for all proofs of a process.
static ENGINE: LazyLock<Engine> = LazyLock::new(|| Engine::new().expect("engine"));

pub(super) fn library() -> Arc<Library> {
    Arc::new(Library::new(ENGINE.clone()))
}

pub(super) fn sha256(bytes: &[u8]) -> Digest {
    digest(&SHA256, bytes).as_ref().try_into().expect("32 bytes")
}

pub(super) fn module(wasm: &[u8], rules: usize) -> PolicyModule {
    let rule = RuleName { policy: "policy".into(), rule: "rule".into(), effect: Effect::Allow };
    PolicyModule { digest: sha256(wasm), wasm: wasm.into(), rules: vec![rule; rules] }
}

/// A WASM binary as its sections, to be put together differently.
#[derive(Clone)]
pub(super) struct Assembly(pub(super) Vec<(u8, Vec<u8>)>);

pub(super) mod section {
    pub(in super::super) const CUSTOM: u8 = 0;
    pub(in super::super) const TYPE: u8 = 1;
    pub(in super::super) const MEMORY: u8 = 5;
    pub(in super::super) const GLOBAL: u8 = 6;
    pub(in super::super) const EXPORT: u8 = 7;
    pub(in super::super) const START: u8 = 8;
    pub(in super::super) const CODE: u8 = 10;
    pub(in super::super) const DATA: u8 = 11;
}

impl Assembly {
    /// The evaluator this release carries.
    pub(super) fn evaluator() -> Self {
        let mut sections = Vec::new();
        let mut rest = &WASM[8..];
        while let Some((&id, after)) = rest.split_first() {
            let (length, after) = read_leb(after);
            let (content, after) = after.split_at(length);
            sections.push((id, content.to_vec()));
            rest = after;
        }
        Self(sections)
    }

    pub(super) fn section(&mut self, id: u8) -> &mut Vec<u8> {
        let at = self.0.iter().position(|(found, _)| *found == id).expect("section");
        &mut self.0[at].1
    }

    /// Adds a section in its place.
    pub(super) fn with(mut self, id: u8, content: &[u8]) -> Self {
        let at = self.0.iter().position(|(found, _)| *found > id).unwrap_or(self.0.len());
        self.0.insert(at, (id, content.to_vec()));
        self
    }

    /// Gives the one memory these pages.
    pub(super) fn pages(mut self, minimum: u32, maximum: u32) -> Self {
        let mut content = vec![1, 1];
        content.extend(leb(minimum));
        content.extend(leb(maximum));
        *self.section(section::MEMORY) = content;
        self
    }

    /// Appends a data segment: how it begins (mode and address), then its bytes.
    pub(super) fn segment(mut self, head: &[u8], bytes: &[u8]) -> Self {
        let data = self.section(section::DATA);
        data[0] += 1;
        data.extend(head);
        data.extend(leb(bytes.len() as u32));
        data.extend(bytes);
        self
    }

    pub(super) fn table(self, address: u32, bytes: &[u8]) -> Self {
        self.segment(&active(address), bytes)
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut wasm = WASM[..8].to_vec();
        for (id, content) in &self.0 {
            wasm.push(*id);
            wasm.extend(leb(content.len() as u32));
            wasm.extend(content);
        }
        wasm
    }
}

/// The beginning of an active segment at a constant address.
pub(super) fn active(address: u32) -> Vec<u8> {
    // An i32.const is signed: addresses here are far below 2^31 but need a clear top bit.
    let mut head = vec![0x00, 0x41];
    let mut rest = address;
    loop {
        let byte = (rest & 0x7f) as u8;
        rest >>= 7;
        if rest == 0 && byte & 0x40 == 0 {
            head.push(byte);
            break;
        }
        head.push(byte | 0x80);
    }
    head.push(0x0b);
    head
}

fn leb(mut value: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let byte = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            bytes.push(byte);
            return bytes;
        }
        bytes.push(byte | 0x80);
    }
}

fn read_leb(mut bytes: &[u8]) -> (usize, &[u8]) {
    let (mut value, mut shift) = (0, 0);
    loop {
        let (&byte, after) = bytes.split_first().expect("length");
        value |= usize::from(byte & 0x7f) << shift;
        shift += 7;
        bytes = after;
        if byte < 0x80 {
            return (value, bytes);
        }
    }
}

/// Tables of one rule that speaks about everybody and everything.
pub(super) fn one_rule(effect: Effect) -> Vec<u8> {
    let matches = Match { departments: Departments::All, ..Match::default() };
    let policy = Policy {
        name: "policy".into(),
        target: Target::Resources { names: vec![], match_labels: BTreeMap::new() },
        mode: Mode::Enforce,
        rules: vec![Rule { name: "rule".into(), effect, matches, when: None }],
    };
    let scope = Scope::Department("yiwu".parse().expect("code"));
    let (tables, rules, problems) = compile_tables(&Input { scope, policies: &[policy] });
    assert_eq!((rules.len(), problems.len()), (1, 0));
    tables
}

/// A class A module that allows (or refuses) everything by its only rule.
pub(super) fn class_a(effect: Effect) -> Assembly {
    Assembly::evaluator().pages(3, 3).table(layout::TABLE_BASE, &one_rule(effect))
}

/// A question all proofs ask.
pub(super) struct Question {
    pub(super) subject: PreparedSubject,
    owner: DepartmentCode,
    resource: ResourceName,
    labels: BTreeMap<Box<str>, Box<str>>,
    path: String,
}

impl Question {
    pub(super) fn new(name: &str, path: &str) -> Self {
        let subject = Subject {
            department: "yiwu".parse().expect("code"),
            name: name.parse().expect("name"),
            uid: "3f0c".parse::<Uid>().expect("uid"),
            unit: "Ward 3".into(),
            groups: vec![],
            attributes: BTreeMap::new(),
            device: Device::Browser,
            factors: 1,
            source: [192, 0, 2, 7].into(),
        };
        Self {
            subject: PreparedSubject::new(&subject).expect("fits"),
            owner: "yiwu".parse().expect("code"),
            resource: "records".parse().expect("name"),
            labels: BTreeMap::new(),
            path: path.to_owned(),
        }
    }

    pub(super) fn ask(&self, worker: &mut Worker, module: &PolicyModule) -> Result<Verdict, Fault> {
        let request = Request {
            owner: &self.owner,
            resource: &self.resource,
            labels: &self.labels,
            host: "records.example",
            port: 443,
            method: "GET",
            path: &self.path,
        };
        let local = LocalTime { utc_minute: 29_000_000, weekday: Weekday::Tue, minute_of_day: 600 };
        worker.evaluate(module, Side::Owner, &self.subject, &request, local)
    }
}

/// A department that must not notice anything of what its neighbour does.
pub(super) struct Neighbour(PolicyModule);

impl Neighbour {
    pub(super) fn loaded(library: &Library) -> Self {
        let module = module(&class_a(Effect::Allow).bytes(), 1);
        library.load(&module.digest, &module.wasm).expect("a class A module");
        Self(module)
    }

    /// Its decisions are what they always are.
    pub(super) fn is_well(&self, worker: &mut Worker) {
        let verdict = Question::new("wangfang", "/neighbour").ask(worker, &self.0).expect("a verdict");
        assert_eq!(verdict.effect, Some(Effect::Allow));
        assert_eq!(verdict.rule, 0);
    }
}

/// Loads bytes the way a gateway does, beside a neighbour that is well before and after.
pub(super) fn load(wasm: &[u8]) -> Result<(), LoadError> {
    static SHARED: LazyLock<(Arc<Library>, Neighbour)> = LazyLock::new(|| {
        let library = library();
        let neighbour = Neighbour::loaded(&library);
        (library, neighbour)
    });
    let (library, neighbour) = &*SHARED;
    let mut worker = Worker::new(Arc::clone(library));
    neighbour.is_well(&mut worker);
    let module = module(wasm, 1);
    let outcome = library.load(&module.digest, wasm);
    let answer = Question::new("wangfang", "/").ask(&mut worker, &module);
    assert_eq!(answer.is_ok(), outcome.is_ok(), "what was refused is denied: {answer:?}");
    neighbour.is_well(&mut worker);
    outcome
}
