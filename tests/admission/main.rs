//! Who may write what: the admission policies of the chart on a real API server, with no controller anywhere.
//!
//! Everybody acts under the rights the chart gives, by impersonation. One control plane serves the whole table.

mod accounts;
mod audit;
mod case;
mod departments;
mod policies;
mod setting;

use std::time::Duration;

use tidegate_tests::control_plane;
use tidegate_tests::helm::Helm;

use case::Case;
use setting::Setting;

/// How long the API server may take to put new policies and rights in force.
const DEADLINE: Duration = Duration::from_secs(60);

#[test]
fn who_may_write_what() {
    let Some([helm, _]) = Helm::both_or_skip() else { return };
    let Some(plane) = control_plane::start_or_skip() else { return };
    let setting = Setting::make(&plane, &helm);
    policies::check(&setting);

    let cases: Vec<Case> =
        [accounts::applications(), accounts::approvals(), accounts::edits(), accounts::states()]
            .into_iter()
            .chain([
                accounts::activations(),
                accounts::reviews(),
                departments::rules(),
                departments::departments(),
            ])
            .flatten()
            .collect();
    assert!(cases.len() >= 40, "{} cases", cases.len());
    setting.prepare(&cases);
    setting.wait_in_force(&cases);

    let wrong: Vec<String> = cases.iter().filter_map(|case| setting.try_case(case).err()).collect();
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    println!("{} cases", cases.len());
    audit::check(&setting);
}
