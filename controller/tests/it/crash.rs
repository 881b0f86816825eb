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

use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use tidegate_tests::helm::Helm;
use tidegate_tests::{control_plane, programs};

use points::Points;
use stage::Stage;

/// Of a hundred points how many are taken; deaths while everything is started for the first time, and in a life.
const ALL: (u64, u32, u32) = (100, u32::MAX, 8);
const SAMPLE: (u64, u32, u32) = (20, 8, 8);
/// Lives of a sample.
const LIVES: u32 = 5;
/// Lives on one stage: what earlier ones left behind makes later ones slower.
const LIVES_ON_STAGE: u32 = 20;

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_every_call_the_controller_ends_at_the_same() {
    let Some([helm, _]) = Helm::both_or_skip() else { return };
    let Ok(binaries) = programs::find(&[]) else { return };
    let all = std::env::var("TIDEGATE_CRASH").is_ok_and(|which| which == "all");
    let seed = std::env::var("TIDEGATE_CRASH_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs());
    let (share, at_first, kills) = if all { ALL } else { SAMPLE };
    println!("seed {seed}, {share} of 100 points");
    let points = Arc::new(Points::new(seed, share));
    let set = async || {
        let Some(plane) = control_plane::start_or_skip() else { panic!("it was there a moment ago") };
        Stage::set(plane, &helm, &binaries, Arc::clone(&points)).await
    };

    let began = Instant::now();
    points.begin(at_first);
    let mut stage = set().await;
    println!("started with {} deaths in {:.0} s", points.this_life().len(), began.elapsed().as_secs_f64());
    points.begin(0);
    let expected = Box::pin(life::live(&stage, 0, None)).await;
    let mut deathless = 0;
    for number in 1.. {
        if number % LIVES_ON_STAGE == 0 {
            points.begin(0);
            drop(stage);
            stage = set().await;
        }
        points.begin(kills);
        let began = Instant::now();
        Box::pin(life::live(&stage, number, Some(&expected))).await;
        let deaths = points.this_life().len();
        println!("life {number}: {deaths} deaths in {:.1} s", began.elapsed().as_secs_f64());
        deathless = if deaths == 0 { deathless + 1 } else { 0 };
        // Where nothing new is met, everything that was to be has been taken.
        if deathless == 2 || (!all && number >= LIVES) {
            break;
        }
    }
    let [met, chosen, done] = points.counts();
    println!(
        "{} calls, {met} points, {chosen} chosen, {done} taken in {:.0} s",
        points.calls().len(),
        began.elapsed().as_secs_f64()
    );
    for call in points.calls() {
        println!("  {call}");
    }
    // A call that is rare in its step may be met only where the controller has died often enough already.
    for point in points.left() {
        println!("not taken in this step: {point:?}");
        assert!(!all || points.is_taken(&point), "taken in no step at all: {point:?}");
    }
}
