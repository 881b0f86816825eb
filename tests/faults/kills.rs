//! Controllers, gateways and members of etcd are killed at random while objects change and people work.
//!
//! ```text
//!  changes: rules close and open a system, a person is suspended and comes back, accounts come and go
//!  kills:   now one, now another; started again at once or after a while
//!  people:  one whom the rules stop and one who is suspended, at every gateway in turn, with one cookie
//! ```
//!
//! Afterwards, and of all that was seen meanwhile:
//!
//! - what is published is what a controller without a past makes of the objects: it finds nothing to publish
//! - no gateway allowed anything under a generation that denied it
//! - no generation went back, on any gateway, over all its runs
//! - a second after `Propagated=True` nobody was served what had been taken away

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tidegate_tests::wait;

use crate::api::{self, Api};
use crate::chance::Chance;
use crate::eventually;
use crate::person::Person;
use crate::program::Program;
use crate::site::{Gateway, Site};
use crate::trail::{self, Generation, Noted, now_ms};

/// The system everything is about.
const SYSTEM: &str = "records-sbj";
/// The one whom a rule stops, and the one who is suspended.
const RULED: &str = "wangfang";
const SUSPENDED: &str = "zhangwei";
/// Milliseconds that revocations may take after they are said to be in force.
const GRACE_MS: u64 = 1_000;
/// How much longer than planned it goes on until somebody was denied something.
const EXTRA: Duration = Duration::from_secs(240);

/// From when to when somebody was denied the system, everywhere: said to be in force, not yet given back.
#[derive(Clone, Debug)]
struct Denial {
    person: &'static str,
    in_force_ms: u64,
    until_ms: u64,
}

/// What somebody met at a gateway.
#[derive(Clone, Debug)]
struct Visit {
    person: &'static str,
    gateway: usize,
    began_ms: u64,
    ended_ms: u64,
    served: bool,
}

/// What was seen.
#[derive(Default)]
struct Seen {
    denials: Mutex<Vec<Denial>>,
    visits: Mutex<Vec<Visit>>,
    changes: Mutex<u32>,
}

/// Until when it goes on.
struct End {
    at: Instant,
    over: AtomicBool,
}

impl End {
    fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    /// Lets time pass; false when it is over.
    fn pause(&self, time: Duration) -> bool {
        let end = Instant::now() + time;
        let _ = wait::until("the pause", time, || match self.is_over() || Instant::now() >= end {
            true => Ok(()),
            false => Err(String::new()),
        });
        !self.is_over()
    }
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is {text:?}; write a number")))
}

/// Kills, changes and looks; then asks whether everything held.
pub(crate) fn at_random(mut site: Site) {
    let seconds = number("TIDEGATE_KILL_SECONDS").unwrap_or(30);
    let seed = number("TIDEGATE_KILL_SEED").unwrap_or_else(now_ms);
    println!("seed {seed}, {seconds} s");
    let (open, closed) = (json!({"spec": {"mode": "Disabled"}}), json!({"spec": {"mode": "Enforce"}}));
    eventually("the rule that closes the system", || site.api.create(&rule_path(""), &rule()));
    let people: Vec<Person> = [RULED, SUSPENDED].map(|name| activated(&site, name)).into();

    let end = End { at: Instant::now() + Duration::from_secs(seconds), over: AtomicBool::new(false) };
    let seen = Seen::default();
    let ports: Vec<u16> = site.gateways.iter().map(|gateway| gateway.port).collect();
    let kills = {
        let Site { gateways, controllers, members, api, .. } = &mut site;
        let (api, seen, end) = (&*api, &seen, &end);
        thread::scope(|scope| {
            let (open, closed) = (&open, &closed);
            for (person, name) in people.into_iter().zip([RULED, SUSPENDED]) {
                let ports = &ports;
                scope.spawn(move || work(person, name, ports, seen, end));
            }
            let changing = [
                scope.spawn(move || deny(api, &mut Chance::new(seed ^ 1), RULED, [closed, open], seen, end)),
                scope.spawn(move || {
                    let states = ["Suspended", "Active"].map(|state| json!({"spec": {"state": state}}));
                    let [suspended, active] = &states;
                    deny(api, &mut Chance::new(seed ^ 2), SUSPENDED, [suspended, active], seen, end);
                }),
                scope.spawn(move || come_and_go(api, &mut Chance::new(seed ^ 3), seen, end)),
            ];
            let gateways = gateways.iter_mut().map(|gateway| &mut gateway.program);
            let programs =
                [controllers.iter_mut().collect(), gateways.collect(), members.iter_mut().collect()];
            let kills = kill(programs, &mut Chance::new(seed), seen, end);
            for change in changing {
                change.join().unwrap_or_else(|_| panic!("what was changed failed"));
            }
            kills
        })
    };
    quiet(&site);
    tell(&seen, &kills);
    // Everything is read before the last question, which changes what is written down.
    nothing_was_widened(&site.gateways, &seen);
    nothing_was_served_late(&seen);
    a_controller_without_a_past_agrees(&mut site);
}

fn activated(site: &Site, name: &str) -> Person {
    let mut person = Person::new(site, "sbj", name);
    let code = site.code(name);
    let shown = person.activate(site.gateways[0].port, &code);
    assert!(shown.is_home(), "{name}: {shown:?}");
    person
}

fn rule_path(name: &str) -> String {
    api::path("sbj", "accesspolicies", name)
}

/// A rule that stops clerks, when it is in force.
fn rule() -> Value {
    json!({
        "apiVersion": "tidegate.dev/v1alpha1", "kind": "AccessPolicy", "metadata": {"name": "closed"},
        "spec": {
            "mode": "Disabled", "target": {"resources": {"names": ["records"]}},
            "rules": [{"name": "for-clerks", "effect": "Deny", "match": {"groups": ["clerks"]}}],
        },
    })
}

/// Opens the system at one gateway after the other, and logs in whenever that is asked for.
fn work(mut person: Person, name: &'static str, ports: &[u16], seen: &Seen, end: &End) {
    let mut turn = 0;
    while !end.is_over() {
        let gateway = turn % ports.len();
        turn += 1;
        let began_ms = now_ms();
        let shown = person.open(ports[gateway], SYSTEM);
        let visit = Visit { person: name, gateway, began_ms, ended_ms: now_ms(), served: shown.is_served() };
        seen.visits.lock().expect("whole").push(visit);
        if shown.by == "login" || shown.status == 401 {
            person.login(ports[gateway]);
        }
        end.pause(Duration::from_millis(50));
    }
}

/// Takes something away, waits until that is said to be in force, and gives it back after a while.
fn deny(
    api: &Api,
    chance: &mut Chance,
    person: &'static str,
    [take, give]: [&Value; 2],
    seen: &Seen,
    end: &End,
) {
    let path = if person == RULED { rule_path("closed") } else { Site::account(person) };
    while !end.is_over() {
        eventually("it is taken away", || api.patch(&path, take));
        let said = wait::until("in force", EXTRA, || match end.is_over() {
            true => Ok(None),
            false => api::in_force(&api.get(&path)?).map(|()| Some(now_ms())),
        });
        if let Some(in_force_ms) = said.unwrap_or_else(|error| panic!("{error}")) {
            end.pause(Duration::from_millis(1_500 + chance.below(2_500)));
            let denial = Denial { person, in_force_ms, until_ms: now_ms() };
            seen.denials.lock().expect("whole").push(denial);
        }
        eventually("it is given back", || api.patch(&path, give));
        *seen.changes.lock().expect("whole") += 2;
        end.pause(Duration::from_millis(500 + chance.below(2_000)));
    }
}

/// Accounts come, change and go; a department and a system say other things about themselves.
fn come_and_go(api: &Api, chance: &mut Chance, seen: &Seen, end: &End) {
    let mut number = 0;
    let mut there: Vec<String> = Vec::new();
    while end.pause(Duration::from_millis(100 + chance.below(500))) {
        number += 1;
        match chance.below(5) {
            0 => {
                let name = format!("guest{number}");
                eventually("an account comes", || api.create(&Site::account(""), &api::account(&name)));
                there.push(name);
            }
            1 if !there.is_empty() => {
                let name = there.swap_remove(chance.index(there.len()));
                eventually("an account goes", || api.delete(&Site::account(&name)));
            }
            2 if !there.is_empty() => {
                let patch = json!({"spec": {"sessionGeneration": number}});
                let name = &there[chance.index(there.len())];
                eventually("an account changes", || api.patch(&Site::account(name), &patch));
            }
            3 => {
                let patch = json!({"spec": {"description": {"en": format!("As of change {number}")}}});
                let archive = api::path("sbj", "resources", "archive");
                eventually("a system changes", || api.patch(&archive, &patch));
            }
            _ => {
                let patch = json!({"spec": {"hotline": {"phone": format!("0898-0000 {number:04}")}}});
                let department = "/apis/tidegate.dev/v1alpha1/departments/xqrsj";
                eventually("a department changes", || api.patch(department, &patch));
            }
        }
        *seen.changes.lock().expect("whole") += 1;
    }
}

/// Kills programs of three sorts until it is over, and starts all of them in the end; how often each sort was killed.
fn kill(mut sorts: [Vec<&mut Program>; 3], chance: &mut Chance, seen: &Seen, end: &End) -> [u32; 3] {
    let mut kills = [0; 3];
    let mut down: Vec<(usize, usize, Instant)> = Vec::new();
    loop {
        // Somebody has to lead now and then: a new leader waits ten seconds for the lease of the one before.
        let sort = [0, 1, 1, 1, 2, 2, 2][chance.index(7)];
        let victim = chance.index(sorts[sort].len());
        if sorts[sort][victim].is_up() {
            sorts[sort][victim].still_runs();
            sorts[sort][victim].kill();
            kills[sort] += 1;
            let away = if chance.below(2) == 0 { 0 } else { chance.below(4_000) };
            down.push((sort, victim, Instant::now() + Duration::from_millis(away)));
        }
        let next = Instant::now() + Duration::from_millis(500 + chance.below(3_000));
        while Instant::now() < next {
            down.retain(|(sort, victim, at)| {
                let is_due = Instant::now() >= *at;
                if is_due {
                    sorts[*sort][*victim].start();
                }
                !is_due
            });
            end.pause(Duration::from_millis(50));
        }
        let denied = [RULED, SUSPENDED]
            .iter()
            .all(|person| seen.denials.lock().expect("whole").iter().any(|denial| denial.person == *person));
        if (Instant::now() >= end.at && denied) || Instant::now() >= end.at + EXTRA {
            break;
        }
    }
    end.over.store(true, Ordering::Release);
    sorts.iter_mut().flatten().for_each(|program| program.start());
    kills
}

/// Waits until every object says that what it says is in force everywhere.
fn quiet(site: &Site) {
    let kinds = ["vpnusers", "resources", "accesspolicies", "departments", "clusteraccesspolicies"];
    eventually("all is in force", || {
        for kind in kinds {
            let list = site.api.get(&format!("/apis/tidegate.dev/v1alpha1/{kind}"))?;
            for object in list["items"].as_array().into_iter().flatten() {
                if !object["metadata"]["deletionTimestamp"].is_null() {
                    return Err(format!("{} is on its way out", object["metadata"]["name"]));
                }
                api::in_force(object)?;
            }
        }
        Ok(())
    });
    site.all_in_force();
}

fn tell(seen: &Seen, [controllers, gateways, members]: &[u32; 3]) {
    let visits = seen.visits.lock().expect("whole");
    let served: Vec<usize> = (0..3)
        .map(|gateway| visits.iter().filter(|visit| visit.served && visit.gateway == gateway).count())
        .collect();
    println!(
        "killed: {controllers} controllers, {gateways} gateways, {members} members of etcd; {} changes, {} denials in \
         force, {} visits, served by each gateway {served:?}",
        seen.changes.lock().expect("whole"),
        seen.denials.lock().expect("whole").len(),
        visits.len(),
    );
    assert!(served.iter().all(|count| *count > 0), "nobody was ever served by one of them");
    assert!(!seen.denials.lock().expect("whole").is_empty(), "nobody was ever denied anything");
}

/// What each gateway had in force never went back, and what it allowed was allowed by what it had.
fn nothing_was_widened(gateways: &[Gateway], seen: &Seen) {
    let in_force: Vec<Vec<Noted>> = gateways.iter().map(trail::in_force).collect();
    for (gateway, noted) in gateways.iter().zip(&in_force) {
        println!("{}: {} generations in force", gateway.program.name, noted.len());
        for pair in noted.windows(2) {
            assert!(pair[0].generation <= pair[1].generation, "{} went back: {pair:?}", gateway.program.name);
        }
    }
    let before = |noted: &[Noted], at_ms: u64| -> Option<Generation> {
        noted.iter().filter(|noted| noted.at_ms <= at_ms).map(|noted| noted.generation).max()
    };
    let (mut records, mut asked) = (0, 0);
    for denial in seen.denials.lock().expect("whole").iter() {
        // Every gateway had it in force by then; and what was published before it was given back denies, too.
        let first = in_force.iter().filter_map(|noted| before(noted, denial.in_force_ms)).min();
        let last = in_force.iter().filter_map(|noted| before(noted, denial.until_ms)).max();
        let (Some(first), Some(last)) = (first, last) else { panic!("nothing was in force: {denial:?}") };
        asked += 1;
        for gateway in gateways {
            for allowed in trail::allowed(gateway, denial.person) {
                records += 1;
                assert!(
                    !(first..=last).contains(&allowed.generation),
                    "{} allowed what {first:?} to {last:?} deny: {allowed:?}, {denial:?}",
                    gateway.program.name
                );
            }
        }
    }
    println!("{asked} denials held against {records} records of what was allowed");
}

/// A second after it was said to be in force, nobody was served what had been taken away.
fn nothing_was_served_late(seen: &Seen) {
    let visits = seen.visits.lock().expect("whole");
    let mut asked = 0;
    for denial in seen.denials.lock().expect("whole").iter() {
        let within = |visit: &&Visit| {
            visit.person == denial.person
                && visit.began_ms >= denial.in_force_ms + GRACE_MS
                && visit.ended_ms <= denial.until_ms
        };
        for visit in visits.iter().filter(within) {
            asked += 1;
            assert!(!visit.served, "served although denied: {visit:?}, {denial:?}");
        }
    }
    println!("{asked} visits while denied, none of them served");
    assert!(asked > 0, "nobody tried while it was denied");
}

/// The newest generation on each gateway.
fn generations(gateways: &[Gateway]) -> Vec<Option<Generation>> {
    gateways.iter().map(|gateway| trail::in_force(gateway).last().map(|noted| noted.generation)).collect()
}

/// One that starts now compares what it makes of the objects with what is published, part by part, and publishes what
/// differs: nothing.
fn a_controller_without_a_past_agrees(site: &mut Site) {
    let before = generations(&site.gateways);
    assert!(before.windows(2).all(|pair| pair[0] == pair[1]), "gateways differ: {before:?}");
    site.controllers.iter_mut().for_each(Program::kill);
    let fresh = &mut site.controllers[0];
    fresh.start();
    let log = fresh.logs().pop().expect("it runs");
    let ready = eventually("it has compared", || {
        let log = std::fs::read_to_string(&log).map_err(|error| error.to_string())?;
        let (_, rest) = log.split_once("Ready { generation: ").ok_or("it is not ready")?;
        let text: String =
            rest.chars().filter(|c| *c != '\\' && *c != '"').take_while(|c| *c != ' ').collect();
        trail::generation(&text).ok_or(text)
    });
    assert_eq!(Some(ready), before[0], "a controller without a past published something else");
    assert_eq!(generations(&site.gateways), before, "it was taken over by a gateway");
}
