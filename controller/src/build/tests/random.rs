//! After any sequence of changes, what was kept is what a build from nothing comes to.

use tidegate_core::Uid;
use tidegate_store::{Intent, IntentAction, IntentId};

use super::*;

/// Numbers that are the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }
}

const DEPARTMENTS: [&str; 3] = ["sbj", "rsj", "jyj"];

/// The objects, each with its UID and generation, as a cluster has them.
#[derive(Default)]
struct Objects {
    written: BTreeMap<ObjectKey, (Value, Uid, i64)>,
    config_maps: ConfigMaps,
    uids: usize,
}

impl Objects {
    fn write(&mut self, key: ObjectKey, spec: Value) {
        self.uids += 1;
        let new = (Value::Null, format!("uid-{}", self.uids).parse().unwrap(), 0);
        let (known, _, generation) = self.written.entry(key).or_insert(new);
        if *known != spec {
            (*known, *generation) = (spec, *generation + 1);
        }
    }

    fn change(&mut self, numbers: &mut Numbers, now: Timestamp) {
        let code = DEPARTMENTS[numbers.below(DEPARTMENTS.len())];
        let namespace = format!("dept-{code}");
        let name = format!("n{}", numbers.below(4));
        let key = |kind| ObjectKey::new(kind, &namespace, &name);
        let until = crate::time::rfc3339(now.plus(DAY * i64::try_from(numbers.below(4)).unwrap()));
        let user = json!({"request": {"person": "人"}, "requestedBy": "wang", "approval": {"by": "zhang"}});
        match numbers.below(13) {
            0 | 1 => self.write(key(ObjectKind::VpnUser), user),
            2 => self.write(key(ObjectKind::VpnUser), with(user, "/state", json!("Suspended"))),
            3 => self.write(key(ObjectKind::VpnUser), with(user, "/request/validUntil", json!(until))),
            4 => self.write(key(ObjectKind::VpnUser), json!({"broken": true})),
            5 => {
                self.write(key(ObjectKind::Resource), resource(u16::try_from(80 + numbers.below(3)).unwrap()))
            }
            6 => {
                let tls = json!({"caConfigMap": {"name": "ca", "key": "ca.crt"}});
                let spec =
                    json!({"names": {"zh-CN": "费"}, "web": {"url": "https://10.20.1.1/", "tls": tls}});
                self.write(key(ObjectKind::Resource), spec);
            }
            7 => self.write(key(ObjectKind::AccessPolicy), allow(None)),
            8 => self.write(key(ObjectKind::AccessPolicy), allow(Some("user.unit = 'x' +"))),
            9 => {
                let mut spec = department(&name);
                spec["code"] = json!(code);
                self.write(ObjectKey::new(ObjectKind::Department, "", code), spec);
            }
            10 => {
                let entry = (namespace.clone(), "ca".to_owned(), "ca.crt".to_owned());
                let pem = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
                if self.config_maps.remove(&entry).is_none() {
                    self.config_maps.insert(entry, pem.to_owned());
                }
            }
            11 => {
                let rule = json!({"name": "night", "effect": "Deny", "match": {"methods": ["DELETE"]}});
                self.write(
                    ObjectKey::new(ObjectKind::ClusterAccessPolicy, "", &name),
                    json!({"rules": [rule]}),
                );
            }
            _ => {
                let keys: Vec<_> = self.written.keys().cloned().collect();
                if let Some(key) = keys.get(numbers.below(keys.len().max(1))) {
                    self.written.remove(key);
                }
            }
        }
    }

    fn reading(&self) -> Reading {
        let found = self.written.iter().map(|(key, (spec, uid, generation))| {
            let mut metadata = json!({"name": &*key.name});
            if key.kind.namespaced() {
                metadata["namespace"] = json!(&*key.namespace);
            }
            let value = json!({"apiVersion": tidegate_crd::API_VERSION, "kind": key.kind.as_str(),
                "metadata": metadata, "spec": spec});
            let identity = Some(tidegate_core::Source { uid: uid.clone(), generation: *generation });
            (key.clone(), Found { identity, ..Found::of(value) })
        });
        Reading::of(found, self.config_maps.clone())
    }
}

/// A builder, and what it needs.
struct Side {
    dir: TempDir,
    state: State,
    builder: Builder,
    published: Published,
}

impl Side {
    fn new(like: Option<&Self>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        if let Some(like) = like {
            std::fs::create_dir(dir.path().join("keys")).unwrap();
            std::fs::copy(like.dir.path().join("keys/root"), dir.path().join("keys/root")).unwrap();
        }
        let state = State::open(dir.path()).unwrap();
        let builder = load(&state);
        Self { dir, state, builder, published: Published::default() }
    }

    fn round(&mut self, reading: &Reading, now: Timestamp) -> String {
        let effects = self.builder.take(reading, &self.state, now).unwrap();
        let lost = self.builder.losses(&self.published, now);
        assert!(self.builder.save(&self.state).unwrap().is_empty());
        self.builder.build(&self.published, &self.state).unwrap();
        self.published.platform = self.builder.platform();
        self.published.departments = self.builder.departments();
        let statuses: Vec<_> =
            reading.objects().map(|(key, _)| (key, self.builder.status(key, now))).collect();
        let problems: usize = self.builder.tenants().map(|(_, kept)| kept.compile_problems()).sum();
        let counts: Vec<_> = self.builder.tenants().filter(|(_, kept)| !kept.counts().is_empty()).collect();
        let counts: Vec<_> = counts.iter().map(|(name, kept)| (name, kept.counts())).collect();
        let forms: Vec<_> = self.builder.last_good.all().collect();
        let departments: Vec<String> = self.published.departments.values().map(shown).collect();
        let lost = lost.into_iter().flat_map(|lost| lost.departments);
        let lost: Vec<String> = lost
            .map(|change| match change {
                Change::Put(department) => shown(&department),
                Change::Remove(code) => format!("without {code}"),
            })
            .collect();
        let told = format!("{effects:?}\n{lost:?}\n{departments:?}\n{:?}\n", self.published.platform);
        let told = format!("{told}{statuses:?}\n{problems}\n{counts:?}\n{forms:?}");
        self.builder.done(&self.published);
        self.builder.forget_gone(&self.state).unwrap();
        told
    }

    fn activate(&mut self, reading: &Reading, numbers: usize, now: Timestamp) {
        let accounts = reading.objects().filter(|(key, _)| key.kind == ObjectKind::VpnUser);
        let accounts: Vec<_> = accounts.collect();
        let Some((key, found)) = accounts.get(numbers % accounts.len().max(1)) else { return };
        let uid = found.identity.as_ref().unwrap().uid.clone();
        let Some(record) = self.builder.vault.record(&uid) else { return };
        let Some(issue) = record.activation().map(|activation| activation.issue) else { return };
        let code = crate::activation::ActivationCode::derive(self.state.root_key(), &uid, issue).digest();
        let code_of = department_of(&key.namespace).unwrap();
        let intent = Intent {
            id: IntentId(u128::try_from(now.0).unwrap()),
            account: AccountId { department: code_of.clone(), name: key.name.parse().unwrap() },
            uid,
            replaces: record.published().version,
            action: IntentAction::Activate {
                code,
                password: "$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$x".into(),
            },
            at: now,
        };
        let _ = self.builder.vault.intend(&self.state, &intent, now).unwrap();
        self.builder.touch(&code_of);
    }
}

fn load(state: &State) -> Builder {
    let settings = Settings {
        title: Localized::default(),
        zone: Zone::utc(),
        not_before: Timestamp(0),
        approvals_enforced: true,
    };
    Builder::load(state, settings).unwrap().0
}

/// A department with its accounts in order.
fn shown(department: &Arc<Department>) -> String {
    let accounts: BTreeMap<_, _> = department.accounts.iter().collect();
    format!("{accounts:?} {:?}", Department { accounts: Default::default(), ..Department::clone(department) })
}

#[test]
fn what_is_kept_is_what_a_build_from_nothing_comes_to() {
    for seed in 0..6 {
        let mut numbers = Numbers(seed);
        let mut objects = Objects::default();
        let mut kept = Side::new(None);
        let mut anew = Side::new(Some(&kept));
        let mut now = NOW;
        let mut before = Reading::default();
        for step in 0..60 {
            for _ in 0..numbers.below(3) {
                objects.change(&mut numbers, now);
            }
            let mut reading = objects.reading();
            let shared = {
                reading.share_with(&before);
                &reading
            };
            let person = numbers.below(20);
            kept.activate(shared, person, now);
            anew.activate(shared, person, now);
            match numbers.below(12) {
                0 => kept.builder = load(&kept.state),
                1 => kept.builder.forget(),
                _ => {}
            }
            anew.builder.forget();
            let (one, other) = (kept.round(shared, now), anew.round(shared, now));
            assert!(one == other, "seed {seed}, step {step}\n{one}\n--- from nothing\n{other}");
            now = now.plus([1, 60, DAY, 40 * DAY][numbers.below(4)]);
            before = reading;
        }
    }
}
