//! What logging in does, whichever face asks: a page of the portal or a form of a VPN client.
//!
//! ```text
//!  caller: who is it, must they wait? --> check: hashing queue --> judge: right, and may they? --> open
//! ```
//!
//! Nothing here knows how an answer looks. What is refused costs the same whether or not the account exists.

use std::sync::Arc;

use tidegate_core::policy::Factor;
use tidegate_core::session::Ticket;
use tidegate_core::{
    Account, AccountId, AccountName, Code, Department, DepartmentCode, SessionId, Timestamp, Uid,
};
use tidegate_store::audit::{Actor, Event};

use super::backoff;
use crate::hash::{self, Turn};
use crate::keys;
use crate::portal::Visit;

/// Longest account as typed, `name@code` included.
const USER_CHARS_MAX: usize = 80;

/// Longest password that is looked at, in bytes.
const PASSWORD_BYTES_MAX: usize = 512;

/// Why somebody is not let in, or a password not taken: the code, and the key of the text that goes with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) key: &'static str,
    pub(crate) code: Code,
}

impl Refused {
    /// A field is empty or too long.
    pub(crate) const FORM: Self = Self { key: "error-form-invalid", code: Code::FormInvalid };
    /// The account or password is wrong, or it is too early to try again.
    pub(crate) const LOGIN: Self = Self { key: "error-login-failed", code: Code::LoginFailed };
    /// The hashing queue is full.
    pub(crate) const BUSY: Self = Self { key: "error-login-busy", code: Code::LoginBusy };
    /// The gateway has had no news for too long.
    pub(crate) const PAUSED: Self = Self { key: "error-logins-paused", code: Code::LoginsPaused };
    /// The gateway has no configuration.
    pub(crate) const NO_SNAPSHOT: Self = Self { key: "error-logins-paused", code: Code::NoSnapshot };
    /// The store, or something of the computer itself, failed.
    pub(crate) const KEPT: Self = Self { key: "error-session-kept", code: Code::StoreFailed };
}

/// What hashing gave.
pub(crate) enum Hashed {
    /// Whether the password was right.
    Verified(bool),
    /// The present password was wrong.
    OldWrong,
    /// The new password is one of the latest.
    Recent,
    /// The new password's hash.
    New(Box<str>),
    /// There were no random numbers, or no memory.
    Failed,
}

/// Who is meant, as typed.
#[derive(Clone, Debug)]
pub(crate) struct Typed {
    /// The department: from `name@code`, else of the page.
    pub(crate) department: DepartmentCode,
    /// The account's name as far as it could be one.
    pub(crate) user: String,
}

impl Typed {
    /// Who `user` is on the page of `page`; without a page only `name@code` says it.
    pub(crate) fn new(page: Option<&DepartmentCode>, user: &str) -> Option<Self> {
        let user: String = user.trim().to_ascii_lowercase().replace('＠', "@");
        if user.is_empty() || user.chars().count() > USER_CHARS_MAX {
            return None;
        }
        let (name, department) = match user.rsplit_once('@') {
            Some((name, code)) => (name, code.parse().ok()?),
            None => (user.as_str(), page?.clone()),
        };
        Some(Self { department, user: name.to_owned() })
    }

    /// The account meant, whether or not it exists; `None` when the text cannot be a name.
    pub(crate) fn id(&self) -> Option<AccountId> {
        let name: AccountName = self.user.parse().ok()?;
        Some(AccountId { department: self.department.clone(), name })
    }
}

impl From<&AccountId> for Typed {
    fn from(id: &AccountId) -> Self {
        Self { department: id.department.clone(), user: id.name.to_string() }
    }
}

/// Somebody at the door who may try.
pub(crate) struct Caller {
    /// Who they say they are.
    pub(crate) typed: Typed,
    /// Failures of the account before this attempt.
    pub(crate) failures: u32,
}

/// Who wants to log in as `user` on the page of `page`, if they may try now.
pub(crate) async fn caller(
    visit: &Visit<'_>,
    page: Option<&DepartmentCode>,
    user: &str,
    password: &str,
) -> Result<Caller, Refused> {
    let typed = Typed::new(page, user).ok_or(Refused::FORM)?;
    if !fits(password) {
        return Err(Refused::FORM);
    }
    if paused(visit) {
        record_login(visit, typed.id(), None, Some(Code::LoginsPaused));
        return Err(Refused::PAUSED);
    }
    let failures = Failures::read(visit, &typed).await.map_err(|()| Refused::KEPT)?;
    if failures.must_wait(visit.now) {
        record_login(visit, typed.id(), None, Some(Code::LoginSlowedDown));
        // The text and code of a wrong password: whoever guesses does not learn that waiting helps.
        return Err(Refused::LOGIN);
    }
    Ok(Caller { typed, failures: failures.account })
}

/// Puts the check of a password into the hashing queue, in the turn of the department `queue`; also the hash it
/// is checked against.
pub(crate) fn check(
    visit: &Visit<'_>,
    caller: &Caller,
    queue: &str,
    password: &str,
) -> Result<(Box<str>, Turn<Hashed>), Refused> {
    let phc: Box<str> = find(visit, &caller.typed)
        .and_then(|(_, account)| account.credential.as_ref()?.password.clone())
        .unwrap_or_else(|| hash::dummy().into());
    let password = password.to_owned();
    let work = {
        let phc = phc.clone();
        move || hash::verify(&password, &phc).map_or(Hashed::Failed, Hashed::Verified)
    };
    match visit.ctx.hash_queue().submit(queue, work) {
        Ok(turn) => Ok((phc, turn)),
        Err(_) => {
            record_login(visit, caller.typed.id(), None, Some(Code::LoginBusy));
            Err(Refused::BUSY)
        }
    }
}

/// What a checked password is worth.
pub(crate) enum Judged {
    /// It is wrong, or was changed while it was checked.
    Refused(Refused),
    /// It is right, but the account may not be used.
    Denied(Arc<Department>, Code),
    /// It is right, and a new one must be set first.
    MustChange(Arc<Department>, Arc<Account>),
    /// It is right.
    Right(Arc<Department>, Arc<Account>),
}

/// Judges a password that was checked against `phc`.
pub(crate) async fn judge(visit: &Visit<'_>, typed: &Typed, phc: &str, right: bool) -> Judged {
    let found = find(visit, typed).filter(|(_, account)| {
        // A password that was changed while this one was checked makes the check worthless.
        account.credential.as_ref().and_then(|credential| credential.password.as_deref()) == Some(phc)
    });
    let (Some((department, account)), true) = (found, right) else {
        Failures::count(visit, typed).await;
        record_login(visit, typed.id(), None, Some(Code::LoginFailed));
        return Judged::Refused(Refused::LOGIN);
    };
    if let Some(reason) = account.standing(visit.now).denied {
        record_login(visit, typed.id(), Some(&account.source.uid), Some(reason.code()));
        return Judged::Denied(department, reason.code());
    }
    if account.credential.as_ref().is_some_and(|credential| credential.must_change) {
        record_login(visit, typed.id(), Some(&account.source.uid), Some(Code::PasswordChangeRequired));
        return Judged::MustChange(department, account);
    }
    Judged::Right(department, account)
}

/// Opens a session of the visit's kind for an account that proved who it is; the one before it ends in the
/// same step. `seal` makes what the client keeps; nothing is recorded as opened before that has worked.
pub(crate) async fn open<T>(
    visit: &Visit<'_>,
    department: &Department,
    account: &Account,
    seal: impl FnOnce(Ticket) -> Option<T>,
) -> Result<T, Refused> {
    let id = AccountId { department: department.code.clone(), name: account.name.clone() };
    let opened = issue(visit, department, account, &id, seal).await;
    match opened {
        Ok((session, sealed)) => {
            visit.record(Event::Login {
                actor: Actor {
                    account: Some(id),
                    uid: Some(account.source.uid.clone()),
                    session: Some(session),
                    ..visit.actor()
                },
                kind: visit.kind,
                refused: None,
            });
            Ok(sealed)
        }
        Err(refused) => {
            record_login(visit, Some(id), Some(&account.source.uid), Some(refused.code));
            Err(refused)
        }
    }
}

async fn issue<T>(
    visit: &Visit<'_>,
    department: &Department,
    account: &Account,
    id: &AccountId,
    seal: impl FnOnce(Ticket) -> Option<T>,
) -> Result<(SessionId, T), Refused> {
    let snapshot = visit.ctx.snapshot().ok_or(Refused::NO_SNAPSHOT)?;
    let credential = account.credential.as_ref().ok_or(Refused::LOGIN)?;
    let session = SessionId(keys::random::<16>().map_err(|_| Refused::KEPT)?);
    let now = visit.ctx.now();
    let ticket = Ticket {
        session,
        account: id.clone(),
        uid: account.source.uid.clone(),
        epoch: credential.epoch,
        kind: visit.kind,
        factors: Factor::Password.bit(),
        // A login of the second in which the store turned out to be new knows of it; a session begun before does not.
        issued: now.max(snapshot.platform.not_before),
        absolute_end: now.plus(i64::from(department.session.absolute_s)),
        generation: snapshot.generation,
    };
    // The newest login wins: the one before it ends in the same step.
    if let Err(error) = visit.ctx.login(id, visit.kind, session, ticket.absolute_end).await {
        tracing::error!(%error, "a login could not be stored");
        return Err(Refused::KEPT);
    }
    Failures::forget(visit, id).await;
    Ok((session, seal(ticket).ok_or(Refused::KEPT)?))
}

/// The account meant, in the newest snapshot.
pub(crate) fn find(visit: &Visit<'_>, typed: &Typed) -> Option<(Arc<Department>, Arc<Account>)> {
    let snapshot = visit.ctx.snapshot()?;
    let department = snapshot.department(typed.department.as_str())?;
    let account = department.accounts.get(&typed.id()?.name)?;
    Some((Arc::clone(department), Arc::clone(account)))
}

/// Whether this gateway was without news for too long to let anybody in.
pub(crate) fn paused(visit: &Visit<'_>) -> bool {
    visit.now.since(visit.ctx.view().fresh_at) >= visit.ctx.new_logins_s()
}

/// Whether a text could be a password.
pub(crate) fn fits(password: &str) -> bool {
    !password.is_empty() && password.len() <= PASSWORD_BYTES_MAX
}

/// Puts a login, or an attempt at one, into the audit trail.
pub(crate) fn record_login(
    visit: &Visit<'_>,
    account: Option<AccountId>,
    uid: Option<&Uid>,
    refused: Option<Code>,
) {
    visit.record(Event::Login {
        actor: Actor { account, uid: uid.cloned(), ..visit.actor() },
        kind: visit.kind,
        refused,
    });
}

/// Failures counted for an account and for a source.
pub(crate) struct Failures {
    pub(crate) account: u32,
    until: Option<Timestamp>,
}

impl Failures {
    /// Reads both counts; an error when the store does not answer.
    pub(crate) async fn read(visit: &Visit<'_>, typed: &Typed) -> Result<Self, ()> {
        let account = visit.ctx.failures(&backoff::account_key(&typed.department, &typed.user)).await;
        let source = visit.ctx.failures(&backoff::source_key(visit.source)).await;
        let (Ok((account, last)), Ok((source, source_last))) = (account, source) else { return Err(()) };
        let until = backoff::until(account, last).max(backoff::until(source, source_last));
        Ok(Self { account, until })
    }

    /// Whether the next attempt is too early.
    pub(crate) fn must_wait(&self, now: Timestamp) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    /// Counts one more, for both.
    pub(crate) async fn count(visit: &Visit<'_>, typed: &Typed) {
        let account = backoff::account_key(&typed.department, &typed.user);
        for key in [account, backoff::source_key(visit.source)] {
            if let Err(error) = visit.ctx.count_failure(&key, Some(visit.ctx.now())).await {
                tracing::warn!(%error, "a failed login could not be counted");
            }
        }
    }

    /// Forgets both after a login.
    async fn forget(visit: &Visit<'_>, id: &AccountId) {
        let account = backoff::account_key(&id.department, id.name.as_str());
        for key in [account, backoff::source_key(visit.source)] {
            if let Err(error) = visit.ctx.count_failure(&key, None).await {
                tracing::warn!(%error, "failed logins could not be forgotten");
            }
        }
    }
}
