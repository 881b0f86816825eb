//! The kinds on a real Kubernetes API server: it takes the chart and the example as they are,
//! and refuses what a folder of manifests refuses, in the same words.
//!
//! One control plane serves all steps, since starting it is most of the time.

mod definitions;
mod example;
mod refusals;

use tidegate_tests::control_plane;
use tidegate_tests::helm::Helm;

#[test]
fn the_kinds_on_a_real_api_server() {
    let Some([helm, _]) = Helm::both_or_skip() else { return };
    let Some(plane) = control_plane::start_or_skip() else { return };
    definitions::install(&plane, &helm);
    refusals::check(&plane);
    example::apply(&plane);
}
