//! One-time codes that let a person set their first password.
//!
//! A code is 80 bits of HKDF(root key, UID ‖ issue number): making it again, after a crash or by
//! another controller, gives the same code. Only its digest is stored or published.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use aws_lc_rs::hkdf;
use tidegate_core::{AccountId, Uid};

use crate::digest::{Digest, sha256};
use crate::state::{RootKey, State, StateError};

/// Hours a code works.
pub const HOURS: i64 = 72;

/// Letters of a code, without the hyphens.
pub const LETTERS: usize = 16;

/// Letters between two hyphens.
const GROUP: usize = 4;

const DIRECTORY: &str = "activation";

/// Codes laid out or taken away in one step, so that nothing waits long for them.
const AT_ONCE_MAX: usize = 512;

const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// A code as it is printed on the slip: `XXXX-XXXX-XXXX-XXXX`, base32 of RFC 4648.
#[derive(Clone, PartialEq, Eq)]
pub struct ActivationCode(String);

impl ActivationCode {
    /// The code of an account for the `issue`-th time it gets one.
    #[must_use]
    pub fn derive(key: &RootKey, uid: &Uid, issue: u64) -> Self {
        let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, b"tidegate activation code v1");
        let issue = issue.to_be_bytes();
        // The issue number has a fixed length, so no two pairs give the same text.
        let info = [uid.as_str().as_bytes(), issue.as_slice()];
        let mut bytes = [0; 10];
        let filled = salt.extract(&key.0).expand(&info, Bytes10).and_then(|okm| okm.fill(&mut bytes));
        debug_assert!(filled.is_ok(), "ten bytes are always fewer than HKDF can give");
        Self(group(&base32(&bytes)))
    }

    /// The text to print.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The digest that is stored and published.
    #[must_use]
    pub fn digest(&self) -> Digest {
        digest_of(&self.0)
    }
}

impl fmt::Debug for ActivationCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ActivationCode")
    }
}

/// The digest of a code as a person typed it: case, hyphens and spaces do not matter.
#[must_use]
pub fn digest_of(typed: &str) -> Digest {
    let normal: String =
        typed.chars().filter(|c| !c.is_whitespace() && *c != '-').map(|c| c.to_ascii_uppercase()).collect();
    sha256(normal.as_bytes())
}

struct Bytes10;

impl hkdf::KeyType for Bytes10 {
    fn len(&self) -> usize {
        10
    }
}

fn base32(bytes: &[u8; 10]) -> String {
    let bits = bytes.iter().fold(0_u128, |bits, byte| (bits << 8) | u128::from(*byte));
    (0..LETTERS)
        .rev()
        .filter_map(|index| ALPHABET.get(usize::try_from((bits >> (index * 5)) & 31).ok()?))
        .map(|letter| char::from(*letter))
        .collect()
}

fn group(letters: &str) -> String {
    letters.chars().enumerate().fold(String::with_capacity(LETTERS + 3), |mut out, (index, letter)| {
        if index > 0 && index % GROUP == 0 {
            out.push('-');
        }
        out.push(letter);
        out
    })
}

/// The codes in `STATE/activation/<code>/<name>`, for whoever hands them over: an output only.
#[derive(Debug, Default)]
pub(crate) struct Slips {
    /// The issue number each file was written for; `None` for one an earlier run left.
    written: BTreeMap<PathBuf, Option<u64>>,
}

impl Slips {
    /// Looks at what earlier runs left.
    pub(crate) fn load(state: &State) -> Result<Self, StateError> {
        let files = state.files(Path::new(DIRECTORY))?;
        Ok(Self { written: files.into_iter().map(|path| (path, None)).collect() })
    }

    /// Lays out the codes of `outstanding` accounts (with UID and issue number), and takes the others
    /// away. Returns whether everything is laid out: a department where that fails hinders no other, and
    /// very many codes take several calls.
    pub(crate) fn update<'a>(
        &mut self,
        state: &State,
        outstanding: impl Iterator<Item = (&'a AccountId, &'a Uid, u64)>,
    ) -> Result<bool, StateError> {
        let mut wanted = BTreeMap::new();
        let mut missing = Vec::new();
        for (account, uid, issue) in outstanding {
            let path = Path::new(DIRECTORY).join(account.department.as_str()).join(account.name.as_str());
            if self.written.get(&path) != Some(&Some(issue)) {
                missing.push((path.clone(), uid, issue));
            }
            wanted.insert(path, issue);
        }
        let stale: Vec<PathBuf> =
            self.written.keys().filter(|path| !wanted.contains_key(*path)).cloned().collect();
        let complete = missing.len() <= AT_ONCE_MAX && stale.len() <= AT_ONCE_MAX;
        let mut failure = None;

        let codes = missing.iter().take(AT_ONCE_MAX).map(|(path, uid, issue)| {
            let code = ActivationCode::derive(state.root_key(), uid, *issue);
            (path.clone(), format!("{}\n", code.as_str()).into_bytes())
        });
        let laid_out = state.hand_out(codes.collect());
        for ((path, _, issue), outcome) in missing.into_iter().zip(laid_out) {
            match outcome {
                Ok(()) => {
                    self.written.insert(path, Some(issue));
                }
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        let stale: Vec<PathBuf> = stale.into_iter().take(AT_ONCE_MAX).collect();
        for (path, outcome) in stale.iter().zip(state.take_back(stale.clone())) {
            match outcome {
                Ok(()) => {
                    self.written.remove(path);
                }
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        failure.map_or(Ok(complete), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uid() -> Uid {
        "0b1c2d3e-0000-4000-8000-000000000001".parse().unwrap()
    }

    #[test]
    fn base32_is_the_rfcs() {
        assert_eq!(base32(b"foobarfoob"), "MZXW6YTBOJTG633C");
        assert_eq!(base32(&[0; 10]), "AAAAAAAAAAAAAAAA");
        assert_eq!(base32(&[255; 10]), "7777777777777777");
    }

    #[test]
    fn a_repeated_step_makes_the_same_code_and_a_new_issue_another() {
        let key = RootKey([7; 32]);
        let one = ActivationCode::derive(&key, &uid(), 1);
        assert_eq!(one, ActivationCode::derive(&key, &uid(), 1));
        assert_ne!(one, ActivationCode::derive(&key, &uid(), 2));
        assert_ne!(one, ActivationCode::derive(&RootKey([8; 32]), &uid(), 1));
        assert_eq!(one.as_str().len(), LETTERS + 3);
        assert_eq!(one.as_str().split('-').map(str::len).collect::<Vec<_>>(), [4, 4, 4, 4]);
    }

    #[test]
    fn how_it_is_typed_does_not_matter() {
        let code = ActivationCode::derive(&RootKey([7; 32]), &uid(), 1);
        let typed = format!(" {} ", code.as_str().to_lowercase().replace('-', " "));
        assert_eq!(digest_of(&typed), code.digest());
        assert_ne!(digest_of("MZXW-6YTB-OJTG-633C"), code.digest());
    }

    #[test]
    fn slips_are_laid_out_once_and_taken_away() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(dir.path()).unwrap();
        let (account, uid): (AccountId, Uid) = ("sbj/wangfang".parse().unwrap(), uid());
        let file = dir.path().join("activation/sbj/wangfang");
        let mut slips = Slips::load(&state).unwrap();
        slips.update(&state, [(&account, &uid, 1)].into_iter()).unwrap();
        let first = std::fs::read_to_string(&file).unwrap();
        assert_eq!(first.trim(), ActivationCode::derive(state.root_key(), &uid, 1).as_str());
        // Editing the output changes nothing, not even the output.
        std::fs::write(&file, "mine").unwrap();
        slips.update(&state, [(&account, &uid, 1)].into_iter()).unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "mine");

        let mut slips = Slips::load(&state).unwrap();
        slips.update(&state, [(&account, &uid, 1)].into_iter()).unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), first, "a restart lays it out anew");
        slips.update(&state, std::iter::empty()).unwrap();
        assert!(!file.exists());
    }
}
