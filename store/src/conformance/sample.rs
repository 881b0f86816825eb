//! Values to publish: one department written out by hand, and any number made from a seed.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tidegate_core::policy::{Effect, PortRange};
use tidegate_core::{
    Account, AccountState, Approval, Contact, Credential, Department, Endpoint, Generation, Hotline,
    Localized, LoginRules, Network, Person, Platform, PolicyModule, PolicyState, Resource, Review, RuleName,
    SessionRules, Source, Timestamp, UpstreamScheme, UpstreamTls, Web, Zone,
};

use crate::wire::digest_of;

/// Parses an id written in this file.
fn id<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().expect("a valid id")
}

/// A text in both languages.
#[must_use]
pub fn both(zh: &str, en: &str) -> Localized {
    Localized { zh_cn: Some(zh.into()), en: Some(en.into()) }
}

fn zone() -> Zone {
    Zone {
        name: "Asia/Shanghai".into(),
        offset: 28_800,
        transitions: [(Timestamp(1_800_000_000), 32_400), (Timestamp(1_810_000_000), 28_800)].into(),
    }
}

fn module(seed: u8) -> PolicyState {
    let wasm: Arc<[u8]> = [b"\0asm".as_slice(), &[seed; 64]].concat().into();
    let rules = vec![
        RuleName { policy: "access".into(), rule: "staff".into(), effect: Effect::Allow },
        RuleName { policy: "access".into(), rule: "no-trainees".into(), effect: Effect::Deny },
    ];
    PolicyState::Module(Arc::new(PolicyModule { digest: digest_of(&wasm), wasm, rules }))
}

/// A platform with a guardrail.
#[must_use]
pub fn platform() -> Platform {
    Platform {
        title: both("海口政务接入", "Haikou Access"),
        policy: module(7),
        zone: zone(),
        not_before: Timestamp(1_700_000_000),
        approvals_enforced: false,
    }
}

/// An account in use.
#[must_use]
pub fn account(department: &str, name: &str) -> Account {
    Account {
        source: Source { uid: id(&format!("uid-{department}-{}", name.replace('.', "-"))), generation: 3 },
        name: id(name),
        person: Person {
            display_name: "王芳".into(),
            unit: "养老保险科".into(),
            groups: vec![id(&format!("{department}/clerks")), id(&format!("{department}/staff"))],
            attributes: BTreeMap::from([("level".into(), "3".into())]),
        },
        state: AccountState::Active,
        approval: Some(Approval { by: "li.qiang".into(), until: Timestamp(1_795_000_000) }),
        review: Some(Review { by: "li.qiang".into(), until: Timestamp(1_799_000_000) }),
        valid_from: Some(Timestamp(1_760_000_000)),
        valid_until: None,
        credential: Some(Credential {
            version: 2,
            epoch: 5,
            password: Some("$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA".into()),
            history: vec!["$argon2id$old".into()],
            must_change: false,
            activation: Some([9; 32]),
            activation_until: Timestamp(1_770_000_000),
        }),
    }
}

/// A department with these people, one resource and two rules.
#[must_use]
pub fn department(code: &str, people: &[&str]) -> Department {
    let accounts: HashMap<_, _> =
        people.iter().map(|name| (id(name), Arc::new(account(code, name)))).collect();
    let pension = Resource {
        source: Source { uid: id(&format!("uid-{code}-pension")), generation: 1 },
        name: id("pension"),
        title: both("养老保险系统", "Pension records"),
        description: both("查询与申报", "Look up and file"),
        category: both("业务系统", "Systems"),
        icon: "document".into(),
        contact: Contact {
            office: both("信息科", "IT office"),
            phone: "0898-12345678".into(),
            hours: both("工作日 8:30-17:30", "Weekdays 8:30 to 17:30"),
        },
        labels: BTreeMap::from([("tier".into(), "core".into())]),
        visible: true,
        endpoint: Endpoint::Web(Web {
            scheme: UpstreamScheme::Https,
            host: "pension.example".into(),
            port: 8443,
            start_path: "/app/".into(),
            tls: UpstreamTls {
                ca_pem: Some("-----BEGIN CERTIFICATE-----\n".into()),
                pin: Some([1; 32]),
                server_name: Some("pension.internal".into()),
            },
        }),
    };
    Department {
        source: Source { uid: id(&format!("uid-{code}")), generation: 4 },
        generation: Generation::default(),
        code: id(code),
        title: both("社会保险局", "Social Insurance Bureau"),
        notice: both("请妥善保管密码。", "Keep your password safe."),
        hotline: Hotline { phone: "12333".into(), hours: both("全天", "All day") },
        zone: zone(),
        networks: vec![id("10.20.0.0/16"), id("fd00:20::/32")],
        resolvers: vec![id("10.20.0.53:53"), id("[fd00:20::53]:53")],
        login: LoginRules { password_max_age_days: 90 },
        session: SessionRules { idle_s: 1_800, absolute_s: 28_800 },
        accounts,
        resources: BTreeMap::from([(pension.name.clone(), Arc::new(pension))]),
        policy: module(1),
    }
}

/// Numbers from a seed (SplitMix64): the same on every machine.
#[derive(Debug)]
pub struct Dice(pub u64);

impl Dice {
    /// The next number.
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.roll() % end.max(1)
    }

    fn maybe<T>(&mut self, value: impl FnOnce(&mut Self) -> T) -> Option<T> {
        (self.below(2) == 0).then(|| value(self))
    }

    fn text(&mut self) -> Box<str> {
        const LETTERS: [char; 8] = ['a', 'Z', '0', ' ', '海', '\u{0}', '"', '😀'];
        let len = self.below(12);
        (0..len)
            .filter_map(|_| LETTERS.get(usize::try_from(self.below(8)).unwrap_or(0)))
            .collect::<String>()
            .into()
    }

    fn localized(&mut self) -> Localized {
        Localized { zh_cn: self.maybe(Self::text), en: self.maybe(Self::text) }
    }

    fn time(&mut self) -> Timestamp {
        Timestamp(self.roll().cast_signed())
    }

    fn digest(&mut self) -> [u8; 32] {
        digest_of(&self.roll().to_be_bytes())
    }

    fn pairs(&mut self) -> BTreeMap<Box<str>, Box<str>> {
        (0..self.below(4)).map(|_| (self.text(), self.text())).collect()
    }

    fn credential(&mut self) -> Credential {
        Credential {
            version: self.roll(),
            epoch: self.roll(),
            password: self.maybe(Self::text),
            history: (0..self.below(6)).map(|_| self.text()).collect(),
            must_change: self.below(2) == 0,
            activation: self.maybe(Self::digest),
            activation_until: self.time(),
        }
    }

    fn account(&mut self, name: &str) -> Account {
        let states =
            [AccountState::Active, AccountState::Suspended, AccountState::Left, AccountState::Invalid];
        let state = usize::try_from(self.below(4)).ok().and_then(|n| states.get(n)).copied();
        let mut groups: Vec<_> =
            (0..self.below(4)).map(|_| id(&format!("sbj/g{}", self.below(99)))).collect();
        groups.sort();
        Account {
            source: Source { uid: id(&format!("u{:x}", self.roll())), generation: self.roll().cast_signed() },
            name: id(name),
            person: Person { display_name: self.text(), unit: self.text(), groups, attributes: self.pairs() },
            state: state.unwrap_or(AccountState::Invalid),
            approval: self.maybe(|dice| Approval { by: dice.text(), until: dice.time() }),
            review: self.maybe(|dice| Review { by: dice.text(), until: dice.time() }),
            valid_from: self.maybe(Self::time),
            valid_until: self.maybe(Self::time),
            credential: self.maybe(Self::credential),
        }
    }

    fn endpoint(&mut self) -> Endpoint {
        if self.below(3) == 0 {
            let hosts = (0..=self.below(3)).map(|_| self.text()).collect();
            let mut ends = || u16::try_from(self.below(65_536)).unwrap_or(0);
            let (one, other) = (ends(), ends());
            let ports = vec![PortRange { from: one.min(other), to: one.max(other) }];
            return Endpoint::Network(Network { hosts, ports });
        }
        Endpoint::Web(Web {
            scheme: self.maybe(|_| UpstreamScheme::Http).unwrap_or(UpstreamScheme::Https),
            host: self.text(),
            port: self.below(65_536).try_into().unwrap_or(0),
            start_path: format!("/{}", self.text()).into(),
            tls: UpstreamTls {
                ca_pem: self.maybe(Self::text),
                pin: self.maybe(Self::digest),
                server_name: self.maybe(Self::text),
            },
        })
    }

    /// Any department, with at most `people` accounts.
    pub fn department(&mut self, people: u64) -> Department {
        let mut made = department("sbj", &[]);
        for number in 0..self.below(people + 1) {
            let account = self.account(&format!("p{number}"));
            made.accounts.insert(account.name.clone(), Arc::new(account));
        }
        for number in 0..self.below(5) {
            let name = format!("r{number}");
            let resource = Resource {
                source: Source { uid: id(&format!("u{:x}", self.roll())), generation: 1 },
                name: id(&name),
                title: self.localized(),
                description: self.localized(),
                category: self.localized(),
                icon: self.text(),
                contact: Contact { office: self.localized(), phone: self.text(), hours: self.localized() },
                labels: self.pairs(),
                visible: self.below(2) == 0,
                endpoint: self.endpoint(),
            };
            made.resources.insert(resource.name.clone(), Arc::new(resource));
        }
        made.title = self.localized();
        made.notice = self.localized();
        made.policy = match self.below(3) {
            0 => PolicyState::Absent,
            1 => PolicyState::Broken,
            _ => module(self.below(256).try_into().unwrap_or(0)),
        };
        made
    }
}
