//! Logging in from a VPN client: the XML exchange of the OpenConnect family, and the forms of older clients.
//!
//! ```text
//!  init --> form of the department, or of all of them --> name, password --> complete: the sealed ticket
//!              ^                                             |
//!              +-- init again with another group             +-- must change, or a code instead --> new password
//! ```
//!
//! Nothing is kept between two requests: what the next one must prove is sealed with the pool's keys and handed
//! back by the client, so that any gateway goes on. What is checked, counted and recorded is what the portal does
//! ([`crate::login::steps`]); only that a client cannot be shown a waiting page: it is held.

pub(crate) mod answer;
pub(crate) mod client;
pub(crate) mod message;
mod words;

use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use http::{Method, StatusCode};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use tidegate_core::session::{EndReason, Kind};
use tidegate_core::{Account, Code, Department, Lang};
use tidegate_store::audit::{Actor, Event};

use crate::cookie;
use crate::login::renewal::{self, NotTaken, Occasion, Progress, Saving};
use crate::login::right::{EXPIRED, Proof, code_digest, could_be_code, opened_by};
use crate::login::steps::{self, Hashed, Judged, Refused, fits};
use crate::pages::outcome::status;
use crate::portal::{Answer, FormBody, Visit};
use crate::shared::ShardContext;
use answer::{Ask, Complete, Input};
use message::{At, BODY_BYTES_MAX, Said};

pub(crate) use client::is_client;

/// How long a client is held: below the minute after which some give up.
const HOLD: Duration = Duration::from_secs(55);

/// Bytes of a body that is too long which are read all the same.
const DISCARDED_BYTES_MAX: usize = 2 * 1024 * 1024;

/// What proofs are sealed for: what a client hands back.
const OPAQUE: &[u8] = b"client";

/// The names of the fields for a new password. Clients send these as they are; those of other servers they
/// rename, or do not send at all.
const NEW: &str = "newpw1";
const AGAIN: &str = "newpw2";

/// One request of a client.
struct Talk<'a> {
    visit: Visit<'a>,
    /// The department that the path or the chosen group names.
    page: Option<Arc<Department>>,
    /// The department the path names, whose form has no list.
    by_path: bool,
    /// Whether the client knows no element around `auth`.
    bare: bool,
}

/// Answers a request of a VPN client to the portal host.
pub(crate) async fn handle<B: FormBody>(
    ctx: &ShardContext,
    parts: &Parts,
    body: B,
    source: IpAddr,
    request: &str,
) -> Answer {
    let mut visit = Visit::new(ctx, parts, source, request);
    visit.kind = Kind::Tunnel;
    if !matches!(parts.method, Method::GET | Method::POST) {
        return refused(Code::MethodRefused);
    }
    let path = parts.uri.path();
    if client::is_logout(path) {
        return log_out(&visit).await;
    }
    if visit.snapshot.is_none() {
        return refused(Code::NoSnapshot);
    }
    let code = path.trim_matches('/');
    if code.contains('/') {
        return refused(Code::PageUnknown);
    }
    let said = match read(body).await.and_then(|body| Said::parse(&body)) {
        Ok(said) => said,
        Err(code) => return refused(code),
    };
    let own = visit.department(code);
    let chosen = said.group.as_deref().and_then(|group| words::chosen(&visit, group));
    let talk = Talk { by_path: own.is_some(), page: chosen.or(own), bare: client::is_bare(parts), visit };
    match said.at {
        At::Leaving => log_out(&talk.visit).await,
        At::Beginning if !code.is_empty() && !talk.by_path => talk.welcome(Some(talk.no_department())),
        At::Beginning => talk.welcome(None),
        At::Answering => talk.answered(&said).await,
    }
}

impl Talk<'_> {
    /// The language of what is said: the client's own wish, which few have, else the department's.
    fn lang(&self, department: Option<&Department>) -> Lang {
        if self.visit.parts.headers.contains_key(http::header::ACCEPT_LANGUAGE) {
            return self.visit.lang();
        }
        department.or(self.page.as_deref()).map_or_else(Lang::default, words::lang_of)
    }

    /// The form for name and password, with what was wrong before.
    fn welcome(&self, error: Option<String>) -> Answer {
        let lang = self.lang(None);
        let page = self.page.as_deref();
        let ask = Ask {
            id: "main",
            title: words::service(&self.visit, lang),
            banner: page.map(|page| words::notice(page, lang)).unwrap_or_default(),
            message: words::welcome(page, lang),
            error: error.unwrap_or_default(),
            action: self.action(),
            opaque: String::new(),
            groups: (!self.by_path).then(|| words::groups(&self.visit, page, lang)),
            inputs: vec![
                Input { name: "username", label: words::label(lang, "login-user"), secret: false },
                Input { name: "password", label: words::label(lang, "login-password"), secret: true },
            ],
        };
        ask.answer(self.bare)
    }

    /// Where forms are answered to. Only a path that names a department is kept: the list must stay whole.
    fn action(&self) -> String {
        match &self.page {
            Some(page) if self.by_path => format!("/{}", page.code),
            _ => "/".to_owned(),
        }
    }

    /// What somebody is told whose address names no department.
    fn no_department(&self) -> String {
        words::problem(self.lang(None), Code::DepartmentUnknown, None)
    }

    /// An answered form.
    async fn answered(&self, said: &Said) -> Answer {
        let kept = said.opaque.as_deref().map(str::trim);
        let kept = kept.or_else(|| cookie::find(&self.visit.parts.headers, answer::CONTEXT));
        if !said.form.has(NEW) {
            return self.log_in(said.form.get("username"), said.form.get("password")).await;
        }
        match kept.and_then(|kept| Proof::open(&self.visit, OPAQUE, kept)) {
            Some(proof) => self.renew(proof, (said.form.get(NEW), said.form.get(AGAIN))).await,
            None => self.again(EXPIRED),
        }
    }

    /// The form for name and password again.
    fn again(&self, refused: Refused) -> Answer {
        self.welcome(Some(words::refused(self.lang(None), refused, None)))
    }

    /// A refusal that ends the login: the account is right and may not be used.
    fn denied(&self, department: &Department, code: Code) -> Answer {
        let lang = self.lang(Some(department));
        let error = words::problem(lang, code, Some(department));
        Ask { id: "main", title: words::service(&self.visit, lang), error, ..Ask::default() }
            .answer(self.bare)
    }

    /// Checks name and password; a first password is set with the code in its place.
    async fn log_in(&self, user: &str, password: &str) -> Answer {
        let visit = &self.visit;
        let page = self.page.as_deref().map(|page| &page.code);
        let caller = match steps::caller(visit, page, user, password).await {
            Ok(caller) => caller,
            Err(refused) => return self.again(refused),
        };
        if could_be_code(password) {
            let code = code_digest(password);
            if let Some((department, account)) = opened_by(visit, &caller.typed, &code) {
                return self.activating(&department, &account, code);
            }
        }
        // A department that is only claimed has no queue of its own.
        let queue =
            page.cloned().or_else(|| Some(visit.department(caller.typed.department.as_str())?.code.clone()));
        let queue = queue.as_ref().map_or("", |code| code.as_str());
        let (phc, mut turn) = match steps::check(visit, &caller, queue, password) {
            Ok(checking) => checking,
            Err(refused) => return self.again(refused),
        };
        let right = match tokio::time::timeout(HOLD, turn.done()).await {
            Ok(Some(Hashed::Verified(right))) => right,
            Ok(_) => return self.again(Refused::KEPT),
            Err(_) => {
                steps::record_login(visit, caller.typed.id(), None, Some(Code::LoginBusy));
                return self.again(Refused::BUSY);
            }
        };
        match steps::judge(visit, &caller.typed, &phc, right).await {
            Judged::Refused(refused) => self.again(refused),
            Judged::Denied(department, code) => self.denied(&department, code),
            Judged::MustChange(department, account) => {
                let proof = Proof::of(&department, &account, Occasion::Change, visit.now);
                self.new_password(&department, &proof, None)
            }
            Judged::Right(department, account) => self.complete(&department, &account).await,
        }
    }

    fn activating(&self, department: &Department, account: &Account, code: [u8; 32]) -> Answer {
        let proof = Proof::of(department, account, Occasion::Activation(code), self.visit.now);
        match account.standing(self.visit.now).denied {
            None => self.new_password(department, &proof, None),
            Some(reason) => {
                renewal::record_activation(&self.visit, Some(proof.id), Some(reason.code()));
                self.denied(department, reason.code())
            }
        }
    }

    /// The form for a new password; whoever gets it may set one. Asking again makes a right last no longer.
    fn new_password(&self, department: &Department, proof: &Proof, not: Option<&NotTaken>) -> Answer {
        let lang = self.lang(Some(department));
        let Some(opaque) = proof.seal(&self.visit, OPAQUE) else { return self.again(Refused::KEPT) };
        let ask = Ask {
            id: "new-password",
            title: words::service(&self.visit, lang),
            message: words::new_password(lang, proof.occasion),
            error: not.map(|not| words::refused(lang, not.refused, not.rules.as_deref())).unwrap_or_default(),
            action: self.action(),
            opaque,
            inputs: vec![
                Input { name: NEW, label: words::label(lang, "password-new"), secret: true },
                Input { name: AGAIN, label: words::label(lang, "password-again"), secret: true },
            ],
            ..Ask::default()
        };
        ask.answer(self.bare)
    }

    /// Sets a new password, and lets its owner in with it.
    async fn renew(&self, proof: Proof, (new, again): (&str, &str)) -> Answer {
        let visit = &self.visit;
        let (department, account) = match proof.account(visit) {
            Ok(found) => found,
            Err(refused) => return self.again(refused),
        };
        if let Some(reason) = account.standing(visit.now).denied {
            return self.denied(&department, reason.code());
        }
        let whose = (&*department, &*account);
        let ask = |not: NotTaken| self.new_password(&department, &proof, Some(&not));
        if !(fits(new) && fits(again)) {
            return ask(Refused::FORM.into());
        }
        let (renewal, mut turn) = match renewal::submit(visit, whose, proof.occasion, (new, again), None) {
            Ok(submitted) => submitted,
            Err(not) => return ask(not),
        };
        let until = tokio::time::Instant::now() + HOLD;
        let hashed = match tokio::time::timeout_at(until, turn.done()).await {
            Ok(hashed) => hashed.unwrap_or(Hashed::Failed),
            Err(_) => return ask(Refused::BUSY.into()),
        };
        let mut saving = match renewal::intent(visit, whose, renewal, hashed).await {
            Ok(intent) => Saving::new(intent),
            // Somebody else was first with the code: no password helps now.
            Err(not) if not.refused == renewal::ACTIVATION_REFUSED => return self.again(not.refused),
            Err(not) => return ask(not),
        };
        let left = until.saturating_duration_since(tokio::time::Instant::now());
        match saving.advance(visit, left).await {
            Progress::Saved => self.saved(&saving).await,
            Progress::Refused(code) => {
                saving.record(visit, Some(code));
                self.again(saving.refusal(code))
            }
            Progress::Waiting if saving.is_handed_over() => self.denied(&department, Code::ChangePending),
            // Nothing is kept here that could hand it over later.
            Progress::Waiting => {
                saving.record(visit, Some(Code::StoreFailed));
                self.again(saving.refusal(Code::StoreFailed))
            }
        }
    }

    /// The new password is in force here: its owner goes on without typing it again.
    async fn saved(&self, saving: &Saving) -> Answer {
        match saving.saved(&self.visit) {
            None => self.again(Refused::LOGIN),
            Some((department, _, Some(code))) => self.denied(&department, code),
            Some((department, account, None)) => self.complete(&department, &account).await,
        }
    }

    /// Opens the session.
    async fn complete(&self, department: &Department, account: &Account) -> Answer {
        let (ring, now) = (self.visit.ctx.ring(), self.visit.ctx.now());
        let opened = steps::open(&self.visit, department, account, |ticket| {
            let session = ticket.session.to_string();
            Some((cookie::Session::of(ticket, now).seal(ring, cookie::TUNNEL, now).ok()?, session))
        });
        match opened.await {
            Ok((token, session)) => {
                let banner = words::notice(department, self.lang(Some(department)));
                Complete { session, token, banner }.answer(self.bare)
            }
            Err(refused) => self.again(refused),
        }
    }
}

/// Ends the session of the client that asks for it, everywhere. Whoever has none has nothing to end.
async fn log_out(visit: &Visit<'_>) -> Answer {
    let value = cookie::find(&visit.parts.headers, cookie::WEBVPN).unwrap_or_default();
    let Ok(session) = cookie::Session::open(visit.ctx.ring(), cookie::TUNNEL, value) else {
        return answer::goodbye();
    };
    let ticket = session.ticket;
    // One that is over in any case is not remembered as ended, nor recorded once more.
    if ticket.absolute_end <= visit.now || visit.ctx.view().ended.contains_key(&ticket.session) {
        return answer::goodbye();
    }
    if let Err(error) = visit.ctx.end(ticket.session, EndReason::LoggedOut, ticket.absolute_end).await {
        // Without the store the other gateways would go on: better say so than pretend.
        tracing::error!(%error, "a logout could not be stored");
        return answer::plain(StatusCode::SERVICE_UNAVAILABLE, &words::code(Code::StoreFailed));
    }
    visit.record(Event::SessionEnd {
        actor: Actor {
            account: Some(ticket.account),
            uid: Some(ticket.uid),
            session: Some(ticket.session),
            ..visit.actor()
        },
        kind: Kind::Tunnel,
        reason: EndReason::LoggedOut,
    });
    answer::goodbye()
}

/// The whole body. One that is too long is read on for a while, so that its sender is there to hear the answer.
async fn read<B: FormBody>(body: B) -> Result<Vec<u8>, Code> {
    let mut body = pin!(Limited::new(body, DISCARDED_BYTES_MAX));
    let (mut kept, mut too_long) = (Vec::new(), false);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| match error.is::<LengthLimitError>() {
            true => Code::BodyTooLarge,
            false => Code::RequestTimeout,
        })?;
        let Ok(data) = frame.into_data() else { continue };
        too_long |= kept.len() + data.len() > BODY_BYTES_MAX;
        if !too_long {
            kept.extend_from_slice(&data);
        }
    }
    if too_long { Err(Code::BodyTooLarge) } else { Ok(kept) }
}

/// An answer to what is no step of a login.
fn refused(code: Code) -> Answer {
    answer::plain(status(code), &words::code(code))
}
