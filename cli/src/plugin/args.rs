//! What can be asked for on the command line of `kubectl tidegate`.

use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::args::{CheckArgs, Format};
use crate::cluster::ClusterArgs;
use crate::sessions::{KickArgs, SessionsArgs};

/// Accounts and their approvals, from kubectl
#[derive(Debug, Parser)]
#[command(
    name = "kubectl-tidegate",
    bin_name = "kubectl tidegate",
    version,
    about = "Approve, deny and stop accounts; check the installation",
    after_help = "\
Examples:
  kubectl tidegate approve vu/li-qiang -n dept-hr --reference 2026-117 --until 2027-11-01 --wait
  kubectl tidegate deny vu/li-qiang -n dept-hr --reason 'left the project'
  kubectl tidegate suspend vu/li-qiang -n dept-hr --wait
  kubectl tidegate check
  kubectl tidegate sessions --department hr

Exit codes:
  0  done
  1  it could not be done; standard error says why and what to do
  2  the command line is wrong"
)]
pub(crate) struct PluginArgs {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: PluginCommand,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum PluginCommand {
    /// Approve an application, or bring a suspended account back
    Approve(ApproveArgs),
    /// Turn an application down; an approval that was given is taken back
    Deny(DenyArgs),
    /// Stop accounts; every session ends within a second
    Suspend(StopArgs),
    /// End every session of accounts; the people may log in again
    Revoke(StopArgs),
    /// Ask for a new activation code
    Activate(ActivateArgs),
    /// Check the installation
    Check(CheckArgs),
    /// Say who is online, since when, from where and by which client
    Sessions(SessionsArgs),
    /// End a session, or those of an account
    Kick(KickArgs),
}

/// Whose account, and how to answer.
#[derive(Debug, Args)]
pub(crate) struct TargetArgs {
    /// The account: NAME, or vu/NAME as kubectl writes it; several are taken one after the other
    #[arg(value_name = "VPNUSER", required = true)]
    pub(crate) users: Vec<String>,
    /// How to print
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: Format,
    /// The cluster.
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
}

/// Whether to wait until it is in force.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct WaitArgs {
    /// Return when it is in force on every gateway
    #[arg(long)]
    pub(crate) wait: bool,
    /// How long to wait, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..=3_600))]
    pub(crate) timeout: u16,
}

impl WaitArgs {
    /// How long to wait, if at all.
    pub(crate) fn deadline(self) -> Option<Duration> {
        self.wait.then(|| Duration::from_secs(self.timeout.into()))
    }
}

/// Arguments of `approve`.
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  kubectl tidegate approve vu/li-qiang -n dept-hr --reference 2026-117
  kubectl tidegate approve li-qiang -n dept-hr --until 2027-11-01 --yes --wait

Who asked and who approves is shown before anything is written. spec.approval.by is you, as the API server
knows you: neither who asked nor the person the account is for can approve it. The approval is field manager
tidegate-approve's, so what Git holds of the object never takes it away.")]
pub(crate) struct ApproveArgs {
    /// Whose.
    #[command(flatten)]
    pub(crate) target: TargetArgs,
    /// The number of the paper or the case the approval rests on
    #[arg(long, value_name = "TEXT")]
    pub(crate) reference: Option<String>,
    /// The last day it counts, in the department's time zone (UTC if you may not read Departments), or the
    /// last instant as RFC 3339; at most 400 days ahead [default: 365 days]
    #[arg(long, value_name = "DATE")]
    pub(crate) until: Option<String>,
    /// Write without asking
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Take the approval over from another field manager
    #[arg(long)]
    pub(crate) force_conflicts: bool,
    /// Waiting.
    #[command(flatten)]
    pub(crate) wait: WaitArgs,
}

/// Arguments of `deny`.
#[derive(Debug, Parser)]
#[command(after_help = "\
The account is suspended, an approval is taken back, and the reason is kept in the annotation
tidegate.dev/denied. `approve` brings it back.")]
pub(crate) struct DenyArgs {
    /// Whose.
    #[command(flatten)]
    pub(crate) target: TargetArgs,
    /// Why, in a line for whoever applied
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    /// Write without asking
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Waiting.
    #[command(flatten)]
    pub(crate) wait: WaitArgs,
}

/// Arguments of `suspend` and `revoke`.
#[derive(Debug, Parser)]
pub(crate) struct StopArgs {
    /// Whose.
    #[command(flatten)]
    pub(crate) target: TargetArgs,
    /// Waiting.
    #[command(flatten)]
    pub(crate) wait: WaitArgs,
}

/// Arguments of `activate`.
#[derive(Debug, Parser)]
#[command(after_help = "\
The code before it stops working. The new one is laid out in Secret tidegate-activation-NAME in the
department's namespace, for whoever hands accounts over. You need the verb approve.")]
pub(crate) struct ActivateArgs {
    /// Whose.
    #[command(flatten)]
    pub(crate) target: TargetArgs,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        super::PluginArgs::command().debug_assert();
    }
}
