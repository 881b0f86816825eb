//! The `tidegate` command.
//!
//! ```text
//!  up     a folder of manifests in, a gateway out     audit verify   the chain of the audit trail
//!  demo   the same with an example and its systems    explain        who may reach what, and why
//! ```

mod args;
mod audit;
mod control;
mod demo;
mod events;
mod explain;
mod language;
mod output;
mod serve;
mod temporary;
mod tls;
mod up;
mod width;

use std::process::ExitCode;

use clap::Parser as _;

use args::{Args, Command};
use output::Exit;

/// Requests make many small allocations; this one makes them cheaper than the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let args = Args::parse();
    let outcome = match args.command {
        Command::Up(args) => up::run(args),
        Command::Demo(args) => demo::run(args),
        Command::Explain(args) => explain::run(&args),
        Command::Audit(args) => audit::run(&args),
    };
    let exit = outcome.unwrap_or_else(|error| {
        output::failure(&error);
        Exit::Failed
    });
    exit.into()
}
