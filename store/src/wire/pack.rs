//! A department as parts and a manifest, and back.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate_core::{
    Account, Department, DepartmentCode, Generation, Platform, PolicyModule, PolicyState, Uid,
};

use super::v1::{self, Manifest, Part, PolicyParts};
use super::{Digest, bounds, digest_of, unreadable};
use crate::{StoreError, StoreResult};

/// Parts by name.
pub type Blobs = BTreeMap<Digest, Arc<[u8]>>;

/// A department or the platform, ready to be written.
#[derive(Clone, Debug)]
pub struct Packed {
    /// Its manifest; whoever publishes it fills in the generation.
    pub manifest: Manifest,
    /// The parts the manifest names.
    pub blobs: Blobs,
}

/// What was unpacked before, so that parts which did not change are shared instead of decoded.
#[derive(Debug)]
pub struct Previous<'a, T> {
    /// Its manifest.
    pub manifest: &'a Manifest,
    /// The value.
    pub value: &'a T,
}

impl<T> Clone for Previous<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Previous<'_, T> {}

/// The number of the shard, of 2ᵇⁱᵗˢ, that holds the account with this UID.
fn shard_of(uid: &Uid, bits: u32) -> usize {
    let [a, b, ..] = digest_of(uid.as_str().as_bytes());
    usize::from(u16::from_be_bytes([a, b])) >> (16 - bits)
}

struct Packer {
    blobs: Blobs,
}

impl Packer {
    fn add(&mut self, bytes: impl Into<Arc<[u8]>>) -> StoreResult<Part> {
        let bytes = bytes.into();
        if bytes.len() > bounds::PART {
            return Err(StoreError::Full { what: "bytes in a part", most: bounds::PART });
        }
        let part = Part { digest: digest_of(&bytes), len: bytes.len() as u64 };
        self.blobs.insert(part.digest, bytes);
        Ok(part)
    }

    fn policy(&mut self, policy: &PolicyState) -> StoreResult<PolicyParts> {
        Ok(match policy {
            PolicyState::Absent => PolicyParts::Absent,
            PolicyState::Broken => PolicyParts::Broken,
            PolicyState::Module(module) => {
                if module.rules.len() > bounds::RULES {
                    return Err(StoreError::Full { what: "rules", most: bounds::RULES });
                }
                PolicyParts::Module {
                    module: self.add(Arc::clone(&module.wasm))?,
                    rules: self.add(v1::encode_rules(&module.rules))?,
                }
            }
        })
    }

    /// Shards of at most [`bounds::SHARD_ACCOUNTS`] accounts on average and [`bounds::SHARD_BYTES`] each.
    /// The number of shards follows from the content alone.
    fn shards(&mut self, department: &Department) -> StoreResult<Vec<Part>> {
        let mut accounts: Vec<&Account> = department.accounts.values().map(|a| &**a).collect();
        accounts.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        let wanted = accounts.len().div_ceil(bounds::SHARD_ACCOUNTS).next_power_of_two();
        let mut bits = wanted.trailing_zeros();
        while bits <= bounds::SHARD_BITS {
            let mut shards: Vec<Vec<&Account>> = vec![Vec::new(); 1 << bits];
            for account in &accounts {
                if let Some(shard) = shards.get_mut(shard_of(&account.source.uid, bits)) {
                    shard.push(account);
                }
            }
            let encoded: Vec<Vec<u8>> = shards.iter().map(|shard| v1::encode_accounts(shard)).collect();
            let fits = encoded.iter().all(|bytes| bytes.len() <= bounds::SHARD_BYTES);
            if fits || bits == bounds::SHARD_BITS {
                return encoded.into_iter().map(|bytes| self.add(bytes)).collect();
            }
            bits += 1;
        }
        Err(StoreError::Full { what: "accounts", most: bounds::SHARD_ACCOUNTS << bounds::SHARD_BITS })
    }
}

/// The parts and manifest of a department.
///
/// # Errors
/// When it is larger than [`bounds`] allow.
pub fn pack_department(department: &Department) -> StoreResult<Packed> {
    if department.resources.len() > bounds::RESOURCES {
        return Err(StoreError::Full { what: "resources", most: bounds::RESOURCES });
    }
    let mut packer = Packer { blobs: Blobs::new() };
    let manifest = Manifest {
        generation: Generation::default(),
        settings: packer.add(v1::encode_settings(department))?,
        shards: packer.shards(department)?,
        resources: Some(packer.add(v1::encode_resources(&department.resources))?),
        policy: packer.policy(&department.policy)?,
    };
    Ok(Packed { manifest, blobs: packer.blobs })
}

/// The parts and manifest of the platform.
///
/// # Errors
/// When it is larger than [`bounds`] allow.
pub fn pack_platform(platform: &Platform) -> StoreResult<Packed> {
    let mut packer = Packer { blobs: Blobs::new() };
    let manifest = Manifest {
        generation: Generation::default(),
        settings: packer.add(v1::encode_platform(platform))?,
        shards: Vec::new(),
        resources: None,
        policy: packer.policy(&platform.policy)?,
    };
    Ok(Packed { manifest, blobs: packer.blobs })
}

/// Fetches a part and holds it against its name.
fn fetch(part: Part, source: &dyn Fn(Part) -> StoreResult<Arc<[u8]>>) -> StoreResult<Arc<[u8]>> {
    let bytes = source(part)?;
    if bytes.len() as u64 == part.len && digest_of(&bytes) == part.digest {
        Ok(bytes)
    } else {
        Err(unreadable("a part does not have the bytes its name says"))
    }
}

fn unpack_policy(
    parts: PolicyParts,
    source: &dyn Fn(Part) -> StoreResult<Arc<[u8]>>,
    previous: Option<(PolicyParts, &PolicyState)>,
) -> StoreResult<PolicyState> {
    if let Some((before, state)) = previous
        && before == parts
    {
        return Ok(state.clone());
    }
    Ok(match parts {
        PolicyParts::Absent => PolicyState::Absent,
        PolicyParts::Broken => PolicyState::Broken,
        PolicyParts::Module { module, rules } => PolicyState::Module(Arc::new(PolicyModule {
            digest: module.digest,
            wasm: fetch(module, source)?,
            rules: v1::decode_rules(&fetch(rules, source)?)?,
        })),
    })
}

/// The platform a manifest names.
///
/// # Errors
/// When a part is missing, or is not what its name says, or cannot be read.
pub fn unpack_platform(
    manifest: &Manifest,
    source: &dyn Fn(Part) -> StoreResult<Arc<[u8]>>,
    previous: Option<Previous<'_, Platform>>,
) -> StoreResult<Platform> {
    let mut platform = v1::decode_platform(&fetch(manifest.settings, source)?)?;
    let before = previous.map(|p| (p.manifest.policy, &p.value.policy));
    platform.policy = unpack_policy(manifest.policy, source, before)?;
    Ok(platform)
}

/// The department a manifest names; `code` is where the manifest was found.
///
/// # Errors
/// When a part is missing, or is not what its name says, or cannot be read, or the parts disagree.
pub fn unpack_department(
    code: &DepartmentCode,
    manifest: &Manifest,
    source: &dyn Fn(Part) -> StoreResult<Arc<[u8]>>,
    previous: Option<Previous<'_, Department>>,
) -> StoreResult<Department> {
    let mut department = v1::decode_settings(&fetch(manifest.settings, source)?)?;
    if department.code != *code {
        return Err(unreadable(format_args!("department {code} holds parts of {}", department.code)));
    }
    department.generation = manifest.generation;
    department.resources = match (manifest.resources, previous) {
        (None, _) => BTreeMap::new(),
        (Some(part), Some(p)) if p.manifest.resources == Some(part) => p.value.resources.clone(),
        (Some(part), _) => v1::decode_resources(&fetch(part, source)?)?,
    };
    let before = previous.map(|p| (p.manifest.policy, &p.value.policy));
    department.policy = unpack_policy(manifest.policy, source, before)?;
    unpack_accounts(&mut department, manifest, source, previous)?;
    Ok(department)
}

fn unpack_accounts(
    department: &mut Department,
    manifest: &Manifest,
    source: &dyn Fn(Part) -> StoreResult<Arc<[u8]>>,
    previous: Option<Previous<'_, Department>>,
) -> StoreResult<()> {
    let bits = manifest.shards.len().max(1).trailing_zeros();
    let mut changed = vec![true; manifest.shards.len()];
    if let Some(p) = previous.filter(|p| p.manifest.shards.len() == manifest.shards.len()) {
        for ((changed, now), before) in changed.iter_mut().zip(&manifest.shards).zip(&p.manifest.shards) {
            *changed = now != before;
        }
        department.accounts.clone_from(&p.value.accounts);
        department
            .accounts
            .retain(|_, a| !changed.get(shard_of(&a.source.uid, bits)).copied().unwrap_or(true));
    }
    for (number, part) in manifest.shards.iter().enumerate() {
        if !changed.get(number).copied().unwrap_or(true) {
            continue;
        }
        for account in v1::decode_accounts(&fetch(*part, source)?)? {
            if shard_of(&account.source.uid, bits) != number {
                return Err(unreadable(format_args!("account {} lies in the wrong shard", account.name)));
            }
            if let Some(twice) = department.accounts.insert(account.name.clone(), account) {
                return Err(unreadable(format_args!("account {} is there twice", twice.name)));
            }
        }
    }
    Ok(())
}
