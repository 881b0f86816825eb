//! Pieces several parts share, and the checks every decoded value passes.

use std::collections::BTreeMap;
use std::str::FromStr;

use minicbor::{Decode, Encode};
use tidegate_core as model;
use tidegate_core::Timestamp;

use crate::StoreResult;
use crate::wire::{bounds, unreadable};

/// Encodes a value. Writing to memory cannot fail; if it did, no reader would take the empty bytes.
pub(super) fn to_bytes<T: Encode<()>>(value: &T) -> Vec<u8> {
    minicbor::to_vec(value).unwrap_or_default()
}

/// Decodes a value that must fill `bytes` to the last.
pub(super) fn from_bytes<'b, T: Decode<'b, ()>>(
    bytes: &'b [u8],
    most: usize,
    what: &'static str,
) -> StoreResult<T> {
    if bytes.len() > most {
        return Err(unreadable(format_args!("{what}: {} bytes, at most {most}", bytes.len())));
    }
    let mut decoder = minicbor::Decoder::new(bytes);
    let value = decoder.decode().map_err(|e| unreadable(format_args!("{what}: {e}")))?;
    if decoder.position() == bytes.len() {
        Ok(value)
    } else {
        Err(unreadable(format_args!("{what}: bytes after the end")))
    }
}

/// A text of at most `most` bytes.
pub(super) fn text(value: &str, most: usize) -> StoreResult<Box<str>> {
    if value.len() <= most {
        Ok(value.into())
    } else {
        Err(unreadable(format_args!("a text of {} bytes, at most {most}", value.len())))
    }
}

/// An optional text of at most `most` bytes.
pub(super) fn optional_text(value: Option<&str>, most: usize) -> StoreResult<Option<Box<str>>> {
    value.map(|value| text(value, most)).transpose()
}

/// An id, parsed again.
pub(super) fn id<T: FromStr>(value: &str) -> StoreResult<T>
where
    T::Err: std::fmt::Display,
{
    value.parse().map_err(unreadable)
}

/// A list of at most `most` entries, each converted.
pub(super) fn list<A, B>(
    values: impl IntoIterator<Item = A, IntoIter: ExactSizeIterator>,
    most: usize,
    convert: impl FnMut(A) -> StoreResult<B>,
) -> StoreResult<Vec<B>> {
    let values = values.into_iter();
    if values.len() > most {
        return Err(unreadable(format_args!("a list of {} entries, at most {most}", values.len())));
    }
    values.map(convert).collect()
}

/// Labels or attributes.
pub(super) type Pairs<'b> = BTreeMap<&'b str, &'b str>;

pub(super) fn pairs_of(pairs: &BTreeMap<Box<str>, Box<str>>) -> Pairs<'_> {
    pairs.iter().map(|(key, value)| (&**key, &**value)).collect()
}

pub(super) fn pairs(wire: Pairs<'_>) -> StoreResult<BTreeMap<Box<str>, Box<str>>> {
    let list =
        list(wire, bounds::LIST, |(key, value)| Ok((text(key, bounds::NAME)?, text(value, bounds::NAME)?)))?;
    Ok(list.into_iter().collect())
}

#[derive(Debug, Encode, Decode)]
#[cbor(map)]
pub(super) struct Localized<'b> {
    #[b(0)]
    zh_cn: Option<&'b str>,
    #[b(1)]
    en: Option<&'b str>,
}

impl<'b> From<&'b model::Localized> for Localized<'b> {
    fn from(value: &'b model::Localized) -> Self {
        Self { zh_cn: value.zh_cn.as_deref(), en: value.en.as_deref() }
    }
}

impl TryFrom<Localized<'_>> for model::Localized {
    type Error = crate::StoreError;

    fn try_from(wire: Localized<'_>) -> StoreResult<Self> {
        Ok(Self {
            zh_cn: optional_text(wire.zh_cn, bounds::TEXT)?,
            en: optional_text(wire.en, bounds::TEXT)?,
        })
    }
}

#[derive(Debug, Encode, Decode)]
#[cbor(map)]
pub(super) struct Source<'b> {
    #[b(0)]
    pub(super) uid: &'b str,
    #[n(1)]
    generation: i64,
}

impl<'b> From<&'b model::Source> for Source<'b> {
    fn from(value: &'b model::Source) -> Self {
        Self { uid: value.uid.as_str(), generation: value.generation }
    }
}

impl TryFrom<Source<'_>> for model::Source {
    type Error = crate::StoreError;

    fn try_from(wire: Source<'_>) -> StoreResult<Self> {
        Ok(Self { uid: id(wire.uid)?, generation: wire.generation })
    }
}

#[derive(Debug, Encode, Decode)]
#[cbor(map)]
pub(super) struct Zone<'b> {
    #[b(0)]
    name: &'b str,
    #[n(1)]
    offset: i32,
    #[n(2)]
    transitions: Vec<(i64, i32)>,
}

impl<'b> From<&'b model::Zone> for Zone<'b> {
    fn from(value: &'b model::Zone) -> Self {
        Self {
            name: &value.name,
            offset: value.offset,
            transitions: value.transitions.iter().map(|(at, offset)| (at.0, *offset)).collect(),
        }
    }
}

impl TryFrom<Zone<'_>> for model::Zone {
    type Error = crate::StoreError;

    fn try_from(wire: Zone<'_>) -> StoreResult<Self> {
        let transitions = list(wire.transitions, bounds::LIST, |(at, offset)| Ok((Timestamp(at), offset)))?;
        // A search by bisection relies on the order.
        if !transitions.is_sorted_by(|(a, _), (b, _)| a < b) {
            return Err(unreadable("zone transitions are not in order"));
        }
        Ok(Self {
            name: text(wire.name, bounds::NAME)?,
            offset: wire.offset,
            transitions: transitions.into_boxed_slice(),
        })
    }
}
