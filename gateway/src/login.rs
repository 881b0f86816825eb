//! Logging in, the first password, a new password.
//!
//! ```text
//!  POST -- guard, form, backoff --> hashing queue --(quick)--> finish: session, or why not
//!                                        |
//!                                        +--(queue is long)--> waiting page <-- GET /wait, every 3 s
//!  new password --> intent --> controller --> own snapshot shows the new version --> session
//! ```
//!
//! What is refused says the same and costs the same whether or not the account exists. [`steps`],
//! [`right`] and [`renewal`] are what is done; the rest is how a browser is told.

pub(crate) mod backoff;
pub(crate) mod choose;
pub(crate) mod form;
pub(crate) mod guard;
mod renew;
pub(crate) mod renewal;
pub(crate) mod right;
pub(crate) mod room;
pub(crate) mod steps;
mod waiting;

use http::StatusCode;
use tidegate_core::{Account, Code, Department, DepartmentCode};

use crate::cookie;
use crate::handshake::{GO, Start};
use crate::login::form::{Form, encode};
use crate::login::guard::FormName;
use crate::login::steps::{Judged, Refused};
use crate::login::waiting::{Attempt, Task, Waiting};
use crate::pages::outcome::{About, Action, Advice, Desk, Outcome, Refresh};
use crate::pages::{Login, Markup, Pick, Refusal, Tone};
use crate::portal::{Answer, Visit, redirect, render, with_cookie};

pub(crate) use choose::choose;
pub(crate) use renew::{activate, activate_page, change, password_page};
pub(crate) use waiting::wait;

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
    refused: Refused,
) -> Answer {
    let Some(department) = visit.department(department.as_str()).or_else(|| visit.remembered()) else {
        return visit.problem(refused.code, About::default());
    };
    let refusal = Refusal::new(visit.lang(), refused);
    let form = LoginForm { user: user.to_owned(), next: next.to_owned(), refusal: Some(refusal) };
    form.answer(visit, &department, crate::pages::outcome::status(refused.code))
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
    let again = |refused| refuse(visit, &page.code, user, next, refused);
    if FormName::Login.check(visit.ctx.ring(), None, form.get("token"), visit.now).is_err() {
        return again(renew::FOREIGN);
    }
    let caller = match steps::caller(visit, Some(&page.code), user, password).await {
        Ok(caller) => caller,
        Err(refused) => return again(refused),
    };
    let (phc, turn) = match steps::check(visit, &caller, page.code.as_str(), password) {
        Ok(checking) => checking,
        Err(refused) => return again(refused),
    };
    let attempt = Attempt {
        page: page.code.clone(),
        typed: caller.typed,
        next: next.to_owned(),
        failures: caller.failures,
        task: Task::Login { phc },
    };
    waiting::go_on(visit, Waiting::Hashing { attempt: Box::new(attempt), turn, first_place: 0 }, None).await
}

/// After the password was checked.
async fn after_check(visit: &Visit<'_>, attempt: Attempt, phc: &str, right: bool) -> Answer {
    let Attempt { page, typed, next, failures, .. } = attempt;
    match steps::judge(visit, &typed, phc, right).await {
        Judged::Refused(refused) => refuse(visit, &page, &typed.user, &next, refused),
        Judged::Denied(department, code) => standing_page(visit, &department, code),
        Judged::MustChange(department, account) => renew::forced(visit, &department, &account, &next),
        Judged::Right(department, account) => {
            open_session(visit, &department, &account, failures, &next).await
        }
    }
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
    let (ring, now) = (visit.ctx.ring(), visit.ctx.now());
    let opened = steps::open(visit, department, account, |ticket| {
        let id = ticket.account.clone();
        let session = cookie::Session {
            seen: now,
            renewed: now,
            view: visit.view,
            failures: u8::try_from(failures).unwrap_or(u8::MAX),
            last: cookie::last_of(ring, &visit.parts.headers, &id),
            ticket,
        };
        Some((session.seal(ring, cookie::PORTAL, now).ok()?, cookie::last(ring, &id, now).ok()?))
    });
    let (value, last) = match opened.await {
        Ok(sealed) => sealed,
        Err(refused) => return refuse(visit, &department.code, account.name.as_str(), next, refused),
    };
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
