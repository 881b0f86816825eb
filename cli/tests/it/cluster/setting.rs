//! The control plane, the chart on it, and how the tools are called.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tidegate_tests::control_plane::{self, ControlPlane};
use tidegate_tests::helm::{Helm, NAMESPACE};
use tidegate_tests::process::Process;
use tidegate_tests::{programs, wait};

/// How long the API server may take to put policies and rights in force.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// The department's namespace.
pub(crate) const DEPARTMENT: &str = "dept-hr";

/// What a tool said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    /// Its only line of JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// A cluster to use the tools on.
pub(crate) struct Setting {
    pub(crate) plane: ControlPlane,
    helm: Helm,
    binaries: PathBuf,
    plugin: PathBuf,
    _directory: tempfile::TempDir,
}

impl Setting {
    pub(crate) fn start_or_skip() -> Option<Self> {
        let binaries = programs::all_or_skip()?;
        let [helm, _] = Helm::both_or_skip()?;
        let plane = control_plane::start_or_skip()?;
        let directory = tempfile::tempdir().expect("a folder");
        let plugin = directory.path().join("kubectl-tidegate");
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_tidegate"), &plugin).expect("a link");
        Some(Self { plane, helm, binaries, plugin, _directory: directory })
    }

    /// Installs the chart's objects, and starts the part of Kubernetes that checks the types of policies.
    pub(crate) fn install(&self) -> Process {
        let chart = self.helm.template(&[], &[]).unwrap_or_else(|error| panic!("{error}"));
        for name in [NAMESPACE, DEPARTMENT] {
            self.kubectl(&["create", "namespace", name]);
        }
        self.apply(&chart);
        self.kubectl(&["wait", "--for=condition=Established", "--all", "--timeout=60s", "crd"]);
        let people = [
            ("zhou.ke", "requester"),
            ("bao.ping", "requester"),
            ("he.lin", "approver"),
            ("ma.chao", "approver"),
        ];
        for (user, role) in people {
            let (role, user) = (format!("--clusterrole=tidegate-{role}"), format!("--user={user}"));
            let name = user.replace("--user=", "").replace('.', "-");
            self.kubectl(&["create", "rolebinding", &name, &role, &user, "-n", DEPARTMENT]);
        }
        let mut command = Command::new(self.binaries.join("kube-controller-manager"));
        command
            .arg(format!("--kubeconfig={}", self.kubeconfig().display()))
            .args(["--controllers=validatingadmissionpolicy-status-controller", "--leader-elect=false"])
            .args(["--secure-port=0", "--bind-address=127.0.0.1"]);
        Process::start("kube-controller-manager", self.plane.files(), &mut command)
            .unwrap_or_else(|error| panic!("{error}"))
    }

    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.plane.files().join("admin.kubeconfig")
    }

    pub(crate) fn kubectl(&self, arguments: &[&str]) -> String {
        self.plane.kubectl(arguments, "").unwrap_or_else(|error| panic!("{arguments:?}: {error}"))
    }

    /// Applies objects as the administrator; those of a kind that is new are served after a moment.
    pub(crate) fn apply(&self, objects: &str) {
        wait::until("objects are applied", DEADLINE, || {
            self.plane.kubectl(&["apply", "--server-side", "--validate=false", "--filename=-"], objects)
        })
        .unwrap_or_else(|error| panic!("{error}"));
    }

    /// `kubectl tidegate ...`, through kubectl itself.
    pub(crate) fn through_kubectl(&self, arguments: &[&str]) -> Said {
        let plugins = self.plugin.parent().expect("a folder");
        let path = format!("{}:{}", plugins.display(), self.binaries.display());
        let mut command = Command::new(self.binaries.join("kubectl"));
        command.env("PATH", path).arg("tidegate").args(arguments);
        self.say(&mut command)
    }

    /// The plugin, in the department's namespace.
    pub(crate) fn plugin(&self, arguments: &[&str]) -> Said {
        let mut command = Command::new(&self.plugin);
        command.args(arguments).args(["--namespace", DEPARTMENT]);
        self.say(&mut command)
    }

    /// The plugin as somebody, expected to succeed; its JSON.
    pub(crate) fn done(&self, user: &str, arguments: &[&str]) -> Value {
        let said = self.plugin(&[arguments, &["--as", user, "-o", "json"]].concat());
        assert_eq!(said.code, Some(0), "{arguments:?}: {said:?}");
        said.json()
    }

    /// The plugin as somebody, expected to be refused; its words.
    pub(crate) fn refused(&self, user: &str, arguments: &[&str]) -> String {
        let said = self.plugin(&[arguments, &["--as", user]].concat());
        assert_eq!((said.code, said.out.as_str()), (Some(1), ""), "{arguments:?}: {said:?}");
        said.err
    }

    /// `tidegate ...`.
    pub(crate) fn tidegate(&self, arguments: &[&str]) -> Said {
        self.say(Command::new(env!("CARGO_BIN_EXE_tidegate")).args(arguments))
    }

    fn say(&self, command: &mut Command) -> Said {
        let command = command.env("KUBECONFIG", self.kubeconfig()).env("HOME", self.plane.files());
        let output = command.stdin(Stdio::null()).output().expect("it runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Said { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
    }

    /// An application for an account.
    pub(crate) fn application(&self, name: &str, change: impl FnOnce(&mut Value)) {
        let mut object = json!({
            "apiVersion": "tidegate.dev/v1alpha1", "kind": "VpnUser",
            "metadata": {"name": name, "namespace": DEPARTMENT},
            "spec": {"request": {"person": "Li Qiang", "unit": "Payments"}, "requestedBy": "zhou.ke"},
        });
        change(&mut object);
        let flags = ["create", "--as=zhou.ke", "--validate=false", "--filename=-"];
        // The API server's own view of a new right lags behind by a moment.
        wait::until("an application", DEADLINE, || self.plane.kubectl(&flags, &object.to_string()))
            .unwrap_or_else(|error| panic!("{error}"));
    }

    /// An account as it is stored.
    pub(crate) fn stored(&self, name: &str) -> Value {
        let text =
            self.kubectl(&["get", "vu", name, "-n", DEPARTMENT, "-o", "json", "--show-managed-fields"]);
        serde_json::from_str(&text).expect("kubectl prints JSON")
    }
}
