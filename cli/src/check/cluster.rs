//! A cluster: from the API server inwards to the gateways.

mod admission;
mod controller;
mod gateways;
mod kinds;
mod metrics;
mod rights;

use anyhow::Result;

use super::report::{Finding, Report};
use crate::cluster::{Cluster, ClusterArgs, Failure, call};

/// The oldest Kubernetes that is supported.
const MINOR_MIN: u32 = 33;

/// Looks at everything, as far as it can be seen.
pub(crate) async fn check(args: &ClusterArgs, report: &mut Report) -> Result<()> {
    let cluster = Cluster::connect(args).await?;
    let (findings, reachable) = api_server(&cluster).await;
    report.section("kubernetes-api", findings);
    if !reachable {
        return Ok(());
    }
    report.section("kinds", kinds::check(&cluster).await);
    report.section("admission", admission::check(&cluster).await);
    let (findings, installed) = controller::check(&cluster, args.namespace.as_deref()).await;
    report.section("controller", findings);
    let Some(installed) = installed else { return Ok(()) };
    report.section("rights", rights::check(&cluster, &installed).await);
    report.section("watched", vec![admission::watched(&installed)]);
    report.section("store", controller::store(&installed));
    report.section("gateways", gateways::check(&cluster, &installed).await);
    report.section("certificates", gateways::certificates(&cluster, &installed).await);
    Ok(())
}

async fn api_server(cluster: &Cluster) -> (Vec<Finding>, bool) {
    let address = &cluster.address;
    let version = match call(cluster.client.apiserver_version()).await {
        Ok(version) => version,
        Err(failure) => {
            let what = format!("{:#}", failure.explained(address));
            let hint = "nothing else can be looked at before that";
            return (vec![Finding::error("api-reachable", what, hint)], false);
        }
    };
    let mut findings = vec![Finding::ok("api-reachable", format!("{address} answers"))];
    let digits: String = version.minor.chars().take_while(char::is_ascii_digit).collect();
    let supported = version.major != "1" || digits.parse().is_ok_and(|minor: u32| minor >= MINOR_MIN);
    findings.push(if supported {
        Finding::ok("api-version", format!("Kubernetes {}", version.git_version))
    } else {
        let what = format!("Kubernetes {} is too old", version.git_version);
        Finding::error("api-version", what, format!("1.{MINOR_MIN} or newer is needed"))
    });
    findings.push(match cluster.who_am_i().await {
        Ok(name) => Finding::ok("api-identity", format!("you are {name}")),
        Err(error) => Finding::skipped("api-identity", format!("{error:#}"), "it is not needed for the rest"),
    });
    (findings, true)
}

/// What a read brought: the thing, nothing, or a finding that says why it was not seen.
fn seen<T>(
    name: &'static str,
    what: &str,
    result: Result<T, Failure>,
    address: &str,
) -> Result<Option<T>, Finding> {
    match result {
        Ok(thing) => Ok(Some(thing)),
        Err(failure) if failure.is_not_found() => Ok(None),
        Err(failure) if failure.is_forbidden() => Err(Finding::skipped(
            name,
            format!("you may not look at {what}"),
            format!("{:#}", failure.explained(address)),
        )),
        Err(failure) => {
            let said = format!("{what}: {:#}", failure.explained(address));
            Err(Finding::error(name, said, "try again; look at the API server's log if it stays so"))
        }
    }
}
