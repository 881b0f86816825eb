//! `kubectl tidegate`: what people decide about accounts, under their own name.
//!
//! ```text
//!  who am I -> read -> plan -> show -> (dry run, ask) -> write -> wait until it is in force
//! ```
//!
//! Nothing here decides who may: admission does, and its words are printed. What is written is what was
//! shown; when somebody changes the application meanwhile, it is shown anew.

mod args;
mod plan;
mod wait;

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use kube_client::Api;
use kube_client::api::{Patch, PatchParams};
use serde_json::json;
use tidegate_core::Timestamp;
use tidegate_crd::convert::REVIEW_DAYS_MAX;
use tidegate_crd::types::{Department, VpnUser};

use crate::args::Format;
use crate::cluster::{Cluster, Failure, call};
use crate::output::{self, Exit};
use crate::{check, serve, sessions};
use args::{ApproveArgs, PluginCommand, TargetArgs};
use plan::{Plan, Verb, Write};
use wait::Propagation;

pub(crate) use args::PluginArgs;

/// Who owns an approval, towards tools that apply manifests.
const APPROVER: &str = "tidegate-approve";
/// Who owns what else is written here.
const MANAGER: &str = "tidegate";
/// How often to read again when somebody else wrote meanwhile.
const TRIES: usize = 5;
const DAY_S: i64 = 86_400;

/// What is common to all accounts of one command.
struct Doing {
    cluster: Cluster,
    me: String,
    verb: Verb,
    /// Write without asking.
    yes: bool,
    wait: Option<Duration>,
    format: Format,
}

/// Does what the command line asks for.
pub(crate) fn run(args: PluginArgs) -> Result<Exit> {
    serve::runtime()?.block_on(async {
        match args.command {
            PluginCommand::Check(args) => return check::run_async(args).await,
            PluginCommand::Sessions(args) => return sessions::list(&args).await,
            PluginCommand::Kick(args) => return sessions::kick(&args).await,
            PluginCommand::Approve(args) => approve(args).await?,
            PluginCommand::Deny(args) => {
                let verb = Verb::Deny { reason: args.reason };
                all(&args.target, verb, args.yes, args.wait.deadline()).await?;
            }
            PluginCommand::Suspend(args) => {
                all(&args.target, Verb::Suspend, true, args.wait.deadline()).await?;
            }
            PluginCommand::Revoke(args) => {
                all(&args.target, Verb::Revoke, true, args.wait.deadline()).await?;
            }
            PluginCommand::Activate(args) => all(&args.target, Verb::Activate, true, None).await?,
        }
        Ok(Exit::Done)
    })
}

async fn approve(args: ApproveArgs) -> Result<()> {
    let cluster = Cluster::connect(&args.target.cluster).await?;
    let until = match &args.until {
        Some(text) => Some(last_instant(&cluster, text).await?),
        None => None,
    };
    let verb = Verb::Approve { reference: args.reference, until, force: args.force_conflicts };
    all(&args.target, verb, args.yes, args.wait.deadline()).await
}

/// Does one verb to each account, one after the other, and stops at the first that fails.
async fn all(target: &TargetArgs, verb: Verb, yes: bool, wait: Option<Duration>) -> Result<()> {
    let cluster = Cluster::connect(&target.cluster).await?;
    let me = cluster.who_am_i().await?;
    let doing = Doing { cluster, me, verb, yes, wait, format: target.output };
    for text in &target.users {
        let name = name_of(text)?;
        doing.one(name).await.with_context(|| format!("vpnuser {}/{name}", doing.cluster.namespace))?;
    }
    Ok(())
}

impl Doing {
    async fn one(&self, name: &str) -> Result<()> {
        let users: Api<VpnUser> = Api::namespaced(self.cluster.client.clone(), &self.cluster.namespace);
        let mut user = self.read(&users, name).await?;
        let mut plan = Plan::of(&self.verb, &user, &self.me)?;
        if !plan.writes.is_empty() && self.verb.asks() {
            self.ask(&users, name, &user, &plan).await?;
        }
        let mut tries = 1..TRIES;
        let changed = !plan.writes.is_empty();
        while let Some(write) = plan.writes.first() {
            match send(&users, name, write, &user, false).await {
                Ok(written) => {
                    plan.writes.remove(0);
                    user = written;
                }
                // Somebody else wrote: the plan is made anew from what is there now, unless the application
                // itself is another one, which nobody has looked at yet.
                Err(failure) if failure.is_conflict() && stale(&failure) && tries.next().is_some() => {
                    let now = self.read(&users, name).await?;
                    if now.spec.request != user.spec.request || now.metadata.uid != user.metadata.uid {
                        bail!("somebody changed the application meanwhile; look at it and try again");
                    }
                    plan = Plan::of(&self.verb, &now, &self.me)?;
                    user = now;
                }
                Err(failure) => return Err(self.explained(&failure)),
            }
        }
        let propagation = match self.wait {
            None => None,
            Some(deadline) => Some(wait::until_in_force(&users, &user, deadline).await?),
        };
        self.tell(name, &user, changed, propagation.as_ref());
        match propagation {
            Some(Propagation { in_force: false, message }) => {
                bail!("written, but not in force everywhere within the time given: {message}")
            }
            _ => Ok(()),
        }
    }

    async fn read(&self, users: &Api<VpnUser>, name: &str) -> Result<VpnUser> {
        call(users.get(name)).await.map_err(|failure| {
            let error = self.explained(&failure);
            let namespace = &self.cluster.namespace;
            if failure.is_not_found() && !namespace.starts_with("dept-") {
                return error
                    .context(format!("accounts are in dept-<code>, not in {namespace}: name it with -n"));
            }
            error
        })
    }

    fn explained(&self, failure: &Failure) -> anyhow::Error {
        let error = failure.explained(&self.cluster.address);
        if failure.is_conflict() && matches!(self.verb, Verb::Approve { .. }) {
            return error.context("--force-conflicts takes the approval over from the other field manager");
        }
        error
    }

    /// Shows who asked and who decides, and lets a person say no. What admission refuses is refused before.
    async fn ask(&self, users: &Api<VpnUser>, name: &str, user: &VpnUser, plan: &Plan) -> Result<()> {
        if let Some(write) = plan.writes.first() {
            send(users, name, write, user, true).await.map_err(|failure| self.explained(&failure))?;
        }
        let terminal = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
        if self.yes && !terminal {
            return Ok(());
        }
        let mut screen = std::io::stderr().lock();
        write!(screen, "{}", shown(user, &self.me, plan))?;
        if self.yes {
            return Ok(());
        }
        if !terminal {
            bail!("nobody can be asked here: add --yes to write it");
        }
        write!(screen, "\nWrite this? [y/N] ")?;
        screen.flush()?;
        let mut answer = String::new();
        std::io::stdin().lock().read_line(&mut answer)?;
        if !matches!(answer.trim(), "y" | "Y" | "yes") {
            bail!("nothing was written");
        }
        Ok(())
    }

    fn tell(&self, name: &str, user: &VpnUser, changed: bool, propagation: Option<&Propagation>) {
        let what = self.verb.done();
        match self.format {
            Format::Json => output::json(&json!({
                "name": name,
                "namespace": self.cluster.namespace,
                "action": what,
                "by": self.me,
                "requestedBy": user.spec.requested_by,
                "changed": changed,
                "generation": user.metadata.generation,
                "state": user.spec.state,
                "sessionGeneration": user.spec.session_generation,
                "approval": user.spec.approval,
                "inForce": propagation.map(|propagation| propagation.in_force),
                "message": propagation.map(|propagation| &propagation.message),
            })),
            Format::Text => {
                let already = if changed { "" } else { " already" };
                let force = propagation.filter(|propagation| propagation.in_force);
                let force =
                    force.map_or_else(String::new, |propagation| format!(", {}", propagation.message));
                output::line(&format!("vpnuser.tidegate.dev/{name}{already} {what}{force}"));
            }
        }
    }
}

/// Writes, or has it judged only.
async fn send(
    users: &Api<VpnUser>,
    name: &str,
    write: &Write,
    user: &VpnUser,
    dry_run: bool,
) -> Result<VpnUser, Failure> {
    let params = PatchParams { dry_run, ..PatchParams::default() };
    match write {
        Write::Apply { object, force } => {
            let params = PatchParams { force: *force, field_manager: Some(APPROVER.into()), ..params };
            let mut object = object.clone();
            // What was seen is what is approved: an application that was changed meanwhile is a conflict.
            object["metadata"]["uid"] = json!(user.metadata.uid);
            object["metadata"]["resourceVersion"] = json!(user.metadata.resource_version);
            call(users.patch(name, &params, &Patch::Apply(&object))).await
        }
        Write::Merge(patch) => {
            let params = PatchParams { field_manager: Some(MANAGER.into()), ..params };
            call(users.patch(name, &params, &Patch::Merge(patch))).await
        }
    }
}

/// Whether a conflict is about time, not about who owns a field.
fn stale(failure: &Failure) -> bool {
    let Failure::Refused(status) = failure else { return false };
    !status
        .details
        .iter()
        .flat_map(|details| &details.causes)
        .any(|cause| cause.reason == "FieldManagerConflict")
}

/// The name in `NAME`, `vu/NAME`, `vpnuser/NAME`, …
fn name_of(text: &str) -> Result<&str> {
    match text.split_once('/') {
        None => Ok(text),
        Some(("vu" | "vpnuser" | "vpnusers" | "vpnuser.tidegate.dev" | "vpnusers.tidegate.dev", name)) => {
            Ok(name)
        }
        Some((kind, _)) => bail!("{kind} is no account: write vu/NAME"),
    }
}

/// What a person sees before deciding.
fn shown(user: &VpnUser, me: &str, plan: &Plan) -> String {
    let request = &user.spec.request;
    let mut text = String::new();
    let mut row = |label: &str, value: &str| {
        text.push_str(&format!("  {label:<16}{}\n", clean(value)));
    };
    row("person", &request.person);
    row("unit", &request.unit);
    if !request.groups.is_empty() {
        row("groups", &request.groups.join(", "));
    }
    // Rules look at these as they do at groups.
    for (name, value) in &request.attributes {
        row("attribute", &format!("{name}={value}"));
    }
    if let Some(user) = &request.kubernetes_user {
        row("cluster user", user);
    }
    if let Some(reason) = &request.reason {
        row("reason", reason);
    }
    if let Some(from) = &request.valid_from {
        row("valid from", from);
    }
    if let Some(until) = &request.valid_until {
        row("valid until", until);
    }
    row("asked for by", &user.spec.requested_by);
    row("decided by", &format!("{me} (you)"));
    text.push('\n');
    for change in &plan.changes {
        let side = |value: &Option<String>| clean(value.as_deref().unwrap_or("(none)"));
        let (before, after) = (side(&change.before), side(&change.after));
        text.push_str(&format!("  {}: {before} -> {after}\n", change.field));
    }
    text
}

/// What an applicant wrote must not be able to steer the approver's terminal.
fn clean(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

/// The instant meant by a day in the department's time zone, or by an instant; as the API server wants it.
async fn last_instant(cluster: &Cluster, text: &str) -> Result<String> {
    let instant = match text.parse::<jiff::Timestamp>() {
        Ok(instant) => instant,
        Err(_) => {
            let day: Date = text.parse().ok().with_context(|| {
                format!("--until {text}: write a day as 2027-11-01 or an instant as 2027-11-01T16:00:00Z")
            })?;
            let end = day.tomorrow()?.to_zoned(zone(cluster).await?)?.timestamp();
            end.checked_sub(jiff::SignedDuration::from_secs(1))?
        }
    };
    let now = Timestamp(jiff::Timestamp::now().as_second());
    if instant.as_second() <= now.0 {
        bail!("--until {text} is over already");
    }
    if instant.as_second() > now.plus(REVIEW_DAYS_MAX * DAY_S).0 {
        bail!("--until {text} is more than {REVIEW_DAYS_MAX} days ahead; choose an earlier day");
    }
    Ok(jiff::Timestamp::from_second(instant.as_second())?.to_string())
}

/// The time zone of the department whose namespace it is; UTC for whoever may not read Departments, who is
/// shown the instant that comes out.
async fn zone(cluster: &Cluster) -> Result<TimeZone> {
    let Some(code) = cluster.namespace.strip_prefix("dept-") else { return Ok(TimeZone::UTC) };
    let departments: Api<Department> = Api::all(cluster.client.clone());
    match call(departments.get(code)).await {
        Ok(department) => Ok(TimeZone::get(&department.spec.time_zone)?),
        Err(failure) if failure.is_forbidden() || failure.is_not_found() => Ok(TimeZone::UTC),
        Err(failure) => Err(failure.explained(&cluster.address)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_named_as_kubectl_names_them() {
        for text in ["li-qiang", "vu/li-qiang", "vpnusers.tidegate.dev/li-qiang"] {
            assert_eq!(name_of(text).expect("a name"), "li-qiang");
        }
        assert!(name_of("pod/li-qiang").is_err());
    }

    #[test]
    fn what_is_shown_cannot_steer_the_terminal() {
        assert_eq!(clean("a\u{1b}[2Jb\nc"), "a [2Jb c");
    }

    #[test]
    fn all_of_the_request_is_shown_and_who_asked_beside_who_decides() {
        let user: VpnUser = serde_json::from_value(json!({
            "apiVersion": "tidegate.dev/v1alpha1", "kind": "VpnUser", "metadata": {"name": "li-qiang"},
            "spec": {"requestedBy": "zhou.ke", "request": {
                "person": "Li Qiang", "unit": "Payments", "groups": ["hr/clerks"], "attributes": {"duty": "audit"},
                "kubernetesUser": "li.qiang", "validFrom": "2027-01-01T00:00:00Z", "validUntil": "2027-12-31T00:00:00Z",
                "reason": "new in the team",
            }},
        }))
        .expect("a VpnUser");
        let verb = Verb::Approve { reference: None, until: None, force: false };
        let plan = Plan::of(&verb, &user, "he.lin").expect("a plan");
        let text = shown(&user, "he.lin", &plan);
        let request = serde_json::to_value(&user.spec.request).expect("JSON");
        for value in request.as_object().into_iter().flatten().map(|(_, value)| value) {
            let word = value.get(0).or_else(|| value.get("duty")).unwrap_or(value).as_str().expect("a word");
            assert!(text.contains(word), "{word} is not shown:\n{text}");
        }
        assert!(text.contains("asked for by    zhou.ke\n  decided by      he.lin (you)\n"), "{text}");
        assert!(text.contains("spec.approval.by: (none) -> he.lin"), "{text}");
    }
}
