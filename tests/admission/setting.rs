//! The cluster of the table: the chart as Helm renders it, a department, and people with the chart's own roles.

use std::process::Command;

use serde_json::{Value, json};
use tidegate_tests::control_plane::ControlPlane;
use tidegate_tests::helm::{Helm, NAMESPACE};
use tidegate_tests::process::Process;
use tidegate_tests::{programs, wait};

use crate::DEADLINE;
use crate::case::{Case, Then, Who, Write};

/// Where the table's accounts and rules lie. It has no label: policies hold in every namespace, whoever adopts it.
pub(crate) const DEPARTMENT: &str = "dept-sbj";

/// Every account there, as one thing to delete.
const ALL_ACCOUNTS: &str = "/apis/tidegate.dev/v1alpha1/namespaces/dept-sbj/vpnusers";

const ROLES: &str = "rbac.authorization.k8s.io";

/// Everything the table runs on.
#[derive(Debug)]
pub(crate) struct Setting<'a> {
    pub(crate) plane: &'a ControlPlane,
    /// Checks the types of admission policies; ends with the table.
    _checker: Process,
}

impl<'a> Setting<'a> {
    /// Installs the chart and gives people their roles.
    pub(crate) fn make(plane: &'a ControlPlane, helm: &Helm) -> Self {
        let chart = helm.template(&[], &[]).unwrap_or_else(|error| panic!("{error}"));
        let namespaces: Vec<Value> = [NAMESPACE, DEPARTMENT]
            .map(|name| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}))
            .into();
        create(plane, &namespaces);
        let all = ["apply", "--server-side", "--validate=false", "--filename=-"];
        plane.kubectl(&all, &chart).unwrap_or_else(|error| panic!("the rendered chart: {error}"));
        let served = ["wait", "--for=condition=Established", "--all", "--timeout=60s", "crd"];
        plane.kubectl(&served, "").unwrap_or_else(|error| panic!("{error}"));
        create(plane, &rights());
        Self { plane, _checker: checker(plane) }
    }

    /// Makes what is there before, as the administrator, who may restore.
    pub(crate) fn prepare(&self, cases: &[Case]) {
        let before: Vec<Value> =
            cases.iter().filter_map(|case| case.before.as_ref().map(|spec| case.object(spec))).collect();
        create(self.plane, &before);
    }

    /// Waits until every refusal and every right of the table is known to the API server, without writing anything.
    pub(crate) fn wait_in_force(&self, cases: &[Case]) {
        for case in cases {
            wait::until(case.what, DEADLINE, || self.judge(case, true))
                .unwrap_or_else(|error| panic!("{error}"));
        }
    }

    /// Tries one row for good.
    pub(crate) fn try_case(&self, case: &Case) -> Result<(), String> {
        self.judge(case, false)
    }

    fn judge(&self, case: &Case, dry: bool) -> Result<(), String> {
        let answer = self.write(case, dry);
        let verdict = match (case.then, &answer) {
            (Then::Stored, Ok(_)) => Ok(()),
            (Then::Unchanged, Ok(_)) => self.unchanged(case),
            (Then::Refused(code), Err(error)) if error.contains(code) => Ok(()),
            (Then::NoRight, Err(error)) if error.contains(" cannot ") && !error.contains("TG-") => Ok(()),
            _ => Err(format!("{answer:?}")),
        };
        verdict.map_err(|found| format!("- {}: expected {:?}, found {found}", case.what, case.then))
    }

    /// The specification is what was there before, apart from defaults.
    fn unchanged(&self, case: &Case) -> Result<(), String> {
        let mut arguments = vec!["get", case.kind, &case.name, "--output=json"];
        if case.namespaced() {
            arguments.extend(["--namespace", DEPARTMENT]);
        }
        let stored: Value =
            serde_json::from_str(&self.plane.kubectl(&arguments, "")?).map_err(|error| error.to_string())?;
        for (name, value) in case.before.iter().filter_map(Value::as_object).flatten() {
            if stored["spec"][name] != *value {
                return Err(format!("spec.{name} is {}", stored["spec"][name]));
            }
        }
        let smuggled = stored["spec"].get("approval").is_some();
        if smuggled { Err("spec.approval is there".to_owned()) } else { Ok(()) }
    }

    fn write(&self, case: &Case, dry: bool) -> Result<String, String> {
        let Who { name, groups } = case.who;
        let user = format!("--as={name}");
        let groups: Vec<String> = groups.iter().map(|group| format!("--as-group={group}")).collect();
        let manager;
        let text;
        let (mut arguments, input) = match &case.write {
            Write::Create(spec) => {
                (vec!["create", "--validate=false", "--filename=-"], case.object(spec).to_string())
            }
            Write::Generate(spec) => {
                let mut object = case.object(spec);
                object["metadata"]["generateName"] = format!("{}-", case.name).into();
                object["metadata"]["name"] = Value::Null;
                (vec!["create", "--validate=false", "--filename=-"], object.to_string())
            }
            Write::Replace(spec) => {
                (vec!["replace", "--validate=false", "--filename=-"], case.object(spec).to_string())
            }
            Write::Apply(by, spec) => {
                manager = format!("--field-manager={by}");
                let flags = vec!["apply", "--server-side", "--force-conflicts", "--validate=false", &manager];
                (flags.into_iter().chain(["--filename=-"]).collect(), case.object(spec).to_string())
            }
            Write::Patch(patch) | Write::Status(patch) => {
                text = format!("--patch={patch}");
                let mut arguments = vec!["patch", case.kind, &case.name, "--type=merge", &text];
                if matches!(case.write, Write::Status(_)) {
                    arguments.push("--subresource=status");
                }
                if case.namespaced() {
                    arguments.extend(["--namespace", DEPARTMENT]);
                }
                (arguments, String::new())
            }
            Write::Delete => (
                vec!["delete", case.kind, &case.name, "--namespace", DEPARTMENT, "--wait=false"],
                String::new(),
            ),
            // kubectl deletes one by one; this is what a client of one's own would send.
            Write::DeleteAll => {
                text = format!("--raw={ALL_ACCOUNTS}");
                (vec!["delete", &text], String::new())
            }
        };
        arguments.push(&user);
        arguments.extend(groups.iter().map(String::as_str));
        if dry {
            arguments.push("--dry-run=server");
        }
        self.plane.kubectl(&arguments, &input)
    }
}

/// Creates objects as the administrator.
fn create(plane: &ControlPlane, objects: &[Value]) {
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string();
    wait::until("the objects of the table", DEADLINE, || {
        plane.kubectl(&["apply", "--server-side", "--validate=false", "--filename=-"], &list)
    })
    .unwrap_or_else(|error| panic!("{error}"));
}

/// The part of Kubernetes that checks the types of policies; alone, or it would look for the chart's pods.
fn checker(plane: &ControlPlane) -> Process {
    let program =
        programs::find(&["all"]).unwrap_or_else(|error| panic!("{error}")).join("kube-controller-manager");
    let mut command = Command::new(program);
    command
        .arg(format!("--kubeconfig={}", plane.files().join("admin.kubeconfig").display()))
        .args(["--controllers=validatingadmissionpolicy-status-controller", "--leader-elect=false"])
        .args(["--secure-port=0", "--bind-address=127.0.0.1"]);
    Process::start("kube-controller-manager", plane.files(), &mut command)
        .unwrap_or_else(|error| panic!("{error}"))
}

/// Groups to the chart's roles in the department, as the controller binds them, and roles the platform team makes.
fn rights() -> Vec<Value> {
    let trades = ["requester", "approver", "reviewer", "policy-author", "department-admin"];
    let mut all: Vec<Value> = trades
        .iter()
        .map(|trade| {
            binding(
                "RoleBinding",
                &format!("{trade}s"),
                &format!("tidegate-{trade}"),
                "Group",
                &format!("sbj-{trade}s"),
            )
        })
        .collect();
    all.push(binding("ClusterRoleBinding", "auditors", "tidegate-auditor", "Group", "auditors"));
    let own: [(&str, &str, Value); 5] = [
        ("restorers", "Group", rule("vpnusers", &["get", "create", "update", "patch", "restore"])),
        ("drafters", "Group", rule("accesspolicies", &["get", "create", "update", "patch"])),
        ("platform", "Group", rule("departments", &["get", "create", "update", "patch"])),
        ("bureau", "Group", rule("departments", &["get", "update", "patch"])),
        // More than the controller has: RBAC must not be what refuses it here. kubectl reads before it patches.
        (
            "system:serviceaccount:tidegate-system:tidegate-controller",
            "User",
            rule("vpnusers", &["get", "create", "update"]),
        ),
    ];
    for (subject, kind, rule) in own {
        let name = format!("table-{}", subject.replace(':', "-"));
        let mut rules = vec![rule];
        if subject == "bureau" {
            let mut supervise = self::rule("departments", &["supervise"]);
            supervise["resourceNames"] = json!(["rsj"]);
            rules.push(supervise);
        }
        if kind == "User" {
            rules.push(self::rule("vpnusers/status", &["get"]));
        }
        all.push(json!({
            "apiVersion": format!("{ROLES}/v1"), "kind": "ClusterRole", "metadata": {"name": name}, "rules": rules,
        }));
        all.push(binding("ClusterRoleBinding", &name, &name, kind, subject));
    }
    all
}

fn rule(resource: &str, verbs: &[&str]) -> Value {
    json!({"apiGroups": [tidegate_crd::GROUP], "resources": [resource], "verbs": verbs})
}

fn binding(kind: &str, name: &str, role: &str, subject: &str, who: &str) -> Value {
    let mut binding = json!({
        "apiVersion": format!("{ROLES}/v1"), "kind": kind, "metadata": {"name": name},
        "roleRef": {"apiGroup": ROLES, "kind": "ClusterRole", "name": role},
        "subjects": [{"kind": subject, "name": who, "apiGroup": ROLES}],
    });
    if kind == "RoleBinding" {
        binding["metadata"]["namespace"] = DEPARTMENT.into();
    }
    binding
}
