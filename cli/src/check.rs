//! `tidegate check`: looks at an installation, changes nothing, and says what to do about what is wrong.
//!
//! ```text
//!  a cluster      kubernetes-api  kinds  admission  rights  controller  store  gateways  certificates
//!  a folder       state  manifests  approvals  certificate  audit
//! ```
//!
//! A section that cannot be looked at (no rights, nobody to ask) is skipped and says why: what was not
//! seen is never called well.

mod certificate;
mod cluster;
mod report;
mod standalone;

use anyhow::Result;

use crate::args::CheckArgs;
use crate::output::Exit;
use crate::serve;
use report::Report;

/// Checks on the command line.
pub(crate) fn run(args: CheckArgs) -> Result<Exit> {
    serve::runtime()?.block_on(run_async(args))
}

/// Checks within a runtime.
pub(crate) async fn run_async(args: CheckArgs) -> Result<Exit> {
    let mut report = Report::new(args.output);
    if args.dir.is_some() || args.state.is_some() {
        standalone::check(args.dir.as_deref(), args.state.as_deref(), &mut report).await?;
    } else {
        cluster::check(&args.cluster, &mut report).await?;
    }
    Ok(report.finish())
}
