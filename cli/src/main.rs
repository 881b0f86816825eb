//! The `tidegate` command.
//!
//! ```text
//!  up     a folder of manifests in, a gateway out     audit verify   the chain of the audit trail
//!  demo   the same with an example and its systems    explain        who may reach what, and why
//!  check  an installation, and what to do about it    sessions, kick  who is online, and the end of it
//! ```
//!
//! Called `kubectl-tidegate`, it is kubectl's plugin: `approve`, `deny`, `suspend`, `revoke`, `activate`.

mod args;
mod audit;
mod check;
mod cluster;
mod control;
mod demo;
mod events;
mod explain;
mod language;
mod output;
mod plugin;
mod serve;
mod sessions;
mod temporary;
mod tls;
mod up;
mod width;

use std::path::Path;
use std::process::ExitCode;

use clap::Parser as _;

use args::{Args, Command};
use output::Exit;
use plugin::PluginArgs;

/// The name under which kubectl finds the program.
const PLUGIN: &str = "kubectl-tidegate";

/// Requests make many small allocations; this one makes them cheaper than the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let outcome = if called_by_kubectl() { plugin::run(PluginArgs::parse()) } else { command(Args::parse()) };
    let exit = outcome.unwrap_or_else(|error| {
        output::failure(&error);
        Exit::Failed
    });
    exit.into()
}

fn command(args: Args) -> anyhow::Result<Exit> {
    match args.command {
        Command::Up(args) => up::run(args),
        Command::Demo(args) => demo::run(args),
        Command::Explain(args) => explain::run(&args),
        Command::Audit(args) => audit::run(&args),
        Command::Check(args) => check::run(args),
        Command::Sessions(args) => serve::runtime()?.block_on(sessions::list(&args)),
        Command::Kick(args) => serve::runtime()?.block_on(sessions::kick(&args)),
    }
}

/// Whether the program has the name of the plugin, whatever it is a link to.
fn called_by_kubectl() -> bool {
    let called = std::env::args_os().next().unwrap_or_default();
    Path::new(&called).file_stem().is_some_and(|name| name == PLUGIN)
}
