//! A shard of a department's accounts.

use std::sync::Arc;

use minicbor::bytes::ByteArray;
use minicbor::{Decode, Encode};
use tidegate_core as model;
use tidegate_core::{AccountState, Timestamp};

use super::common::{Pairs, Source, from_bytes, id, list, optional_text, pairs, pairs_of, text, to_bytes};
use crate::wire::{bounds, unreadable};
use crate::{StoreError, StoreResult};

#[derive(Encode, Decode)]
#[cbor(map)]
struct Shard<'b> {
    #[b(0)]
    accounts: Vec<Account<'b>>,
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct Account<'b> {
    #[b(0)]
    source: Source<'b>,
    #[b(1)]
    name: &'b str,
    #[b(2)]
    display_name: &'b str,
    #[b(3)]
    unit: &'b str,
    #[b(4)]
    groups: Vec<&'b str>,
    #[b(5)]
    attributes: Pairs<'b>,
    #[n(6)]
    state: u8,
    #[b(7)]
    approval: Option<Word<'b>>,
    #[b(8)]
    review: Option<Word<'b>>,
    #[n(9)]
    valid_from: Option<i64>,
    #[n(10)]
    valid_until: Option<i64>,
    #[b(11)]
    credential: Option<Credential<'b>>,
}

/// Somebody's word and how long it counts: an approval, a review.
#[derive(Encode, Decode)]
#[cbor(map)]
struct Word<'b> {
    #[b(0)]
    by: &'b str,
    #[n(1)]
    until: i64,
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct Credential<'b> {
    #[n(0)]
    version: u64,
    #[n(1)]
    epoch: u64,
    #[b(2)]
    password: Option<&'b str>,
    #[b(3)]
    history: Vec<&'b str>,
    #[n(4)]
    must_change: bool,
    #[n(5)]
    activation: Option<ByteArray<32>>,
    #[n(6)]
    activation_until: i64,
}

impl<'b> From<&'b model::Account> for Account<'b> {
    fn from(value: &'b model::Account) -> Self {
        Self {
            source: (&value.source).into(),
            name: value.name.as_str(),
            display_name: &value.person.display_name,
            unit: &value.person.unit,
            groups: value.person.groups.iter().map(|group| group.as_str()).collect(),
            attributes: pairs_of(&value.person.attributes),
            state: match value.state {
                AccountState::Active => 0,
                AccountState::Suspended => 1,
                AccountState::Left => 2,
                AccountState::Invalid => 3,
            },
            approval: value.approval.as_ref().map(|a| Word { by: &a.by, until: a.until.0 }),
            review: value.review.as_ref().map(|r| Word { by: &r.by, until: r.until.0 }),
            valid_from: value.valid_from.map(|at| at.0),
            valid_until: value.valid_until.map(|at| at.0),
            credential: value.credential.as_ref().map(Credential::from),
        }
    }
}

impl<'b> From<&'b model::Credential> for Credential<'b> {
    fn from(value: &'b model::Credential) -> Self {
        Self {
            version: value.version,
            epoch: value.epoch,
            password: value.password.as_deref(),
            history: value.history.iter().map(|hash| &**hash).collect(),
            must_change: value.must_change,
            activation: value.activation.map(ByteArray::from),
            activation_until: value.activation_until.0,
        }
    }
}

impl TryFrom<Account<'_>> for model::Account {
    type Error = StoreError;

    fn try_from(wire: Account<'_>) -> StoreResult<Self> {
        let groups: Vec<model::GroupName> = list(wire.groups, bounds::LIST, id)?;
        if !groups.is_sorted() {
            return Err(unreadable("groups are not in order"));
        }
        let word = |word: Option<Word<'_>>| {
            word.map(|w| Ok::<_, StoreError>((text(w.by, bounds::NAME)?, Timestamp(w.until)))).transpose()
        };
        Ok(Self {
            source: wire.source.try_into()?,
            name: id(wire.name)?,
            person: model::Person {
                display_name: text(wire.display_name, bounds::NAME)?,
                unit: text(wire.unit, bounds::NAME)?,
                groups,
                attributes: pairs(wire.attributes)?,
            },
            state: match wire.state {
                0 => AccountState::Active,
                1 => AccountState::Suspended,
                2 => AccountState::Left,
                3 => AccountState::Invalid,
                other => return Err(unreadable(format_args!("account state {other}"))),
            },
            approval: word(wire.approval)?.map(|(by, until)| model::Approval { by, until }),
            review: word(wire.review)?.map(|(by, until)| model::Review { by, until }),
            valid_from: wire.valid_from.map(Timestamp),
            valid_until: wire.valid_until.map(Timestamp),
            credential: wire.credential.map(TryInto::try_into).transpose()?,
        })
    }
}

impl TryFrom<Credential<'_>> for model::Credential {
    type Error = StoreError;

    fn try_from(wire: Credential<'_>) -> StoreResult<Self> {
        Ok(Self {
            version: wire.version,
            epoch: wire.epoch,
            password: optional_text(wire.password, bounds::NAME)?,
            history: list(wire.history, Self::HISTORY_MAX, |hash| text(hash, bounds::NAME))?,
            must_change: wire.must_change,
            activation: wire.activation.map(|code| *code),
            activation_until: Timestamp(wire.activation_until),
        })
    }
}

/// The bytes of a shard; the caller gives the accounts in the order of their names.
#[must_use]
pub fn encode_accounts(accounts: &[&model::Account]) -> Vec<u8> {
    to_bytes(&Shard { accounts: accounts.iter().map(|account| Account::from(*account)).collect() })
}

/// The accounts of a shard.
///
/// # Errors
/// When the bytes are not a shard within [`bounds`].
pub fn decode_accounts(bytes: &[u8]) -> StoreResult<Vec<Arc<model::Account>>> {
    let shard: Shard<'_> = from_bytes(bytes, bounds::PART, "accounts")?;
    list(shard.accounts, bounds::ACCOUNTS_PER_SHARD, |account| Ok(Arc::new(account.try_into()?)))
}
