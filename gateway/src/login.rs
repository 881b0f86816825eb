//! Logging in, the first password, a new password.
//!
//! ```text
//!  POST -- guard, form, backoff --> hashing queue --(quick)--> finish: session, or why not
//!                                        |
//!                                        +--(queue is long)--> waiting page <-- GET /wait, every 3 s
//!  new password --> intent --> controller --> own snapshot shows the new version --> session
//! ```
//!
//! What is refused says the same and costs the same whether or not the account exists.

pub(crate) mod backoff;
pub(crate) mod choose;
pub(crate) mod form;
pub(crate) mod guard;
mod renew;
pub(crate) mod room;
mod waiting;

use std::sync::Arc;

use http::StatusCode;
use tidegate_core::policy::Factor;
use tidegate_core::session::{Kind, Ticket};
use tidegate_core::{
    Account, AccountId, AccountName, Code, Department, DepartmentCode, SessionId, Timestamp, Uid,
};
use tidegate_store::audit::{Actor, Event};

use crate::cookie;
use crate::handshake::{GO, Start};
use crate::hash;
use crate::keys;
use crate::login::form::{Form, encode};
use crate::login::guard::FormName;
use crate::login::waiting::{Attempt, Hashed, Task, Waiting};
use crate::pages::outcome::{About, Action, Advice, Desk, Outcome, Refresh};
use crate::pages::{Login, Markup, Pick, Refusal, Tone};
use crate::portal::{Answer, Visit, redirect, render, with_cookie};

pub(crate) use choose::choose;
pub(crate) use renew::{activate, activate_page, change, password_page};
pub(crate) use waiting::wait;

/// Longest account as typed, `name@code` included.
const USER_CHARS_MAX: usize = 80;

/// Longest password that is looked at, in bytes.
const PASSWORD_BYTES_MAX: usize = 512;

/// Who is meant, as typed.
#[derive(Clone, Debug)]
pub(crate) struct Typed {
    /// The department: from `name@code`, else of the page.
    pub(crate) department: DepartmentCode,
    /// The account's name as far as it could be one.
    pub(crate) user: String,
}

impl Typed {
    /// Who `user` is on the page of `page`.
    fn new(page: &Department, user: &str) -> Option<Self> {
        let user: String = user.trim().to_ascii_lowercase().replace('＠', "@");
        if user.is_empty() || user.chars().count() > USER_CHARS_MAX {
            return None;
        }
        let (name, department) = match user.rsplit_once('@') {
            Some((name, code)) => (name, code.parse().ok()?),
            None => (user.as_str(), page.code.clone()),
        };
        Some(Self { department, user: name.to_owned() })
    }

    /// The account meant, whether or not it exists; `None` when the text cannot be a name.
    pub(crate) fn id(&self) -> Option<AccountId> {
        let name: AccountName = self.user.parse().ok()?;
        Some(AccountId { department: self.department.clone(), name })
    }
}

/// Shows the login form of a department.
pub(crate) fn page(visit: &Visit<'_>, code: &str) -> Answer {
    let Some(department) = visit.department(code) else { return choose(visit) };
    let next = visit.query.get("next").to_owned();
    let form = LoginForm { user: String::new(), next, refusal: None };
    with_cookie(form.answer(visit, &department, StatusCode::OK), cookie::department(department.code.as_str()))
}

/// The login form with what was typed and what was wrong.
pub(crate) struct LoginForm {
    pub(crate) user: String,
    pub(crate) next: String,
    pub(crate) refusal: Option<Refusal>,
}

impl LoginForm {
    pub(crate) fn answer(self, visit: &Visit<'_>, department: &Department, status: StatusCode) -> Answer {
        let f = visit.frame().of(department);
        let notice = match department.notice.get(f.lang) {
            "" => vec![f.t("notice-default")],
            notice => notice.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect(),
        };
        let (next, target) = match target(visit, &self.next) {
            Some(target) => (self.next, Some(target.title)),
            None => (String::new(), None),
        };
        let page = Login {
            department: Pick {
                code: department.code.to_string(),
                title: department.title.get(f.lang).to_owned(),
            },
            notice,
            user: self.user,
            token: visit.token(FormName::Login),
            next,
            target,
            refusal: self.refusal,
            f,
        };
        render(status, &page)
    }
}

/// The login form again, with the reason.
pub(crate) fn refuse(
    visit: &Visit<'_>,
    department: &DepartmentCode,
    user: &str,
    next: &str,
    key: &str,
    code: Code,
) -> Answer {
    let Some(department) = visit.department(department.as_str()).or_else(|| visit.remembered()) else {
        return visit.problem(code, About::default());
    };
    let refusal = Refusal::new(visit.lang(), key, code);
    let form = LoginForm { user: user.to_owned(), next: next.to_owned(), refusal: Some(refusal) };
    form.answer(visit, &department, crate::pages::outcome::status(code))
}

/// Where somebody wants to go after logging in.
pub(crate) struct Target {
    pub(crate) title: String,
}

/// The system behind a sealed start, if it still exists.
pub(crate) fn target(visit: &Visit<'_>, next: &str) -> Option<Target> {
    let start = Start::open(visit.ctx.ring(), next).ok()?;
    let (_, resource) = visit.snapshot.as_ref()?.resource(&start.resource)?;
    Some(Target { title: crate::portal::title(resource, visit.lang()) })
}

/// Checks account and password.
pub(crate) async fn login(visit: &Visit<'_>, code: &str, form: Form) -> Answer {
    let Some(page) = visit.department(code) else { return choose(visit) };
    let (user, password, next) = (form.get("user"), form.get("pass"), form.get("next"));
    let again = |key: &str, code| refuse(visit, &page.code, user, next, key, code);
    if FormName::Login.check(visit.ctx.ring(), None, form.get("token"), visit.now).is_err() {
        return again("error-form-foreign", Code::FormForeign);
    }
    let Some(typed) = Typed::new(&page, user) else { return again("error-form-invalid", Code::FormInvalid) };
    if password.is_empty() || password.len() > PASSWORD_BYTES_MAX {
        return again("error-form-invalid", Code::FormInvalid);
    }
    if paused(visit) {
        record_login(visit, typed.id(), None, Some(Code::LoginsPaused));
        return again("error-logins-paused", Code::LoginsPaused);
    }
    let failures = match Failures::read(visit, &typed).await {
        Ok(failures) => failures,
        Err(()) => return again("error-session-kept", Code::StoreFailed),
    };
    if failures.must_wait(visit.now) {
        record_login(visit, typed.id(), None, Some(Code::LoginSlowedDown));
        // The text and code of a wrong password: whoever guesses does not learn that waiting helps.
        return again("error-login-failed", Code::LoginFailed);
    }
    let phc: Box<str> = find(visit, &typed)
        .and_then(|(_, account)| account.credential.as_ref()?.password.clone())
        .unwrap_or_else(|| hash::dummy().into());
    let password = password.to_owned();
    let check = {
        let phc = phc.clone();
        move || hash::verify(&password, &phc).map_or(Hashed::Failed, Hashed::Verified)
    };
    let Ok(turn) = visit.ctx.hash_queue().submit(page.code.as_str(), check) else {
        record_login(visit, typed.id(), None, Some(Code::LoginBusy));
        return again("error-login-busy", Code::LoginBusy);
    };
    let attempt = Attempt {
        page: page.code.clone(),
        typed,
        next: next.to_owned(),
        failures: failures.account,
        task: Task::Login { phc },
    };
    waiting::go_on(visit, Waiting::Hashing { attempt, turn, first_place: 0 }, None).await
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

/// After the password was checked.
async fn after_check(visit: &Visit<'_>, attempt: Attempt, phc: &str, right: bool) -> Answer {
    let typed = &attempt.typed;
    let failed = |key: &str, code| refuse(visit, &attempt.page, &typed.user, &attempt.next, key, code);
    let found = find(visit, typed).filter(|(_, account)| {
        // A password that was changed while this one was checked makes the check worthless.
        account.credential.as_ref().and_then(|credential| credential.password.as_deref()) == Some(phc)
    });
    let (Some((department, account)), true) = (found, right) else {
        Failures::count(visit, typed).await;
        record_login(visit, typed.id(), None, Some(Code::LoginFailed));
        return failed("error-login-failed", Code::LoginFailed);
    };
    if let Some(reason) = account.standing(visit.now).denied {
        record_login(visit, typed.id(), Some(&account.source.uid), Some(reason.code()));
        return standing_page(visit, &department, reason.code());
    }
    if account.credential.as_ref().is_some_and(|credential| credential.must_change) {
        record_login(visit, typed.id(), Some(&account.source.uid), Some(Code::PasswordChangeRequired));
        return renew::forced(visit, &department, &account, &attempt.next);
    }
    open_session(visit, &department, &account, attempt.failures, &attempt.next).await
}

/// The page of an account that is right but may not be used.
pub(crate) fn standing_page(visit: &Visit<'_>, department: &Department, code: Code) -> Answer {
    let frame = visit.frame().of(department);
    let desk = Desk { office: department.title.get(frame.lang).to_owned(), phone: frame.hotline.clone() };
    let login = format!("/{}", department.code);
    let about = About { desk: Some(desk), login, at_login: true, ..About::default() };
    visit.problem_in(frame, code, about)
}

/// Opens a session and sends its owner on.
pub(crate) async fn open_session(
    visit: &Visit<'_>,
    department: &Department,
    account: &Account,
    failures: u32,
    next: &str,
) -> Answer {
    let id = AccountId { department: department.code.clone(), name: account.name.clone() };
    let refused = |code, key: &str| {
        record_login(visit, Some(id.clone()), Some(&account.source.uid), Some(code));
        refuse(visit, &department.code, account.name.as_str(), next, key, code)
    };
    let Some(snapshot) = visit.ctx.snapshot() else {
        return refused(Code::NoSnapshot, "error-logins-paused");
    };
    let Some(credential) = &account.credential else {
        return refused(Code::LoginFailed, "error-login-failed");
    };
    let Ok(random) = keys::random::<16>() else { return refused(Code::StoreFailed, "error-session-kept") };
    let now = visit.ctx.now();
    let ticket = Ticket {
        session: SessionId(random),
        account: id.clone(),
        uid: account.source.uid.clone(),
        epoch: credential.epoch,
        kind: Kind::Portal,
        factors: Factor::Password.bit(),
        issued: now,
        absolute_end: now.plus(i64::from(department.session.absolute_s)),
        generation: snapshot.generation,
    };
    // The newest login wins: the one before it ends in the same step.
    let login = visit.ctx.login(&id, Kind::Portal, ticket.session, ticket.absolute_end).await;
    if let Err(error) = login {
        tracing::error!(%error, "a login could not be stored");
        return refused(Code::StoreFailed, "error-session-kept");
    }
    Failures::forget(visit, &id).await;
    let session = cookie::Session {
        seen: now,
        renewed: now,
        view: visit.view,
        failures: u8::try_from(failures).unwrap_or(u8::MAX),
        last: cookie::last_of(visit.ctx.ring(), &visit.parts.headers, &id),
        ticket,
    };
    let ring = visit.ctx.ring();
    let sealed =
        session.seal(ring, cookie::PORTAL, now).and_then(|own| Ok((own, cookie::last(ring, &id, now)?)));
    let Ok((value, last)) = sealed else { return refused(Code::StoreFailed, "error-session-kept") };
    visit.record(Event::Login {
        actor: Actor {
            account: Some(id),
            uid: Some(account.source.uid.clone()),
            session: Some(session.ticket.session),
            ..visit.actor()
        },
        kind: Kind::Portal,
        refused: None,
    });
    let answer = match target(visit, next) {
        Some(target) => onward(visit, department, &target, next),
        None => redirect("/"),
    };
    let answer = with_cookie(answer, cookie::set(cookie::SESSION, &value, None));
    let answer = with_cookie(answer, cookie::department(department.code.as_str()));
    let answer = with_cookie(answer, last);
    with_cookie(answer, cookie::clear(cookie::WAIT))
}

/// The page between login and another host: a form may not be redirected there, a page may go.
fn onward(visit: &Visit<'_>, department: &Department, target: &Target, next: &str) -> Answer {
    let f = visit.frame().of(department);
    let href = format!("{GO}?t={}", encode(next));
    let page = Outcome {
        tone: Tone::Open,
        icon: "gate-open",
        title: f.t("continue-title"),
        word: f.t("continue-word"),
        heading: Markup::text(&f.with("continue-heading", "system", &target.title)),
        big: false,
        lead: Markup::text(&f.t("continue-lead")),
        progress: None,
        route: Vec::new(),
        advice: Some(Advice {
            text: Vec::new(),
            main: Some(Action { label: f.with("continue-go", "system", &target.title), href: href.clone() }),
            other: Some(Action { label: f.t("open-home"), href: "/".to_owned() }),
        }),
        contact: None,
        slip: None,
        note: None,
        refresh: Some(Refresh { seconds: 0, href }),
        f,
    };
    render(StatusCode::OK, &page)
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
        kind: Kind::Portal,
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
    pub(crate) async fn forget(visit: &Visit<'_>, id: &AccountId) {
        let account = backoff::account_key(&id.department, id.name.as_str());
        for key in [account, backoff::source_key(visit.source)] {
            if let Err(error) = visit.ctx.count_failure(&key, None).await {
                tracing::warn!(%error, "failed logins could not be forgotten");
            }
        }
    }
}
