//! A folder of manifests and the state that `up` keeps for it.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::Result;
use tidegate_controller::{ControllerEvent, State};
use tidegate_store::audit;

use super::certificate;
use super::report::{Finding, Report};
use crate::{control, serve};

/// Problems that are shown one by one.
const PROBLEMS_MAX: usize = 20;

/// Looks at a folder, at a state, or at both.
pub(crate) async fn check(dir: Option<&Path>, state: Option<&Path>, report: &mut Report) -> Result<()> {
    let state = match (state, dir) {
        (Some(state), _) => Some(state.to_owned()),
        (None, Some(dir)) => Some(State::default_path(dir)?),
        (None, None) => None,
    };
    if let Some(dir) = dir {
        report.section("manifests", manifests(dir).await);
    }
    if let Some(state) = state {
        let (found, there) = directory(&state, dir).await;
        report.section("state", found);
        if there {
            report.section("certificate", vec![authority(&state)]);
            report.section("audit", trail(&state));
        }
    }
    report.section(
        "approvals",
        vec![Finding::warning(
            "approvals-enforced",
            "approvals are not enforced: whoever can write the folder is trusted",
            "keep the folder writable by those who may approve, or use a cluster, where admission enforces it",
        )],
    );
    Ok(())
}

/// Reads the folder as a first `up` would.
async fn manifests(dir: &Path) -> Vec<Finding> {
    let (mut accepted, mut refused) = (0_usize, Vec::new());
    let published = serve::publish_once(dir, |event| match event {
        ControllerEvent::Accepted { .. } => accepted += 1,
        ControllerEvent::Refused(problem) => refused.push(problem.clone()),
        _ => {}
    });
    if let Err(error) = published.await {
        let what = format!("{} cannot be read: {error:#}", dir.display());
        return vec![Finding::error("manifests-readable", what, "name the folder of manifests with --dir")];
    }
    let mut findings = vec![Finding::ok(
        "manifests-readable",
        format!("{}: {accepted} objects are in force, {} are not", dir.display(), refused.len()),
    )];
    let rest = refused.len().saturating_sub(PROBLEMS_MAX);
    findings.extend(refused.iter().take(PROBLEMS_MAX).map(|problem| {
        let what = format!("{} {} {}: {}", problem.code, problem.origin, problem.object, problem.message);
        let hint = format!("docs/reference/codes/{}.md", problem.code);
        Finding::error("manifests-accepted", what, hint)
    }));
    if rest > 0 {
        let what = format!("{rest} more objects are refused");
        findings.push(Finding::error("manifests-accepted", what, "mend those above first"));
    }
    findings
}

/// The directory itself, and whether it is there at all.
async fn directory(state: &Path, dir: Option<&Path>) -> (Vec<Finding>, bool) {
    let path = state.display();
    let Ok(metadata) = std::fs::symlink_metadata(state) else {
        let what = format!("{path} is not there");
        let hint = "no `up` has run here yet; or name its state with --state";
        return (vec![Finding::skipped("state-exists", what, hint)], false);
    };
    if !metadata.is_dir() {
        let hint = "name the directory that `up` printed with --state";
        return (vec![Finding::error("state-exists", format!("{path} is not a directory"), hint)], false);
    }
    let mut findings = vec![Finding::ok("state-exists", format!("{path} is there"))];
    let wide = metadata.mode() & 0o077;
    findings.push(if wide == 0 {
        Finding::ok("state-private", "only its owner can look into it")
    } else {
        let what = format!("others than its owner have rights in it ({:o})", metadata.mode() & 0o777);
        Finding::error(
            "state-private",
            what,
            format!("chmod -R go= {path}: it holds keys and password hashes"),
        )
    });
    if let Some(dir) = dir {
        findings.push(match State::check_outside(state, dir) {
            Ok(()) => Finding::ok("state-outside", "it lies outside the manifests"),
            Err(error) => Finding::error(
                "state-outside",
                error.to_string(),
                "choose a place outside the manifests with --state",
            ),
        });
    }
    findings.push(running(&state.join("control.sock")).await);
    (findings, true)
}

async fn running(socket: &Path) -> Finding {
    let stopped = || {
        let what = "no `up` serves from it now";
        Finding::skipped("state-served", what, "start it with `tidegate up`, if it should run")
    };
    match control::gateways(socket).await {
        Ok(None) => stopped(),
        Ok(Some(gateways)) => {
            let behind: Vec<String> = gateways
                .iter()
                .flat_map(|gateway| gateway.broken.iter().map(|(code, why)| format!("{code}: {why}")))
                .collect();
            if behind.is_empty() {
                Finding::ok("state-served", "an `up` serves from it, and has all departments in force")
            } else {
                let what = format!("departments that are denied: {}", behind.join(", "));
                Finding::error("state-served", what, "the log of `up` says why")
            }
        }
        Err(error) => {
            let what = format!("the running `up` does not answer: {error:#}");
            Finding::error("state-served", what, "look at its log; start it again if it hangs")
        }
    }
}

fn authority(state: &Path) -> Finding {
    let file: PathBuf = state.join("tls/ca.pem");
    let hint = "stop `up`, remove STATE/tls and start it: browsers have to trust the new authority";
    match std::fs::read(&file) {
        Ok(pem) => certificate::judge("certificate", "the gateway's authority", &pem, serve::now().0, hint),
        Err(error) => {
            let what = format!("{} cannot be read: {error}", file.display());
            Finding::skipped("certificate", what, "it is made at the first start of `up`")
        }
    }
}

fn trail(state: &Path) -> Vec<Finding> {
    let hint = "keep the files as they are, and compare with what was noted elsewhere; see audit verify";
    let streams = match audit::verify(&state.join("audit")) {
        Ok(streams) => streams,
        Err(error) => {
            return vec![Finding::error("audit-chain", format!("it cannot be read: {error}"), hint)];
        }
    };
    streams
        .iter()
        .map(|stream| match &stream.broken {
            None => {
                let (name, records) = (&stream.name, stream.records);
                Finding::ok("audit-chain", format!("{name}: {records} records, the chain is whole"))
            }
            Some(broken) => {
                let place = format!("{}:{}", broken.file, broken.line);
                let what = format!("{}: broken at {place}: {}", stream.name, broken.why);
                Finding::error("audit-chain", what, hint)
            }
        })
        .collect()
}
