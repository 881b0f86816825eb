//! The kinds on a real Kubernetes API server: it takes the definitions of the chart and the example as they are,
//! and refuses what a folder of manifests refuses, in the same words.
//!
//! One control plane serves all steps, since starting it is most of the time.

mod definitions;
mod example;
mod refusals;

use tidegate_tests::control_plane;

#[test]
fn the_kinds_on_a_real_api_server() {
    let Some(plane) = control_plane::start_or_skip() else { return };
    definitions::install(&plane);
    refusals::check(&plane);
    example::apply(&plane);
}
