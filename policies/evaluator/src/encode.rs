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
    G: IntoIterator<Item = &'a str>,
    A: IntoIterator<Item = (&'a str, &'a str), IntoIter: ExactSizeIterator>,
{
    let mut half = Half::new(out, s::HEADER)?;
    half.hashed(s::DEPARTMENT, parts.department)?;
    half.hashed(s::NAME, parts.name)?;
    half.hashed(s::UNIT, parts.unit)?;
    half.put(s::DEVICE, &[parts.device, parts.factors])?;
    half.put(s::SOURCE, &parts.source)?;

    let mut groups = [(0u64, 0u32, ""); MAX_GROUPS];
    let mut count = 0;
    for group in parts.groups {
        let (offset, _) = half.text(group)?;
        *groups.get_mut(count).ok_or(TooLarge)? = (hash(group.as_bytes()), offset, group);
        count += 1;
    }
    let groups = groups.get_mut(..count).ok_or(TooLarge)?;
    groups.sort_unstable_by_key(|(hash, _, name)| (*hash, *name));
    let list = half.list(s::GROUPS, count, s::GROUP)?;
    let mut filter = [0u8; 64];
    for (index, (hash, offset, name)) in groups.iter().enumerate() {
        let at = list + index * s::GROUP;
        half.put(at, &hash.to_le_bytes())?;
        half.place(at + 8, *offset, name.len())?;
        let bit = (hash >> 55) as usize;
        if let Some(byte) = filter.get_mut(bit / 8) {
            *byte |= 1 << (bit % 8);
        }
    }
    half.put(s::FILTER, &filter)?;
    half.pairs(s::ATTRIBUTES, MAX_ATTRIBUTES, parts.attributes.into_iter())?;
    half.finish(s::ABI, s::LENGTH)
}

/// Writes a request half; gives its length.
///
/// # Errors
/// When it does not fit.
pub fn request<'a, L>(out: &mut [u8], parts: Request<'a, L>) -> Result<usize, TooLarge>
where
    L: IntoIterator<Item = (&'a str, &'a str), IntoIter: ExactSizeIterator>,
{
    let mut half = Half::new(out, r::HEADER)?;
    half.put(r::SIDE, &[parts.side, parts.weekday])?;
    half.put(r::MINUTE_OF_DAY, &parts.minute_of_day.to_le_bytes())?;
    half.put(r::PORT, &parts.port.to_le_bytes())?;
    half.put(r::UTC_MINUTE, &parts.utc_minute.to_le_bytes())?;
    half.hashed(r::OWNER, parts.owner)?;
    half.hashed(r::RESOURCE, parts.resource)?;
    half.hashed(r::HOST, parts.host)?;
    half.hashed(r::METHOD, parts.method)?;
    let (offset, length) = half.text(parts.path)?;
    half.place(r::PATH, offset, length)?;
    half.pairs(r::LABELS, MAX_LABELS, parts.labels.into_iter())?;
    half.finish(r::ABI, r::LENGTH)
}

/// A half being written: fixed part at the front, texts and lists behind it.
struct Half<'o> {
    out: &'o mut [u8],
    end: usize,
}

impl<'o> Half<'o> {
    fn new(out: &'o mut [u8], header: usize) -> Result<Self, TooLarge> {
        let room = out.len().min(HALF_SIZE as usize);
        let out = out.get_mut(..room).ok_or(TooLarge)?;
        out.get_mut(..header).ok_or(TooLarge)?.fill(0);
        Ok(Self { out, end: header })
    }

    #[inline]
    fn put(&mut self, at: usize, bytes: &[u8]) -> Result<(), TooLarge> {
        let target = self.out.get_mut(at..).and_then(|rest| rest.get_mut(..bytes.len()));
        target.ok_or(TooLarge)?.copy_from_slice(bytes);
        Ok(())
    }

    /// Appends a text; gives its place.
    #[inline]
    fn text(&mut self, text: &str) -> Result<(u32, usize), TooLarge> {
        let offset = self.end;
        self.put(offset, text.as_bytes())?;
        self.end += text.len();
        // A half is 8 KiB long: offsets fit.
        Ok((offset as u32, text.len()))
    }

    #[inline]
    fn place(&mut self, at: usize, offset: u32, length: usize) -> Result<(), TooLarge> {
        let place = u64::from(offset) | (length as u64) << 32;
        self.put(at, &place.to_le_bytes())
    }

    #[inline]
    fn hashed(&mut self, at: usize, text: &str) -> Result<(), TooLarge> {
        let (offset, length) = self.text(text)?;
        self.place(at, offset, length)?;
        self.put(at + 8, &hash(text.as_bytes()).to_le_bytes())
    }

    /// Appends room for a list, aligned, and writes its place; gives its offset.
    fn list(&mut self, at: usize, count: usize, size: usize) -> Result<usize, TooLarge> {
        let first = self.end.next_multiple_of(8);
        let gap = first - self.end;
        self.put(self.end, [0; 8].get(..gap).ok_or(TooLarge)?)?;
        self.end = first + count * size;
        if self.end > self.out.len() {
            return Err(TooLarge);
        }
        self.place(at, first as u32, count)?;
        Ok(first)
    }

    /// Appends pairs (key, NUL, value) and their list.
    fn pairs<'a>(
        &mut self,
        at: usize,
        most: usize,
        pairs: impl ExactSizeIterator<Item = (&'a str, &'a str)>,
    ) -> Result<(), TooLarge> {
        let count = pairs.len();
        if count > most {
            return Err(TooLarge);
        }
        let list = self.list(at, count, s::PAIR)?;
        let mut entries = (0..count).map(|index| list + index * s::PAIR);
        for (key, value) in pairs {
            let at = entries.next().ok_or(TooLarge)?;
            let (offset, key_length) = self.text(key)?;
            self.text("\0")?;
            self.text(value)?;
            let pair = self.out.get(offset as usize..self.end).ok_or(TooLarge)?;
            let (hash, length) = (hash(pair), pair.len());
            self.put(at, &hash.to_le_bytes())?;
            self.place(at + 8, offset, length)?;
            self.put(at + 16, &(key_length as u64).to_le_bytes())?;
        }
        // An iterator that lied about its length would leave entries unwritten.
        entries.next().map_or(Ok(()), |_| Err(TooLarge))
    }

    fn finish(mut self, abi: usize, length: usize) -> Result<usize, TooLarge> {
        self.put(abi, &ABI.to_le_bytes())?;
        self.put(length, &(self.end as u32).to_le_bytes())?;
        Ok(self.end)
    }
}
