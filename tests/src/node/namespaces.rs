//! Network, mounts and processes of a node's own. All of it ends with one process, and that process ends with the
//! test, even when the test is killed: it waits for the other end of a pipe to close.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use crate::place::{NODE_FILES, Place};
use crate::wait;

/// The node's address. Nothing outside its namespaces can reach it, nor it them.
pub(super) const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 250, 0, 1);

/// What the first process of the namespaces does. The kernel has no `dummy` device, hence the pair whose both ends
/// stay here. Directories in memory hide those of the machine that containerd, kubelet and plugins write to.
const BEGIN: &str = r"
set -eu
for directory in /run /var/lib /var/log; do
    mount -t tmpfs -o mode=755 node $directory
done
ip link set lo up
ip link add node0 type veth peer name node1
ip address add $0/24 dev node0
ip link set node0 up
ip link set node1 up
ip route add default dev node0
sysctl -q -w net.ipv4.ip_forward=1
echo ready
read -r _ || true
";

/// Where control groups are; the first on machines with version 2, the others with version 1.
const CONTROL_GROUPS: &str = "/sys/fs/cgroup";

/// The control group under which containerd makes those of containers.
const CONTAINERS: &str = "k8s.io";

/// How long another test may keep its node.
const OTHERS: Duration = Duration::from_secs(300);

/// Running namespaces; dropping them ends every process in them, and with it every mount and interface.
#[derive(Debug)]
pub(super) struct Namespaces {
    first: Child,
    /// Closing it ends the first process.
    line: Option<ChildStdin>,
    // One node at a time on a machine: whoever is alone may clear away what a killed one left.
    _alone: File,
}

impl Namespaces {
    /// Makes them, after those of another test on this machine have ended.
    ///
    /// # Errors
    ///
    /// When the kernel or a missing right refuses, with what was said.
    pub(super) fn create() -> Result<Self, String> {
        let alone = File::open(CONTROL_GROUPS).map_err(|error| format!("{CONTROL_GROUPS}: {error}"))?;
        wait::until("no other node on this machine", OTHERS, || {
            alone.try_lock().map_err(|busy| busy.to_string())
        })?;
        remove_groups();
        remove_files();
        let mut first = Command::new("unshare")
            .args(["--net", "--mount", "--pid", "--fork", "--mount-proc", "--propagation=private"])
            .args(["bash", "-c", BEGIN])
            .arg(ADDRESS.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("unshare: {error}"))?;
        let (line, output) = (first.stdin.take(), first.stdout.take());
        let created = Self { first, line, _alone: alone };
        let mut said = String::new();
        output
            .ok_or_else(|| "no pipe".to_owned())
            .and_then(|output| BufReader::new(output).read_line(&mut said).map_err(|error| error.to_string()))
            .map_err(|error| format!("namespaces: {error}"))?;
        if said == "ready\n" {
            Ok(created)
        } else {
            Err("unshare: namespaces cannot be made here".to_owned())
        }
    }

    /// The place that programs of the node are started in.
    pub(super) fn place(&self) -> Place {
        Place::of_process(self.first.id(), ADDRESS)
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        drop(self.line.take());
        // Returns when the kernel has ended everything in there.
        let _ = self.first.wait();
        remove_groups();
    }
}

/// Removes the control groups of containers that are no more; those of living ones are busy and stay.
fn remove_groups() {
    let hierarchies = fs::read_dir(CONTROL_GROUPS).into_iter().flatten().flatten().map(|entry| entry.path());
    for hierarchy in hierarchies.chain([PathBuf::from(CONTROL_GROUPS)]) {
        remove_group(&hierarchy.join(CONTAINERS));
    }
}

/// Removes the directories of nodes that were killed.
fn remove_files() {
    for entry in fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(NODE_FILES) {
            let _: io::Result<()> = fs::remove_dir_all(entry.path());
        }
    }
}

fn remove_group(group: &Path) {
    for below in fs::read_dir(group).into_iter().flatten().flatten() {
        if below.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_group(&below.path());
        }
    }
    let _: io::Result<()> = fs::remove_dir(group);
}
