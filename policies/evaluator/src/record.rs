//! The record as the program reads it.

use crate::hash::same;
use crate::layout::{self, request as r, subject as s};
use crate::table::{long, text, words};

/// A text with its hash.
#[derive(Clone, Copy, Debug)]
pub struct Hashed<'a> {
    /// The text's bytes.
    pub text: &'a [u8],
    /// Its hash.
    pub hash: u64,
}

/// An opened record.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    subject: &'a [u8],
    request: &'a [u8],
    head: &'a [u8; s::HEADER],
    ask: &'a [u8; r::HEADER],
}

/// A list of pairs (attributes or labels) or groups inside one half.
#[derive(Clone, Copy, Debug)]
pub struct List<'a> {
    half: &'a [u8],
    at: usize,
    count: usize,
}

impl<'a> Record<'a> {
    /// Opens the two halves; `None` when either is not `abi` 1 or shorter than it says.
    #[must_use]
    #[inline(always)]
    pub fn open(subject: &'a [u8], request: &'a [u8]) -> Option<Self> {
        let head = subject.first_chunk::<{ s::HEADER }>()?;
        let ask = request.first_chunk::<{ r::HEADER }>()?;
        let [abi, length] = words::<2>(head, s::ABI)?;
        let [abi_too, length_too] = words::<2>(ask, r::ABI)?;
        let known = abi == layout::ABI && abi_too == layout::ABI;
        if !known || length as usize != subject.len() || length_too as usize != request.len() {
            return None;
        }
        Some(Self { subject, request, head, ask })
    }

    /// For which side the module is asked.
    #[must_use]
    #[inline(always)]
    pub fn side(&self) -> u8 {
        self.ask.get(r::SIDE).copied().unwrap_or(u8::MAX)
    }

    /// Local day, 0 = Monday.
    #[must_use]
    #[inline(always)]
    pub fn weekday(&self) -> u8 {
        self.ask.get(r::WEEKDAY).copied().unwrap_or(0)
    }

    /// Minutes since local midnight.
    #[must_use]
    #[inline(always)]
    pub fn minute_of_day(&self) -> u16 {
        self.short(r::MINUTE_OF_DAY)
    }

    /// The upstream port.
    #[must_use]
    #[inline(always)]
    pub fn port(&self) -> u16 {
        self.short(r::PORT)
    }

    #[inline(always)]
    fn short(&self, at: usize) -> u16 {
        self.ask.get(at..).and_then(<[u8]>::first_chunk::<2>).map_or(0, |b| u16::from_le_bytes(*b))
    }

    /// Minutes since 1970 in UTC.
    #[must_use]
    #[inline(always)]
    pub fn utc_minute(&self) -> i64 {
        long(self.ask, r::UTC_MINUTE).unwrap_or(0) as i64
    }

    /// Kind of client.
    #[must_use]
    #[inline(always)]
    pub fn device(&self) -> u8 {
        self.head.get(s::DEVICE).copied().unwrap_or(u8::MAX)
    }

    /// Set of factors used.
    #[must_use]
    #[inline(always)]
    pub fn factors(&self) -> u8 {
        self.head.get(s::FACTORS).copied().unwrap_or(0)
    }

    /// The source address as two halves of 64 bits, and its family (4 or 6).
    #[must_use]
    #[inline(always)]
    pub fn source(&self) -> (u64, u64, u64) {
        let high = long(self.head, s::SOURCE).unwrap_or(0).swap_bytes();
        let low = long(self.head, s::SOURCE + 8).unwrap_or(0).swap_bytes();
        let family = if high == 0 && low >> 32 == 0xffff { 4 } else { 6 };
        (high, low, family)
    }

    #[inline(always)]
    fn of_subject(&self, at: usize) -> Option<Hashed<'a>> {
        hashed(self.subject, self.head, at)
    }

    #[inline(always)]
    fn of_request(&self, at: usize) -> Option<Hashed<'a>> {
        hashed(self.request, self.ask, at)
    }

    /// The person's department.
    #[must_use]
    #[inline(always)]
    pub fn department(&self) -> Option<Hashed<'a>> {
        self.of_subject(s::DEPARTMENT)
    }

    /// The account's name.
    #[must_use]
    #[inline(always)]
    pub fn name(&self) -> Option<Hashed<'a>> {
        self.of_subject(s::NAME)
    }

    /// The unit.
    #[must_use]
    #[inline(always)]
    pub fn unit(&self) -> Option<Hashed<'a>> {
        self.of_subject(s::UNIT)
    }

    /// The owner of the resource.
    #[must_use]
    #[inline(always)]
    pub fn owner(&self) -> Option<Hashed<'a>> {
        self.of_request(r::OWNER)
    }

    /// The resource's name.
    #[must_use]
    #[inline(always)]
    pub fn resource(&self) -> Option<Hashed<'a>> {
        self.of_request(r::RESOURCE)
    }

    /// The upstream host.
    #[must_use]
    #[inline(always)]
    pub fn host(&self) -> Option<Hashed<'a>> {
        self.of_request(r::HOST)
    }

    /// The method.
    #[must_use]
    #[inline(always)]
    pub fn method(&self) -> Option<Hashed<'a>> {
        self.of_request(r::METHOD)
    }

    /// The path.
    #[must_use]
    #[inline(always)]
    pub fn path(&self) -> Option<&'a [u8]> {
        let [offset, length] = words::<2>(self.ask, r::PATH)?;
        text(self.request, offset, length)
    }

    /// The person's groups.
    #[must_use]
    #[inline(always)]
    pub fn groups(&self) -> Option<List<'a>> {
        list(self.subject, self.head, s::GROUPS)
    }

    /// The person's attributes.
    #[must_use]
    #[inline(always)]
    pub fn attributes(&self) -> Option<List<'a>> {
        list(self.subject, self.head, s::ATTRIBUTES)
    }

    /// The resource's labels.
    #[must_use]
    #[inline(always)]
    pub fn labels(&self) -> Option<List<'a>> {
        list(self.request, self.ask, r::LABELS)
    }

    /// Whether the person is in a group.
    #[must_use]
    #[inline(always)]
    pub fn in_group(&self, hash: u64, name: &[u8]) -> Option<bool> {
        let bit = (hash >> 55) as usize;
        let byte = self.head.get(s::FILTER + bit / 8)?;
        if byte >> (bit % 8) & 1 == 0 {
            return Some(false);
        }
        self.groups()?.find(s::GROUP, hash, name)
    }
}

impl<'a> List<'a> {
    /// How many entries.
    #[must_use]
    #[inline(always)]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    #[must_use]
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// An entry's hash and text; `size` is the entry size of the list.
    #[must_use]
    #[inline(always)]
    pub fn get(&self, size: usize, index: usize) -> Option<Hashed<'a>> {
        let [low, high, offset, length] = words::<4>(self.half, self.at + index * size)?;
        let hash = u64::from(low) | u64::from(high) << 32;
        Some(Hashed { text: text(self.half, offset, length)?, hash })
    }

    /// Whether a list of groups (ascending by hash) holds a name.
    fn find(&self, size: usize, hash: u64, name: &[u8]) -> Option<bool> {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low + (high - low) / 2;
            if long(self.half, self.at + middle * size)? < hash {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        while low < self.count {
            let entry = self.get(size, low)?;
            if entry.hash != hash {
                return Some(false);
            }
            if same(entry.text, name) {
                return Some(true);
            }
            low += 1;
        }
        Some(false)
    }

    /// Whether a list of pairs holds this pair (key, NUL, value).
    #[inline(always)]
    pub fn holds_pair(&self, hash: u64, pair: &[u8]) -> Option<bool> {
        for index in 0..self.count {
            if long(self.half, self.at + index * s::PAIR)? == hash
                && same(self.get(s::PAIR, index)?.text, pair)
            {
                return Some(true);
            }
        }
        Some(false)
    }

    /// The value of a key in a list of pairs, as offset and length in its half.
    pub fn value_of(&self, key: &[u8]) -> Option<Option<(u32, u32)>> {
        for index in 0..self.count {
            let [_, _, offset, length, key_length] = words::<5>(self.half, self.at + index * s::PAIR)?;
            if key_length as usize == key.len() && same(text(self.half, offset, key_length)?, key) {
                let skipped = key_length.checked_add(1)?;
                return Some(Some((offset.checked_add(skipped)?, length.checked_sub(skipped)?)));
            }
        }
        Some(None)
    }
}

#[inline(always)]
fn hashed<'a>(half: &'a [u8], head: &[u8], at: usize) -> Option<Hashed<'a>> {
    let [offset, length, low, high] = words::<4>(head, at)?;
    Some(Hashed { text: text(half, offset, length)?, hash: u64::from(low) | u64::from(high) << 32 })
}

#[inline(always)]
fn list<'a>(half: &'a [u8], head: &[u8], at: usize) -> Option<List<'a>> {
    let [offset, count] = words::<2>(head, at)?;
    Some(List { half, at: offset as usize, count: count as usize })
}

impl<'a> Record<'a> {
    /// The subject half.
    #[must_use]
    pub(crate) fn subject_half(&self) -> &'a [u8] {
        self.subject
    }

    /// The request half.
    #[must_use]
    pub(crate) fn request_half(&self) -> &'a [u8] {
        self.request
    }
}
