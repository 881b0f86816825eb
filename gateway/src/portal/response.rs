//! Answers: HTML with its policy, redirects, assets.

use askama::Template;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};

use crate::pages::assets::Asset;

/// A complete answer of the portal.
pub(crate) type Answer = Response<Bytes>;

/// No page loads, sends or is framed by anything but this host.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Ten years, as "immutable" was meant.
const FOR_EVER: &str = "public, max-age=31536000, immutable";

/// A page.
pub(crate) fn render(status: StatusCode, page: &impl Template) -> Answer {
    match page.render() {
        Ok(html) => answer(status, "text/html; charset=utf-8", Bytes::from(html)),
        // Writing into a string does not fail; if it ever does, nothing half-made leaves.
        Err(_) => answer(StatusCode::INTERNAL_SERVER_ERROR, "text/plain; charset=utf-8", Bytes::new()),
    }
}

/// A small answer for scripts and tools.
pub(crate) fn json(status: StatusCode, text: String) -> Answer {
    answer(status, "application/json", Bytes::from(text))
}

/// Go there with GET.
pub(crate) fn redirect(to: &str) -> Answer {
    let mut response = answer(StatusCode::SEE_OTHER, "text/plain; charset=utf-8", Bytes::new());
    match HeaderValue::try_from(to) {
        Ok(to) => {
            response.headers_mut().insert(header::LOCATION, to);
        }
        Err(_) => *response.status_mut() = StatusCode::BAD_REQUEST,
    }
    response
}

/// A file served as it is; `addressed` by its content, it never changes.
pub(crate) fn asset(asset: Asset, addressed: bool) -> Answer {
    let mut response = answer(StatusCode::OK, asset.content_type, Bytes::from_static(asset.bytes));
    let cache = if addressed { FOR_EVER } else { "public, max-age=86400" };
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    response
}

/// Nothing here is for search engines.
pub(crate) fn robots() -> Answer {
    answer(StatusCode::OK, "text/plain; charset=utf-8", Bytes::from_static(b"User-agent: *\nDisallow: /\n"))
}

/// The answer with one more cookie.
pub(crate) fn with_cookie(mut answer: Answer, cookie: HeaderValue) -> Answer {
    answer.headers_mut().append(header::SET_COOKIE, cookie);
    answer
}

fn answer(status: StatusCode, content_type: &'static str, body: Bytes) -> Answer {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    protect(response.headers_mut());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

fn protect(headers: &mut HeaderMap) {
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}
