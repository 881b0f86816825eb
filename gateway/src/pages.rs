//! The pages: what each shows, and the templates that show it.
//!
//! ```text
//!  login, portal, proxy -- plain values --> view structs here -- askama --> HTML
//! ```
//!
//! Nothing here decides anything. Every text comes from [`crate::text`]; everything from outside is
//! escaped by the templates, and only [`Markup`] is not, which escapes what is put into it.

use std::fmt;

use askama::Template;
use tidegate_core::{Department, Lang, Platform, Timestamp, Zone};

use crate::login::steps::Refused;
use crate::text::time::Civil;
use crate::text::{text, text_with};

pub(crate) mod assets;
pub(crate) mod icon;
pub(crate) mod outcome;

#[cfg(test)]
mod tests;

/// HTML that was escaped when it was put together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Markup(String);

impl askama::filters::HtmlSafe for Markup {}

impl fmt::Display for Markup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Markup {
    /// Plain text.
    #[must_use]
    pub(crate) fn text(text: &str) -> Self {
        let mut out = String::with_capacity(text.len());
        for c in text.chars() {
            match c {
                '&' => out.push_str("&amp;"),
                '<' => out.push_str("&lt;"),
                '>' => out.push_str("&gt;"),
                '"' => out.push_str("&#34;"),
                '\'' => out.push_str("&#39;"),
                c => out.push(c),
            }
        }
        Self(out)
    }

    fn wrapped(open: &str, text: &str, close: &str) -> Self {
        Self(format!("{open}{}{close}", Self::text(text)))
    }

    /// An icon of ours.
    pub(crate) fn from_icon(svg: String) -> Self {
        Self(svg)
    }

    /// An emphasised number or word.
    #[must_use]
    pub(crate) fn bold(text: &str) -> Self {
        Self::wrapped("<b class=\"num\">", text, "</b>")
    }

    /// A number that keeps together.
    #[must_use]
    pub(crate) fn number(text: &str) -> Self {
        Self::wrapped("<span class=\"num\">", text, "</span>")
    }

    /// Something to type or read out.
    #[must_use]
    pub(crate) fn code(text: &str) -> Self {
        Self::wrapped("<code>", text, "</code>")
    }

    /// An instant, shown as `shown`.
    pub(crate) fn time(civil: &Civil, shown: &str) -> Self {
        Self::wrapped(&format!("<time datetime=\"{}\">", civil.iso()), shown, "</time>")
    }

    /// A text of the language files, which hold no markup, with escaped arguments put in.
    #[must_use]
    pub(crate) fn rich(lang: Lang, key: &str, arguments: &[(&str, &Self)]) -> Self {
        // What is a number chooses the plural.
        let value = |markup: &Self| match markup.0.parse::<i64>() {
            Ok(number) => number.into(),
            Err(_) => markup.0.clone().into(),
        };
        let arguments: Vec<_> = arguments.iter().map(|(name, markup)| (*name, value(markup))).collect();
        Self(text_with(lang, key, &arguments))
    }
}

/// What surrounds every page.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    /// Language of the page.
    pub(crate) lang: Lang,
    /// Large text.
    pub(crate) large: bool,
    /// Name of the service.
    pub(crate) service: String,
    /// Where the portal's own paths begin: empty on the portal, its origin elsewhere.
    pub(crate) portal: String,
    /// What a change of language or size keeps of the query, `&name=value`.
    pub(crate) keep: String,
    /// The telephone at the foot.
    pub(crate) hotline: Option<Phone>,
    /// Who is logged in.
    pub(crate) who: Option<Who>,
    /// The bar of time left.
    pub(crate) waterline: Option<Waterline>,
    /// What everybody should know.
    pub(crate) banners: Vec<Banner>,
    /// Zone of every time on the page.
    pub(crate) zone: Zone,
    /// When the page was made.
    pub(crate) now: Timestamp,
}

/// A telephone number with its hours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Phone {
    /// As people write it.
    pub(crate) shown: String,
    /// As `tel:` wants it.
    pub(crate) dial: String,
    /// When it is answered; may be empty.
    pub(crate) hours: String,
}

impl Phone {
    /// A number from a manifest; `None` when there is none.
    #[must_use]
    pub(crate) fn new(number: &str, hours: &str) -> Option<Self> {
        let dial: String = number.chars().filter(|c| c.is_ascii_digit() || *c == '+').collect();
        (!dial.is_empty()).then(|| Self { shown: number.to_owned(), dial, hours: hours.to_owned() })
    }
}

/// The person in the masthead.
#[derive(Clone, Debug)]
pub(crate) struct Who {
    /// Display name.
    pub(crate) name: String,
    /// Their department.
    pub(crate) department: String,
    /// Token for the logout form.
    pub(crate) token: String,
    /// The page in the navigation that is shown.
    pub(crate) current: Nav,
    /// What the warning before the end needs.
    pub(crate) clock: SessionClock,
}

/// A page of the navigation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nav {
    /// The list of systems.
    Systems,
    /// The account.
    Account,
    /// Something else.
    None,
}

/// The two limits of a session in seconds from now, for the script that warns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SessionClock {
    /// Until it ends without a request.
    pub(crate) idle_s: i64,
    /// Until it ends in any case.
    pub(crate) absolute_s: i64,
}

/// The time left, and what happened since last time.
#[derive(Clone, Debug)]
pub(crate) struct Waterline {
    /// Until when, and how long that is.
    pub(crate) until: Markup,
    /// Last login and failures since.
    pub(crate) last: Option<Markup>,
    /// Whether to offer "not me".
    pub(crate) alarming: bool,
    /// Minutes of the whole session.
    pub(crate) whole_min: i64,
    /// Minutes left.
    pub(crate) left_min: i64,
}

/// A strip below the header.
#[derive(Clone, Debug)]
pub(crate) struct Banner {
    /// Its name for screen readers.
    pub(crate) label: String,
    /// What is so.
    pub(crate) strong: String,
    /// What that means.
    pub(crate) text: String,
    /// Which icon.
    pub(crate) icon: &'static str,
}

/// The sign that something on a page is open, waits or is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    /// Open.
    Open,
    /// Not yet.
    Wait,
    /// Closed.
    Stop,
}

impl fmt::Display for Tone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "open",
            Self::Wait => "wait",
            Self::Stop => "stop",
        })
    }
}

impl Frame {
    /// A page of nobody in particular.
    #[must_use]
    pub(crate) fn new(lang: Lang, platform: Option<&Platform>, now: Timestamp) -> Self {
        let service = platform.map(|platform| platform.title.get(lang)).filter(|title| !title.is_empty());
        Self {
            lang,
            large: false,
            service: service.unwrap_or("Tidegate").to_owned(),
            portal: String::new(),
            keep: String::new(),
            hotline: None,
            who: None,
            waterline: None,
            banners: Vec::new(),
            zone: platform.map_or_else(Zone::utc, |platform| platform.zone.clone()),
            now,
        }
    }

    /// The page belongs to this department: its hotline, its zone.
    #[must_use]
    pub(crate) fn of(mut self, department: &Department) -> Self {
        self.hotline = Phone::new(&department.hotline.phone, department.hotline.hours.get(self.lang));
        self.zone = department.zone.clone();
        self
    }

    /// A text in the page's language.
    #[must_use]
    pub(crate) fn t(&self, key: &str) -> String {
        text(self.lang, key)
    }

    /// A text with one argument.
    #[must_use]
    pub(crate) fn with(&self, key: &str, name: &str, value: &str) -> String {
        text_with(self.lang, key, &[(name, value.into())])
    }

    /// A text with one emphasised argument.
    #[must_use]
    pub(crate) fn rich(&self, key: &str, name: &str, value: &Markup) -> Markup {
        Markup::rich(self.lang, key, &[(name, value)])
    }

    /// An icon, drawn into the page.
    #[must_use]
    pub(crate) fn icon(&self, name: &str) -> Markup {
        Markup::from_icon(icon::inline(name))
    }

    /// The address of an asset.
    #[must_use]
    pub(crate) fn asset(&self, name: &str) -> String {
        assets::path(name)
    }

    /// What the wall shows at `at`.
    pub(crate) fn wall(&self, at: Timestamp) -> Civil {
        Civil::at(at, &self.zone)
    }

    /// `今天 14:00`, marked up.
    #[must_use]
    pub(crate) fn when(&self, at: Timestamp) -> Markup {
        let civil = self.wall(at);
        Markup::time(&civil, &civil.relative(&self.wall(self.now), self.lang))
    }

    /// `14:00`, marked up.
    #[must_use]
    pub(crate) fn clock(&self, at: Timestamp) -> Markup {
        let civil = self.wall(at);
        Markup::time(&civil, &civil.clock())
    }

    /// A length of time in hours and minutes.
    #[must_use]
    pub(crate) fn length(&self, seconds: i64) -> String {
        let minutes = seconds.max(0) / 60;
        let (hours, minutes) = (minutes / 60, minutes % 60);
        if hours == 0 {
            text_with(self.lang, "left-minutes", &[("minutes", minutes.into())])
        } else {
            text_with(self.lang, "left-hours", &[("hours", hours.into()), ("minutes", minutes.into())])
        }
    }

    fn text_link(&self) -> String {
        format!("?text={}{}", if self.large { "normal" } else { "large" }, self.keep)
    }

    fn lang_link(&self) -> String {
        format!("?lang={}{}", self.other().tag(), self.keep)
    }

    fn text_label(&self) -> String {
        self.t(if self.large { "normal-text" } else { "large-text" })
    }

    fn other(&self) -> Lang {
        match self.lang {
            Lang::ZhCn => Lang::En,
            Lang::En => Lang::ZhCn,
        }
    }
}

/// A form that was refused.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    /// What was not done, and why.
    pub(crate) strong: String,
    /// What to look at.
    pub(crate) text: String,
    /// The stable code.
    pub(crate) code: String,
}

impl Refusal {
    /// The refusal with the text of `key`.
    #[must_use]
    pub(crate) fn new(lang: Lang, refused: Refused) -> Self {
        let Refused { key, code } = refused;
        Self { strong: text(lang, key), text: text(lang, &format!("{key}.text")), code: code.to_string() }
    }
}

/// One department to choose.
#[derive(Clone, Debug)]
pub(crate) struct Pick {
    /// Its code.
    pub(crate) code: String,
    /// Its name.
    pub(crate) title: String,
}

/// The list of departments.
#[derive(Template)]
#[template(path = "choose.html")]
pub(crate) struct Choose {
    pub(crate) f: Frame,
    pub(crate) query: String,
    pub(crate) last: Option<Pick>,
    pub(crate) found: Vec<Pick>,
    pub(crate) any: bool,
}

/// The login form.
#[derive(Template)]
#[template(path = "login.html")]
pub(crate) struct Login {
    pub(crate) f: Frame,
    pub(crate) department: Pick,
    pub(crate) notice: Vec<String>,
    pub(crate) user: String,
    pub(crate) token: String,
    pub(crate) next: String,
    pub(crate) target: Option<String>,
    pub(crate) refusal: Option<Refusal>,
}

/// The form of the first password.
#[derive(Template)]
#[template(path = "activate.html")]
pub(crate) struct Activate {
    pub(crate) f: Frame,
    pub(crate) department: Pick,
    pub(crate) user: String,
    pub(crate) code: String,
    pub(crate) token: String,
    pub(crate) next: String,
    pub(crate) rules: Vec<RuleView>,
    pub(crate) refusal: Option<Refusal>,
}

/// The form of a new password.
#[derive(Template)]
#[template(path = "password.html")]
pub(crate) struct Password {
    pub(crate) f: Frame,
    pub(crate) user: String,
    pub(crate) token: String,
    pub(crate) next: String,
    /// Sealed proof that the present password was just given; then it is not asked for again.
    pub(crate) proof: Option<String>,
    pub(crate) rules: Vec<RuleView>,
    pub(crate) refusal: Option<Refusal>,
}

/// One condition of a new password.
#[derive(Clone, Debug)]
pub(crate) struct RuleView {
    pub(crate) name: &'static str,
    pub(crate) text: String,
    pub(crate) state: RuleState,
}

/// What is known about a condition when the page is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RuleState {
    Todo,
    Broken,
    Done,
    Later,
}

/// The list of systems.
#[derive(Template)]
#[template(path = "home.html")]
pub(crate) struct Home {
    pub(crate) f: Frame,
    pub(crate) query: String,
    pub(crate) groups: Vec<TileGroup>,
    pub(crate) any: bool,
}

/// The systems of one owner.
#[derive(Clone, Debug)]
pub(crate) struct TileGroup {
    pub(crate) code: String,
    pub(crate) title: String,
    pub(crate) contact: Option<Phone>,
    pub(crate) tiles: Vec<Tile>,
}

/// One system.
#[derive(Clone, Debug)]
pub(crate) struct Tile {
    pub(crate) id: String,
    pub(crate) title: String,
    pub(crate) description: String,
    pub(crate) icon: Markup,
    pub(crate) href: String,
    pub(crate) why: Option<Why>,
}

/// Why a system cannot be used now.
#[derive(Clone, Debug)]
pub(crate) struct Why {
    pub(crate) icon: Markup,
    pub(crate) strong: Markup,
    pub(crate) text: String,
}

/// The guide.
#[derive(Template)]
#[template(path = "guide.html")]
pub(crate) struct Guide {
    pub(crate) f: Frame,
}

/// The state of this gateway.
#[derive(Template)]
#[template(path = "status.html")]
pub(crate) struct Status {
    pub(crate) f: Frame,
    pub(crate) rows: Vec<StatusRow>,
}

/// One line of the state.
pub(crate) struct StatusRow {
    pub(crate) tone: Option<Tone>,
    pub(crate) icon: &'static str,
    pub(crate) name: String,
    pub(crate) state: Markup,
}

impl Frame {
    /// The time left in the warning; the script counts it down.
    fn expiring_left(&self) -> Markup {
        Markup::number(&text_with(
            self.lang,
            "minutes-seconds",
            &[("minutes", 2.into()), ("seconds", 0.into())],
        ))
    }

    /// The pattern the script fills: `%m` minutes, `%s` seconds.
    fn countdown(&self, with_minutes: bool) -> String {
        if with_minutes {
            text_with(self.lang, "minutes-seconds", &[("minutes", "%m".into()), ("seconds", "%s".into())])
        } else {
            text_with(self.lang, "seconds", &[("count", "%s".into())])
        }
    }

    /// What stands between two sentences: nothing after a full-width stop.
    fn gap(&self) -> &'static str {
        match self.lang {
            Lang::ZhCn => "",
            Lang::En => " ",
        }
    }

    /// The second line of the warning: when the session ends in any case.
    fn expiring_absolute(&self) -> Markup {
        let left = self.who.as_ref().map_or(0, |who| who.clock.absolute_s);
        self.rich("expiring-absolute", "time", &self.clock(self.now.plus(left)))
    }
}
