//! What propagation is measured with; one JSON line on standard output for each instant.
//!
//! ```text
//!  bare COUNT KUBECONFIG ENDPOINTS CERTIFICATES      a watch on a Secret, one put, etcd watches
//!  gateways COUNT ENDPOINTS CERTIFICATES KEYS        simulated gateways: follow, and say what they have
//!  acks COUNT ENDPOINTS CERTIFICATES KEYS            only say it, for many names at once
//! ```

mod bare;
mod simulated;

use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

/// The certificates of an etcd client, from a folder as a Secret lays them out.
struct Certificates {
    ca: Vec<u8>,
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Certificates {
    fn read(folder: &str) -> Result<Self> {
        let read = |name: &str| std::fs::read(Path::new(folder).join(name)).with_context(|| name.to_owned());
        Ok(Self { ca: read("ca.crt")?, certificate: read("tls.crt")?, key: read("tls.key")? })
    }
}

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["bare", count, kubeconfig, endpoints, folder] => {
            bare::run(count.parse()?, kubeconfig, &list(endpoints), Certificates::read(folder)?).await
        }
        ["gateways", count, endpoints, folder, keys] => {
            simulated::follow(count.parse()?, list(endpoints), Certificates::read(folder)?, keys).await
        }
        ["acks", count, endpoints, folder, keys] => {
            simulated::acknowledge(count.parse()?, list(endpoints), Certificates::read(folder)?, keys).await
        }
        _ => bail!("see the head of src/main.rs"),
    }
}

fn list(text: &str) -> Vec<String> {
    text.split(',').map(str::to_owned).collect()
}

/// The instant it is, comparable between processes of one machine.
fn now_ns() -> i64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec * 1_000_000_000 + now.tv_nsec
}

fn say(value: &serde_json::Value) {
    let mut out = std::io::stdout().lock();
    // Whoever listened has gone; so do we, when we are told.
    let _ = writeln!(out, "{value}").and_then(|()| out.flush());
}
