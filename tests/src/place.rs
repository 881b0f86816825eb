//! Where a program runs: beside the test, or inside the namespaces of a node.

use std::ffi::OsStr;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::process::Command;

use tempfile::TempDir;

/// How the names of directories of nodes begin.
pub(crate) const NODE_FILES: &str = "tidegate-node-";

/// A place programs are started in, and the address they serve there.
#[derive(Clone, Debug)]
pub struct Place {
    address: Ipv4Addr,
    /// The process in whose namespaces it is; nothing is beside the test.
    owner: Option<u32>,
}

impl Place {
    /// Beside the test, on loopback.
    #[must_use]
    pub const fn loopback() -> Self {
        Self { address: Ipv4Addr::LOCALHOST, owner: None }
    }

    /// In the network, mounts and processes that belong to a process.
    #[must_use]
    pub const fn of_process(owner: u32, address: Ipv4Addr) -> Self {
        Self { address, owner: Some(owner) }
    }

    /// The address to serve on.
    #[must_use]
    pub const fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Whether it is loopback, which nobody else can reach.
    #[must_use]
    pub const fn is_loopback(&self) -> bool {
        self.owner.is_none()
    }

    /// A new directory for what its programs write. That of a node has a name that tells, because one that was killed
    /// leaves it to the next.
    ///
    /// # Errors
    ///
    /// When it cannot be made.
    pub fn directory(&self) -> io::Result<TempDir> {
        if self.is_loopback() {
            tempfile::tempdir()
        } else {
            tempfile::Builder::new().prefix(NODE_FILES).tempdir()
        }
    }

    /// A command that runs there.
    #[must_use]
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let Some(owner) = self.owner else { return Command::new(program) };
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net=/proc/{owner}/ns/net"))
            .arg(format!("--mount=/proc/{owner}/ns/mnt"))
            .arg(format!("--pid=/proc/{owner}/ns/pid_for_children"))
            .arg("--")
            .arg(program);
        command
    }
}

/// A port of loopback nobody listens on at this moment.
///
/// # Errors
///
/// When there is none.
pub fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
