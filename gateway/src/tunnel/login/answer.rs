//! What a VPN client is answered while it logs in: a form to fill in, a refusal, or the session.
//!
//! Always XML, also for clients that send none. A form names its action and hands out an opaque text each time:
//! clients go on sending the last one they got.

use std::fmt::Write as _;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};

use crate::cookie;
use crate::portal::Answer;

#[cfg(test)]
mod tests;

/// The cookie with what clients without XML hand back.
pub(crate) const CONTEXT: &str = "webvpncontext";

/// Seconds after which a client may ask again a gateway that has no configuration.
const RETRY_S: &str = "5";

/// A form, or without inputs a refusal that ends the login.
#[derive(Default)]
pub(crate) struct Ask {
    /// Its name, as people give it to `--form-entry`.
    pub(crate) id: &'static str,
    /// Whose it is.
    pub(crate) title: String,
    /// What everybody is to read first.
    pub(crate) banner: String,
    /// What is asked.
    pub(crate) message: String,
    /// What was wrong with the answer before.
    pub(crate) error: String,
    /// The path it is answered to.
    pub(crate) action: String,
    /// What the client hands back with the answer.
    pub(crate) opaque: String,
    /// Groups to choose from, the chosen one first.
    pub(crate) groups: Option<Groups>,
    /// Fields to fill in.
    pub(crate) inputs: Vec<Input>,
}

/// A list of groups.
pub(crate) struct Groups {
    /// What is chosen.
    pub(crate) label: String,
    /// Value and label of each.
    pub(crate) options: Vec<(String, String)>,
}

/// A field.
pub(crate) struct Input {
    /// Its name.
    pub(crate) name: &'static str,
    /// What is to be typed.
    pub(crate) label: String,
    /// Whether it is hidden from those who look on.
    pub(crate) secret: bool,
}

impl Ask {
    /// The form as XML; `bare` for clients that know no element around `auth`.
    pub(crate) fn to_xml(&self, bare: bool) -> String {
        let mut out = String::from(DECLARATION);
        if !bare {
            out.push_str("<config-auth client=\"vpn\" type=\"auth-request\" aggregate-auth-version=\"2\">\n");
            element(&mut out, "opaque", " is-for=\"sg\"", &self.opaque);
        }
        // Writing into a string does not fail.
        let _ = writeln!(out, "<auth id=\"{}\">", escape(self.id));
        for (name, text) in [("title", &self.title), ("banner", &self.banner), ("message", &self.message)] {
            element(&mut out, name, "", text);
        }
        element(&mut out, "error", " id=\"91\" param1=\"\" param2=\"\"", &self.error);
        if !self.inputs.is_empty() {
            let _ = writeln!(out, "<form method=\"post\" action=\"{}\">", escape(&self.action));
            for Input { name, label, secret } in &self.inputs {
                let kind = if *secret { "password" } else { "text" };
                let label = escape(label);
                let _ = writeln!(out, "<input type=\"{kind}\" name=\"{name}\" label=\"{label}\"/>");
            }
            if let Some(Groups { label, options }) = &self.groups {
                let _ = writeln!(out, "<select name=\"group_list\" label=\"{}\">", escape(label));
                for (index, (value, label)) in options.iter().enumerate() {
                    let selected = if index == 0 { " selected=\"true\"" } else { "" };
                    let (value, label) = (escape(value), escape(label));
                    let _ = writeln!(out, "<option value=\"{value}\"{selected}>{label}</option>");
                }
                out.push_str("</select>\n");
            }
            out.push_str("</form>\n");
        }
        out.push_str("</auth>\n");
        if !bare {
            out.push_str("</config-auth>\n");
        }
        out
    }

    /// The answer that asks. What clients without XML hand back is a cookie.
    pub(crate) fn answer(&self, bare: bool) -> Answer {
        let mut answer = xml(self.to_xml(bare));
        set_cookie(&mut answer, CONTEXT, &self.opaque);
        answer
    }
}

/// The session, in the two places clients look for it.
pub(crate) struct Complete {
    /// The session's name.
    pub(crate) session: String,
    /// What the client shows when it connects.
    pub(crate) token: String,
    /// What everybody is to read.
    pub(crate) banner: String,
}

impl Complete {
    /// The answer that ends the login. The connection ends with it, so that the next request, for the tunnel,
    /// comes on one whose first bytes say so.
    pub(crate) fn answer(&self, bare: bool) -> Answer {
        let mut out = String::from(DECLARATION);
        if !bare {
            out.push_str("<config-auth client=\"vpn\" type=\"complete\" aggregate-auth-version=\"2\">\n");
            element(&mut out, "session-id", "", &self.session);
            element(&mut out, "session-token", "", &self.token);
        }
        out.push_str("<auth id=\"success\">\n");
        element(&mut out, "banner", "", &self.banner);
        out.push_str("</auth>\n");
        if !bare {
            out.push_str("</config-auth>\n");
        }
        let mut answer = xml(out);
        set_cookie(&mut answer, CONTEXT, "");
        set_cookie(&mut answer, cookie::WEBVPN, &self.token);
        close(&mut answer);
        answer
    }
}

/// An answer without XML, for what is no login; the client's user sees the status, its log the reason.
pub(crate) fn plain(status: StatusCode, reason: &str) -> Answer {
    let mut answer = respond(status, "text/plain; charset=utf-8", format!("{reason}\n"));
    if let Ok(reason) = HeaderValue::try_from(reason) {
        answer.headers_mut().insert("x-reason", reason);
    }
    if status == StatusCode::SERVICE_UNAVAILABLE {
        answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_S));
    }
    answer
}

/// The answer to a logout: the client forgets the session.
pub(crate) fn goodbye() -> Answer {
    let mut answer = respond(StatusCode::OK, "text/plain; charset=utf-8", String::new());
    set_cookie(&mut answer, cookie::WEBVPN, "");
    close(&mut answer);
    answer
}

const DECLARATION: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";

fn xml(text: String) -> Answer {
    respond(StatusCode::OK, "text/xml; charset=utf-8", text)
}

fn respond(status: StatusCode, content_type: &'static str, text: String) -> Answer {
    let mut answer = Response::new(Bytes::from(text));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}

fn close(answer: &mut Answer) {
    answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
}

/// A cookie for a VPN client; an empty one is forgotten.
fn set_cookie(answer: &mut Answer, name: &str, value: &str) {
    let end = if value.is_empty() { "; Max-Age=0" } else { "" };
    // Names are constants and values base64 or ids; anything else is not sent at all.
    if let Ok(cookie) = HeaderValue::try_from(format!("{name}={value}; Path=/; Secure; HttpOnly{end}")) {
        answer.headers_mut().append(header::SET_COOKIE, cookie);
    }
}

/// An element with a text; nothing at all without one.
fn element(out: &mut String, name: &str, attributes: &str, text: &str) {
    if !text.is_empty() {
        // Writing into a string does not fail.
        let _ = writeln!(out, "<{name}{attributes}>{}</{name}>", escape(text));
    }
}

/// `text` as XML holds it. Clients read a percent sign as the place of a parameter, and XML has no control
/// characters.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '%' => out.push('％'),
            '\n' => out.push('\n'),
            c if c.is_control() || matches!(c, '\u{FFFE}' | '\u{FFFF}') => out.push(' '),
            c => out.push(c),
        }
    }
    out
}
