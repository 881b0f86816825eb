//! The portal host: which page a request gets.
//!
//! ```text
//!  GET  /                    systems, or the login page of the remembered department
//!  GET  /departments         choose one
//!  *    /<code>              log in          * /<code>/activate   first password
//!  *    /password            new password    GET /wait            place in the queue, or saving
//!  POST /logout  POST /alive                 GET /go?t=           handshake with a resource host
//!  GET  /help  /status  /.tidegate/<digest>/<asset>
//! ```
//!
//! Only POST changes anything; every POST is checked by [`crate::login::guard`].

mod account;
mod home;
mod response;

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode};
use http_body_util::{BodyExt, Limited};
use tidegate_core::session::{EndReason, Kind};
use tidegate_core::{Code, Department, Lang, Snapshot, Timestamp};
use tidegate_store::audit::{Actor, Event};

use crate::cookie::{self, View};
use crate::handshake::{self, Grant, Start};
use crate::login::form::{FORM_BYTES_MAX, Form, encode};
use crate::login::guard::{self, FormName};
use crate::login::{self};
use crate::pages::outcome::{About, Desk, problem};
use crate::pages::{Frame, Nav, assets};
use crate::session::{self, Auth, Ended, Opened};
use crate::shared::ShardContext;

pub(crate) use home::title;
pub(crate) use response::Answer;
pub(crate) use response::{asset, json, redirect, render, with_cookie};

/// Everything about one request that pages are made from.
#[derive(Clone)]
pub(crate) struct Visit<'a> {
    pub(crate) ctx: &'a ShardContext,
    pub(crate) parts: &'a Parts,
    /// Where the computer is.
    pub(crate) source: IpAddr,
    /// The request's id, digits in groups.
    pub(crate) request: &'a str,
    pub(crate) now: Timestamp,
    pub(crate) snapshot: Option<Arc<Snapshot>>,
    /// How this browser likes pages.
    pub(crate) view: View,
    /// The query's fields.
    pub(crate) query: Form,
    /// The portal's origin, on resource hosts; empty on the portal itself.
    pub(crate) portal: String,
    /// The kind of session it is about.
    pub(crate) kind: Kind,
}

/// A request body that a form can be read from.
pub(crate) trait FormBody:
    http_body::Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>>
{
}

impl<B> FormBody for B where
    B: http_body::Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>>
{
}

/// Answers a request to the portal host.
pub(crate) async fn handle<B: FormBody>(
    ctx: &ShardContext,
    parts: &Parts,
    body: B,
    source: IpAddr,
    request: &str,
) -> Answer {
    let visit = Visit::new(ctx, parts, source, request);
    let mut answer = visit.route(body).await;
    if parts.method == Method::HEAD {
        *answer.body_mut() = Bytes::new();
    }
    answer
}

impl<'a> Visit<'a> {
    /// A visit as it arrives.
    pub(crate) fn new(ctx: &'a ShardContext, parts: &'a Parts, source: IpAddr, request: &'a str) -> Self {
        Self {
            ctx,
            parts,
            source,
            request,
            now: ctx.now(),
            snapshot: ctx.snapshot(),
            view: View::of(&parts.headers),
            // A query that is none of ours asks for nothing.
            query: Form::parse(parts.uri.query().unwrap_or_default().as_bytes()).unwrap_or_default(),
            portal: String::new(),
            kind: Kind::Portal,
        }
    }

    async fn route<B: FormBody>(&self, body: B) -> Answer {
        let path = self.parts.uri.path();
        if path.starts_with(assets::OWN_PREFIX) {
            return match assets::at(path) {
                Some(found) => asset(found, true),
                None => self.unknown_page().await,
            };
        }
        let get = matches!(self.parts.method, Method::GET | Method::HEAD);
        if get && let Some(answer) = self.change_view() {
            return answer;
        }
        let pieces: Vec<&str> = path.trim_matches('/').split('/').collect();
        match (pieces.as_slice(), get) {
            ([""], true) => home::page(self).await,
            (["departments"], true) => login::choose(self),
            (["help"], true) => account::guide(self).await,
            (["status"], true) => account::status(self).await,
            (["favicon.ico"], true) => match assets::named("favicon.ico") {
                Some(found) => asset(found, false),
                None => self.unknown_page().await,
            },
            (["robots.txt"], true) => response::robots(),
            (["go"], true) => self.go().await,
            (["wait"], true) => login::wait(self).await,
            (["password"], true) => login::password_page(self).await,
            ([code], true) if self.department(code).is_some() => login::page(self, code),
            ([code, "activate"], true) if self.department(code).is_some() => login::activate_page(self, code),
            (["logout" | "alive"], true) => self.problem(Code::MethodRefused, About::default()),
            (_, true) => self.unknown_page().await,
            (known, false) => match known {
                ["logout"] => self.posted(body, |form| account::logout(self, form)).await,
                ["alive"] => self.posted(body, |form| account::alive(self, form)).await,
                ["password"] => self.posted(body, |form| login::change(self, form)).await,
                [code] if self.department(code).is_some() => {
                    self.posted(body, |form| login::login(self, code, form)).await
                }
                [code, "activate"] if self.department(code).is_some() => {
                    self.posted(body, |form| login::activate(self, code, form)).await
                }
                ["" | "departments" | "help" | "status" | "go" | "wait"] => {
                    self.problem(Code::MethodRefused, About::default())
                }
                _ => self.unknown_page().await,
            },
        }
    }

    /// Reads the form of a POST from our own pages and hands it on.
    async fn posted<B: FormBody, F: Future<Output = Answer>>(
        &self,
        body: B,
        then: impl FnOnce(Form) -> F,
    ) -> Answer {
        if self.parts.method != Method::POST {
            return self.problem(Code::MethodRefused, About::default());
        }
        if !guard::is_own(&self.parts.headers, self.ctx.portal_origin()) {
            return self.problem(Code::FormForeign, About::default());
        }
        let collected = match Limited::new(body, FORM_BYTES_MAX).collect().await {
            Ok(collected) => collected.to_bytes(),
            Err(error) if error.is::<http_body_util::LengthLimitError>() => {
                return self.problem(Code::BodyTooLarge, About::default());
            }
            Err(_) => return self.problem(Code::RequestTimeout, About::default()),
        };
        match Form::parse(&collected) {
            Ok(form) => Box::pin(then(form)).await,
            Err(code) => self.problem(code, About::default()),
        }
    }

    /// `?lang=` and `?text=` on any page: remembered, then gone from the address.
    fn change_view(&self) -> Option<Answer> {
        let (lang, text) = (self.query.get("lang"), self.query.get("text"));
        let mut view = self.view;
        match (lang, text) {
            ("", "") => return None,
            ("zh-CN", _) => view.lang = Some(Lang::ZhCn),
            ("en", _) => view.lang = Some(Lang::En),
            (_, "large") => view.large = true,
            (_, "normal") => view.large = false,
            _ => return None,
        }
        let path = self.parts.uri.path();
        let to = if handshake::is_local(path) { path } else { "/" };
        let to = match self.query.get("next") {
            "" => to.to_owned(),
            next => format!("{to}?next={}", encode(next)),
        };
        Some(with_cookie(redirect(&to), view.cookie()))
    }

    /// The language of this visit.
    pub(crate) fn lang(&self) -> Lang {
        self.view.lang.unwrap_or_else(|| {
            let accepted = self.parts.headers.get(http::header::ACCEPT_LANGUAGE);
            accepted.and_then(|value| value.to_str().ok()).map_or_else(Lang::default, crate::text::preferred)
        })
    }

    /// The department with this code.
    pub(crate) fn department(&self, code: &str) -> Option<Arc<Department>> {
        self.snapshot.as_ref()?.department(code).cloned()
    }

    /// The department this computer remembers.
    pub(crate) fn remembered(&self) -> Option<Arc<Department>> {
        self.department(cookie::find(&self.parts.headers, cookie::DEPARTMENT)?)
    }

    /// The session of this visit.
    pub(crate) async fn authenticate(&self) -> Auth {
        session::authenticate(self.ctx, &self.parts.headers, cookie::PORTAL, self.source).await
    }

    /// The frame of a page of nobody in particular.
    pub(crate) fn frame(&self) -> Frame {
        let platform = self.snapshot.as_ref().map(|snapshot| &*snapshot.platform);
        let mut frame = Frame::new(self.lang(), platform, self.now);
        frame.large = self.view.large;
        frame.portal.clone_from(&self.portal);
        let next = self.query.get("next");
        if !next.is_empty() {
            frame.keep = format!("&next={}", encode(next));
        }
        match self.remembered() {
            Some(department) => frame.of(&department),
            None => frame,
        }
    }

    /// The frame of somebody's page.
    pub(crate) fn own_frame(&self, opened: &Opened, current: Nav) -> Frame {
        home::own_frame(self, opened, current)
    }

    /// A page of somebody's; being there is a sign of life.
    pub(crate) fn own_page(&self, opened: &Opened, page: &impl askama::Template) -> Answer {
        let answer = render(StatusCode::OK, page);
        match session::reseal(self.ctx, opened, cookie::PORTAL) {
            Some(cookie) => with_cookie(answer, cookie),
            None => answer,
        }
    }

    /// The page of `code`.
    pub(crate) fn problem(&self, code: Code, about: About) -> Answer {
        self.problem_in(self.frame(), code, about)
    }

    /// The page of `code` in a frame that is made already.
    pub(crate) fn problem_in(&self, frame: Frame, code: Code, mut about: About) -> Answer {
        if about.login.is_empty() {
            about.login = "/".to_owned();
        }
        let status = crate::pages::outcome::status(code);
        render(status, &problem(frame, code, about, self.request))
    }

    async fn unknown_page(&self) -> Answer {
        let frame = match self.authenticate().await {
            Auth::Live(opened) => self.own_frame(&opened, Nav::None),
            _ => self.frame(),
        };
        self.problem_in(frame, Code::PageUnknown, About::default())
    }

    /// The page that says why a session ended.
    pub(crate) fn ended(&self, ended: &Ended) -> Answer {
        let code = ended.reason.code();
        let department = self.department(ended.ticket.account.department.as_str());
        let mut frame = self.frame();
        let mut about = About::default();
        if let Some(department) = &department {
            frame = frame.of(department);
            about.login = format!("/{}", department.code);
            if let EndReason::Standing(_) = ended.reason {
                about.desk = Some(Desk {
                    office: department.title.get(self.lang()).to_owned(),
                    phone: frame.hotline.clone(),
                });
            }
        }
        let answer = self.problem_in(frame, code, about);
        // An idle session may still be at work on a resource host, whose word can bring it back.
        match ended.reason {
            EndReason::Idle => answer,
            _ => with_cookie(answer, cookie::clear(cookie::SESSION)),
        }
    }

    /// What a request gets that needs a session and has none: the login page, or why it ended.
    pub(crate) fn turned_away(&self, auth: &Auth) -> Answer {
        match auth {
            Auth::Ended(ended) => self.ended(ended),
            Auth::Behind if self.snapshot.is_none() => self.problem(Code::NoSnapshot, About::default()),
            Auth::Behind => self.problem(Code::SnapshotBehind, About::default()),
            Auth::Nobody(code) => {
                let to = self
                    .remembered()
                    .map_or_else(|| "/departments".to_owned(), |own| format!("/{}", own.code));
                let answer = redirect(&to);
                match code {
                    Code::TicketInvalid => with_cookie(answer, cookie::clear(cookie::SESSION)),
                    _ => answer,
                }
            }
            Auth::Live(_) => redirect("/"),
        }
    }

    /// Vouches for this browser at a resource host that asked, or lets it log in first.
    async fn go(&self) -> Answer {
        let text = self.query.get("t");
        let Ok(start) = Start::open(self.ctx.ring(), text) else {
            return self.problem(Code::HandshakeInvalid, About::default());
        };
        let opened = match self.authenticate_with(&start).await {
            Auth::Live(opened) => opened,
            Auth::Nobody(_) => {
                let to = self
                    .remembered()
                    .map_or_else(|| "/departments".to_owned(), |own| format!("/{}", own.code));
                return redirect(&format!("{to}?next={}", encode(text)));
            }
            other => return self.turned_away(&other),
        };
        let mut cookie = opened.cookie.clone();
        cookie.seen = self.now;
        let own = cookie.seal(self.ctx.ring(), cookie::PORTAL, self.now);
        cookie.renewed = self.now;
        cookie.view = View { lang: Some(self.lang()), large: self.view.large };
        let grant = Grant {
            resource: start.resource,
            target: start.target,
            nonce: start.nonce,
            at: self.now,
            session: cookie,
        };
        let (Ok(sealed), Ok(own)) = (grant.seal(self.ctx.ring(), self.now), own) else {
            return self.problem(Code::HandshakeInvalid, About::default());
        };
        let to = format!("{}{}?g={sealed}", self.ctx.resource_origin(&grant.resource), handshake::ENTER);
        with_cookie(redirect(&to), cookie::set(cookie::SESSION, &own, None))
    }

    /// The session of this visit, where work on the resource host that asks counts as work here.
    async fn authenticate_with(&self, start: &Start) -> Auth {
        let auth = self.authenticate().await;
        let (Auth::Ended(ended), Some((session, seen))) = (&auth, start.seen) else { return auth };
        if ended.reason != EndReason::Idle || ended.ticket.session != session {
            return auth;
        }
        let value = cookie::find(&self.parts.headers, cookie::SESSION).unwrap_or_default();
        let Ok(kept) = cookie::Session::open(self.ctx.ring(), cookie::PORTAL, value) else { return auth };
        let Ok(renewed) = (cookie::Session { seen: seen.min(self.now), ..kept }).seal(
            self.ctx.ring(),
            cookie::PORTAL,
            self.now,
        ) else {
            return auth;
        };
        let mut headers = http::HeaderMap::new();
        if let Ok(value) = HeaderValue::try_from(format!("{}={renewed}", cookie::SESSION)) {
            headers.insert(http::header::COOKIE, value);
        }
        session::authenticate(self.ctx, &headers, cookie::PORTAL, self.source).await
    }

    /// Who acts, for the audit.
    pub(crate) fn actor(&self) -> Actor {
        let request = Some(self.request.into());
        Actor { source: Some(self.source), request, alone: self.ctx.is_alone(), ..Actor::default() }
    }

    /// Puts an event into audit trail and metrics.
    pub(crate) fn record(&self, event: Event) {
        self.ctx.record(event);
    }

    /// The token of a form outside a session.
    pub(crate) fn token(&self, form: FormName) -> String {
        form.token(self.ctx.ring(), None, self.now).unwrap_or_default()
    }
}
