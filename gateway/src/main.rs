//! `tidegate-gateway`: a gateway that follows its pool through etcd.

use std::process::ExitCode;

use clap::Parser as _;
use tidegate_gateway::program;

/// Requests make many small allocations; this one makes them cheaper than the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match program::run(&program::Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("tidegate-gateway: {failure}");
            ExitCode::FAILURE
        }
    }
}
