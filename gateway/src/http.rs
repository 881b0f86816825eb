//! One request: whose it is, in the one form that counts, handed to the portal or the proxy.

use std::cell::Cell;
use std::rc::Rc;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Method, Request, StatusCode, Uri, header};
use hyper::body::Incoming;
use tidegate_core::Code;

use crate::body::{Body, Response};
use crate::entry;
use crate::identity::JWKS;
use crate::listener::Connection;
use crate::metrics::By;
use crate::portal::{self, Answer};
use crate::proxy::{self, Asked, Awaited};
use crate::route::{self, Target};
use crate::shared::ShardContext;
use crate::tunnel::login;

/// Browsers remember for a year to come with TLS only.
const TLS_ONLY: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// Numbers of requests: unlike those of other shards and gateways, in digits one can read out.
pub(crate) struct Numbers(Cell<u64>);

/// Steps through all numbers below 10^12 in an order that looks like none.
const STEP: u64 = 618_033_988_747;
const NUMBERS: u64 = 1_000_000_000_000;

impl Numbers {
    /// Numbers that begin at `start`.
    pub(crate) fn new(start: u64) -> Self {
        Self(Cell::new(start % NUMBERS))
    }

    /// The next, as `dddd-dddd-dddd`.
    fn next(&self) -> String {
        let number = (self.0.get() + STEP) % NUMBERS;
        self.0.set(number);
        let mut text = [b'-'; 14];
        let mut rest = number;
        for (index, place) in text.iter_mut().enumerate().rev() {
            if index != 4 && index != 9 {
                *place = b'0' + u8::try_from(rest % 10).unwrap_or(0);
                rest /= 10;
            }
        }
        String::from_utf8_lossy(&text).into_owned()
    }
}

/// Answers a request.
pub(crate) async fn handle(
    ctx: Rc<ShardContext>,
    connection: Rc<Connection>,
    request: Request<Incoming>,
) -> Response {
    let _active = connection.active();
    let (mut parts, body) = request.into_parts();
    let number = ctx.numbers.next();
    let target = match target(&ctx, &mut parts) {
        Ok(target) => target,
        Err(code) => return refused(&ctx, &parts, code, &number),
    };
    match target {
        Target::Site(site) => {
            let asked = Asked { parts, site, connection: Rc::clone(&connection), request: number };
            proxy::handle(&ctx, asked, body).await
        }
        Target::Portal if login::is_client(&parts) => {
            let body = Awaited::new(body, &connection);
            let answer = login::handle(&ctx, &parts, body, connection.source(), &number);
            own(&ctx, By::Portal, Box::pin(answer).await)
        }
        Target::Portal => Box::pin(portal(&ctx, &connection, parts, body, &number)).await,
    }
}

/// Where a request goes; its path is in its normal form from here on.
fn target(ctx: &ShardContext, parts: &mut Parts) -> Result<Target, Code> {
    let authority = route::authority(parts)?;
    let names = &ctx.shared().names;
    let target = ctx.sites.target(names, ctx.view_ref().snapshot.as_deref(), authority)?;
    if parts.method == Method::CONNECT || parts.method == Method::TRACE {
        return Err(Code::MethodRefused);
    }
    let normal = crate::path::normalise(parts.uri.path()).map_err(|_| Code::PathRefused)?;
    let has_authority = parts.uri.authority().is_some();
    if has_authority || normal != parts.uri.path() {
        let target = match parts.uri.query() {
            Some(query) => format!("{normal}?{query}"),
            None => normal.into_owned(),
        };
        parts.uri = Uri::try_from(target).map_err(|_| Code::PathRefused)?;
    }
    Ok(target)
}

async fn portal(
    ctx: &ShardContext,
    connection: &Rc<Connection>,
    parts: Parts,
    body: Incoming,
    number: &str,
) -> Response {
    if parts.uri.path() == JWKS {
        return jwks(ctx, &parts);
    }
    let body = Awaited::new(body, connection);
    let answer = portal::handle(ctx, &parts, body, connection.source(), number).await;
    own(ctx, By::Portal, answer)
}

/// The keys upstreams check our word with; anybody may read them.
fn jwks(ctx: &ShardContext, parts: &Parts) -> Response {
    let get = matches!(parts.method, Method::GET | Method::HEAD);
    let body = if parts.method == Method::GET { ctx.shared().identity.jwks() } else { Bytes::new() };
    let mut answer = http::Response::new(body);
    if get {
        let headers = answer.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
    } else {
        *answer.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
    }
    own(ctx, By::Portal, answer)
}

/// The answer to a request that is nobody's.
fn refused(ctx: &ShardContext, parts: &Parts, code: Code, number: &str) -> Response {
    own(ctx, By::Gateway, entry::refuse(ctx, parts, None, None, code, None, number))
}

/// An answer of ours. Browsers are told to come with TLS next time; on `localhost` they would then do so
/// for every other program of that computer too.
pub(crate) fn own(ctx: &ShardContext, by: By, answer: Answer) -> Response {
    ctx.shared().metrics.answered(by, answer.status());
    let mut response = answer.map(Body::full);
    let host = ctx.portal_host();
    if ctx.shared().names.resources && host != "localhost" && !host.ends_with(".localhost") {
        response.headers_mut().insert(header::STRICT_TRANSPORT_SECURITY, TLS_ONLY);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_out_in_groups_and_do_not_repeat() {
        let numbers = Numbers::new(7);
        let mut seen = std::collections::HashSet::new();
        for _ in 0..10_000 {
            let number = numbers.next();
            assert_eq!(number.len(), 14);
            assert!(number.bytes().enumerate().all(|(at, byte)| match at {
                4 | 9 => byte == b'-',
                _ => byte.is_ascii_digit(),
            }));
            assert!(seen.insert(number));
        }
    }
}
