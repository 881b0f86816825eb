//! The one page for everything that is not a form or a list: what happened, why, what you can do,
//! whom to call, what to read out. In that order.

use askama::Template;
use http::StatusCode;
use tidegate_core::{Code, Contact, Lang, Resource, Timestamp};

use super::{Frame, Markup, Nav, Phone, Tone};
use crate::text::text;

/// An outcome page.
#[derive(Template)]
#[template(path = "outcome.html")]
pub(crate) struct Outcome {
    pub(crate) f: Frame,
    pub(crate) tone: Tone,
    pub(crate) icon: &'static str,
    pub(crate) title: String,
    pub(crate) word: String,
    pub(crate) heading: Markup,
    /// Whether the heading is a number to watch.
    pub(crate) big: bool,
    pub(crate) lead: Markup,
    pub(crate) progress: Option<Progress>,
    pub(crate) route: Vec<Step>,
    pub(crate) advice: Option<Advice>,
    pub(crate) contact: Option<Desk>,
    pub(crate) slip: Option<Slip>,
    pub(crate) note: Option<String>,
    pub(crate) refresh: Option<Refresh>,
}

/// A bar of something that moves.
pub(crate) struct Progress {
    pub(crate) label: String,
    pub(crate) whole: usize,
    pub(crate) done: usize,
}

/// One station of the route.
pub(crate) struct Step {
    pub(crate) name: String,
    pub(crate) note: String,
    pub(crate) state: StepState,
}

/// How a station of the route looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StepState {
    Done,
    Here(Tone),
    NotReached,
}

/// What one can do.
#[derive(Default)]
pub(crate) struct Advice {
    pub(crate) text: Vec<String>,
    pub(crate) main: Option<Action>,
    pub(crate) other: Option<Action>,
}

/// A link that is a button, or nearly.
pub(crate) struct Action {
    pub(crate) label: String,
    pub(crate) href: String,
}

/// Whom to call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Desk {
    pub(crate) office: String,
    pub(crate) phone: Option<Phone>,
}

/// What to read out on the telephone.
pub(crate) struct Slip {
    pub(crate) code: String,
    pub(crate) request: String,
    pub(crate) time: Markup,
}

/// Go there by itself after a while.
pub(crate) struct Refresh {
    pub(crate) seconds: u32,
    pub(crate) href: String,
}

/// What a refusal is about.
#[derive(Clone, Debug, Default)]
pub(crate) struct About {
    /// Name of the system, when there is one.
    pub(crate) system: Option<String>,
    /// Whom to call about it.
    pub(crate) desk: Option<Desk>,
    /// When it opens next.
    pub(crate) opens_at: Option<Timestamp>,
    /// Where "sign in again" leads.
    pub(crate) login: String,
    /// Whether somebody just tried to log in: then nothing has ended, it has not begun.
    pub(crate) at_login: bool,
}

impl Desk {
    /// The owner's desk of `resource`, with the owner's name where it gave none.
    pub(crate) fn of(resource: &Resource, owner: &str, lang: Lang) -> Self {
        let Contact { office, phone, hours } = &resource.contact;
        let office = match office.get(lang) {
            "" => owner,
            office => office,
        };
        Self { office: office.to_owned(), phone: Phone::new(phone, hours.get(lang)) }
    }
}

/// Where on the way something stopped.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stop {
    Permission,
    System,
    Nowhere,
}

/// What a code looks like on a page.
struct Look {
    tone: Tone,
    icon: &'static str,
    word: &'static str,
    stop: Stop,
    act: Act,
}

/// What can be done about a code.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Act {
    Home,
    Retry,
    SignIn,
    Nothing,
}

fn look(code: Code) -> Look {
    use Code as C;
    let look = |tone, icon, word, stop, act| Look { tone, icon, word, stop, act };
    match code {
        C::SessionLoggedOut | C::SessionIdle | C::SessionExpired | C::NoSession | C::TicketInvalid => {
            let word = if code == C::NoSession { "word-not-signed-in" } else { "word-ended" };
            look(Tone::Wait, "clock", word, Stop::Nowhere, Act::SignIn)
        }
        C::SessionReplaced | C::SessionRevoked | C::SessionKicked | C::StoreReset => {
            look(Tone::Wait, "gate-closed", "word-ended", Stop::Nowhere, Act::SignIn)
        }
        C::GatewayStale => look(Tone::Stop, "alert", "word-ended", Stop::Nowhere, Act::SignIn),
        C::AccountUnknown
        | C::AccountInvalid
        | C::AccountLeft
        | C::AccountSuspended
        | C::AccountNotApproved
        | C::AccountNotYetValid
        | C::AccountExpired
        | C::AccountReviewOverdue
        | C::DepartmentUnknown => look(Tone::Stop, "gate-closed", "word-ended", Stop::Nowhere, Act::Nothing),
        C::NoSnapshot | C::SnapshotBehind | C::RequestTimeout => {
            look(Tone::Wait, "gate-wait", "word-unavailable", Stop::Nowhere, Act::Retry)
        }
        C::HandshakeInvalid => look(Tone::Stop, "alert", "word-not-opened", Stop::Nowhere, Act::Home),
        C::NoRule
        | C::OwnerDeny
        | C::MemberVeto
        | C::PlatformVeto
        | C::WrongMethod
        | C::WrongDevice
        | C::FactorNeeded
        | C::AccessWithdrawn
        | C::AddressOverlap
        | C::PingUnavailable => {
            look(Tone::Stop, "gate-closed", "word-not-opened", Stop::Permission, Act::Home)
        }
        C::OutsideSchedule | C::OutsideNetwork => {
            look(Tone::Wait, "gate-wait", "word-not-opened", Stop::Permission, Act::Home)
        }
        C::PolicyTrap | C::PolicyTimeout | C::PolicyMalformed | C::PolicyNotLoaded | C::PolicyQuarantined => {
            look(Tone::Stop, "alert", "word-unavailable", Stop::Permission, Act::Retry)
        }
        C::UpstreamUnreachable
        | C::UpstreamUntrusted
        | C::UpstreamTimeout
        | C::UpstreamMalformed
        | C::AddressOutsideNetworks
        | C::AddressForbidden
        | C::NameNotResolved => look(Tone::Stop, "alert", "word-unavailable", Stop::System, Act::Retry),
        C::ResourceUnknown | C::PageUnknown | C::HostRefused => {
            look(Tone::Wait, "search", "word-not-found", Stop::Nowhere, Act::Home)
        }
        code if (code as u16) < 2_000 => {
            look(Tone::Stop, "alert", "word-not-sent", Stop::Nowhere, Act::SignIn)
        }
        _ => look(Tone::Stop, "alert", "word-not-opened", Stop::Nowhere, Act::Home),
    }
}

/// The status a page or answer with this code has.
#[must_use]
pub(crate) fn status(code: Code) -> StatusCode {
    use Code as C;
    match code {
        C::NoSession | C::TicketInvalid => StatusCode::UNAUTHORIZED,
        C::LoginBusy | C::LoginsPaused | C::SnapshotBehind | C::GatewayStale | C::NoSnapshot => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        C::FormInvalid | C::PasswordTooWeak | C::PathRefused | C::HandshakeInvalid => StatusCode::BAD_REQUEST,
        C::CredentialChanged => StatusCode::CONFLICT,
        C::ChangePending => StatusCode::ACCEPTED,
        C::HostRefused => StatusCode::MISDIRECTED_REQUEST,
        C::HeadersRefused => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        C::BodyTooLarge | C::RequestTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        C::UpstreamUnreachable | C::UpstreamUntrusted | C::UpstreamMalformed | C::NameNotResolved => {
            StatusCode::BAD_GATEWAY
        }
        C::AddressOutsideNetworks | C::AddressForbidden => StatusCode::BAD_GATEWAY,
        C::UpstreamTimeout => StatusCode::GATEWAY_TIMEOUT,
        C::TooManyConnections => StatusCode::TOO_MANY_REQUESTS,
        C::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
        C::UpgradeRefused => StatusCode::NOT_IMPLEMENTED,
        C::ResourceUnknown | C::PageUnknown => StatusCode::NOT_FOUND,
        C::MethodRefused => StatusCode::METHOD_NOT_ALLOWED,
        C::PolicyTrap | C::PolicyTimeout | C::PolicyMalformed | C::PolicyNotLoaded | C::PolicyQuarantined => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        code if (2_000..3_000).contains(&(code as u16)) => StatusCode::UNAUTHORIZED,
        _ => StatusCode::FORBIDDEN,
    }
}

/// The page of `code`.
pub(crate) fn problem(f: Frame, code: Code, about: About, request: &str) -> Outcome {
    let key = format!("code-{}", code.name().replace('_', "-"));
    let Look { tone, icon, word, stop, act } = look(code);
    let word = if about.at_login { "word-not-signed-in" } else { word };
    let heading = f.with(&key, "system", about.system.as_deref().unwrap_or_default());
    let mut lead = f.t(&format!("{key}.lead"));
    if let Some(at) = about.opens_at {
        let civil = f.wall(at);
        let when = civil.relative(&f.wall(f.now), f.lang);
        lead = format!("{}{}{lead}", f.with("tile-opens", "time", &when), sentence_end(f.lang));
    }
    let action = |label: &str, href: String| Some(Action { label: f.t(label), href });
    let home = format!("{}/", f.portal);
    let signed_in = f.who.is_some();
    let (main, other) = match act {
        Act::Home if signed_in => (action("back-home", home), None),
        Act::Home => (action("open-home", home), None),
        Act::Retry => (action("try-again", String::new()), action("back-home", home)),
        Act::SignIn => (action("sign-in-again", format!("{}{}", f.portal, about.login)), None),
        Act::Nothing => (None, None),
    };
    let advice = Advice { text: vec![f.t(&format!("{key}.do"))], main, other };
    let contact = about
        .desk
        .or_else(|| f.hotline.clone().map(|phone| Desk { office: f.t("who-hotline"), phone: Some(phone) }));
    let route = route(&f, stop, tone);
    Outcome {
        tone,
        icon,
        title: f.t(word),
        word: f.t(word),
        heading: Markup::text(&heading),
        big: false,
        lead: Markup::text(&lead),
        progress: None,
        route,
        advice: Some(advice),
        contact,
        slip: Some(slip(&f, code, request)),
        note: None,
        refresh: None,
        f,
    }
}

/// The slip of `code` and this request.
pub(crate) fn slip(f: &Frame, code: Code, request: &str) -> Slip {
    let civil = f.wall(f.now);
    Slip {
        code: code.to_string(),
        // Read out in groups, without a word for what is between them.
        request: request.replace('-', " "),
        time: Markup::time(&civil, &civil.exact(f.lang)),
    }
}

fn sentence_end(lang: Lang) -> &'static str {
    match lang {
        Lang::ZhCn => "。",
        Lang::En => ". ",
    }
}

fn route(f: &Frame, stop: Stop, tone: Tone) -> Vec<Step> {
    let step =
        |name: &str, note: &str, state| Step { name: text(f.lang, name), note: text(f.lang, note), state };
    let (permission, system) = match stop {
        Stop::Nowhere => return Vec::new(),
        Stop::Permission => (
            step("route-permission", "route-stopped", StepState::Here(tone)),
            step("route-system", "route-not-reached", StepState::NotReached),
        ),
        Stop::System => (
            step("route-permission", "route-allowed", StepState::Done),
            step("route-system", "route-no-answer", StepState::Here(tone)),
        ),
    };
    vec![
        step("route-computer", "route-fine", StepState::Done),
        step("route-gateway", "route-signed-in", StepState::Done),
        permission,
        system,
    ]
}
