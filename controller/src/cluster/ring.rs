//! A pool's keys and their rotation: pure, from what is there and what gateways have to the next step.
//!
//! ```text
//!  asked for --> new key added --> every known gateway has it --> it seals --> the one before goes after every session
//!  asked for in an emergency ----------------------------------> it seals, and the old ones are gone
//! ```
//!
//! The Secret holds a key per number (its *kid*), and under `current` the kid that seals. Gateways say in their reports
//! which kids they have; kubelet brings them a new one within a minute or two.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_core::Timestamp;

use super::secrets::Data;
use crate::time::{parse_rfc3339, rfc3339};

/// Bytes of a key.
const KEY_BYTES: usize = 32;
/// The name of the kid that seals among the Secret's keys.
const CURRENT: &str = "current";
/// Annotation of the Secret: what the last rotation was asked for with.
const ASKED: &str = "tidegate.dev/rotated-for";
/// Annotation of the Secret: since when its old keys seal no longer, such as `1=2026-11-25T08:00:00Z`.
const RETIRED: &str = "tidegate.dev/retired-keys";
/// How a rotation is asked for that does not wait: everybody logs in again.
const EMERGENCY: &str = "emergency";
/// Seconds after which nothing counts that an old key sealed: the longest ticket, and a day.
const OLD_S: i64 = 8 * 24 * 3_600;
/// Most keys; gateways take no folder with more.
const KEYS_MAX: usize = 16;

/// One key.
pub type Key = (u32, [u8; KEY_BYTES]);

/// The kids that every known gateway has; nothing is known while nobody is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Acknowledged(Option<Vec<BTreeSet<u32>>>);

impl Acknowledged {
    /// What each known gateway says it has.
    #[must_use]
    pub fn of(gateways: impl Iterator<Item = BTreeSet<u32>>) -> Self {
        Self(Some(gateways.collect()))
    }

    /// Whether all of them have it. Of no gateway at all that is true.
    fn by_all(&self, kid: u32) -> bool {
        self.0.as_ref().is_some_and(|gateways| gateways.iter().all(|kids| kids.contains(&kid)))
    }
}

/// The ring as its Secret has it.
#[derive(Clone, PartialEq, Eq)]
pub struct Ring {
    keys: BTreeMap<u32, [u8; KEY_BYTES]>,
    current: u32,
    /// Since when old keys seal no longer.
    retired: BTreeMap<u32, Timestamp>,
    asked: Option<String>,
}

/// Kids only: the rest is secret.
impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kids: Vec<u32> = self.keys.keys().copied().collect();
        f.debug_struct("Ring").field("kids", &kids).field("current", &self.current).finish_non_exhaustive()
    }
}

impl Ring {
    /// A first ring.
    #[must_use]
    pub fn first(key: [u8; KEY_BYTES]) -> Data {
        Data::from([("1".to_owned(), key.to_vec())])
    }

    /// Reads a Secret; else why it cannot be used, and what to do.
    pub fn read(data: &Data, annotations: &BTreeMap<String, String>) -> Result<Self, String> {
        let mut keys = BTreeMap::new();
        for (kid, bytes) in data.iter().filter(|(kid, _)| *kid != CURRENT) {
            let number = kid.parse::<u32>().map_err(|_| format!("`{kid}` is no number; remove it"))?;
            let key = bytes.as_slice().try_into();
            keys.insert(number, key.map_err(|_| format!("`{kid}` has not {KEY_BYTES} bytes; remove it"))?);
        }
        let Some((largest, _)) = keys.last_key_value() else {
            return Err("it holds no key; remove it, and a new ring is made".into());
        };
        let current = match data.get(CURRENT) {
            None => *largest,
            Some(text) => std::str::from_utf8(text)
                .ok()
                .and_then(|text| text.trim().parse().ok())
                .filter(|kid| keys.contains_key(kid))
                .ok_or_else(|| format!("`{CURRENT}` names no key that is there; remove it"))?,
        };
        let notes = annotations.get(RETIRED).map(String::as_str).unwrap_or_default().split(',');
        let retired = notes.filter_map(|note| {
            let (kid, at) = note.split_once('=')?;
            Some((kid.parse().ok().filter(|kid| keys.contains_key(kid))?, parse_rfc3339(at)?))
        });
        let retired = retired.collect();
        Ok(Self { keys, current, retired, asked: annotations.get(ASKED).cloned() })
    }

    /// The keys, the one that seals last.
    #[must_use]
    pub fn in_order(&self) -> Vec<Key> {
        let mut keys: Vec<Key> = self.keys.iter().map(|(kid, key)| (*kid, *key)).collect();
        keys.sort_by_key(|(kid, _)| *kid == self.current);
        keys
    }

    /// The Secret of this ring.
    #[must_use]
    pub fn write(&self) -> (Data, BTreeMap<String, String>) {
        let keys = self.keys.iter().map(|(kid, key)| (kid.to_string(), key.to_vec()));
        let current = (CURRENT.to_owned(), self.current.to_string().into_bytes());
        let retired: Vec<String> =
            self.retired.iter().map(|(kid, at)| format!("{kid}={}", rfc3339(*at))).collect();
        let retired = (RETIRED.to_owned(), retired.join(","));
        let asked = self.asked.clone().map(|asked| (ASKED.to_owned(), asked));
        (keys.chain([current]).collect(), asked.into_iter().chain([retired]).collect())
    }

    /// The next ring, if there is a step to take. `asked` is what a rotation is asked for with; the same word asks once.
    #[must_use]
    pub fn step(
        &self,
        asked: Option<&str>,
        acknowledged: &Acknowledged,
        now: Timestamp,
        fresh: [u8; KEY_BYTES],
    ) -> Option<Self> {
        let newest = *self.keys.last_key_value()?.0;
        let next = newest.checked_add(1)?;
        let asked = asked.filter(|asked| !asked.is_empty() && self.asked.as_deref() != Some(asked));
        if let Some(asked) = asked.filter(|asked| asked.starts_with(EMERGENCY)) {
            let (keys, retired) = (BTreeMap::from([(next, fresh)]), BTreeMap::new());
            return Some(Self { keys, current: next, retired, asked: Some(asked.to_owned()) });
        }
        let mut ring = self.clone();
        // Each old key has its own time: whoever asks for another every week would keep them all otherwise. One that
        // somebody laid out by hand, or whose note was lost, counts from now.
        for kid in self.keys.keys().filter(|kid| **kid != self.current && **kid != newest) {
            let since = *ring.retired.entry(*kid).or_insert(now);
            if now.since(since) >= OLD_S {
                ring.keys.remove(kid);
                ring.retired.remove(kid);
            }
        }
        if ring != *self {
            return Some(ring);
        }
        if newest != self.current {
            // One rotation at a time: whoever asks for another waits until this one has come so far.
            if !acknowledged.by_all(newest) {
                return None;
            }
            ring.current = newest;
            ring.retired.insert(self.current, now);
        } else {
            let asked = asked.filter(|_| self.keys.len() < KEYS_MAX)?;
            ring.keys.insert(next, fresh);
            ring.asked = Some(asked.to_owned());
        }
        Some(ring)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_795_000_000);

    fn ring(kids: &[u32], current: u32) -> Ring {
        let keys = kids.iter().map(|kid| (*kid, [u8::try_from(*kid).expect("small"); KEY_BYTES])).collect();
        Ring { keys, current, retired: BTreeMap::new(), asked: None }
    }

    fn have(gateways: &[&[u32]]) -> Acknowledged {
        Acknowledged::of(gateways.iter().map(|kids| kids.iter().copied().collect()))
    }

    /// What a Secret with this ring is read as.
    fn stored(ring: &Ring) -> Ring {
        let (data, annotations) = ring.write();
        Ring::read(&data, &annotations).expect("a ring")
    }

    fn kids(ring: &Ring) -> Vec<u32> {
        ring.in_order().iter().map(|(kid, _)| *kid).collect()
    }

    #[test]
    fn a_rotation_from_beginning_to_end() {
        let first = Ring::read(&Ring::first([1; KEY_BYTES]), &BTreeMap::new()).expect("a ring");
        let fresh = [9; KEY_BYTES];
        assert_eq!(first.step(None, &have(&[&[1]]), NOW, fresh), None, "nobody asked");

        let added = first.step(Some("2026-11"), &have(&[&[1]]), NOW, fresh).expect("a key is added");
        let added = stored(&added);
        assert_eq!(kids(&added), [2, 1], "the old one seals on");
        assert_eq!(added.step(Some("2026-11"), &have(&[&[1, 2], &[1]]), NOW, fresh), None, "one has it not");
        assert_eq!(added.step(Some("2026-11"), &Acknowledged::default(), NOW, fresh), None, "nobody knows");

        let sealing = added.step(Some("2026-11"), &have(&[&[1, 2], &[1, 2]]), NOW, fresh).expect("it seals");
        let sealing = stored(&sealing);
        assert_eq!(kids(&sealing), [1, 2]);
        let before = NOW.plus(OLD_S - 1);
        assert_eq!(sealing.step(Some("2026-11"), &have(&[&[1, 2]]), before, fresh), None, "sessions go on");

        let alone =
            sealing.step(Some("2026-11"), &have(&[&[1, 2]]), NOW.plus(OLD_S), fresh).expect("it goes");
        assert_eq!(kids(&stored(&alone)), [2]);
        assert_eq!(stored(&alone).step(Some("2026-11"), &have(&[&[2]]), NOW, fresh), None, "asked for once");
    }

    #[test]
    fn an_emergency_waits_for_nobody() {
        let ring = ring(&[1, 2], 1);
        let next = ring.step(Some("emergency-7"), &Acknowledged::default(), NOW, [9; KEY_BYTES]);
        assert_eq!(kids(&stored(&next.expect("at once"))), [3]);
    }

    #[test]
    fn a_second_rotation_waits_for_the_first() {
        let mut first = ring(&[1, 2], 1);
        first.asked = Some("one".into());
        assert_eq!(first.step(Some("two"), &have(&[&[1]]), NOW, [9; KEY_BYTES]), None);
        let sealing = first.step(Some("two"), &have(&[]), NOW, [9; KEY_BYTES]).expect("no gateway is known");
        assert_eq!(kids(&sealing), [1, 2]);
        let added = sealing.step(Some("two"), &have(&[]), NOW, [9; KEY_BYTES]).expect("then the second");
        assert_eq!(kids(&added), [1, 3, 2]);
    }

    #[test]
    fn a_ring_that_was_laid_out_by_hand_keeps_its_keys_for_as_long() {
        let by_hand = ring(&[1, 2], 2);
        let noted = by_hand.step(None, &have(&[]), NOW, [9; KEY_BYTES]).expect("the time is noted");
        assert_eq!(kids(&noted), [1, 2]);
        assert_eq!(stored(&noted).step(None, &have(&[]), NOW.plus(60), [9; KEY_BYTES]), None);
    }

    #[test]
    fn a_key_a_week_leaves_no_more_than_live_tickets_need() {
        const WEEK_S: i64 = 7 * 24 * 3_600;
        let mut ring = stored(&ring(&[1], 1));
        for week in 0..30 {
            let (now, word) = (NOW.plus(week * WEEK_S), format!("week-{week}"));
            let everywhere =
                have(&[&ring.keys.keys().copied().chain([ring.current + 1]).collect::<Vec<_>>()]);
            for at in [now, now.plus(OLD_S - WEEK_S)] {
                while let Some(next) = ring.step(Some(&word), &everywhere, at, [9; KEY_BYTES]) {
                    ring = stored(&next);
                }
            }
            assert_eq!(ring.current, u32::try_from(week).expect("small") + 2, "{ring:?}");
            assert!(ring.keys.len() <= 2, "{ring:?}");
        }
    }

    #[test]
    fn there_are_never_more_keys_than_gateways_take() {
        let mut ring = ring(&[1], 1);
        for number in 0..100 {
            let word = format!("{number}");
            while let Some(next) = ring.step(Some(&word), &have(&[]), NOW, [9; KEY_BYTES]) {
                ring = stored(&next);
            }
        }
        assert_eq!(ring.keys.len(), KEYS_MAX);
        let later = ring.step(Some("99"), &have(&[]), NOW.plus(OLD_S), [9; KEY_BYTES]).expect("they go");
        assert_eq!(kids(&later), [16]);
        let next = later.step(Some("99"), &have(&[]), NOW.plus(OLD_S), [9; KEY_BYTES]).expect("asked for");
        assert_eq!(kids(&next), [17, 16], "whoever had to wait gets it then");
    }

    #[test]
    fn what_is_no_ring_says_why() {
        for (key, bytes, said) in [
            ("x", vec![1; 32], "`x` is no number"),
            ("1", vec![1; 31], "`1` has not 32 bytes"),
            (CURRENT, b"7".to_vec(), "names no key"),
        ] {
            let mut data = Ring::first([1; KEY_BYTES]);
            data.insert(key.into(), bytes);
            let error = Ring::read(&data, &BTreeMap::new()).expect_err(said);
            assert!(error.contains(said), "{error}");
        }
        assert!(Ring::read(&Data::new(), &BTreeMap::new()).is_err());
        assert!(!format!("{:?}", ring(&[7], 7)).contains("7, 7"), "keys are not printed");
    }
}
