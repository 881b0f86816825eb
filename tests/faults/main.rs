//! What goes on while a part is away, and what holds whatever is killed: two controllers, an etcd and gateways as
//! programs, on a real API server, with people at the gateways who open a system.
//!
//! - [`table`]: the table of what still works, row by row
//! - [`kills`]: everything is killed at random under changes; seconds in `TIDEGATE_KILL_SECONDS`, 30 if unset, and the
//!   seed in `TIDEGATE_KILL_SEED`, the time of day if unset
//!
//! Both run in a network of their own, so that the systems have the addresses of the example and nothing that was
//! started outlives the test.

mod api;
mod chance;
mod kills;
mod line;
mod person;
mod program;
mod site;
mod table;
mod trail;

use std::time::Duration;

use tidegate_tests::{network, wait};

use site::{ADDRESSES, Plan, Site};

/// Nothing that is waited for takes longer.
const DEADLINE: Duration = Duration::from_secs(90);

/// Waits for an answer.
fn eventually<T>(what: &str, ask: impl FnMut() -> Result<T, String>) -> T {
    wait::until(what, DEADLINE, ask).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn what_goes_on_while_a_part_is_away() {
    if !network::own_or_skip("what_goes_on_while_a_part_is_away", &ADDRESSES) {
        return;
    }
    // Long enough for everything that is to be seen before a limit, short enough to be waited for.
    let plan = Plan { members: 1, gateways: 2, on_a_line: 1, new_logins_s: 30, end_sessions_s: 60 };
    let Some(site) = Site::start_or_skip(plan) else { return };
    table::row_by_row(site);
}

#[test]
fn killed_at_random_nothing_is_widened_and_nothing_lost() {
    if !network::own_or_skip("killed_at_random_nothing_is_widened_and_nothing_lost", &ADDRESSES) {
        return;
    }
    let plan = Plan { members: 3, gateways: 3, on_a_line: 0, new_logins_s: 900, end_sessions_s: 3_600 };
    let Some(site) = Site::start_or_skip(plan) else { return };
    kills::at_random(site);
}
