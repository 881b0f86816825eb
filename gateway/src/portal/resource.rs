//! A resource host before and instead of forwarding: its session, the handshake, the pages of refusal.
//!
//! ```text
//!  proxy -- enter() --> Entrance::Go(session, cookie) --> decide, forward
//!                   \-> Entrance::Stop(answer)            a redirect, a page, or 401 for a script
//!        -- refused(), failed() --> the page, or its code as JSON
//! ```

use std::net::IpAddr;
use std::rc::Rc;

use http::request::Parts;
use http::{HeaderValue, StatusCode};
use tidegate_core::{Code, Denial, Department, DepartmentCode, Resource, ResourceId, Timestamp};

use super::{Answer, Visit, asset, redirect, response, title, with_cookie};
use crate::cookie;
use crate::handshake::{self, ENTER, GO, Grant, RENEW_S, Start};
use crate::login::form::encode;
use crate::pages::outcome::{About, Desk, status};
use crate::pages::{Nav, assets};
use crate::session::{self, Auth, Opened};
use crate::shared::ShardContext;

/// Whether a request to a resource host goes on.
pub enum Entrance {
    /// It goes on, as this session; the cookie belongs on whatever is answered.
    Go(Rc<Opened>, Option<HeaderValue>),
    /// It is answered with this and not forwarded.
    Stop(Box<Answer>),
}

/// Lets a request to the host of `resource` in, or says what to answer.
pub async fn enter(
    ctx: &ShardContext,
    parts: &Parts,
    resource: &ResourceId,
    source: IpAddr,
    request: &str,
) -> Entrance {
    let visit = visit(ctx, parts, source, request);
    let path = parts.uri.path();
    if path == ENTER {
        return Entrance::Stop(Box::new(accept(&visit, resource)));
    }
    if path.starts_with(assets::OWN_PREFIX) {
        let answer = assets::at(path).map_or_else(
            || refusal(&visit, None, Code::PageUnknown, About::default()),
            |found| asset(found, true),
        );
        return Entrance::Stop(Box::new(answer));
    }
    let audience = resource.to_string();
    let navigation = handshake::is_navigation(&parts.method, &parts.headers);
    let stop = |answer| Entrance::Stop(Box::new(answer));
    match session::authenticate(ctx, &parts.headers, &audience, source).await {
        Auth::Live(opened) => {
            if navigation && ctx.now().since(opened.cookie.renewed) >= RENEW_S {
                return stop(start(&visit, resource, Some(&opened)));
            }
            let cookie = session::reseal(ctx, &opened, &audience);
            Entrance::Go(opened, cookie)
        }
        // A session that ended here may have a successor at the portal, which also says why it ended.
        Auth::Nobody(_) | Auth::Ended(_) if navigation => stop(start(&visit, resource, None)),
        Auth::Nobody(code) => stop(code_only(code)),
        Auth::Ended(ended) => stop(code_only(ended.reason.code())),
        Auth::Behind => {
            let code = if visit.snapshot.is_none() { Code::NoSnapshot } else { Code::SnapshotBehind };
            stop(refusal(&visit, None, code, About::default()))
        }
    }
}

/// The answer to a request that the decision refused.
#[must_use]
pub fn refused(
    ctx: &ShardContext,
    parts: &Parts,
    opened: &Opened,
    resource: &ResourceId,
    denial: &Denial,
    request: &str,
) -> Answer {
    let visit = visit(ctx, parts, opened.source, request);
    let about = about(&visit, resource, Some(denial), denial.opens_at);
    refusal(&visit, Some(opened), denial.reason.code(), about)
}

/// The answer to a request that was allowed, or nearly, and yet could not be carried out: `code` of the
/// 4xxx family.
#[must_use]
pub fn failed(
    ctx: &ShardContext,
    parts: &Parts,
    opened: Option<&Opened>,
    source: IpAddr,
    resource: Option<&ResourceId>,
    code: Code,
    request: &str,
) -> Answer {
    let visit = visit(ctx, parts, source, request);
    let about = resource.map_or_else(About::default, |resource| about(&visit, resource, None, None));
    refusal(&visit, opened, code, about)
}

fn visit<'a>(ctx: &'a ShardContext, parts: &'a Parts, source: IpAddr, request: &'a str) -> Visit<'a> {
    let mut visit = Visit::new(ctx, parts, source, request);
    visit.portal = ctx.portal_origin();
    visit
}

/// Sends a browser to the portal to be vouched for.
fn start(visit: &Visit<'_>, resource: &ResourceId, opened: Option<&Opened>) -> Answer {
    let failed = || visit.problem(Code::HandshakeInvalid, About::default());
    let Ok((nonce, new)) = handshake::nonce(&visit.parts.headers) else { return failed() };
    let target = visit.parts.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    let start = Start {
        resource: resource.clone(),
        target: if handshake::is_local(target) { target.to_owned() } else { "/".to_owned() },
        nonce: handshake::nonce_digest(&nonce),
        seen: opened.map(|opened| (opened.id(), visit.now)),
    };
    let Ok(sealed) = start.seal(visit.ctx.ring(), visit.now) else { return failed() };
    let answer = redirect(&format!("{}{GO}?t={}", visit.portal, encode(&sealed)));
    if new { with_cookie(answer, handshake::nonce_cookie(&nonce)) } else { answer }
}

/// Takes the portal's word and makes it this host's session.
fn accept(visit: &Visit<'_>, resource: &ResourceId) -> Answer {
    let nonce = cookie::find(&visit.parts.headers, cookie::NONCE);
    let grant = Grant::accept(visit.ctx.ring(), visit.query.get("g"), resource, nonce, visit.now);
    let Ok((session, target)) = grant else {
        return visit.problem(Code::HandshakeInvalid, about(visit, resource, None, None));
    };
    match session.seal(visit.ctx.ring(), &resource.to_string(), visit.now) {
        Ok(value) => with_cookie(redirect(&target), cookie::set(cookie::SESSION, &value, None)),
        Err(_) => visit.problem(Code::HandshakeInvalid, about(visit, resource, None, None)),
    }
}

/// A page for somebody who reads, the code alone for a script.
fn refusal(visit: &Visit<'_>, opened: Option<&Opened>, code: Code, about: About) -> Answer {
    if !handshake::is_navigation(&visit.parts.method, &visit.parts.headers) && !is_form(visit) {
        return code_only(code);
    }
    let mut visit = visit.clone();
    if let Some(opened) = opened {
        visit.view = opened.cookie.view;
    }
    let frame = match opened {
        Some(opened) => {
            let mut frame = visit.own_frame(opened, Nav::None);
            // The waterline belongs to the portal: here the system has the page.
            frame.waterline = None;
            frame
        }
        None => visit.frame(),
    };
    visit.problem_in(frame, code, about)
}

/// Whether somebody sent a form and looks at what comes back.
fn is_form(visit: &Visit<'_>) -> bool {
    let mode = visit.parts.headers.get("sec-fetch-mode");
    mode.is_some_and(|mode| mode == "navigate")
}

fn code_only(code: Code) -> Answer {
    let status = match status(code) {
        StatusCode::OK => StatusCode::FORBIDDEN,
        status => status,
    };
    response::json(status, format!("{{\"code\":\"{code}\",\"message\":\"{}\"}}", code.title()))
}

fn about(visit: &Visit<'_>, id: &ResourceId, denial: Option<&Denial>, opens_at: Option<Timestamp>) -> About {
    let lang = visit.lang();
    let found = visit.snapshot.as_ref().and_then(|snapshot| snapshot.resource(id));
    let Some((owner, resource)) = found else { return About::default() };
    let (owner, resource): (&Department, &Resource) = (owner, resource);
    // What the own department refuses, its own desk explains.
    let other = denial.and_then(|denial| denial.department.as_ref()).filter(|code| **code != owner.code);
    let desk = match other.and_then(|code: &DepartmentCode| visit.department(code.as_str())) {
        Some(department) => Desk {
            office: department.title.get(lang).to_owned(),
            phone: crate::pages::Phone::new(&department.hotline.phone, department.hotline.hours.get(lang)),
        },
        None => Desk::of(resource, owner.title.get(lang), lang),
    };
    About { system: Some(title(resource, lang)), desk: Some(desk), opens_at, login: String::new() }
}
