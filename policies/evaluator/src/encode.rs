//! The one encoder of records, for hosts and tests: writes into the caller's buffer, no allocation.

use crate::hash::hash;
use crate::layout::{ABI, HALF_SIZE, MAX_ATTRIBUTES, MAX_GROUPS, MAX_LABELS, request as r, subject as s};

/// The record does not fit its half, or has more groups, attributes or labels than a record holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLarge;

/// Who asks, in plain parts.
#[derive(Clone, Debug)]
pub struct Subject<'a, G, A> {
    /// The person's own department.
    pub department: &'a str,
    /// The account's name.
    pub name: &'a str,
    /// The unit.
    pub unit: &'a str,
    /// Groups, written in full, any order.
    pub groups: G,
    /// Attributes.
    pub attributes: A,
    /// Kind of client.
    pub device: u8,
    /// Set of factors.
    pub factors: u8,
    /// Source address, IPv4 as IPv4-mapped IPv6, in network order.
    pub source: [u8; 16],
}

/// What is asked for, in plain parts.
#[derive(Clone, Debug)]
pub struct Request<'a, L> {
    /// 0 platform, 1 member, 2 owner.
    pub side: u8,
    /// The department that owns the resource.
    pub owner: &'a str,
    /// The resource's name.
    pub resource: &'a str,
    /// The resource's labels.
    pub labels: L,
    /// The upstream host, lower case.
    pub host: &'a str,
    /// The upstream port.
    pub port: u16,
    /// The method, upper case, or empty.
    pub method: &'a str,
    /// The path, or empty.
    pub path: &'a str,
    /// Minutes since 1970 in UTC.
    pub utc_minute: i64,
    /// Local day, 0 = Monday.
    pub weekday: u8,
    /// Minutes since local midnight.
    pub minute_of_day: u16,
}

/// Writes a subject half; gives its length.
///
/// # Errors
/// When it does not fit.
pub fn subject<'a, G, A>(out: &mut [u8], parts: Subject<'a, G, A>) -> Result<usize, TooLarge>
where
    G: IntoIterator<Item = &'a str, IntoIter: ExactSizeIterator>,
    A: IntoIterator<Item = (&'a str, &'a str), IntoIter: ExactSizeIterator>,
{
    let mut half = Half::<{ s::HEADER }>::new(out)?;
    half.hashed(s::DEPARTMENT, parts.department)?;
    half.hashed(s::NAME, parts.name)?;
    half.hashed(s::UNIT, parts.unit)?;
    half.head(s::DEVICE, [parts.device, parts.factors])?;
    half.head(s::SOURCE, parts.source)?;
    half.groups(parts.groups.into_iter())?;
    half.pairs(s::ATTRIBUTES, MAX_ATTRIBUTES, parts.attributes.into_iter())?;
    half.finish(s::ABI)
}

/// Writes a request half; gives its length.
///
/// # Errors
/// When it does not fit.
#[inline]
pub fn request<'a, L>(out: &mut [u8], parts: Request<'a, L>) -> Result<usize, TooLarge>
where
    L: IntoIterator<Item = (&'a str, &'a str), IntoIter: ExactSizeIterator>,
{
    let mut half = Half::<{ r::HEADER }>::new(out)?;
    let [minute_low, minute_high] = parts.minute_of_day.to_le_bytes();
    let [port_low, port_high] = parts.port.to_le_bytes();
    half.head(r::SIDE, [parts.side, parts.weekday, minute_low, minute_high, port_low, port_high, 0, 0])?;
    half.head(r::UTC_MINUTE, parts.utc_minute.to_le_bytes())?;
    half.hashed(r::OWNER, parts.owner)?;
    half.hashed(r::RESOURCE, parts.resource)?;
    half.hashed(r::HOST, parts.host)?;
    half.hashed(r::METHOD, parts.method)?;
    let path = half.text(parts.path)?;
    half.head(r::PATH, place(path, parts.path.len()))?;
    half.pairs(r::LABELS, MAX_LABELS, parts.labels.into_iter())?;
    half.finish(r::ABI)
}

// The fields that are written together lie together.
const _: () = assert!(r::PORT == r::SIDE + 4 && s::FACTORS == s::DEVICE + 1);

/// A half being written: the fixed part of length `H`, then texts and lists.
struct Half<'o, const H: usize> {
    head: &'o mut [u8; H],
    rest: &'o mut [u8],
    used: usize,
}

/// Offset and length as bytes. A half is 8 KiB long: both fit.
#[inline(always)]
fn place(offset: usize, length: usize) -> [u8; 8] {
    (offset as u64 | (length as u64) << 32).to_le_bytes()
}

/// Copies a text of the same length. Most texts are so short that calling `memcpy` costs more.
#[inline(always)]
fn copy(to: &mut [u8], from: &[u8]) {
    /// Copies both ends; they overlap in the middle.
    #[inline(always)]
    fn ends<const N: usize>(to: &mut [u8], from: &[u8]) {
        if let (Some(first), Some(last)) = (from.first_chunk::<N>(), from.last_chunk::<N>()) {
            if let Some(to) = to.first_chunk_mut::<N>() {
                *to = *first;
            }
            if let Some(to) = to.last_chunk_mut::<N>() {
                *to = *last;
            }
        }
    }
    match from.len() {
        16..=32 => ends::<16>(to, from),
        8..=15 => ends::<8>(to, from),
        4..=7 => ends::<4>(to, from),
        2..=3 => ends::<2>(to, from),
        _ => to.copy_from_slice(from),
    }
}

impl<'o, const H: usize> Half<'o, H> {
    #[inline(always)]
    fn new(out: &'o mut [u8]) -> Result<Self, TooLarge> {
        let room = out.len().min(HALF_SIZE as usize);
        let out = out.get_mut(..room).ok_or(TooLarge)?;
        let (head, rest) = out.split_first_chunk_mut::<H>().ok_or(TooLarge)?;
        *head = [0; H];
        Ok(Self { head, rest, used: 0 })
    }

    /// Writes into the fixed part.
    #[inline(always)]
    fn head<const N: usize>(&mut self, at: usize, bytes: [u8; N]) -> Result<(), TooLarge> {
        let target = self.head.get_mut(at..).and_then(<[u8]>::first_chunk_mut::<N>);
        *target.ok_or(TooLarge)? = bytes;
        Ok(())
    }

    /// Room behind the fixed part.
    #[inline(always)]
    fn behind(&mut self, at: usize, length: usize) -> Result<&mut [u8], TooLarge> {
        self.rest.get_mut(at..).and_then(|rest| rest.get_mut(..length)).ok_or(TooLarge)
    }

    /// Appends a text; gives its offset in the half.
    #[inline(always)]
    fn text(&mut self, text: &str) -> Result<usize, TooLarge> {
        let at = self.used;
        copy(self.behind(at, text.len())?, text.as_bytes());
        self.used = at + text.len();
        Ok(H + at)
    }

    #[inline(always)]
    fn hashed(&mut self, at: usize, text: &str) -> Result<(), TooLarge> {
        let offset = self.text(text)?;
        self.head(at, place(offset, text.len()))?;
        self.head(at + 8, hash(text.as_bytes()).to_le_bytes())
    }

    /// Appends room for a list, aligned, and writes its place; gives where it begins.
    #[inline(always)]
    fn list(&mut self, at: usize, count: usize, most: usize, size: usize) -> Result<usize, TooLarge> {
        if count > most {
            return Err(TooLarge);
        }
        // The fixed parts are multiples of 8 long.
        let first = self.used.next_multiple_of(8);
        let used = self.used;
        self.behind(used, first - used)?.fill(0);
        self.behind(first, count * size)?;
        self.used = first + count * size;
        self.head(at, place(H + first, count))?;
        Ok(first)
    }

    /// Appends groups, their list ascending by hash, and the filter over them.
    fn groups<'a>(&mut self, groups: impl ExactSizeIterator<Item = &'a str>) -> Result<(), TooLarge> {
        let count = groups.len();
        let list = self.list(s::GROUPS, count, MAX_GROUPS, s::GROUP)?;
        let mut filter = [0_u8; 64];
        let mut written = 0;
        for group in groups {
            let hash = hash(group.as_bytes());
            let offset = self.text(group)?;
            if written == count {
                return Err(TooLarge);
            }
            let entry = self.behind(list + written * s::GROUP, s::GROUP)?;
            let word = u128::from(hash) | u128::from(u64::from_le_bytes(place(offset, group.len()))) << 64;
            entry.copy_from_slice(&word.to_le_bytes());
            if let Some(byte) = filter.get_mut((hash >> 58) as usize) {
                *byte |= 1 << (hash >> 55 & 7);
            }
            written += 1;
        }
        // An iterator that lied about its length would leave entries unwritten.
        if written != count {
            return Err(TooLarge);
        }
        let (entries, _) = self.behind(list, count * s::GROUP)?.as_chunks_mut::<{ s::GROUP }>();
        entries.sort_unstable_by_key(|entry| u128::from_le_bytes(*entry) as u64);
        self.head(s::FILTER, filter)
    }

    /// Appends pairs (key, NUL, value) and their list.
    #[inline(always)]
    fn pairs<'a>(
        &mut self,
        at: usize,
        most: usize,
        pairs: impl ExactSizeIterator<Item = (&'a str, &'a str)>,
    ) -> Result<(), TooLarge> {
        let count = pairs.len();
        let list = self.list(at, count, most, s::PAIR)?;
        let mut written = 0;
        for (key, value) in pairs {
            let (start, length) = (self.used, key.len() + 1 + value.len());
            let pair = self.behind(start, length)?;
            let (head, tail) = pair.split_at_mut_checked(key.len()).ok_or(TooLarge)?;
            let (nul, tail) = tail.split_first_mut().ok_or(TooLarge)?;
            copy(head, key.as_bytes());
            *nul = 0;
            copy(tail, value.as_bytes());
            self.used = start + length;
            if written == count {
                return Err(TooLarge);
            }
            let entry = self.behind(list + written * s::PAIR, s::PAIR)?;
            let (words, _) = entry.as_chunks_mut::<8>();
            let values = [[0; 8], place(H + start, length), place(key.len(), 0)];
            for (word, value) in words.iter_mut().zip(values) {
                *word = value;
            }
            written += 1;
        }
        if written != count {
            return Err(TooLarge);
        }
        // Only now: a processor waits when words are read from bytes it has just written one by one.
        for index in 0..count {
            self.hash_pair(list + index * s::PAIR)?;
        }
        Ok(())
    }

    /// Fills in the hash of the pair this list entry places.
    #[inline(always)]
    fn hash_pair(&mut self, entry: usize) -> Result<(), TooLarge> {
        let place = self.behind(entry + 8, 8)?.first_chunk::<8>().map_or(0, |word| u64::from_le_bytes(*word));
        let start = (place as u32 as usize).checked_sub(H).ok_or(TooLarge)?;
        let hash = hash(self.behind(start, (place >> 32) as usize)?);
        self.behind(entry, 8)?.copy_from_slice(&hash.to_le_bytes());
        Ok(())
    }

    #[inline(always)]
    fn finish(mut self, abi: usize) -> Result<usize, TooLarge> {
        let length = H + self.used;
        self.head(abi, place(ABI as usize, length))?;
        Ok(length)
    }
}
