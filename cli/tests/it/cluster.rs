//! People's tools on a real API server with the chart's own kinds, admission policies and roles.
//!
//! One control plane serves all steps, since starting it is most of the time.

mod accounts;
mod checks;
mod setting;

use setting::Setting;

#[test]
fn tools_on_a_real_api_server() {
    let Some(setting) = Setting::start_or_skip() else { return };
    checks::nothing_is_installed(&setting);
    let _checker = setting.install();
    checks::kinds_and_admission_turn_green(&setting);
    checks::a_missing_binding_is_found(&setting);
    accounts::lifecycle(&setting);
    accounts::refusals(&setting);
    accounts::waiting(&setting);
}
