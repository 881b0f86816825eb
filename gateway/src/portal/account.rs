//! Logging out, the sign of life, and the pages anybody may read.

use http::StatusCode;
use tidegate_core::Code;
use tidegate_core::session::EndReason;
use tidegate_store::audit::{Actor, Event};

use super::{Answer, Visit, render, response};
use crate::cookie;
use crate::login::form::Form;
use crate::login::guard::FormName;
use crate::pages::outcome::{About, Action, Advice, Outcome};
use crate::pages::{Guide, Markup, Nav, Status, StatusRow, Tone};
use crate::session::{Auth, reseal};

/// Seconds without news at which the state page says so.
const STALE_S: i64 = 10;

/// Ends the session everywhere.
pub(super) async fn logout(visit: &Visit<'_>, form: Form) -> Answer {
    let opened = match visit.authenticate().await {
        Auth::Live(opened) => opened,
        other => return visit.turned_away(&other),
    };
    let ring = visit.ctx.ring();
    if let Err(code) = FormName::Logout.check(ring, Some(opened.id()), form.get("token"), visit.now) {
        let frame = visit.own_frame(&opened, Nav::None);
        return visit.problem_in(frame, code, About::default());
    }
    let ticket = opened.ticket();
    if let Err(error) = visit.ctx.end(ticket.session, EndReason::LoggedOut, ticket.absolute_end).await {
        // Without the store the other gateways would go on: better say so than pretend.
        tracing::error!(%error, "a logout could not be stored");
        let frame = visit.own_frame(&opened, Nav::None);
        return visit.problem_in(frame, Code::StoreFailed, About::default());
    }
    visit.record(Event::SessionEnd {
        actor: Actor {
            account: Some(ticket.account.clone()),
            uid: Some(ticket.uid.clone()),
            session: Some(ticket.session),
            ..visit.actor()
        },
        kind: ticket.kind,
        reason: EndReason::LoggedOut,
    });
    let f = visit.frame().of(&opened.department);
    let page = Outcome {
        tone: Tone::Open,
        icon: "check",
        title: f.t("word-signed-out"),
        word: f.t("word-signed-out"),
        heading: Markup::text(&f.t("signed-out-heading")),
        big: false,
        lead: Markup::text(&f.t("signed-out-lead")),
        progress: None,
        route: Vec::new(),
        advice: Some(Advice {
            text: vec![f.t("signed-out-note")],
            main: Some(Action { label: f.t("sign-in-again"), href: format!("/{}", opened.department.code) }),
            other: None,
        }),
        contact: None,
        slip: None,
        note: None,
        refresh: None,
        f,
    };
    response::with_cookie(render(StatusCode::OK, &page), cookie::clear(cookie::SESSION))
}

/// Tells the page's script how long the session has, and keeps it when somebody is working.
pub(super) async fn alive(visit: &Visit<'_>, form: Form) -> Answer {
    let opened = match visit.authenticate().await {
        Auth::Live(opened) => opened,
        Auth::Behind => return response::json(StatusCode::SERVICE_UNAVAILABLE, error(Code::SnapshotBehind)),
        Auth::Nobody(code) => return response::json(StatusCode::UNAUTHORIZED, error(code)),
        Auth::Ended(ended) => return response::json(StatusCode::UNAUTHORIZED, error(ended.reason.code())),
    };
    let active = form.get("active") == "1";
    let seen = if active { visit.now } else { opened.cookie.seen };
    let idle = seen.plus(i64::from(opened.department.session.idle_s)).since(visit.now);
    let absolute = opened.absolute.since(visit.now);
    let answer = response::json(StatusCode::OK, format!("{{\"idle\":{idle},\"absolute\":{absolute}}}"));
    match active.then(|| reseal(visit.ctx, &opened, cookie::PORTAL)).flatten() {
        Some(cookie) => response::with_cookie(answer, cookie),
        None => answer,
    }
}

fn error(code: Code) -> String {
    format!("{{\"code\":\"{code}\"}}")
}

/// The guide.
pub(super) async fn guide(visit: &Visit<'_>) -> Answer {
    match visit.authenticate().await {
        Auth::Live(opened) => visit.own_page(&opened, &Guide { f: visit.own_frame(&opened, Nav::None) }),
        _ => render(StatusCode::OK, &Guide { f: visit.frame() }),
    }
}

/// What this gateway says about itself.
pub(super) async fn status(visit: &Visit<'_>) -> Answer {
    let f = match visit.authenticate().await {
        Auth::Live(opened) => visit.own_frame(&opened, Nav::None),
        _ => visit.frame(),
    };
    let view = visit.ctx.view();
    let stale = visit.now.since(view.fresh_at);
    let paused = view.snapshot.is_none() || stale >= visit.ctx.new_logins_s();
    let row = |ok: bool, name: &str, state: Markup| StatusRow {
        tone: (!ok).then_some(Tone::Wait),
        icon: if ok { "check" } else { "clock" },
        name: f.t(name),
        state,
    };
    let text = |key: &str| Markup::text(&f.t(key));
    let config = match &view.snapshot {
        None => text("status-config-none"),
        Some(_) if stale >= STALE_S => f.rich("status-config-stale", "time", &f.when(view.fresh_at)),
        Some(_) => text("status-config-fresh"),
    };
    let enforced = view.snapshot.as_ref().is_none_or(|snapshot| snapshot.platform.approvals_enforced);
    let civil = f.wall(visit.now);
    let rows = vec![
        row(
            !paused,
            "status-logins",
            text(if paused { "status-logins-paused" } else { "status-logins-open" }),
        ),
        row(view.snapshot.is_some() && stale < STALE_S, "status-config", config),
        row(
            enforced,
            "status-approvals",
            text(if enforced { "status-approvals-enforced" } else { "status-approvals-not" }),
        ),
        row(true, "status-version", Markup::text(env!("CARGO_PKG_VERSION"))),
        row(true, "status-time", Markup::time(&civil, &civil.exact(f.lang))),
    ];
    render(StatusCode::OK, &Status { f, rows })
}
