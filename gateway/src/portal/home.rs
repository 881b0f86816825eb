//! The list of systems: decided anew at each view, grouped by owner.

use std::collections::BTreeSet;

use tidegate_core::policy::PortRange;
use tidegate_core::{
    Code, Decision, Denial, DenyReason, Department, Lang, Network, Question, Resource, ResourceId, Snapshot,
};

use super::{Answer, Visit};
use crate::login;
use crate::login::guard::FormName;
use crate::pages::{
    Banner, Frame, Home, Markup, Nav, Phone, SessionClock, Tile, TileGroup, Waterline, Who, Why, icon,
};
use crate::session::{Auth, Opened, RESEAL_S};

/// Seconds without news from the store at which everybody is told that changes wait.
const STALE_S: i64 = 30;

/// Longest search word.
const QUERY_CHARS_MAX: usize = 64;

/// The list, for whoever is logged in.
pub(super) async fn page(visit: &Visit<'_>) -> Answer {
    let opened = match visit.authenticate().await {
        Auth::Live(opened) => opened,
        Auth::Nobody(Code::NoSession) if visit.remembered().is_none() && visit.snapshot.is_some() => {
            return login::choose(visit);
        }
        other => return visit.turned_away(&other),
    };
    let Some(snapshot) = visit.snapshot.clone() else { return visit.turned_away(&Auth::Behind) };
    let query: String = visit.query.get("q").trim().chars().take(QUERY_CHARS_MAX).collect();
    let (groups, faults) = groups(visit, &opened, &snapshot);
    let any = !groups.is_empty();
    let mut f = visit.own_frame(&opened, Nav::Systems);
    if !faults.is_empty() {
        let names = faults.into_iter().collect::<Vec<_>>().join(&f.t("lang-separator"));
        f.banners.push(Banner {
            label: f.t("banner-fault-label"),
            strong: f.t("banner-fault"),
            text: f.with("banner-fault.text", "departments", &names),
            icon: "alert",
        });
    }
    let groups = search(groups, &query);
    visit.own_page(&opened, &Home { f, query, groups, any })
}

/// The frame of a page of `opened`.
pub(super) fn own_frame(visit: &Visit<'_>, opened: &Opened, current: Nav) -> Frame {
    let ticket = opened.ticket();
    let mut f = visit.frame().of(&opened.department);
    // Every page of somebody's is a sign of life; within the first minute the cookie is not sealed anew.
    let unseen = visit.now.since(opened.cookie.seen);
    let idle_s = i64::from(opened.department.session.idle_s) - if unseen < RESEAL_S { unseen } else { 0 };
    let left = opened.absolute.since(visit.now);
    f.who = Some(Who {
        name: opened.account.person.display_name.to_string(),
        department: opened.department.title.get(f.lang).to_owned(),
        token: FormName::Logout.token(visit.ctx.ring(), Some(opened.id()), visit.now).unwrap_or_default(),
        current,
        clock: SessionClock { idle_s, absolute_s: left },
    });
    let until = Markup::rich(
        f.lang,
        "waterline-until",
        &[("time", &f.clock(opened.absolute)), ("left", &Markup::bold(&f.length(left)))],
    );
    let failures = opened.cookie.failures;
    let count = failures.to_string();
    let time = opened.cookie.last.map(|at| f.when(at));
    let said = |key: &str, time: &Markup| {
        let (bold, number) = (Markup::bold(&count), Markup::text(&count));
        Markup::rich(f.lang, key, &[("time", time), ("count", &bold), ("number", &number)])
    };
    let last = match (&time, failures) {
        (Some(time), 0) => Some(said("waterline-last", time)),
        (Some(time), _) => Some(said("waterline-last-failures", time)),
        (None, 0) => None,
        (None, _) => Some(said("waterline-failures", &Markup::default())),
    };
    f.waterline = Some(Waterline {
        until,
        last,
        alarming: failures > 0,
        whole_min: opened.absolute.since(ticket.issued).max(60) / 60,
        left_min: left.max(0) / 60,
    });
    f.banners = banners(visit, &f);
    f
}

fn banners(visit: &Visit<'_>, f: &Frame) -> Vec<Banner> {
    let mut banners = Vec::new();
    let view = visit.ctx.view();
    if visit.now.since(view.fresh_at) >= STALE_S {
        let since = f.wall(view.fresh_at).relative(&f.wall(f.now), f.lang);
        banners.push(Banner {
            label: f.t("banner-stale-label"),
            strong: f.t("banner-stale"),
            text: f.with("banner-stale.text", "time", &since),
            icon: "clock",
        });
    }
    if visit.snapshot.as_ref().is_some_and(|snapshot| !snapshot.platform.approvals_enforced) {
        banners.push(Banner {
            label: f.t("banner-mode-label"),
            strong: f.t("banner-approvals"),
            text: f.t("banner-approvals.text"),
            icon: "alert",
        });
    }
    banners
}

/// The systems of every owner, own department first, and the owners whose rules cannot be asked now.
fn groups(visit: &Visit<'_>, opened: &Opened, snapshot: &Snapshot) -> (Vec<TileGroup>, BTreeSet<String>) {
    let lang = visit.lang();
    let f = visit.frame().of(&opened.department);
    let own = &opened.ticket().account.department;
    let mut owners: Vec<_> = snapshot.departments.values().collect();
    owners.sort_by_key(|owner| owner.code != *own);
    let mut faults = BTreeSet::new();
    let mut groups = Vec::new();
    for owner in owners {
        let mut tiles = Vec::new();
        let mut phones = BTreeSet::new();
        for resource in owner.resources.values().filter(|resource| resource.visible) {
            let id = ResourceId { department: owner.code.clone(), name: resource.name.clone() };
            let on_address = || Why {
                icon: f.icon("globe"),
                strong: Markup::text(&f.t("tile-address")),
                text: f.t("tile-address.text"),
            };
            let through_tunnel = |network: &Network| Why {
                icon: f.icon("terminal"),
                strong: Markup::text(&f.t("tile-tunnel")),
                text: f.with("tile-tunnel.text", "place", &place(network)),
            };
            let why = match decide(visit, opened, snapshot, &id, resource) {
                // On a bare address there are no hosts for systems to be reached at.
                Decision::Permit(_) => match resource.network() {
                    Some(network) => Some(through_tunnel(network)),
                    None => (!visit.ctx.shared().names.resources).then(on_address),
                },
                Decision::Deny(denial) => match why(&f, &denial) {
                    Shown::Wait(why) => Some(why),
                    Shown::Fault => {
                        faults.insert(owner.title.get(lang).to_owned());
                        continue;
                    }
                    Shown::Hidden => continue,
                },
            };
            phones.insert(resource.contact.phone.clone());
            tiles.push(tile(visit, &id, resource, why, lang));
        }
        if !tiles.is_empty() {
            groups.push(group(owner, tiles, &phones, lang));
        }
    }
    (groups, faults)
}

fn group(owner: &Department, tiles: Vec<Tile>, phones: &BTreeSet<Box<str>>, lang: Lang) -> TileGroup {
    // One number for all systems stands in the heading; several would need more room than they are worth.
    let contact = match (phones.len(), phones.first()) {
        (1, Some(phone)) => Phone::new(phone, ""),
        _ => None,
    };
    TileGroup {
        code: owner.code.to_string(),
        title: owner.title.get(lang).to_owned(),
        contact: contact.or_else(|| Phone::new(&owner.hotline.phone, "")),
        tiles,
    }
}

fn tile(visit: &Visit<'_>, id: &ResourceId, resource: &Resource, why: Option<Why>, lang: Lang) -> Tile {
    Tile {
        id: id.to_string(),
        title: title(resource, lang),
        description: resource.description.get(lang).to_owned(),
        icon: Markup::from_icon(icon::inline(&resource.icon)),
        href: format!("{}{}", visit.ctx.resource_origin(id), start_path(resource)),
        why,
    }
}

/// The name of a system; its id where nobody gave it one.
pub(crate) fn title(resource: &Resource, lang: Lang) -> String {
    match resource.title.get(lang) {
        "" => resource.name.to_string(),
        title => title.to_owned(),
    }
}

/// Where a network resource is, for people: `10.20.3.5, files.example:22, 8000-8100`.
fn place(network: &Network) -> String {
    let hosts: Vec<&str> = network.hosts.iter().map(|host| &**host).collect();
    let port = |range: &PortRange| match range.from == range.to {
        true => range.from.to_string(),
        false => format!("{}-{}", range.from, range.to),
    };
    let ports: Vec<String> = network.ports.iter().map(port).collect();
    format!("{}:{}", hosts.join(", "), ports.join(", "))
}

fn start_path(resource: &Resource) -> &str {
    resource.web().map_or("/", |web| &web.start_path)
}

/// Whether the system may be opened; where rules speak of methods or paths, whether its first page may.
fn decide(
    visit: &Visit<'_>,
    opened: &Opened,
    snapshot: &Snapshot,
    id: &ResourceId,
    resource: &Resource,
) -> Decision {
    let ask = |method: &str, path: &str| {
        let question = Question {
            snapshot,
            member: &opened.ticket().account.department,
            account: &opened.account,
            resource: id,
            method,
            path,
        };
        visit.ctx.decide(&question, opened.subject.as_ref())
    };
    match ask("", "") {
        Decision::Deny(denial) if denial.reason == DenyReason::WrongMethod => {
            let path = start_path(resource);
            ask("GET", path.split('?').next().unwrap_or(path))
        }
        decision => decision,
    }
}

/// What a refused system looks like in the list.
enum Shown {
    /// It is there, with the reason.
    Wait(Why),
    /// It is not there, and a banner says that its owner's rules cannot be asked.
    Fault,
    /// It is not there: it is not for this person.
    Hidden,
}

fn why(f: &Frame, denial: &Denial) -> Shown {
    let wait = |icon: &str, key: &str| {
        Shown::Wait(Why {
            icon: f.icon(icon),
            strong: Markup::text(&f.t(key)),
            text: f.t(&format!("{key}.text")),
        })
    };
    match denial.reason {
        DenyReason::OutsideSchedule => match denial.opens_at {
            Some(at) => Shown::Wait(Why {
                icon: f.icon("clock"),
                strong: f.rich("tile-opens", "time", &f.when(at)),
                text: f.t("tile-opens.text"),
            }),
            None => wait("clock", "tile-schedule"),
        },
        DenyReason::OutsideNetwork => wait("globe", "tile-network"),
        DenyReason::WrongDevice => wait("terminal", "tile-device"),
        DenyReason::FactorNeeded => wait("key", "tile-factor"),
        DenyReason::PolicyTrap
        | DenyReason::PolicyTimeout
        | DenyReason::PolicyMalformed
        | DenyReason::PolicyNotLoaded
        | DenyReason::PolicyQuarantined => Shown::Fault,
        _ => Shown::Hidden,
    }
}

fn search(groups: Vec<TileGroup>, query: &str) -> Vec<TileGroup> {
    if query.is_empty() {
        return groups;
    }
    let query = query.to_lowercase();
    let fits = |tile: &Tile| {
        [&tile.title, &tile.description, &tile.id].iter().any(|text| text.to_lowercase().contains(&query))
    };
    groups
        .into_iter()
        .filter_map(|mut group| {
            group.tiles.retain(fits);
            (!group.tiles.is_empty()).then_some(group)
        })
        .collect()
}
