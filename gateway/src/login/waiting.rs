//! Between a form and its answer: the hashing queue, and the controller that saves a password.

use std::time::Duration;

use http::StatusCode;
use tidegate_core::{Code, DepartmentCode};

use super::renewal::{Progress, Renewal, Saving};
use super::steps::{Hashed, Refused, Typed};
use super::{after_check, open_session, refuse, renew, standing_page};
use crate::cookie;
use crate::hash::Turn;
use crate::pages::outcome::{self, About, Action, Advice, Outcome, Refresh, Step, StepState};
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

/// Whoever waits has no place in the room any more.
const QUEUE_LOST: Refused = Refused { key: "queue-lost", code: Code::FormInvalid };

/// Something that is not finished yet.
pub(crate) enum Waiting {
    /// In the hashing queue.
    Hashing {
        attempt: Box<Attempt>,
        turn: Turn<Hashed>,
        /// The place when it was first shown, for the bar; 0 before.
        first_place: usize,
    },
    /// With the controller.
    Saving(Box<Pending>),
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
    /// Set a new password; `proof` if the present one was proven before.
    Renew { renewal: Renewal, proof: Option<String> },
}

/// A password on its way to the truth, and where its owner goes then.
pub(crate) struct Pending {
    pub(crate) page: DepartmentCode,
    pub(crate) saving: Saving,
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
        Some(department) => refuse(visit, &department.code, "", "", QUEUE_LOST),
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
                Ok(Some(hashed)) => Box::pin(finish(visit, *attempt, hashed, name)).await,
                Ok(None) => lost(visit),
                Err(_) => {
                    let place = turn.place().max(1);
                    let first_place = first_place.max(place);
                    let page = queue_page(visit, &attempt.page, place, first_place);
                    park(visit, Waiting::Hashing { attempt, turn, first_place }, name, page)
                }
            }
        }
        Waiting::Saving(pending) => Box::pin(save(visit, pending, name)).await,
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
        (Task::Login { .. }, _) => {
            refuse(visit, &attempt.page, &attempt.typed.user, &attempt.next, Refused::KEPT)
        }
        (Task::Renew { .. }, hashed) => match renew::after_hashing(visit, attempt, hashed).await {
            Ok(pending) => go_on(visit, Waiting::Saving(Box::new(pending)), name).await,
            Err(answer) => *answer,
        },
    }
}

async fn save(visit: &Visit<'_>, mut pending: Box<Pending>, name: Option<String>) -> Answer {
    let patience = if name.is_some() { POLL_PATIENCE } else { SAVING_PATIENCE };
    match pending.saving.advance(visit, patience).await {
        Progress::Saved => saved(visit, &pending).await,
        Progress::Refused(code) => renew::refused(visit, &pending, code),
        Progress::Waiting => {
            let page = pending_page(visit, &pending);
            park(visit, Waiting::Saving(pending), name, page)
        }
    }
}

/// The new password is in force here: its owner goes on without typing it again.
async fn saved(visit: &Visit<'_>, pending: &Pending) -> Answer {
    match pending.saving.saved(visit) {
        None => visit.problem(Code::AccountUnknown, About::default()),
        Some((department, _, Some(code))) => standing_page(visit, &department, code),
        Some((department, account, None)) => {
            open_session(visit, &department, &account, pending.failures, &pending.next).await
        }
    }
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
        progress: Some(outcome::Progress {
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

fn pending_page(visit: &Visit<'_>, pending: &Pending) -> Outcome {
    let f = frame(visit, &pending.page);
    let slow = visit.now.since(pending.saving.intent.at) >= SLOW_S;
    let lead = f.t(if slow { "pending-slow" } else { "pending-lead" });
    let slip = slow.then(|| outcome::slip(&f, Code::ChangePending, visit.request));
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
            other: Some(Action { label: f.t("pending-leave"), href: format!("/{}", pending.page) }),
        }),
        contact: None,
        slip,
        note: None,
        refresh: Some(Refresh { seconds: POLL_S, href: "/wait".to_owned() }),
        f,
    }
}
