//! What still works while a part is away, row by row and column by column, as `docs/reference/away.md` promises it.
//!
//! What is not asked here: an etcd that was wiped or restored (`tests/operator`, `store/tests/it/etcd/faults.rs`); that one login of an account wins, and guessing is slowed down, by each gateway alone while
//! etcd is away (`gateway/src/program/alone.rs`, `gateway/tests/it/pool.rs`); that readiness follows the limits
//! (`gateway/tests/it/drain.rs`); that a pod is replaced after half a minute, not earlier (`cluster/presence.rs` of the
//! controller).

use std::time::Instant;

use serde_json::json;

use crate::api::condition;
use crate::eventually;
use crate::person::{Person, Shown};
use crate::program::Program;
use crate::site::Site;

/// The system everybody here may open.
const SYSTEM: &str = "records-sbj";
/// Codes as people see them.
const LOGINS_PAUSED: &str = "TG-1008";
const GATEWAY_STALE: &str = "TG-2018";
const NOT_HANDED_IN: &str = "TG-6016";

/// The two gateways: the line of the first can be cut.
const CUT: usize = 0;
const OTHER: usize = 1;

/// Everything, and the people.
struct Table {
    site: Site,
    /// Works all the time and changes her password now and then.
    fang: Person,
    /// Is suspended now and then.
    wei: Person,
    /// Logs in whenever it is asked whether anybody can.
    late: Person,
}

/// Asks every cell.
pub(crate) fn row_by_row(site: Site) {
    let person = |name: &str, code: &str| {
        let mut person = Person::new(&site, "sbj", name);
        let shown = person.activate(site.gateways[OTHER].port, code);
        assert!(shown.is_home(), "{name}: {shown:?}");
        person
    };
    let fang = person("wangfang", &site.code("wangfang"));
    let wei = person("zhangwei", &site.code("zhangwei"));
    let late = person("late", &site.hire("late"));
    let mut table = Table { site, fang, wei, late };
    table.controller();
    table.api_server();
    table.etcd();
    table.one_gateway();
}

/// One cell: what is promised, and how long it took to see it.
fn cell<T>(row: &str, column: &str, promise: &str, see: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    let seen = see();
    println!("{row:<22} | {column:<15} | {promise:<44} | seen in {:.1} s", began.elapsed().as_secs_f64());
    seen
}

/// Looks until what is shown is as wanted.
fn until(what: &str, mut look: impl FnMut() -> Shown, wanted: impl Fn(&Shown) -> bool) -> Shown {
    eventually(what, || {
        let shown = look();
        if wanted(&shown) { Ok(shown) } else { Err(format!("{shown:?}")) }
    })
}

impl Table {
    fn port(&self, gateway: usize) -> u16 {
        self.site.gateways[gateway].port
    }

    /// Somebody logs in, and opens the system.
    fn logs_in(&mut self, gateway: usize) {
        let at = self.port(gateway);
        until("a login", || self.late.login(at), Shown::is_home);
        until("what a login is for", || self.late.open(at, SYSTEM), Shown::is_served);
    }

    /// Those who are there go on.
    fn goes_on(&mut self, gateway: usize) {
        let shown = self.fang.open(self.port(gateway), SYSTEM);
        assert!(shown.is_served(), "{shown:?}");
    }

    /// Zhang Wei is suspended, and stopped at a gateway.
    fn is_stopped(&mut self, gateway: usize) {
        let at = self.port(gateway);
        until(
            "a revocation",
            || self.wei.open(at, SYSTEM),
            |shown| {
                // A gateway that nobody heard of has said nothing.
                shown.status != 0 && !shown.is_served()
            },
        );
    }

    /// Zhang Wei may come back, and does.
    fn comes_back(&mut self) {
        self.site.set_state("zhangwei", "Active");
        self.site.account_in_force("zhangwei");
        let at = self.port(OTHER);
        until("back at work", || self.wei.login(at), Shown::is_home);
        let served = self.wei.open(at, SYSTEM);
        assert!(served.is_served(), "{served:?}");
    }

    fn controller(&mut self) {
        const ROW: &str = "controller";
        let leader = self.site.leader();
        cell(ROW, "revocation", "after the next leader", || {
            self.site.controllers[leader].kill();
            self.site.set_state("zhangwei", "Suspended");
            self.is_stopped(CUT);
            self.is_stopped(OTHER);
        });
        self.comes_back();

        self.site.controllers.iter_mut().for_each(Program::kill);
        cell(ROW, "new logins", "yes", || self.logs_in(CUT));
        cell(ROW, "open sessions", "go on", || self.goes_on(CUT));
        let mut newcomer = Person::new(&self.site, "sbj", "chenjie");
        let (at, elsewhere) = (self.port(CUT), self.port(OTHER));
        cell(ROW, "changes", "pending", || {
            let shown = self.fang.change(at);
            assert!(shown.is_pending(), "{shown:?}");
        });
        self.site.controllers.iter_mut().for_each(Program::start);
        cell(ROW, "changes", "saved once one leads", || {
            until("the new password", || self.fang.wait(at), Shown::is_home);
            let shown = self.fang.login(elsewhere);
            assert!(shown.is_home(), "{shown:?}");
        });

        let code = self.site.hire("chenjie");
        self.site.controllers.iter_mut().for_each(Program::kill);
        cell(ROW, "activation", "pending", || {
            let shown = newcomer.activate(at, &code);
            assert!(shown.is_pending(), "{shown:?}");
        });
        self.site.controllers.iter_mut().for_each(Program::start);
        cell(ROW, "activation", "done once one leads", || {
            until("the first password", || newcomer.wait(at), Shown::is_home);
            let shown = newcomer.open(at, SYSTEM);
            assert!(shown.is_served(), "{shown:?}");
        });
    }

    fn api_server(&mut self) {
        const ROW: &str = "API server";
        self.site.leader();
        let at = self.port(CUT);
        self.site.plane.freeze_api(true).expect("it runs");
        cell(ROW, "changes", "pending", || {
            let shown = self.fang.change(at);
            assert!(shown.is_pending(), "{shown:?}");
        });
        cell(ROW, "new logins", "yes", || self.logs_in(OTHER));
        cell(ROW, "open sessions", "go on", || {
            let shown = self.wei.open(at, SYSTEM);
            assert!(shown.is_served(), "{shown:?}");
        });
        cell(ROW, "revocation", "none possible", || {
            let patch = json!({"metadata": {"labels": {"asked": "while-away"}}});
            let answer = self.site.api.patch(&Site::account("liuyang"), &patch);
            assert!(answer.is_err(), "{answer:?}");
        });
        cell(ROW, "revocation", "and both controllers say why", || {
            eventually("neither is ready", || {
                let said = self.site.controllers_say();
                let troubled = |said: &Result<(u16, String), String>| {
                    said.as_ref().is_ok_and(|(status, why)| *status == 503 && why.contains("API server"))
                };
                if said.iter().all(troubled) { Ok(()) } else { Err(format!("{said:?}")) }
            });
        });
        self.site.plane.freeze_api(false).expect("it runs");
        cell(ROW, "changes", "saved once it is back", || {
            until("the new password", || self.fang.wait(at), Shown::is_home);
        });
    }

    fn etcd(&mut self) {
        const ROW: &str = "etcd";
        self.site.account_in_force("zhangwei");
        let at = self.port(CUT);
        self.site.members[0].kill();
        cell(ROW, "open sessions", "go on", || self.goes_on(CUT));
        cell(ROW, "new logins", "yes, until newLogins", || self.logs_in(CUT));
        self.site.set_state("zhangwei", "Suspended");
        let shown = self.wei.open(at, SYSTEM);
        assert!(shown.is_served(), "nothing new is heard: {shown:?}");
        cell(ROW, "changes", "refused", || {
            let shown = self.fang.change(at);
            assert_eq!(shown.code, NOT_HANDED_IN, "{shown:?}");
        });
        self.site.members[0].start();
        cell(ROW, "revocation", "after its return", || {
            self.is_stopped(CUT);
            self.is_stopped(OTHER);
        });
        self.comes_back();

        self.site.members[0].kill();
        cell(ROW, "new logins", "none after newLogins", || {
            until("no login", || self.late.login(at), |shown| shown.code == LOGINS_PAUSED);
        });
        cell(ROW, "open sessions", "end after endSessions", || {
            until("an end", || self.fang.open(at, SYSTEM), |shown| shown.code == GATEWAY_STALE);
        });
        self.site.members[0].start();
        self.everybody_is_back();
    }

    /// Whoever was out logs in.
    fn everybody_is_back(&mut self) {
        let at = self.port(OTHER);
        for person in [&mut self.fang, &mut self.wei, &mut self.late] {
            until("a login", || person.login(at), Shown::is_home);
        }
        self.site.all_in_force();
        for gateway in [CUT, OTHER] {
            let at = self.port(gateway);
            until("everything is up to date", || self.fang.open(at, SYSTEM), Shown::is_served);
        }
    }

    fn one_gateway(&mut self) {
        const ROW: &str = "one gateway from etcd";
        let at = self.port(CUT);
        self.goes_on(CUT);
        self.site.gateways[CUT].lines.iter().for_each(crate::line::Line::cut);
        cell(ROW, "revocation", "at once elsewhere", || {
            self.site.set_state("zhangwei", "Suspended");
            self.is_stopped(OTHER);
        });
        cell(ROW, "revocation", "not said to be in force", || {
            let said = eventually("it is missed", || {
                match condition(&self.site.api.get(&Site::account("zhangwei"))?, "Propagated")? {
                    (status, reason) if reason == "GatewayUnreachable" => Ok(status),
                    other => Err(format!("{other:?}")),
                }
            });
            assert_eq!(said, "Unknown");
        });
        cell(ROW, "open sessions", "go on there", || self.goes_on(CUT));
        cell(ROW, "new logins", "none there after newLogins", || {
            until("no login", || self.late.login(at), |shown| shown.code == LOGINS_PAUSED);
        });
        cell(ROW, "new logins", "its pod is replaced", || {
            let pod = "/api/v1/namespaces/tidegate-system/pods/gateway-0";
            eventually("its pod goes", || match self.site.api.get(pod) {
                Err(gone) if gone.contains("404") => Ok(()),
                other => Err(format!("{other:?}")),
            });
        });
        cell(ROW, "revocation", "in force once it counts no longer", || {
            self.site.account_in_force("zhangwei");
        });
        cell(ROW, "open sessions", "end there after endSessions", || {
            until("an end", || self.fang.open(at, SYSTEM), |shown| shown.code == GATEWAY_STALE);
        });
        self.site.add_gateway(CUT);
        self.site.all_in_force();
        self.comes_back();
        self.everybody_is_back();
    }
}
