//! What can be asked about sessions on the command line, of `tidegate` and of `kubectl tidegate` alike.

use std::path::PathBuf;

use clap::{Args, Parser};

use crate::args::Format;
use crate::cluster::ClusterArgs;

/// Arguments of `sessions`.
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  tidegate sessions                            the cluster of the current context
  tidegate sessions --department sbj -o json | jq -r '.sessions[] | select(.kind == \"tunnel\").account'
  tidegate sessions --dir manifests/           a running `tidegate up manifests/`

What gateways reported last, a few seconds old. On a cluster you need `list` on sessions.tidegate.dev and a bearer
token: that of your kubeconfig, or --token-file, or --service-account.")]
pub(crate) struct SessionsArgs {
    /// Only people of this department
    #[arg(long, value_name = "CODE")]
    pub(crate) department: Option<String>,
    /// Whom to ask.
    #[command(flatten)]
    pub(crate) place: WhereArgs,
}

/// Arguments of `kick`.
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  tidegate kick sbj/wangfang                   every session of an account
  tidegate kick 0f3a…                          one session, by the name `tidegate sessions` prints

It is over on every gateway within a second, and the user is told why. They may log in again: to keep somebody out,
suspend the account. On a cluster you need `delete` on sessions.tidegate.dev, and `list` to name an account.")]
pub(crate) struct KickArgs {
    /// A session, or an account as <department>/<name>
    #[arg(value_name = "SESSION|ACCOUNT")]
    pub(crate) whose: String,
    /// Whom to ask.
    #[command(flatten)]
    pub(crate) place: WhereArgs,
}

/// Which installation is meant, and who asks.
#[derive(Debug, Args)]
pub(crate) struct WhereArgs {
    /// Ask the `up` that serves this folder, by the state it keeps for it by default
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// Ask the `up` with this state
    #[arg(long, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,
    /// The admin API, where something else forwards to it [default: kubectl port-forward to the leader]
    #[arg(long, value_name = "URL")]
    pub(crate) admin: Option<String>,
    /// A file with the bearer token to ask with [default: the kubeconfig's]
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// Ask as this service account, <namespace>/<name>; you need `create` on its token
    #[arg(long, value_name = "ACCOUNT", conflicts_with = "token_file")]
    pub(crate) service_account: Option<String>,
    /// How to print
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: Format,
    /// The cluster.
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
}
