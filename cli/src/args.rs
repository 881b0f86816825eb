//! What can be asked for on the command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use tidegate_gateway::DialMap;

use crate::cluster::ClusterArgs;
use crate::sessions::{KickArgs, SessionsArgs};

/// An access gateway for many departments.
#[derive(Debug, Parser)]
#[command(
    name = "tidegate",
    version,
    about = "Staff of many departments reach business systems, each as its owner allows",
    after_help = "\
Examples:
  tidegate demo                           see it work, with an example city and its systems
  tidegate up manifests/                  serve your own folder of manifests
  tidegate explain sbj/wang.fang sbj/pension --dir manifests/
  tidegate audit verify STATE/audit
  tidegate check                          look at a cluster: what is wrong, and what to do
  tidegate sessions --dir manifests/      who is online

The same program called kubectl-tidegate (a link or a copy in the PATH) is `kubectl tidegate`.

Exit codes:
  0  done; for `explain`: allowed; for `audit verify`: the chain is whole
  1  it could not be done; standard error says why and what to do
  2  the command line is wrong
  3  the answer is no; for `explain`: denied; for `audit verify`: the chain is broken
For `check`: 0 all is well, 1 something is broken, 2 there are warnings only."
)]
pub(crate) struct Args {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve a folder of manifests: controller and gateway in one process
    Up(UpArgs),
    /// Serve the example city with sample systems, until Ctrl-C; nothing is left behind
    Demo(DemoArgs),
    /// Say whether somebody may reach a system, by which rule, and why
    Explain(ExplainArgs),
    /// Check the audit trail
    Audit(AuditArgs),
    /// Check an installation, on a cluster or in a folder
    Check(CheckArgs),
    /// Say who is online, since when, from where and by which client
    Sessions(SessionsArgs),
    /// End a session, or those of an account
    Kick(KickArgs),
}

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs; the shapes are documented in docs/reference/cli.md.
    Json,
}

/// Arguments of `up`.
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  tidegate up manifests/
      serve on https://localhost:8443; trust the certificate that is printed, or use curl --cacert
  tidegate up manifests/ --listen 0.0.0.0:8443 --host vpn.example.org
      serve the network; systems are at <system>-<department>.vpn.example.org
  tidegate up manifests/ -o json | jq -c 'select(.event == \"refused\")'
      watch what is wrong with the manifests

A change in the folder is in force within a second. What is wrong is reported with file, line and
column; the rest goes on. Whoever can write the folder is trusted: approvals are not enforced.
Ctrl-C or SIGTERM ends it in order.")]
pub(crate) struct UpArgs {
    /// The folder of manifests (YAML)
    #[arg(value_name = "DIR")]
    pub(crate) dir: PathBuf,
    /// Where keys, password hashes, codes, status and audit are kept; never inside DIR
    /// [default: a folder of its own under $XDG_STATE_HOME/tidegate]
    #[arg(long, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,
    /// Address to serve on; port 0 takes any free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8443")]
    pub(crate) listen: SocketAddr,
    /// Address of /metrics, without TLS; keep it private
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    pub(crate) metrics_listen: SocketAddr,
    /// The name people type; systems are at names below it
    #[arg(long, value_name = "NAME", default_value = "localhost")]
    pub(crate) host: String,
    /// Dial B for systems in A, for example 10.20.0.0/16=127.20.0.0/16; applied after every check
    #[arg(long, value_name = "A=B")]
    pub(crate) dial_map: Option<DialMap>,
    /// How to print: text for people, or one JSON object per line and event
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: Format,
}

/// Arguments of `demo`.
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  tidegate demo                  prints a card: the address, people, codes, things to try
  tidegate demo --port 0 -o json prints one object when ready, for scripts:
      {address, ca, state, users: [{department, name, state, activationCode?}],
       resources: [{department, name, url}], pin,
       networkResources: [{department, name, hosts, ports}]}
      The manifests lie beside the state, in <state>/../manifests.
  tidegate demo --keep           leaves the temporary folder behind, and says where it is

Ctrl-C or SIGTERM ends it; its state, manifests and systems are gone then.")]
pub(crate) struct DemoArgs {
    /// Port on 127.0.0.1; 0 takes any free one
    #[arg(long, default_value_t = 8443)]
    pub(crate) port: u16,
    /// Leave state and manifests behind
    #[arg(long)]
    pub(crate) keep: bool,
    /// How to print: a card for people, or one JSON object
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: Format,
}

/// Arguments of `explain`.
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  tidegate explain sbj/wang.fang sbj/pension --dir manifests/
  tidegate explain tax/chen.min sbj/pension --state ~/.local/state/tidegate/manifests-1a2b3c4d

With --dir the folder is read as `up` would read it; with --state the answer is that of the running
(or last) `up`. The answer is in Chinese or English, by LANG. Exit code 0: allowed, 3: denied.")]
pub(crate) struct ExplainArgs {
    /// Who, as <department>/<name>
    #[arg(value_name = "USER")]
    pub(crate) user: String,
    /// What, as <department>/<system>
    #[arg(value_name = "RESOURCE")]
    pub(crate) resource: String,
    /// The folder of manifests
    #[arg(long, value_name = "DIR", required_unless_present = "state")]
    pub(crate) dir: Option<PathBuf>,
    /// The state of an `up`
    #[arg(long, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,
    /// How to print
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: Format,
}

/// Arguments of `audit`.
#[derive(Debug, Parser)]
pub(crate) struct AuditArgs {
    /// What to do with the trail.
    #[command(subcommand)]
    pub(crate) command: AuditCommand,
}

/// What can be done with an audit trail.
#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Follow the chain of hashes and say where it is broken
    #[command(after_help = "\
Examples:
  tidegate audit verify ~/.local/state/tidegate/manifests-1a2b3c4d/audit
  tidegate audit verify DIR -o json | jq -r '.streams[].head'

Note the head somewhere else: from the files alone nobody can tell that their end was cut off.
Exit code 0: whole, 3: broken.")]
    Verify {
        /// The folder of audit files (STATE/audit)
        #[arg(value_name = "DIR")]
        dir: PathBuf,
        /// How to print
        #[arg(short, long, value_enum, default_value_t)]
        output: Format,
    },
}

/// Arguments of `check`.
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  tidegate check                            the cluster of the current context
  tidegate check -n tidegate-system         when you may look into one namespace only
  tidegate check -o json | jq '.sections[].findings[] | select(.outcome == \"error\")'
  tidegate check --dir manifests/           a folder, and the state `up` keeps for it
  tidegate check --state STATE

Nothing is changed. Each finding has a name, and docs/reference/check.md says what to do about it.
Exit code 0: all is well, 1: something is broken, 2: warnings only.")]
pub(crate) struct CheckArgs {
    /// Check a folder of manifests instead, and the state `up` keeps for it by default
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// Check the state of an `up` instead
    #[arg(long, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,
    /// How to print
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: Format,
    /// The cluster.
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        super::Args::command().debug_assert();
    }
}
