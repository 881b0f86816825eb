//! Between a form and its answer: the hashing queue, and the controller that saves a password.

use std::time::Duration;

use http::StatusCode;
use tidegate_core::{AccountId, Code, Credential, DepartmentCode, Uid};
use tidegate_store::{Intent, Outcome as Settled};

use super::{Typed, after_check, find, open_session, record_login, refuse, renew, standing_page};
use crate::cookie;
use crate::hash::Turn;
use crate::pages::outcome::{About, Action, Advice, Outcome, Progress, Refresh, Step, StepState};
use crate::pages::{Frame, Markup, Tone};
use crate::portal::{Answer, Visit, render, with_cookie};

/// How long the first answer waits for the hashing queue; usually it is there long before.
const FIRST_PATIENCE: Duration = Duration::from_millis(1_500);

/// How long the first answer waits until a password is saved.
const SAVING_PATIENCE: Duration = Duration::from_secs(3);

/// How long a poll waits for either.
const POLL_PATIENCE: Duration = Duration::from_millis(250);

/// Seconds between two polls.
const POLL_S: u32 = 3;

/// Seconds after which the page says that the controller does not answer.
const SLOW_S: i64 = 10;

/// Something that is not finished yet.
pub(crate) enum Waiting {
    /// In the hashing queue.
    Hashing {
        attempt: Attempt,
        turn: Turn<Hashed>,
        /// The place when it was first shown, for the bar; 0 before.
        first_place: usize,
    },
    /// With the controller.
    Saving(Box<Saving>),
}

/// What a form wants, while it is being hashed.
pub(crate) struct Attempt {
    /// The department whose page it was.
    pub(crate) page: DepartmentCode,
    pub(crate) typed: Typed,
    pub(crate) next: String,
    /// Failures before it.
    pub(crate) failures: u32,
    pub(crate) task: Task,
}

/// What is to be done with the result.
pub(crate) enum Task {
    /// Log in, if the password fits this hash.
    Login { phc: Box<str> },
    /// Set the first password.
    Activate { code: [u8; 32], uid: Uid, replaces: u64 },
    /// Set another password; `proof` if the present one was proven before.
    Change { uid: Uid, replaces: u64, proof: Option<String> },
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

/// A password on its way to the truth.
pub(crate) struct Saving {
    pub(crate) page: DepartmentCode,
    pub(crate) id: AccountId,
    pub(crate) intent: Intent,
    /// Whether the store has it.
    pub(crate) offered: bool,
    pub(crate) next: String,
    pub(crate) failures: u32,
}

/// Answers a poll.
pub(crate) async fn wait(visit: &Visit<'_>) -> Answer {
    visit.ctx.room().sweep(visit.now);
    let name = cookie::find(&visit.parts.headers, cookie::WAIT).map(str::to_owned);
    let found = name.as_deref().and_then(|name| visit.ctx.room().take(name));
    match (found, name) {
        (Some(waiting), Some(name)) => go_on(visit, waiting, Some(name)).await,
        _ => lost(visit),
    }
}

fn lost(visit: &Visit<'_>) -> Answer {
    let answer = match visit.remembered() {
        Some(department) => refuse(visit, &department.code, "", "", "queue-lost", Code::FormInvalid),
        None => super::choose(visit),
    };
    with_cookie(answer, cookie::clear(cookie::WAIT))
}

/// Waits a little, then goes on or shows how far it is. `name` is set when it waited before.
pub(crate) async fn go_on(visit: &Visit<'_>, waiting: Waiting, name: Option<String>) -> Answer {
    match waiting {
        Waiting::Hashing { attempt, mut turn, first_place } => {
            let patience = if name.is_some() { POLL_PATIENCE } else { FIRST_PATIENCE };
            match tokio::time::timeout(patience, turn.done()).await {
                Ok(Some(hashed)) => Box::pin(finish(visit, attempt, hashed, name)).await,
                Ok(None) => lost(visit),
                Err(_) => {
                    let place = turn.place().max(1);
                    let first_place = first_place.max(place);
                    let page = queue_page(visit, &attempt.page, place, first_place);
                    park(visit, Waiting::Hashing { attempt, turn, first_place }, name, page)
                }
            }
        }
        Waiting::Saving(saving) => Box::pin(save(visit, saving, name)).await,
    }
}

fn park(visit: &Visit<'_>, waiting: Waiting, name: Option<String>, page: Outcome) -> Answer {
    match visit.ctx.room().park(waiting, name, visit.now) {
        Some(name) => with_cookie(render(StatusCode::OK, &page), cookie::set(cookie::WAIT, &name, None)),
        None => visit.problem(Code::LoginBusy, About::default()),
    }
}

async fn finish(visit: &Visit<'_>, attempt: Attempt, hashed: Hashed, name: Option<String>) -> Answer {
    match (&attempt.task, hashed) {
        (Task::Login { phc }, Hashed::Verified(right)) => {
            let phc = phc.clone();
            after_check(visit, attempt, &phc, right).await
        }
        (Task::Activate { .. } | Task::Change { .. }, hashed) => {
            match renew::after_hashing(visit, attempt, hashed).await {
                Ok(saving) => go_on(visit, Waiting::Saving(Box::new(saving)), name).await,
                Err(answer) => *answer,
            }
        }
        (Task::Login { .. }, _) => refuse(
            visit,
            &attempt.page,
            &attempt.typed.user,
            &attempt.next,
            "error-session-kept",
            Code::StoreFailed,
        ),
    }
}

/// What became of a password on its way.
enum Progressed {
    /// The snapshot of this gateway has it.
    Saved,
    /// It was refused.
    Refused(Code),
    /// Not yet.
    Waiting,
}

async fn save(visit: &Visit<'_>, mut saving: Box<Saving>, name: Option<String>) -> Answer {
    if !saving.offered {
        match visit.ctx.offer(saving.intent.clone()).await {
            Ok(()) => saving.offered = true,
            Err(error) => tracing::warn!(%error, "a password change could not be handed over yet"),
        }
    }
    let patience = if name.is_some() { POLL_PATIENCE } else { SAVING_PATIENCE };
    let deadline = tokio::time::Instant::now() + patience;
    let mut views = visit.ctx.views();
    loop {
        // Marked as seen before it is looked at, so that no view is missed in between.
        let snapshot = views.borrow_and_update().snapshot.clone();
        let version =
            snapshot.as_ref().and_then(|snapshot| snapshot.account(&saving.id)).and_then(|account| {
                (account.source.uid == saving.intent.uid).then_some(account.credential.as_ref()?.version)
            });
        match progressed(visit, &saving, version).await {
            Progressed::Saved => return saved(visit, &saving).await,
            Progressed::Refused(code) => return renew::refused(visit, &saving, code),
            Progressed::Waiting => {}
        }
        if !matches!(tokio::time::timeout_at(deadline, views.changed()).await, Ok(Ok(()))) {
            break;
        }
    }
    let page = pending_page(visit, &saving);
    park(visit, Waiting::Saving(saving), name, page)
}

async fn progressed(visit: &Visit<'_>, saving: &Saving, version: Option<u64>) -> Progressed {
    let replaced = saving.intent.replaces;
    if version.is_some_and(|version| version > replaced) {
        // A newer version alone may be somebody else's change; the outcome says whose it is.
        return match visit.ctx.outcome(saving.intent.id).await {
            Ok(Some(Settled::Done { .. })) => Progressed::Saved,
            Ok(Some(Settled::Refused(code))) => Progressed::Refused(code),
            Ok(None) | Err(_) => Progressed::Waiting,
        };
    }
    match visit.ctx.outcome(saving.intent.id).await {
        Ok(Some(Settled::Refused(code))) => Progressed::Refused(code),
        _ => Progressed::Waiting,
    }
}

/// The new password is in force here: its owner goes on without typing it again.
async fn saved(visit: &Visit<'_>, saving: &Saving) -> Answer {
    renew::record(visit, saving, None);
    let typed = Typed { department: saving.id.department.clone(), user: saving.id.name.to_string() };
    let Some((department, account)) = find(visit, &typed) else {
        return visit.problem(Code::AccountUnknown, About::default());
    };
    if let Some(reason) = account.standing(visit.ctx.now()).denied {
        record_login(visit, Some(saving.id.clone()), Some(&saving.intent.uid), Some(reason.code()));
        return standing_page(visit, &department, reason.code());
    }
    open_session(visit, &department, &account, saving.failures, &saving.next).await
}

fn frame(visit: &Visit<'_>, department: &DepartmentCode) -> Frame {
    match visit.department(department.as_str()) {
        Some(department) => visit.frame().of(&department),
        None => visit.frame(),
    }
}

fn queue_page(visit: &Visit<'_>, department: &DepartmentCode, place: usize, first: usize) -> Outcome {
    let f = frame(visit, department);
    let step = |name: &str, note: &str, state| Step { name: f.t(name), note: f.t(note), state };
    Outcome {
        tone: Tone::Wait,
        icon: "gate-wait",
        title: f.t("queue-title"),
        word: f.t("queue-word"),
        heading: f.rich("queue-heading", "place", &Markup::number(&place.to_string())),
        big: true,
        lead: Markup::text(&f.t("queue-lead")),
        progress: Some(Progress {
            label: f.t("queue-progress"),
            whole: first,
            done: first.saturating_sub(place),
        }),
        route: vec![
            step("route-computer", "route-fine", StepState::Done),
            step("route-gateway", "queue-step-received", StepState::Done),
            step("queue-step-check", "queue-step-check-note", StepState::Here(Tone::Wait)),
            step("queue-step-list", "route-not-reached", StepState::NotReached),
        ],
        advice: Some(Advice {
            text: vec![f.t("queue-text"), f.t("queue-note")],
            main: Some(Action { label: f.t("queue-refresh"), href: "/wait".to_owned() }),
            other: Some(Action { label: f.t("queue-leave"), href: format!("/{department}") }),
        }),
        contact: None,
        slip: None,
        note: None,
        refresh: Some(Refresh { seconds: POLL_S, href: "/wait".to_owned() }),
        f,
    }
}

fn pending_page(visit: &Visit<'_>, saving: &Saving) -> Outcome {
    let f = frame(visit, &saving.page);
    let slow = visit.now.since(saving.intent.at) >= SLOW_S;
    let lead = f.t(if slow { "pending-slow" } else { "pending-lead" });
    let slip = slow.then(|| crate::pages::outcome::slip(&f, Code::ChangePending, visit.request));
    Outcome {
        tone: Tone::Wait,
        icon: "gate-wait",
        title: f.t("pending-title"),
        word: f.t("pending-word"),
        heading: Markup::text(&f.t("pending-heading")),
        big: false,
        lead: Markup::text(&lead),
        progress: None,
        route: Vec::new(),
        advice: Some(Advice {
            text: vec![f.t("pending-text")],
            main: Some(Action { label: f.t("pending-refresh"), href: "/wait".to_owned() }),
            other: Some(Action { label: f.t("pending-leave"), href: format!("/{}", saving.page) }),
        }),
        contact: None,
        slip,
        note: None,
        refresh: Some(Refresh { seconds: POLL_S, href: "/wait".to_owned() }),
        f,
    }
}

/// The hashes a new password must not fit: the present one first.
pub(super) fn latest(credential: &Credential) -> Vec<Box<str>> {
    let mut all: Vec<Box<str>> = credential.password.iter().cloned().collect();
    all.extend(credential.history.iter().cloned());
    all.truncate(Credential::HISTORY_MAX);
    all
}
