//! A request to a system: decided, sent on, answered; never held back whole.
//!
//! ```text
//!  entry::admit -- decide --> Flow --> pool.connect --> headers out --> upstream
//!        |            |                                    |
//!        |            +-- denied: page, record             +--> headers back, Relay of the body
//!        +-- nobody: handshake                             +--> 101: tunnel
//! ```

use std::rc::Rc;
use std::sync::Arc;

use http::request::Parts;
use http::{Request, StatusCode, Uri, Version, header};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use tidegate_core::{Code, Decision, Denial, Department, Permit, Question, Resource};
use tidegate_store::audit::{Event, Verdict};

use crate::body::{Body, Response};
use crate::entry;
use crate::http::own;
use crate::listener::Connection;
use crate::live::{Flow, Purpose, Relay};
use crate::metrics::By;
use crate::recorder::{SessionUse, Signed, rule_of};
use crate::route::Site;
use crate::session::Opened;
use crate::shared::{Admission, ShardContext};
use crate::upstream::Lease;

mod headers;
mod tunnel;
mod upload;

pub(crate) use headers::Forwarded;
pub(crate) use upload::{Awaited, RequestBody};

/// A request on its way to a system.
pub(crate) struct Asked {
    pub(crate) parts: Parts,
    pub(crate) site: Rc<Site>,
    pub(crate) connection: Rc<Connection>,
    /// Its id, as pages and records show it.
    pub(crate) request: String,
}

/// Answers a request to a system; the path is in its normal form already.
pub(crate) async fn handle(ctx: &ShardContext, mut asked: Asked, body: Incoming) -> Response {
    let Asked { parts, site, connection, request, .. } = &asked;
    let admitted = entry::admit(ctx, parts, &site.id, &site.host, connection.source(), request).await;
    let (opened, cookie) = match admitted {
        Admission::Go(opened, cookie) => (opened, cookie),
        Admission::Answer(answer) => return own(ctx, By::Gateway, answer),
    };
    let upgrade = match headers::upgrade(&asked.parts) {
        Ok(wanted) => wanted.then(|| asked.parts.extensions.remove::<OnUpgrade>()).flatten(),
        Err(code) => return refused(ctx, &asked, Some(&opened), code, None),
    };
    let (flow, usage) = match decide(ctx, &asked, &opened) {
        Ok(allowed) => allowed,
        Err(denial) => return refused(ctx, &asked, Some(&opened), denial.reason.code(), denial.opens_at),
    };
    let (owner, resource) = flow.permitted();
    let passing = Passing { ctx, opened: &opened, usage, flow, owner, resource, upgrade: upgrade.is_some() };
    let answered = passing.exchange(&asked, body).await;
    let mut response = match answered {
        Ok((response, lease)) => passing.answer(&asked, response, lease, upgrade),
        Err(code) => {
            ctx.shared().metrics.upstream_failures.with_label_values(&[code.name()]).inc();
            refused(ctx, &asked, Some(&opened), code, None)
        }
    };
    if let Some(cookie) = cookie {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}

/// Whether it may go on; nothing is awaited between the decision and the flow.
fn decide(
    ctx: &ShardContext,
    asked: &Asked,
    opened: &Rc<Opened>,
) -> Result<(Rc<Flow>, Rc<SessionUse>), Box<Denial>> {
    let shared = ctx.shared();
    let now = ctx.now();
    let usage = ctx.usage.of(opened, now, &shared.recorder);
    let view = ctx.view_ref();
    let Some(snapshot) = &view.snapshot else {
        return Err(Box::new(Denial::of(tidegate_core::DenyReason::NoSnapshot)));
    };
    let question = Question {
        snapshot,
        member: &opened.ticket().account.department,
        account: &opened.account,
        resource: &asked.site.id,
        method: asked.parts.method.as_str(),
        path: asked.parts.uri.path(),
    };
    match ctx.decide(&question, opened.subject.as_ref()) {
        Decision::Permit(permit) => {
            shared.metrics.decided(None);
            let generation = snapshot.generation;
            usage.allowed(&permit, &asked.site.id, generation, (now, Some(&asked.request)), &shared.recorder);
            Ok((open(ctx, asked, opened, &usage, permit), usage))
        }
        Decision::Deny(denial) => {
            shared.metrics.decided(Some(denial.reason));
            ctx.record(Event::Decision {
                actor: usage.actor(Some(&asked.request)),
                resource: asked.site.id.clone(),
                verdict: Verdict::Denied(denial.reason.code()),
                rule: rule_of(&denial),
                generation: snapshot.generation,
                count: 1,
            });
            Err(Box::new(denial))
        }
    }
}

fn open(
    ctx: &ShardContext,
    asked: &Asked,
    opened: &Rc<Opened>,
    usage: &Rc<SessionUse>,
    permit: Permit,
) -> Rc<Flow> {
    let purpose = Purpose {
        opened: Rc::clone(opened),
        usage: Rc::clone(usage),
        site: Rc::clone(&asked.site),
        method: asked.parts.method.clone(),
        uri: asked.parts.uri.clone(),
        connection: Rc::clone(&asked.connection),
    };
    ctx.flows.open(ctx, purpose, permit)
}

fn refused(
    ctx: &ShardContext,
    asked: &Asked,
    opened: Option<&Opened>,
    code: Code,
    opens_at: Option<tidegate_core::Timestamp>,
) -> Response {
    let Asked { parts, site, request, .. } = asked;
    own(ctx, By::Gateway, entry::refuse(ctx, parts, opened, Some(&site.id), code, opens_at, request))
}

/// An allowed request and what it needs on the way.
struct Passing<'a> {
    ctx: &'a ShardContext,
    opened: &'a Rc<Opened>,
    usage: Rc<SessionUse>,
    flow: Rc<Flow>,
    owner: Arc<Department>,
    resource: Arc<Resource>,
    upgrade: bool,
}

impl Passing<'_> {
    /// Sends the request and waits for the head of the answer. A kept connection that turns out to be
    /// closed is replaced once, when nothing of the request can have had an effect.
    async fn exchange(
        &self,
        asked: &Asked,
        body: Incoming,
    ) -> Result<(http::Response<Incoming>, Lease), Code> {
        let body = RequestBody::new(body, &asked.connection, &self.flow);
        let again = matches!(body, RequestBody::Empty) && asked.parts.method.is_idempotent();
        let mut body = Some(body);
        let mut fresh = false;
        loop {
            let connecting =
                self.ctx.pool.connect(self.ctx, &asked.site.id, &self.owner, &self.resource, fresh);
            let mut lease = self.unless_cut(connecting).await??;
            self.flow.leads_to(lease.address());
            let request = self.outgoing(asked, body.take().unwrap_or(RequestBody::Empty))?;
            self.flow.awaits(true);
            let sent = self.unless_cut(lease.sender.try_send_request(request)).await?;
            self.flow.awaits(false);
            let mut error = match sent {
                Ok(response) => return Ok((response, lease)),
                Err(error) => error,
            };
            if let Some(code) = self.flow.why_cut() {
                return Err(code);
            }
            let unsent = error.take_message();
            if lease.reused && (unsent.is_some() || again) {
                body = unsent.map(Request::into_body);
                fresh = true;
                continue;
            }
            let error = error.into_error();
            return Err(if error.is_parse() { Code::UpstreamMalformed } else { Code::UpstreamUnreachable });
        }
    }

    async fn unless_cut<T>(&self, work: impl Future<Output = T>) -> Result<T, Code> {
        tokio::select! {
            biased;
            done = work => Ok(done),
            code = self.flow.cut() => Err(code),
        }
    }

    /// The request as the upstream gets it.
    fn outgoing(&self, asked: &Asked, body: RequestBody) -> Result<Request<RequestBody>, Code> {
        let parts = &asked.parts;
        let signed = self.signed(asked).ok_or(Code::UpstreamUnreachable)?;
        let mut request = Request::new(body);
        *request.method_mut() = parts.method.clone();
        *request.version_mut() = Version::HTTP_11;
        let target = parts.uri.path_and_query().cloned().ok_or(Code::PathRefused)?;
        *request.uri_mut() = Uri::from(target);
        let forwarded = asked.connection.forwarded(&asked.site);
        *request.headers_mut() = headers::outgoing(
            &parts.headers,
            &headers::Outgoing {
                web: self.resource.web().ok_or(Code::ResourceUnknown)?,
                site: &asked.site,
                forwarded: &forwarded,
                signed: &signed,
                request: &asked.request,
                upgrade: self.upgrade,
            },
        );
        Ok(request)
    }

    fn signed(&self, asked: &Asked) -> Option<Signed> {
        let Self { ctx, opened, usage, resource, .. } = self;
        let now = ctx.now();
        usage.signed(&opened.account, resource, now, || {
            let audience = asked.site.origin.to_str().ok()?;
            let (token, renew) =
                ctx.shared().identity.token(opened.ticket(), &opened.account, audience, now)?;
            Some((headers::host(resource)?, token, renew))
        })
    }

    /// The upstream's answer as the client gets it.
    fn answer(
        &self,
        asked: &Asked,
        mut response: http::Response<Incoming>,
        lease: Lease,
        upgrade: Option<OnUpgrade>,
    ) -> Response {
        let metrics = &self.ctx.shared().metrics;
        self.flow.answers();
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            let Some(client) = upgrade else {
                metrics.upstream_failures.with_label_values(&[Code::UpstreamMalformed.name()]).inc();
                return refused(self.ctx, asked, Some(self.opened), Code::UpstreamMalformed, None);
            };
            let upstream = hyper::upgrade::on(&mut response);
            tokio::task::spawn_local(tunnel::run(Rc::clone(&self.flow), client, upstream));
        }
        let upgraded = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        metrics.answered(By::Upstream, response.status());
        let (mut parts, body) = response.into_parts();
        parts.version = Version::HTTP_11;
        parts.extensions.clear();
        if let Some(web) = self.resource.web() {
            headers::incoming(&mut parts.headers, web, &asked.site, upgraded);
        }
        // A connection that became a tunnel is not used again.
        let body = if upgraded {
            Body::Full(None)
        } else {
            Body::Relay(Relay::new(body, Rc::clone(&self.flow), Some(lease)))
        };
        Response::from_parts(parts, body)
    }
}
