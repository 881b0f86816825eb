//! A real Kubernetes cluster of one node, on this machine, in namespaces of its own: control plane, containerd,
//! kubelet, kube-proxy, name server. It needs root, and leaves nothing behind however the test ends.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::control_plane::ControlPlane;
use crate::place::Place;
use crate::process::Process;
use crate::programs;
use crate::wait;

mod agents;
mod metrics;
mod namespaces;

use agents::{Agents, NETWORK_PLUGINS};
use namespaces::Namespaces;

/// The node's name in the cluster.
const NAME: &str = "node";

/// How long each part may take to be ready; containerd needs a second, the kubelet 8 s.
const READY: Duration = Duration::from_secs(120);

/// How many of the newest events are worth showing.
const EVENTS: usize = 20;

/// Programs of the machine, each with the Debian package that has it.
const PROGRAMS: [(&str, &str); 6] = [
    ("containerd", "containerd"),
    ("ctr", "containerd"),
    ("runc", "runc"),
    ("nft", "nftables"),
    ("nsenter", "util-linux"),
    ("ip", "iproute2"),
];

/// A running cluster; dropping it ends everything that runs in it.
#[derive(Debug)]
pub struct Node {
    // Fields drop in this order: with the namespaces everything in them has ended, and its files may go.
    namespaces: Namespaces,
    agents: Vec<Process>,
    plane: ControlPlane,
    binaries: PathBuf,
}

/// A cluster, or nothing after having said aloud what is missing.
///
/// # Panics
///
/// When it does not start; and with `CI` set also when something is missing, so that a skipped test never looks like
/// a passed one where it counts.
#[must_use]
pub fn start_or_skip() -> Option<Node> {
    match requirements() {
        Ok(binaries) => Some(Node::start(&binaries).unwrap_or_else(|error| panic!("{error}"))),
        Err(missing) if std::env::var_os("CI").is_some() => panic!("{missing}"),
        Err(missing) => {
            eprintln!("SKIPPED: {missing}");
            None
        }
    }
}

/// The directory of the real programs, or why there can be no node here.
fn requirements() -> Result<PathBuf, String> {
    // Whoever runs this owns what the kernel shows of it.
    if fs::metadata("/proc/self").map_err(|error| error.to_string())?.uid() != 0 {
        return Err("a node needs root: network and mounts of its own, and containers".to_owned());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found =
        |program: &str| std::env::split_paths(&path).any(|directory| directory.join(program).exists());
    let mut missing: Vec<&str> =
        PROGRAMS.into_iter().filter(|(program, _)| !found(program)).map(|(_, package)| package).collect();
    if !Path::new(NETWORK_PLUGINS).exists() {
        missing.push("containernetworking-plugins");
    }
    if !missing.is_empty() {
        return Err(format!("a node needs {}; install with: tests/tools/setup cluster", missing.join(", ")));
    }
    programs::find(&["all"])
}

impl Node {
    /// Starts all parts and waits until the node is ready for pods.
    ///
    /// # Errors
    ///
    /// When a part does not start or is not ready in time; the message has the end of its log.
    pub fn start(binaries: &Path) -> Result<Self, String> {
        let namespaces = Namespaces::create()?;
        let plane = ControlPlane::start_in(&namespaces.place(), binaries)?;
        let mut node = Self { namespaces, agents: Vec::new(), plane, binaries: binaries.to_owned() };
        let place = node.place();
        let parts = Agents { plane: &node.plane, place: &place, binaries };
        // The kubelet ends when there is no container runtime to talk to.
        let mut containerd = parts.containerd()?;
        wait::until("containerd answers", READY, || match containerd.still_runs() {
            Err(ended) => Ok(Err(ended)),
            Ok(()) => node.images(&["ls", "-q"]).map(|_| Ok(())),
        })??;
        let agents = [
            containerd,
            parts.controllers()?,
            parts.scheduler()?,
            parts.kubelet()?,
            parts.proxy()?,
            parts.names()?,
        ];
        node.agents.extend(agents);
        node.wait("the node is ready", READY, |node| {
            let ready = "jsonpath={.status.conditions[?(@.type==\"Ready\")].status}";
            match node.plane.kubectl(&["get", "node", NAME, "-o", ready], "")?.as_str() {
                "True" => Ok(()),
                other => Err(format!("the node is Ready={other}")),
            }
        })?;
        Ok(node)
    }

    /// The cluster's API server and administrator.
    #[must_use]
    pub const fn plane(&self) -> &ControlPlane {
        &self.plane
    }

    /// Where programs beside the pods run: the node itself.
    #[must_use]
    pub fn place(&self) -> Place {
        self.namespaces.place()
    }

    /// Gives the node a further address, as if another machine stood beside it.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub fn add_address(&self, address: &str) -> Result<(), String> {
        let mut command = self.place().command("ip");
        self.plane
            .run(command.args(["address", "add", &format!("{address}/32"), "dev", "node0"]), "")
            .map(drop)
    }

    /// Loads images from an OCI archive; pods find them under the names in its index.
    ///
    /// # Errors
    ///
    /// When it is not there or containerd refuses it.
    pub fn import(&self, archive: &Path) -> Result<(), String> {
        // In the node's namespaces the working directory is another one.
        let archive = archive.canonicalize().map_err(|error| format!("{}: {error}", archive.display()))?;
        self.images(&["import", &archive.display().to_string()]).map(drop)
    }

    /// Starts a program on the node; it ends with the node.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub fn run_beside(&mut self, name: &str, command: &mut Command) -> Result<(), String> {
        let process = Process::start(name, self.plane.files(), command).map_err(|error| error.to_string())?;
        self.agents.push(process);
        Ok(())
    }

    /// Asks until there is an answer; a part of the node that ended by itself is the answer too.
    ///
    /// # Errors
    ///
    /// When a part ended, or at the deadline; the message has what the last refusal was.
    pub fn wait<T>(
        &mut self,
        what: &str,
        deadline: Duration,
        mut ask: impl FnMut(&Self) -> Result<T, String>,
    ) -> Result<T, String> {
        wait::until(what, deadline, || {
            for agent in &mut self.agents {
                if let Err(ended) = agent.still_runs() {
                    return Ok(Err(ended));
                }
            }
            ask(self).map(Ok)
        })?
    }

    /// What there is in the cluster and what happened last, for whoever reads a failure.
    #[must_use]
    pub fn describe(&self) -> String {
        let ask = |arguments: &[&str]| self.plane.kubectl(arguments, "").unwrap_or_else(|error| error);
        let pods = ask(&["get", "pods", "--all-namespaces", "--output=wide"]);
        let events = ask(&["get", "events", "--all-namespaces", "--sort-by=.lastTimestamp"]);
        let events: Vec<&str> = events.lines().rev().take(EVENTS).collect();
        let logs = ask(&[
            "logs",
            "--namespace=tidegate-system",
            "--selector=app.kubernetes.io/name",
            "--tail=20",
            "--prefix",
            "--max-log-requests=20",
        ]);
        format!("{pods}\n{}\n{logs}", events.join("\n"))
    }

    fn images(&self, arguments: &[&str]) -> Result<String, String> {
        let mut command = self.place().command("ctr");
        command.args(["--namespace=k8s.io", "images"]);
        self.plane.run(command.args(arguments), "")
    }
}
