//! `tidegate explain`: allowed or denied, by which rule, and why.
//!
//! With `--state` a running `up` is asked through its control socket; without one, what the last `up`
//! published is read. With `--dir` the folder is published into a temporary state first. The decision is
//! the gateway's own, on the gateway's own engine.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use tidegate_controller::explain::{Ask, Explanation, RulesInForce, explain as explain_with};
use tidegate_core::policy::{Device, Evaluate, Factor, Fault, Request, Side, Verdict};
use tidegate_core::{Lang, LocalTime, PolicyModule, PolicyState, Snapshot};
use tidegate_policy_engine::{Engine, Library, PreparedSubject, Worker};
use tidegate_store::Embedded;

use crate::args::{ExplainArgs, Format};
use crate::output::{self, Exit};
use crate::{control, language, serve};

/// Answers on the command line.
pub(crate) fn run(args: &ExplainArgs) -> Result<Exit> {
    let question = ask(&args.user, &args.resource)?;
    let value = match (&args.state, &args.dir) {
        (Some(state), _) => serve::runtime()?.block_on(of_state(args, &question, state))?,
        (None, Some(dir)) => serve::runtime()?.block_on(of_folder(&question, dir))?,
        (None, None) => bail!("name a folder with --dir or a state with --state"),
    };
    match args.output {
        Format::Json => output::json(&value),
        Format::Text => output::line(words(&value)),
    }
    Ok(if value["allowed"] == true { Exit::Done } else { Exit::No })
}

fn words(value: &Value) -> &str {
    let lang = match language::of_environment() {
        Lang::ZhCn => "zh-CN",
        Lang::En => "en",
    };
    value["words"][lang].as_str().unwrap_or_default()
}

/// The question of a browser on this machine, logged in by password, for the tile of a system.
pub(crate) fn ask(account: &str, resource: &str) -> Result<Ask> {
    Ok(Ask {
        account: account.parse().with_context(|| format!("`{account}`: write <department>/<name>"))?,
        resource: resource.parse().with_context(|| format!("`{resource}`: write <department>/<system>"))?,
        at: serve::now(),
        source: IpAddr::V4(Ipv4Addr::LOCALHOST),
        device: Device::Browser,
        factors: Factor::Password.bit(),
        method: String::new(),
        path: String::new(),
    })
}

async fn of_state(args: &ExplainArgs, question: &Ask, state: &Path) -> Result<Value> {
    let socket = state.join("control.sock");
    if let Some(value) = control::explanation(&socket, &args.user, &args.resource).await? {
        return Ok(value);
    }
    let file = state.join("store.redb");
    let snapshot = Embedded::peek(&file)
        .with_context(|| format!("cannot read {}", file.display()))?
        .with_context(|| format!("{} holds nothing yet", file.display()))?;
    Ok(serde_json::to_value(explain(&snapshot, question, Some(state))?)?)
}

async fn of_folder(question: &Ask, dir: &Path) -> Result<Value> {
    let snapshot = serve::publish_once(dir, |_| {}).await?;
    Ok(serde_json::to_value(explain(&snapshot, question, None)?)?)
}

/// Answers from a snapshot; with the state it was published from, also what the nearest rules wanted.
pub(crate) fn explain(snapshot: &Arc<Snapshot>, question: &Ask, state: Option<&Path>) -> Result<Explanation> {
    let library = Arc::new(Library::new(Engine::new()?));
    let departments = snapshot.departments.values().map(|department| &department.policy);
    for policy in departments.chain([&snapshot.platform.policy]) {
        if let PolicyState::Module(module) = policy {
            // A module that cannot be loaded denies, and the explanation says so.
            if let Err(error) = library.load(&module.digest, &module.wasm) {
                tracing::warn!(%error, "a policy module cannot be loaded");
            }
        }
    }
    let mut evaluator = Evaluator(Worker::new(library));
    let explanation = explain_with(snapshot, question, &mut evaluator, PreparedSubject::new);
    Ok(match state {
        Some(state) => explanation.near(&RulesInForce::read(state, question.at)?, snapshot, question),
        None => explanation,
    })
}

/// The gateway's worker; a subject too large for it denies instead of failing.
struct Evaluator(Worker);

impl Evaluate for Evaluator {
    type Prepared = Result<PreparedSubject, Fault>;

    fn evaluate(
        &mut self,
        module: &PolicyModule,
        side: Side,
        subject: &Self::Prepared,
        request: &Request<'_>,
        local: LocalTime,
    ) -> Result<Verdict, Fault> {
        self.0.evaluate(module, side, subject.as_ref().map_err(|fault| *fault)?, request, local)
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn names_are_checked_with_a_hint() {
        let error = super::ask("wangfang", "sbj/pension").expect_err("no department");
        assert!(format!("{error:#}").contains("<department>/<name>"));
    }
}
