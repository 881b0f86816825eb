use proptest::prelude::*;

use super::*;

const NOON: Timestamp = Timestamp(1_795_000_000);

fn ring(kids: &[u32]) -> Ring {
    let keys: Vec<_> = kids.iter().map(|kid| (*kid, [u8::try_from(*kid).unwrap(); 32])).collect();
    Ring::new(&keys).unwrap()
}

#[test]
fn a_ring_needs_distinct_keys_and_a_bound() {
    assert!(Ring::new(&[]).is_err());
    assert!(Ring::new(&[(1, [1; 32]), (1, [2; 32])]).is_err());
    let many: Vec<_> = (0..17).map(|kid| (kid, [0; 32])).collect();
    assert!(Ring::new(&many).is_err());
}

#[test]
fn the_newest_key_seals_and_older_ones_still_open() {
    let old = ring(&[1]);
    let both = ring(&[1, 2]);
    let new = ring(&[2]);
    let before = old.seal(Purpose::Cookie, b"portal", b"x", NOON).unwrap();
    let after = both.seal(Purpose::Cookie, b"portal", b"x", NOON).unwrap();
    assert_eq!(both.open(Purpose::Cookie, b"portal", &before).unwrap(), b"x");
    assert_eq!(both.open(Purpose::Cookie, b"portal", &after).unwrap(), b"x");
    assert_eq!(new.open(Purpose::Cookie, b"portal", &before), Err(Code::TicketInvalid), "unknown kid");
    assert_eq!(old.open(Purpose::Cookie, b"portal", &after), Err(Code::TicketInvalid), "unknown kid");
}

#[test]
fn a_rotation_reaches_every_clone() {
    let ring = ring(&[1]);
    let clone = ring.clone();
    let before = clone.seal(Purpose::Cookie, b"", b"x", NOON).unwrap();
    let version = clone.version();
    // The next key is known everywhere before anybody seals with it.
    ring.rotate(&[(1, [1; 32]), (2, [2; 32])], 1).unwrap();
    assert_ne!(clone.version(), version);
    assert_eq!(clone.derived(Purpose::Cookie, NOON).unwrap().0, 1);
    ring.rotate(&[(1, [1; 32]), (2, [2; 32])], 2).unwrap();
    assert_eq!(clone.derived(Purpose::Cookie, NOON).unwrap().0, 2);
    assert_eq!(clone.open(Purpose::Cookie, b"", &before).unwrap(), b"x");
    ring.rotate(&[(2, [2; 32])], 2).unwrap();
    assert_eq!(clone.open(Purpose::Cookie, b"", &before), Err(Code::TicketInvalid));
    assert!(ring.rotate(&[(2, [2; 32])], 3).is_err(), "no such key");
    assert_eq!(clone.derived(Purpose::Cookie, NOON).unwrap().0, 2, "what cannot be used changes nothing");
}

#[test]
fn every_purpose_and_hour_has_a_key_of_its_own() {
    let ring = ring(&[7]);
    let mut seen = std::collections::BTreeSet::new();
    for purpose in Purpose::ALL {
        for hour in 0..3 {
            assert!(seen.insert(ring.derived(purpose, NOON.plus(hour * SLOT_S)).unwrap()));
        }
    }
}

#[test]
fn a_key_kept_for_the_hour_serves_that_hour_and_purpose_alone() {
    let (kept, fresh) = (ring(&[1]), ring(&[1]));
    for (now, purpose) in [
        (NOON, Purpose::Cookie),
        (NOON, Purpose::Form),
        (NOON.plus(SLOT_S), Purpose::Cookie),
        // The clock was put back.
        (NOON, Purpose::Cookie),
    ] {
        let sealed = kept.seal(purpose, b"", b"x", now).unwrap();
        // A ring that has sealed nothing yet derives the key from the header alone.
        assert_eq!(fresh.open(purpose, b"", &sealed).unwrap(), b"x");
        assert_eq!(kept.open(purpose, b"", &sealed).unwrap(), b"x");
    }
}

#[test]
fn too_long_is_not_looked_at() {
    let ring = ring(&[1]);
    assert_eq!(ring.open(Purpose::Form, b"", &[1; SEALED_BYTES_MAX + 1]), Err(Code::TicketInvalid));
    assert_eq!(ring.open_text(Purpose::Form, b"", &"A".repeat(4096)), Err(Code::TicketInvalid));
    assert_eq!(ring.open_text(Purpose::Form, b"", "not base64!"), Err(Code::TicketInvalid));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn opens_only_whole_and_for_its_purpose_and_context(
        plain in prop::collection::vec(any::<u8>(), 0..300),
        hours in 0_i64..9,
        cut in any::<prop::sample::Index>(),
        bit in 0_u8..8,
    ) {
        let ring = ring(&[1, 9]);
        let sealed = ring.seal(Purpose::Cookie, b"a", &plain, NOON.plus(hours * SLOT_S)).unwrap();
        prop_assert_eq!(ring.open(Purpose::Cookie, b"a", &sealed).unwrap(), plain);
        prop_assert!(ring.open(Purpose::Grant, b"a", &sealed).is_err());
        prop_assert!(ring.open(Purpose::Cookie, b"b", &sealed).is_err());
        let at = cut.index(sealed.len());
        prop_assert!(ring.open(Purpose::Cookie, b"a", &sealed[..at]).is_err());
        let mut flipped = sealed.clone();
        flipped[at] ^= 1 << bit;
        prop_assert!(ring.open(Purpose::Cookie, b"a", &flipped).is_err());
    }

    #[test]
    fn any_bytes_are_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..1100)) {
        prop_assert!(ring(&[1]).open(Purpose::Cookie, b"", &bytes).is_err());
    }
}
