//! CPU time of this thread, medians, and rows.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::workload::QUESTIONS;

/// Samples taken of every figure.
pub const RUNS: usize = 15;
/// CPU time one sample takes at least.
const SAMPLE: Duration = Duration::from_millis(10);

fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// CPU time `work` takes.
pub fn cpu_of<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = cpu();
    let result = work();
    (result, cpu() - start)
}

/// Nanoseconds one question takes.
fn sample(ask: &mut dyn FnMut(usize)) -> f64 {
    let (mut passes, mut spent) = (0_usize, Duration::ZERO);
    let mut at_once = 1;
    while spent < SAMPLE {
        let ((), took) = cpu_of(|| {
            for _ in 0..at_once {
                (0..QUESTIONS).for_each(&mut *ask);
            }
        });
        passes += at_once;
        spent += took;
        // Few readings of the clock for fast engines, no endless passes for slow ones.
        if took < SAMPLE / 8 {
            at_once *= 2;
        }
    }
    spent.as_nanos() as f64 / (passes * QUESTIONS) as f64
}

/// Medians of several engines measured in turns, so that the machine's moods meet all of them alike.
pub fn side_by_side<const N: usize>(mut engines: [&mut dyn FnMut(usize); N]) -> [f64; N] {
    let mut samples = [const { Vec::new() }; N];
    for engine in &mut engines {
        sample(*engine);
    }
    for _ in 0..RUNS {
        for (engine, samples) in engines.iter_mut().zip(&mut samples) {
            samples.push(sample(*engine));
        }
    }
    samples.map(median)
}

pub fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

/// One figure as a JSON line.
pub fn row(name: &str, value: f64, unit: &str, runs: usize) {
    println!(r#"{{"name":"{name}","value":{value:.3},"unit":"{unit}","runs":{runs}}}"#);
}

/// One figure beside another one; `ratio` is what the name says.
pub fn row_beside(name: &str, value: f64, peer: &str, peer_value: f64, ratio: f64) {
    println!(
        r#"{{"name":"{name}","value":{value:.1},"unit":"ns","peer":"{peer}","peerValue":{peer_value:.1},"ratio":{ratio:.2},"runs":{RUNS}}}"#
    );
}
