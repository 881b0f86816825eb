//! A manifest: which parts make a department (or the platform), and who can read them.

use minicbor::bytes::ByteArray;
use minicbor::{Decode, Encode};
use tidegate_core::policy::Effect;
use tidegate_core::{Generation, RuleName};

use super::common::{from_bytes, list, text, to_bytes};
use crate::StoreResult;
use crate::wire::{Digest, READER, bounds, unreadable};

/// Which parts make a department, or the platform (which has no shards and no resources).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// When the newest of its parts was published.
    pub generation: Generation,
    /// Its settings.
    pub settings: Part,
    /// Its account shards, 2ᵏ of them in the order of their number.
    pub shards: Vec<Part>,
    /// Its resources.
    pub resources: Option<Part>,
    /// Its rules.
    pub policy: PolicyParts,
}

/// The name and length of a part; the length is known before anything is fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// SHA-256 of its bytes.
    pub digest: Digest,
    /// How many bytes it has.
    pub len: u64,
}

/// The parts of compiled rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyParts {
    /// No rules.
    Absent,
    /// A module and the names of its rules.
    Module {
        /// The module's bytes.
        module: Part,
        /// The names.
        rules: Part,
    },
    /// Rules that cannot be loaded.
    Broken,
}

impl Manifest {
    /// Every part it names.
    pub fn parts(&self) -> impl Iterator<Item = Part> {
        let policy = match self.policy {
            PolicyParts::Module { module, rules } => [Some(module), Some(rules)],
            PolicyParts::Absent | PolicyParts::Broken => [None, None],
        };
        [Some(self.settings), self.resources]
            .into_iter()
            .chain(policy)
            .flatten()
            .chain(self.shards.iter().copied())
    }

    /// The parts that have to be read beside the value of an earlier manifest. What it has is shared only where it is
    /// in the same place: two parts may well have the same bytes, such as those that are empty.
    pub fn unshared(&self, before: Option<&Self>) -> impl Iterator<Item = Part> {
        let resources =
            self.resources.filter(|_| before.is_none_or(|before| before.resources != self.resources));
        let policy = match self.policy {
            PolicyParts::Module { module, rules }
                if before.is_none_or(|before| before.policy != self.policy) =>
            {
                [Some(module), Some(rules)]
            }
            _ => [None, None],
        };
        // In another number of shards every account lies elsewhere.
        let shards = before.map_or(&[][..], |before| &before.shards);
        let shards = if shards.len() == self.shards.len() { shards } else { &[] };
        let changed =
            self.shards.iter().enumerate().filter(|(number, part)| shards.get(*number) != Some(*part));
        [Some(self.settings), resources]
            .into_iter()
            .chain(policy)
            .flatten()
            .chain(changed.map(|(_, part)| *part))
    }

    /// Whether both name the same parts, whenever they were published.
    #[must_use]
    pub fn same_parts(&self, other: &Self) -> bool {
        self.settings == other.settings
            && self.shards == other.shards
            && self.resources == other.resources
            && self.policy == other.policy
    }
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct Wire {
    #[n(0)]
    min_reader: u32,
    #[n(1)]
    term: u64,
    #[n(2)]
    sequence: u64,
    #[n(3)]
    settings: WirePart,
    #[n(4)]
    shards: Vec<WirePart>,
    #[n(5)]
    resources: Option<WirePart>,
    #[n(6)]
    policy: u8,
    #[n(7)]
    module: Option<WirePart>,
    #[n(8)]
    rules: Option<WirePart>,
}

/// All a reader may rely on in a manifest that is not for it.
#[derive(Decode)]
#[cbor(map)]
struct MinReader {
    #[n(0)]
    min_reader: u32,
}

/// An array, not a map: a large department has thousands of them.
#[derive(Encode, Decode)]
struct WirePart {
    #[n(0)]
    digest: ByteArray<32>,
    #[n(1)]
    len: u64,
}

impl From<Part> for WirePart {
    fn from(part: Part) -> Self {
        Self { digest: part.digest.into(), len: part.len }
    }
}

fn part(wire: WirePart) -> StoreResult<Part> {
    if wire.len > bounds::PART as u64 {
        return Err(unreadable(format_args!("a part of {} bytes, at most {}", wire.len, bounds::PART)));
    }
    Ok(Part { digest: *wire.digest, len: wire.len })
}

/// The bytes of a manifest.
#[must_use]
pub fn encode_manifest(manifest: &Manifest) -> Vec<u8> {
    let (policy, module, rules) = match manifest.policy {
        PolicyParts::Absent => (0, None, None),
        PolicyParts::Module { module, rules } => (1, Some(module.into()), Some(rules.into())),
        PolicyParts::Broken => (2, None, None),
    };
    to_bytes(&Wire {
        min_reader: READER,
        term: manifest.generation.term,
        sequence: manifest.generation.sequence,
        settings: manifest.settings.into(),
        shards: manifest.shards.iter().map(|part| WirePart::from(*part)).collect(),
        resources: manifest.resources.map(WirePart::from),
        policy,
        module,
        rules,
    })
}

/// A manifest.
///
/// # Errors
/// When it needs a newer reader, or the bytes are not a manifest within [`bounds`].
pub fn decode_manifest(bytes: &[u8]) -> StoreResult<Manifest> {
    let MinReader { min_reader } = from_bytes(bytes, bounds::MANIFEST, "manifest")?;
    if min_reader > READER {
        return Err(unreadable(format_args!("the manifest needs reader {min_reader}, this one is {READER}")));
    }
    let wire: Wire = from_bytes(bytes, bounds::MANIFEST, "manifest")?;
    let shards = list(wire.shards, 1 << bounds::SHARD_BITS, part)?;
    if !shards.is_empty() && !shards.len().is_power_of_two() {
        return Err(unreadable(format_args!("{} shards", shards.len())));
    }
    Ok(Manifest {
        generation: Generation { term: wire.term, sequence: wire.sequence },
        settings: part(wire.settings)?,
        shards,
        resources: wire.resources.map(part).transpose()?,
        policy: match (wire.policy, wire.module, wire.rules) {
            (0, None, None) => PolicyParts::Absent,
            (1, Some(module), Some(rules)) => {
                PolicyParts::Module { module: part(module)?, rules: part(rules)? }
            }
            (2, None, None) => PolicyParts::Broken,
            (other, ..) => return Err(unreadable(format_args!("policy state {other}"))),
        },
    })
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct Rules<'b> {
    #[b(0)]
    rules: Vec<Rule<'b>>,
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct Rule<'b> {
    #[b(0)]
    policy: &'b str,
    #[b(1)]
    rule: &'b str,
    #[n(2)]
    deny: bool,
}

/// The bytes of a module's rule names.
#[must_use]
pub fn encode_rules(rules: &[RuleName]) -> Vec<u8> {
    let rules = rules
        .iter()
        .map(|r| Rule { policy: &r.policy, rule: &r.rule, deny: r.effect == Effect::Deny })
        .collect();
    to_bytes(&Rules { rules })
}

/// A module's rule names, by the index its verdicts carry.
///
/// # Errors
/// When the bytes are not rule names within [`bounds`].
pub fn decode_rules(bytes: &[u8]) -> StoreResult<Vec<RuleName>> {
    let wire: Rules<'_> = from_bytes(bytes, bounds::PART, "rules")?;
    list(wire.rules, bounds::RULES, |rule| {
        Ok(RuleName {
            policy: text(rule.policy, bounds::NAME)?,
            rule: text(rule.rule, bounds::NAME)?,
            effect: if rule.deny { Effect::Deny } else { Effect::Allow },
        })
    })
}
