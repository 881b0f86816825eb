use askama::Template;
use tidegate_core::{Code, Timestamp, Zone};

use super::outcome::{About, Desk, problem, status};
use super::*;

const NOW: Timestamp = Timestamp(1_795_398_187);

fn shanghai() -> Zone {
    Zone { name: "Asia/Shanghai".into(), offset: 28_800, transitions: Box::default() }
}

fn frame(lang: Lang, signed_in: bool) -> Frame {
    let mut f = Frame::new(lang, None, NOW);
    f.service = if lang == Lang::En { "Jinbao Service Network" } else { "金保工程业务专网" }.to_owned();
    f.zone = shanghai();
    f.hotline = Phone::new(
        "0898-0000 1200",
        if lang == Lang::En { "Workdays 08:00–18:00" } else { "工作日 08:00–18:00" },
    );
    if signed_in {
        f.who = Some(Who {
            name: if lang == Lang::En { "Wang Fang" } else { "王芳" }.to_owned(),
            department: if lang == Lang::En {
                "City Social Insurance Centre"
            } else {
                "市社会保险服务中心"
            }
            .to_owned(),
            token: "token".to_owned(),
            current: Nav::Systems,
            clock: SessionClock { idle_s: 1_800, absolute_s: 24_480 },
        });
        let until = Markup::rich(
            lang,
            "waterline-until",
            &[("time", &f.clock(NOW.plus(24_480))), ("left", &Markup::bold(&f.length(24_480)))],
        );
        f.waterline = Some(Waterline {
            until,
            last: Some(Markup::rich(
                lang,
                "waterline-failures",
                &[("count", &Markup::bold("2")), ("number", &Markup::text("2"))],
            )),
            alarming: true,
            whole_min: 480,
            left_min: 408,
        });
    }
    f
}

fn rules(lang: Lang) -> Vec<RuleView> {
    [("length", RuleState::Done), ("classes", RuleState::Broken), ("personal", RuleState::Todo)]
        .map(|(name, state)| RuleView { name, text: text(lang, &format!("rule-{name}")), state })
        .to_vec()
}

fn pages(lang: Lang) -> Vec<(&'static str, String)> {
    let department = Pick { code: "sbzx".to_owned(), title: "市社会保险服务中心".to_owned() };
    let refusal = Refusal::new(lang, Refused::LOGIN);
    let tile = |id: &str, title: &str, icon: &str, why| Tile {
        id: id.to_owned(),
        title: title.to_owned(),
        description: "参保登记、缴费申报、待遇核定".to_owned(),
        icon: Markup::from_icon(icon::inline(icon)),
        href: "https://shebao-sbzx.localhost/".to_owned(),
        why,
    };
    let f = frame(lang, true);
    let why = Why {
        icon: f.icon("clock"),
        strong: f.rich("tile-opens", "time", &f.when(NOW.plus(7_200))),
        text: f.t("tile-opens.text"),
    };
    let group = |code: &str, tiles| TileGroup {
        code: code.to_owned(),
        title: "市社会保险服务中心".to_owned(),
        contact: Phone::new("0898-0000 1310", ""),
        tiles,
    };
    let mut home = frame(lang, true);
    home.banners.push(Banner {
        label: text(lang, "banner-mode-label"),
        strong: text(lang, "banner-approvals"),
        text: text(lang, "banner-approvals.text"),
        icon: "alert",
    });
    let about = About {
        system: Some("基金财务核算".to_owned()),
        desk: Some(Desk {
            office: "市社会保险服务中心财务科".to_owned(),
            phone: Phone::new("0898-0000 1360", "工作日"),
        }),
        opens_at: None,
        login: "/sbzx".to_owned(),
        at_login: false,
    };
    let problem = |f, code| problem(f, code, about.clone(), "8402 7715 3906").render().unwrap();
    vec![
        (
            "choose",
            Choose {
                f: frame(lang, false),
                query: String::new(),
                last: Some(department.clone()),
                found: vec![department.clone()],
                any: true,
            }
            .render()
            .unwrap(),
        ),
        (
            "login",
            Login {
                f: frame(lang, false),
                department: department.clone(),
                notice: vec![text(lang, "notice-default")],
                user: "<wangfang>".to_owned(),
                token: "token".to_owned(),
                next: String::new(),
                target: Some("社保".to_owned()),
                refusal: Some(refusal.clone()),
            }
            .render()
            .unwrap(),
        ),
        (
            "activate",
            Activate {
                f: frame(lang, false),
                department: department.clone(),
                user: "wangfang".to_owned(),
                code: String::new(),
                token: "token".to_owned(),
                next: String::new(),
                rules: rules(lang),
                refusal: None,
            }
            .render()
            .unwrap(),
        ),
        (
            "password",
            Password {
                f: frame(lang, true),
                user: "wangfang".to_owned(),
                token: "token".to_owned(),
                next: String::new(),
                proof: None,
                rules: rules(lang),
                refusal: None,
            }
            .render()
            .unwrap(),
        ),
        (
            "home",
            Home {
                f: home,
                query: String::new(),
                groups: vec![
                    group(
                        "sbzx",
                        vec![
                            tile("sbzx/shebao", "社保经办系统", "form", None),
                            tile("sbzx/dangan", "档案影像系统", "archive", None),
                        ],
                    ),
                    group("rsj", vec![tile("rsj/ldgx", "劳动关系备案", "ledger", Some(why))]),
                ],
                any: true,
            }
            .render()
            .unwrap(),
        ),
        ("empty", Home { f, query: String::new(), groups: Vec::new(), any: false }.render().unwrap()),
        ("denied", problem(frame(lang, true), Code::NoRule)),
        ("badgateway", problem(frame(lang, true), Code::UpstreamTimeout)),
        ("suspended", problem(frame(lang, false), Code::AccountSuspended)),
        ("idle", problem(frame(lang, false), Code::SessionIdle)),
        ("notfound", problem(frame(lang, true), Code::PageUnknown)),
        ("guide", Guide { f: frame(lang, false) }.render().unwrap()),
        (
            "status",
            Status {
                f: frame(lang, false),
                rows: vec![StatusRow {
                    tone: None,
                    icon: "check",
                    name: text(lang, "status-logins"),
                    state: Markup::text("ok"),
                }],
            }
            .render()
            .unwrap(),
        ),
    ]
}

/// With `TIDEGATE_PAGES=folder` the pages are also written there, to be looked at.
#[test]
fn every_page_renders_within_the_content_security_policy() {
    for lang in Lang::ALL {
        for (name, html) in pages(lang) {
            assert!(html.starts_with("<!doctype html>"), "{name}");
            assert!(html.trim_end().ends_with("</html>"), "{name}");
            for forbidden in
                [" style=", "<style", " onclick", "javascript:", "data:", "<script>", "<wangfang>"]
            {
                assert!(!html.contains(forbidden), "{name}: {forbidden}");
            }
            assert_eq!(html.matches("btn--main").count().min(2), html.matches("btn--main").count(), "{name}");
            if let Ok(folder) = std::env::var("TIDEGATE_PAGES") {
                let html = html.replace("/.tidegate/", "");
                std::fs::write(format!("{folder}/{name}-{}.html", lang.tag()), html).unwrap();
            }
        }
    }
}

#[test]
fn every_code_has_a_page_and_a_refusing_status() {
    for lang in Lang::ALL {
        for code in Code::ALL.iter().copied().filter(|code| (*code as u16) < 5_000) {
            let html = problem(frame(lang, true), code, About::default(), "1").render().unwrap();
            assert!(html.contains(&code.to_string()), "{code}");
            let status = status(code);
            assert!(
                status.is_client_error() || status.is_server_error() || code == Code::ChangePending,
                "{code}"
            );
        }
    }
}

#[test]
fn what_comes_from_outside_is_escaped() {
    let evil = "<b>\"'&";
    let escaped = "&lt;b&gt;&#34;&#39;&amp;";
    assert_eq!(Markup::text(evil).to_string(), escaped);
    assert_eq!(Markup::code(evil).to_string(), format!("<code>{escaped}</code>"));
    let f = frame(Lang::En, false);
    assert_eq!(f.rich("choose-lead", "example", &Markup::text(evil)).to_string().matches(escaped).count(), 1);
    let about = About { system: Some(evil.to_owned()), ..About::default() };
    let html = problem(f, Code::NoRule, about, "1").render().unwrap();
    assert!(!html.contains(evil));
}

#[test]
fn assets_are_found_by_the_path_the_pages_name() {
    let f = frame(Lang::En, false);
    for name in ["style.css", "portal.js", "favicon.svg", "favicon.ico", "touch-180.png"] {
        let path = f.asset(name);
        assert!(path.starts_with(assets::OWN_PREFIX));
        assert_eq!(assets::at(&path).unwrap().name, name);
    }
    assert!(assets::at("/.tidegate/style.css").is_none());
    for name in icon::NAMES {
        assert!(icon::inline(name).ends_with("</svg>"));
    }
    assert_eq!(icon::inline("../../../etc/passwd"), icon::inline("form"));
}

#[test]
fn telephones_are_dialable() {
    let phone = Phone::new("0898-0000 1200", "").unwrap();
    assert_eq!(phone.dial, "089800001200");
    assert_eq!(Phone::new("", "always"), None);
}
