//! The controller is killed before and after every call it makes in the life of a department, and whatever it had
//! begun ends as if it had not been.
//!
//! ```text
//!  life: a department is made -> somebody applies -> is approved -> activates -> rules come -> rules change
//!        -> suspended -> back -> everything is deleted         the state after each step is compared
//!  kill: SIGKILL of the program, by the door through which the call goes; started again at once
//! ```
//!
//! `TIDEGATE_CRASH=all` takes every point, a few in each life, until a life meets no new one. Otherwise a share of the
//! points is taken, chosen by `TIDEGATE_CRASH_SEED` (the time of day if unset), for as many lives as fit into a minute.

mod doors;
mod life;
mod picture;
mod points;
mod stage;

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use tidegate_tests::helm::Helm;
use tidegate_tests::{control_plane, programs};

use points::Points;
use stage::Stage;

/// Points of a hundred, kills in a life, and lives at most: of all points, and of some.
const ALL: (u64, u32, u32) = (100, 3, 2_000);
const SAMPLE: (u64, u32, u32) = (20, 6, 6);

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_every_call_the_controller_ends_at_the_same() {
    let Some([helm, _]) = Helm::both_or_skip() else { return };
    let Some(plane) = control_plane::start_or_skip() else { return };
    let all = std::env::var("TIDEGATE_CRASH").is_ok_and(|which| which == "all");
    let seed = std::env::var("TIDEGATE_CRASH_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs());
    let (share, kills, lives) = if all { ALL } else { SAMPLE };
    println!("seed {seed}, {share} of 100 points, {kills} in a life");
    let binaries = programs::find(&[]).unwrap();
    let stage = Stage::set(plane, &helm, &binaries, Points::new(seed, share)).await;

    let began = Instant::now();
    stage.points.begin(0);
    let expected = life::live(&stage, 0, None).await;
    println!("a life without a death takes {:.1} s", began.elapsed().as_secs_f64());
    for number in 1..=lives {
        stage.points.begin(kills);
        let began = Instant::now();
        life::live(&stage, number, Some(&expected)).await;
        let deaths = stage.points.this_life();
        println!("life {number}: {} deaths in {:.1} s", deaths.len(), began.elapsed().as_secs_f64());
        if deaths.is_empty() {
            break;
        }
    }
    let [met, chosen, done] = stage.points.counts();
    println!(
        "{} calls, {met} points, {chosen} chosen, {done} taken in {:.0} s",
        stage.points.calls().len(),
        began.elapsed().as_secs_f64()
    );
    for call in stage.points.calls() {
        println!("  {call}");
    }
    assert!(!all || done == met, "a controller was not killed at every point");
}
