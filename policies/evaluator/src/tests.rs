//! The frozen record, the encoder's bounds, and what malformed bytes come to.

extern crate std;

use std::string::{String, ToString as _};
use std::{format, vec, vec::Vec};

use crate::encode::{Request, Subject, TooLarge, request, subject};
use crate::hash::{hash, same};
use crate::layout::{HALF_SIZE, MAX_ATTRIBUTES, MAX_GROUPS, MAX_LABELS, request as r, subject as s};
use crate::record::Record;
use crate::{Malformed, SCRATCH_WORDS, evaluate};

type Pair = (&'static str, &'static str);

fn person<'a>(
    groups: &'a [&'a str],
) -> Subject<'a, std::iter::Copied<std::slice::Iter<'a, &'a str>>, [Pair; 1]> {
    Subject {
        department: "sbj",
        name: "wang.fang",
        unit: "医政处",
        groups: groups.iter().copied(),
        attributes: [("title", "chief")],
        device: 1,
        factors: 3,
        source: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 20, 0, 1],
    }
}

fn question() -> Request<'static, [Pair; 2]> {
    Request {
        side: 2,
        owner: "sbj",
        resource: "his",
        labels: [("class", "core"), ("zone", "a")],
        host: "his.example.org",
        port: 443,
        method: "GET",
        path: "/archive/1",
        utc_minute: 29_000_000,
        weekday: 6,
        minute_of_day: 1_439,
    }
}

fn encoded() -> (Vec<u8>, Vec<u8>) {
    let (mut who, mut what) = (vec![0xee; 8_192], vec![0xee; 8_192]);
    let length = subject(&mut who, person(&["sbj/doctors", "sbj/night"])).unwrap();
    who.truncate(length);
    let length = request(&mut what, question()).unwrap();
    what.truncate(length);
    (who, what)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `abi` 1 is frozen: hosts and modules of different releases must agree on these bytes.
#[test]
fn the_record_is_what_abi_1_says() {
    let (who, what) = encoded();
    assert_eq!(hex(&who), include_str!("../../fixtures/record-abi1-subject.hex").trim_end());
    assert_eq!(hex(&what), include_str!("../../fixtures/record-abi1-request.hex").trim_end());
}

#[test]
fn what_is_encoded_is_read_back() {
    let (who, what) = encoded();
    let record = Record::open(&who, &what).unwrap();
    assert_eq!(record.name().unwrap().text, b"wang.fang");
    assert_eq!(record.unit().unwrap().text, "医政处".as_bytes());
    assert_eq!(record.resource().unwrap().hash, hash(b"his"));
    assert_eq!(record.path().unwrap(), b"/archive/1");
    assert_eq!((record.side(), record.weekday(), record.minute_of_day(), record.port()), (2, 6, 1_439, 443));
    assert_eq!((record.utc_minute(), record.device(), record.factors()), (29_000_000, 1, 3));
    assert_eq!(record.source(), (0, 0xffff_0a14_0001, 4));
    assert_eq!(record.in_group(hash(b"sbj/night"), b"sbj/night"), Some(true));
    assert_eq!(record.in_group(hash(b"sbj/nigh"), b"sbj/nigh"), Some(false));
    // Equal hashes are not equal texts.
    assert_eq!(record.in_group(hash(b"sbj/night"), b"sbj/nobody"), Some(false));
    let labels = record.labels().unwrap();
    assert_eq!(labels.holds_pair(hash(b"zone\0a"), b"zone\0a"), Some(true));
    assert_eq!(labels.value_of(b"zon"), Some(None));
    let (offset, length) = labels.value_of(b"class").unwrap().unwrap();
    assert_eq!(&what[offset as usize..][..length as usize], b"core");
}

#[test]
fn a_record_that_does_not_fit_is_refused() {
    let mut half = [0; HALF_SIZE as usize];
    let many: Vec<_> = (0..=MAX_GROUPS).map(|n| format!("sbj/{n}")).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    assert!(subject(&mut half, person(&many[..MAX_GROUPS])).is_ok());
    assert_eq!(subject(&mut half, person(&many)), Err(TooLarge));
    let long = "g".repeat(HALF_SIZE as usize);
    assert_eq!(subject(&mut half, person(&[&long])), Err(TooLarge));
    assert_eq!(subject(&mut half[..s::HEADER - 1], person(&[])), Err(TooLarge));
    assert_eq!(request(&mut half, Request { path: &long, ..question() }), Err(TooLarge));
    assert_eq!(request(&mut half[..r::HEADER + 10], question()), Err(TooLarge));
    let Request {
        side, owner, resource, host, port, method, path, utc_minute, weekday, minute_of_day, ..
    } = question();
    let with = |labels| Request {
        side,
        owner,
        resource,
        labels,
        host,
        port,
        method,
        path,
        utc_minute,
        weekday,
        minute_of_day,
    };
    assert!(request(&mut half, with(vec![("a", "b"); MAX_LABELS])).is_ok());
    assert_eq!(request(&mut half, with(vec![("a", "b"); MAX_LABELS + 1])), Err(TooLarge));
    const { assert!(MAX_ATTRIBUTES * 64 < HALF_SIZE as usize) };
}

/// However long the half is, the encoder either fits or refuses: it never writes past the end.
#[test]
fn every_length_of_buffer_is_safe() {
    let (who, what) = encoded();
    for room in 0..who.len() {
        assert_eq!(subject(&mut vec![0; room], person(&["sbj/doctors", "sbj/night"])), Err(TooLarge));
    }
    for room in 0..what.len() {
        assert_eq!(request(&mut vec![0; room], question()), Err(TooLarge));
    }
}

#[test]
fn whatever_is_malformed_is_refused() {
    let (who, what) = encoded();
    let mut scratch = vec![0; SCRATCH_WORDS];
    let mut ask = |tables: &[u8], who: &[u8], what: &[u8], words: usize| {
        evaluate(tables, who, what, &mut scratch[..words], &mut ()).map(|(verdict, _)| verdict.effect)
    };
    // Tables without rules: a header with no root.
    let mut tables = vec![0; 64];
    for (at, word) in [crate::table::MAGIC, crate::table::VERSION, 64].into_iter().enumerate() {
        tables[at * 4..][..4].copy_from_slice(&word.to_le_bytes());
    }
    tables[32..44].fill(0xff);
    assert_eq!(ask(&tables, &who, &what, SCRATCH_WORDS), Ok(crate::verdict::NOTHING));
    assert_eq!(ask(&tables, &who, &what, SCRATCH_WORDS - index_words()), Ok(crate::verdict::NOTHING));
    assert_eq!(ask(&tables, &who, &what, 0), Err(Malformed));
    assert_eq!(ask(&[], &who, &what, SCRATCH_WORDS), Err(Malformed));
    assert_eq!(ask(&tables[..63], &who, &what, SCRATCH_WORDS), Err(Malformed));
    assert_eq!(ask(&tables, &who[..who.len() - 1], &what, SCRATCH_WORDS), Err(Malformed));
    assert_eq!(ask(&tables, &who, &what[..50], SCRATCH_WORDS), Err(Malformed));
    let mut other_abi = what.clone();
    other_abi[r::ABI] = 2;
    assert_eq!(ask(&tables, &who, &other_abi, SCRATCH_WORDS), Err(Malformed));
    let mut other_side = what.clone();
    other_side[r::SIDE] = 3;
    assert_eq!(ask(&tables, &who, &other_side, SCRATCH_WORDS), Err(Malformed));
    // A root that points outside.
    tables[40] = 7;
    assert_eq!(ask(&tables, &who, &what, SCRATCH_WORDS), Err(Malformed));
}

/// The walk's stack: not needed while nothing waits.
fn index_words() -> usize {
    crate::index::STACK_WORDS
}

#[test]
fn hashes_tell_lengths_and_ends_apart() {
    let mut seen = std::collections::BTreeSet::new();
    for length in 0..40 {
        for end in 0..4 {
            let mut text = "a".repeat(length);
            text.push_str(&end.to_string());
            assert!(seen.insert(hash(text.as_bytes())), "{text}");
            assert!(same(text.as_bytes(), text.clone().as_bytes()));
            let other = format!("{}x", &text[..length]);
            assert!(!same(text.as_bytes(), other.as_bytes()));
        }
    }
}
