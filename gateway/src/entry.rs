//! A resource host before and instead of forwarding: its session, the handshake, the pages of refusal.
//!
//! ```text
//!  proxy -- admit() --> Admission::Go(session, cookie) --> decide, forward
//!                   \-> Admission::Answer               a redirect, a page, or 401 for a script
//!        -- refuse() --> the page of a code, or the code alone for a script
//! ```

use std::net::{IpAddr, Ipv4Addr};

use http::StatusCode;
use http::request::Parts;
use tidegate_core::{Code, ResourceId, Timestamp};

use crate::cookie;
use crate::handshake::{self, ENTER, GO, Grant, RENEW_S, Start};
use crate::login::form::encode;
use crate::pages::outcome::{About, Desk, status};
use crate::pages::{Nav, Phone, assets};
use crate::portal::{Answer, Visit, asset, json, redirect, title, with_cookie};
use crate::session::{self, Auth, Opened};
use crate::shared::{Admission, ShardContext};

/// Lets a request to `host`, the host of `resource`, in, or says what to answer.
pub(crate) async fn admit(
    ctx: &ShardContext,
    parts: &Parts,
    resource: &ResourceId,
    host: &str,
    source: IpAddr,
    request: &str,
) -> Admission {
    let visit = visit(ctx, parts, source, request);
    let path = parts.uri.path();
    if path == ENTER {
        return Admission::Answer(accept(&visit, resource, host));
    }
    if path.starts_with(assets::OWN_PREFIX) {
        let answer = assets::at(path).map_or_else(
            || refusal(&visit, None, Code::PageUnknown, About::default()),
            |found| asset(found, true),
        );
        return Admission::Answer(answer);
    }
    let navigation = handshake::is_navigation(&parts.method, &parts.headers);
    match session::authenticate(ctx, &parts.headers, host, source).await {
        Auth::Live(opened) => {
            if navigation && ctx.now().since(opened.cookie.renewed) >= RENEW_S {
                return Admission::Answer(start(&visit, resource, Some(&opened)));
            }
            let cookie = session::reseal(ctx, &opened, host);
            Admission::Go(opened, cookie)
        }
        // A session that ended here may have a successor at the portal, which also says why it ended.
        Auth::Nobody(_) | Auth::Ended(_) if navigation => Admission::Answer(start(&visit, resource, None)),
        Auth::Nobody(code) => Admission::Answer(code_only(code)),
        Auth::Ended(ended) => Admission::Answer(code_only(ended.reason.code())),
        Auth::Behind => {
            let code = if visit.snapshot.is_none() { Code::NoSnapshot } else { Code::SnapshotBehind };
            Admission::Answer(refusal(&visit, None, code, About::default()))
        }
    }
}

/// The answer to a request that was refused, or allowed and yet could not be carried out.
pub(crate) fn refuse(
    ctx: &ShardContext,
    parts: &Parts,
    opened: Option<&Opened>,
    resource: Option<&ResourceId>,
    code: Code,
    opens_at: Option<Timestamp>,
    request: &str,
) -> Answer {
    let nowhere = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let visit = visit(ctx, parts, opened.map_or(nowhere, |opened| opened.source), request);
    let mut about = resource.map_or_else(About::default, |resource| about(&visit, resource));
    about.opens_at = opens_at;
    if let (Code::MemberVeto, Some(opened)) = (code, opened) {
        // What one's own department refuses, its own desk explains.
        let (own, lang) = (&opened.department, visit.lang());
        about.desk = Some(Desk {
            office: own.title.get(lang).to_owned(),
            phone: Phone::new(&own.hotline.phone, own.hotline.hours.get(lang)),
        });
    }
    refusal(&visit, opened, code, about)
}

fn visit<'a>(ctx: &'a ShardContext, parts: &'a Parts, source: IpAddr, request: &'a str) -> Visit<'a> {
    let mut visit = Visit::new(ctx, parts, source, request);
    visit.portal = ctx.portal_origin().to_owned();
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
fn accept(visit: &Visit<'_>, resource: &ResourceId, host: &str) -> Answer {
    let nonce = cookie::find(&visit.parts.headers, cookie::NONCE);
    let grant = Grant::accept(visit.ctx.ring(), visit.query.get("g"), resource, nonce, visit.now);
    let Ok((session, target)) = grant else {
        return visit.problem(Code::HandshakeInvalid, about(visit, resource));
    };
    match session.seal(visit.ctx.ring(), host, visit.now) {
        Ok(value) => with_cookie(redirect(&target), cookie::set(cookie::SESSION, &value, None)),
        Err(_) => visit.problem(Code::HandshakeInvalid, about(visit, resource)),
    }
}

/// A page for somebody who reads, the code alone for a script.
fn refusal(visit: &Visit<'_>, opened: Option<&Opened>, code: Code, about: About) -> Answer {
    if !wants_page(visit) {
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

/// Whether somebody looks at what comes back: they went to a page, or sent a form.
fn wants_page(visit: &Visit<'_>) -> bool {
    let value = |name: &str| visit.parts.headers.get(name).and_then(|value| value.to_str().ok());
    match value("sec-fetch-mode") {
        Some(mode) => mode == "navigate",
        None => value("accept").is_some_and(|accept| accept.contains("text/html")),
    }
}

fn code_only(code: Code) -> Answer {
    let status = match status(code) {
        StatusCode::OK => StatusCode::FORBIDDEN,
        status => status,
    };
    json(status, format!("{{\"code\":\"{code}\",\"message\":\"{}\"}}", code.title()))
}

fn about(visit: &Visit<'_>, id: &ResourceId) -> About {
    let lang = visit.lang();
    let found = visit.snapshot.as_ref().and_then(|snapshot| snapshot.resource(id));
    let Some((owner, resource)) = found else { return About::default() };
    About {
        system: Some(title(resource, lang)),
        desk: Some(Desk::of(resource, owner.title.get(lang), lang)),
        ..About::default()
    }
}
