//! One-time codes that let a person set their first password.
//!
//! A code is 80 bits of HKDF(root key, UID ‖ issue number): making it again, after a crash or by
//! another controller, gives the same code. Only its digest is stored or published.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound::{Included, Unbounded};
use std::path::{Path, PathBuf};

use aws_lc_rs::hkdf;
use tidegate_core::{AccountId, AccountName, DepartmentCode, Uid};

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
const AT_ONCE_MAX: usize = 64;

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
    departments: BTreeMap<DepartmentCode, Sheet>,
    /// The last one that was tried: the next step goes on after it, so that what fails hinders nobody.
    tried: Option<AccountId>,
}

/// The codes of one department.
#[derive(Debug, Default)]
struct Sheet {
    /// The issue number each slip was written for; `None` for one an earlier run left.
    written: BTreeMap<AccountName, Option<u64>>,
    /// What has to be laid out, or taken away.
    waiting: BTreeMap<AccountName, Option<Slip>>,
}

#[derive(Clone, Debug)]
struct Slip {
    uid: Uid,
    issue: u64,
}

/// What one step with the slips came to.
#[derive(Debug)]
pub(crate) struct Step {
    /// Whether there may be more that was not tried yet.
    pub(crate) more: bool,
    /// What failed; it is tried again later.
    pub(crate) failure: Option<StateError>,
}

impl Slips {
    /// Looks at what earlier runs left. What nobody claims is taken away.
    pub(crate) fn load(state: &State) -> Result<Self, StateError> {
        let mut slips = Self::default();
        for account in state.files(Path::new(DIRECTORY))?.iter().filter_map(|path| account(path)) {
            let sheet = slips.departments.entry(account.department).or_default();
            sheet.written.insert(account.name.clone(), None);
            sheet.waiting.insert(account.name, None);
        }
        Ok(slips)
    }

    /// Takes note of the accounts of a department that have a code, with UID and issue number.
    pub(crate) fn want(&mut self, department: &DepartmentCode, codes: BTreeMap<AccountName, (Uid, u64)>) {
        let sheet = self.departments.entry(department.clone()).or_default();
        let stale = sheet.written.keys().filter(|name| !codes.contains_key(*name));
        sheet.waiting = stale.map(|name| (name.clone(), None)).collect();
        for (name, (uid, issue)) in codes {
            if sheet.written.get(&name) != Some(&Some(issue)) {
                sheet.waiting.insert(name, Some(Slip { uid, issue }));
            }
        }
        if sheet.written.is_empty() && sheet.waiting.is_empty() {
            self.departments.remove(department);
        }
    }

    /// Whether anything has still to be laid out or taken away.
    pub(crate) fn is_waiting(&self) -> bool {
        self.departments.values().any(|sheet| !sheet.waiting.is_empty())
    }

    /// Some of what waits, from where the last step ended.
    fn next(&mut self) -> Vec<(AccountId, Option<Slip>)> {
        let tried = self.tried.take();
        let from = tried.as_ref().map_or(Unbounded, |tried| Included(&tried.department));
        let waiting =
            self.departments.range::<DepartmentCode, _>((from, Unbounded)).flat_map(|(department, sheet)| {
                let id = move |name: &AccountName| AccountId {
                    department: department.clone(),
                    name: name.clone(),
                };
                sheet.waiting.iter().map(move |(name, slip)| (id(name), slip))
            });
        let untried = |id: &AccountId| tried.as_ref().is_none_or(|tried| id > tried);
        let next = waiting.filter(|(id, _)| untried(id)).take(AT_ONCE_MAX);
        let next: Vec<_> = next.map(|(id, slip)| (id, slip.clone())).collect();
        if next.is_empty() && tried.is_some() {
            return self.next();
        }
        // After the last one it begins anew.
        self.tried = next.last().filter(|_| next.len() >= AT_ONCE_MAX).map(|(id, _)| id.clone());
        next
    }

    /// Lays out and takes away some of what waits.
    pub(crate) fn work(&mut self, state: &State) -> Step {
        let (mut there, mut gone) = (Vec::new(), Vec::new());
        for (account, slip) in self.next() {
            match slip {
                Some(slip) => there.push((account, slip)),
                None => gone.push(account),
            }
        }
        let codes = there.iter().map(|(account, slip)| {
            let code = ActivationCode::derive(state.root_key(), &slip.uid, slip.issue);
            (path(account), format!("{}\n", code.as_str()).into_bytes())
        });
        let laid_out = state.hand_out(codes.collect());
        let taken_back = state.take_back(gone.iter().map(path).collect());
        let issues = there.into_iter().map(|(account, slip)| (account, Some(slip.issue)));
        let all = issues.chain(gone.into_iter().map(|account| (account, None)));
        let mut step = Step { more: false, failure: None };
        for ((account, issue), outcome) in all.zip(laid_out.into_iter().chain(taken_back)) {
            match outcome {
                Ok(()) => self.note(&account, issue),
                Err(error) => step.failure = step.failure.or(Some(error)),
            }
        }
        step.more = self.tried.is_some();
        step
    }

    fn note(&mut self, account: &AccountId, issue: Option<u64>) {
        let Some(sheet) = self.departments.get_mut(&account.department) else { return };
        sheet.waiting.remove(&account.name);
        match issue {
            Some(issue) => drop(sheet.written.insert(account.name.clone(), Some(issue))),
            None => drop(sheet.written.remove(&account.name)),
        }
    }
}

fn path(account: &AccountId) -> PathBuf {
    Path::new(DIRECTORY).join(account.department.as_str()).join(account.name.as_str())
}

fn account(path: &Path) -> Option<AccountId> {
    let department = path.parent()?.file_name()?.to_str()?.parse().ok()?;
    Some(AccountId { department, name: path.file_name()?.to_str()?.parse().ok()? })
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
        let codes = || BTreeMap::from([(account.name.clone(), (uid.clone(), 1))]);
        let work = |slips: &mut Slips| while slips.work(&state).more {};
        slips.want(&account.department, codes());
        work(&mut slips);
        let first = std::fs::read_to_string(&file).unwrap();
        assert_eq!(first.trim(), ActivationCode::derive(state.root_key(), &uid, 1).as_str());
        // Editing the output changes nothing, not even the output.
        std::fs::write(&file, "mine").unwrap();
        slips.want(&account.department, codes());
        work(&mut slips);
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "mine");

        let mut slips = Slips::load(&state).unwrap();
        slips.want(&account.department, codes());
        work(&mut slips);
        assert_eq!(std::fs::read_to_string(&file).unwrap(), first, "a restart lays it out anew");
        slips.want(&account.department, BTreeMap::new());
        work(&mut slips);
        assert!(!file.exists());
    }
}
