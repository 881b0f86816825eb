//! Everything there is: the API server, two controllers, an etcd, gateways, and the departments' systems.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tidegate_tests::control_plane::{self, ControlPlane};
use tidegate_tests::helm::{Helm, NAMESPACE};
use tidegate_tests::place::free_port;
use tidegate_tests::process::Process;
use tidegate_tests::tree::root;
use tidegate_tests::{pod, programs};

use crate::api::{self, Api};
use crate::eventually;
use crate::line::Line;
use crate::program::Program;

/// The name people type.
pub(crate) const HOST: &str = "vpn.haikou.example";
/// Where the systems of the example are.
pub(crate) const ADDRESSES: [&str; 1] = ["10.20.1.10"];
/// The account the chart gives its rights to.
const ACCOUNT: &str = "system:serviceaccount:tidegate-system:tidegate-controller";

/// How many there are of each, and how long a gateway without news goes on.
pub(crate) struct Plan {
    pub(crate) members: usize,
    pub(crate) gateways: usize,
    /// Gateways whose line to etcd can be cut; the first ones.
    pub(crate) on_a_line: usize,
    pub(crate) new_logins_s: u32,
    pub(crate) end_sessions_s: u32,
}

/// Everything there is. Programs end before what they depend on, and all of them before their files go.
pub(crate) struct Site {
    pub(crate) gateways: Vec<Gateway>,
    pub(crate) controllers: Vec<Program>,
    pub(crate) members: Vec<Program>,
    pub(crate) api: Api,
    /// Where controllers say how they are.
    health: Vec<u16>,
    plan: Plan,
    member_ports: Vec<u16>,
    _systems: Process,
    pub(crate) plane: ControlPlane,
}

/// A gateway and the pod it believes to be.
pub(crate) struct Gateway {
    pub(crate) program: Program,
    /// Where people reach it.
    pub(crate) port: u16,
    pub(crate) folder: PathBuf,
    /// To each member of etcd, if it can be cut off.
    pub(crate) lines: Vec<Line>,
}

impl Site {
    /// Starts everything; nothing after having said aloud what is missing.
    pub(crate) fn start_or_skip(plan: Plan) -> Option<Self> {
        let [helm, _] = Helm::both_or_skip()?;
        let plane = control_plane::start_or_skip()?;
        let run = |arguments: &[&str], input: &str| {
            plane.kubectl(arguments, input).unwrap_or_else(|error| panic!("{arguments:?}: {error}"))
        };
        run(&["create", "namespace", NAMESPACE], "");
        let chart = helm.template(&[], &[]).unwrap_or_else(|error| panic!("{error}"));
        run(&["apply", "--server-side", "--filename=-"], &chart);
        run(&["wait", "--for=condition=Established", "--all", "--timeout=60s", "crd"], "");
        let ports = |count: usize| (0..count).map(|_| free_port().expect("a port")).collect::<Vec<_>>();
        let (member_ports, peers, health) = (ports(plan.members), ports(plan.members), ports(2));
        let controllers = controllers(&plane, &member_ports, &health);
        let members = (0..plan.members).map(|number| member(&plane, number, &member_ports, &peers)).collect();
        let api = Api::of(&plane);
        let systems = systems(plane.files());
        let mut site = Self {
            gateways: Vec::new(),
            controllers,
            members,
            api,
            health,
            plan,
            member_ports,
            _systems: systems,
            plane,
        };
        site.begin();
        Some(site)
    }

    fn begin(&mut self) {
        self.controllers.iter_mut().for_each(Program::start);
        let etcd = self.plane.files().join("etcd-server");
        fs::create_dir_all(&etcd).expect("a folder");
        for key in ["ca.crt", "tls.crt", "tls.key"] {
            let made = eventually(key, || self.plane.secret(NAMESPACE, "tidegate-etcd-server", key));
            fs::write(etcd.join(key), made).expect("written");
        }
        self.members.iter_mut().for_each(Program::start);
        let example = root().join("examples/haikou").display().to_string();
        let apply = ["apply", "--server-side", "--filename", &example];
        eventually("the example is applied", || self.plane.kubectl(&apply, ""));
        eventually("the approvers may approve", || self.plane.script("examples/haikou/approve.sh"));
        let ca = ["--namespace", NAMESPACE, "get", "configmap", "tidegate-gateway-ca"];
        let ca = [&ca[..], &["--output=jsonpath={.data.ca\\.crt}"]].concat();
        let ca = eventually("the authority for people", || self.plane.kubectl(&ca, ""));
        fs::write(self.authority(), ca).expect("written");
        for number in 0..self.plan.gateways {
            self.add_gateway(number);
        }
        self.all_in_force();
    }

    /// Where the authority of the gateways' certificates lies.
    pub(crate) fn authority(&self) -> PathBuf {
        self.plane.files().join("people-ca.crt")
    }

    /// Makes a pod and starts its gateway; in the place of an earlier one, if there was one of that number.
    pub(crate) fn add_gateway(&mut self, number: usize) {
        let name = format!("gateway-{number}");
        let created = eventually("the pod", || {
            self.api.create(&format!("/api/v1/namespaces/{NAMESPACE}/pods"), &pod::manifest(&name))
        });
        let uid = created["metadata"]["uid"].as_str().expect("a UID").to_owned();
        let lines = if number < self.plan.on_a_line { self.member_ports.as_slice() } else { &[] };
        let lines: Vec<Line> = lines.iter().map(|port| Line::to(*port).expect("a line")).collect();
        let port = free_port().expect("a port");
        let folder = self.plane.files().join(format!("{name}-{uid}"));
        let plan = &self.plan;
        let config = eventually("its volumes", || {
            pod::mount(&self.plane, &folder, |config| {
                config["listen"] = format!("127.0.0.1:{port}").into();
                config["metricsListen"] = "127.0.0.1:0".into();
                config["staleness"] = json!({
                    "newLoginsSeconds": plan.new_logins_s, "endSessionsSeconds": plan.end_sessions_s,
                });
                if !lines.is_empty() {
                    let ports = lines.iter().map(|line| line.port);
                    config["etcd"]["endpoints"] = ports.map(address).collect::<Value>();
                }
            })
        });
        let program = programs::own("tidegate-gateway").unwrap_or_else(|error| panic!("{error}"));
        let command = move || {
            let mut command = Command::new(&program);
            // It says each generation that is in force.
            command.arg("--config").arg(&config).env("POD_UID", &uid);
            command.env("RUST_LOG", "info,tidegate_gateway=debug");
            command
        };
        let mut program = Program::new(&name, self.plane.files(), command);
        program.start();
        let gateway = Gateway { program, port, folder, lines };
        if number < self.gateways.len() {
            self.gateways[number] = gateway;
        } else {
            self.gateways.push(gateway);
        }
    }

    /// Waits until the pool is in force on all gateways there should be.
    pub(crate) fn all_in_force(&self) {
        let wanted = format!("in force on {0} of {0} gateways", self.plan.gateways);
        eventually(&wanted, || {
            let pool = self.api.get(&api::pool())?;
            let conditions = pool["status"]["conditions"].to_string();
            if conditions.contains(&wanted) { Ok(()) } else { Err(conditions) }
        });
    }

    /// Which controller leads.
    pub(crate) fn leader(&self) -> usize {
        let path = format!("/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/tidegate-controller");
        eventually("somebody leads", || {
            let holder =
                self.api.get(&path)?["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned();
            let leads = |controller: &Program| holder.starts_with(&format!("{}_", controller.name));
            self.controllers.iter().position(leads).ok_or(holder)
        })
    }

    /// What the controllers answer to whoever asks whether they are ready.
    pub(crate) fn controllers_say(&self) -> Vec<Result<(u16, String), String>> {
        let ask = |port: &u16| tidegate_tests::endpoint::get(&format!("127.0.0.1:{port}"), "/readyz");
        self.health.iter().map(ask).collect()
    }

    /// The path of an account of `sbj`.
    pub(crate) fn account(name: &str) -> String {
        api::path("sbj", "vpnusers", name)
    }

    /// Changes the state of an account of `sbj`.
    pub(crate) fn set_state(&self, name: &str, state: &str) {
        let patch = json!({"spec": {"state": state}});
        eventually("the state is written", || self.api.patch(&Self::account(name), &patch));
    }

    /// Waits until what an account of `sbj` says is in force everywhere.
    pub(crate) fn account_in_force(&self, name: &str) {
        eventually("in force everywhere", || api::in_force(&self.api.get(&Self::account(name))?));
    }

    /// Makes an approved account of `sbj`, and gives its activation code.
    pub(crate) fn hire(&self, name: &str) -> String {
        let accounts = Self::account("");
        eventually("the account is made", || self.api.create(&accounts, &api::account(name)));
        self.code(name)
    }

    /// The activation code of an account of `sbj`, once the account is in force everywhere.
    pub(crate) fn code(&self, name: &str) -> String {
        self.account_in_force(name);
        let secret = format!("tidegate-activation-{name}");
        let code = eventually("the code", || self.plane.secret("dept-sbj", &secret, "code"));
        String::from_utf8(code).expect("letters")
    }
}

fn address(port: u16) -> String {
    format!("https://127.0.0.1:{port}")
}

fn controllers(plane: &ControlPlane, members: &[u16], health: &[u16]) -> Vec<Program> {
    let group = Some("system:serviceaccounts");
    let kubeconfig = plane.introduce("controller", ACCOUNT, group).unwrap_or_else(|error| panic!("{error}"));
    let endpoints: Vec<String> = members.iter().copied().map(address).collect();
    let program = programs::own("tidegate-controller").unwrap_or_else(|error| panic!("{error}"));
    let controller = |(number, port): (usize, &u16)| {
        let name = format!("controller-{number}");
        let settings = json!({
            "listen": format!("127.0.0.1:{port}"),
            "namespace": NAMESPACE,
            "etcd": {"endpoints": endpoints},
            "gateway": {"image": "tidegate/gateway:test"},
            "main": {"hosts": [HOST], "replicas": 0},
        });
        let file = plane.files().join(format!("{name}.yaml"));
        fs::write(&file, settings.to_string()).expect("written");
        let (program, kubeconfig, id) = (program.clone(), kubeconfig.clone(), name.clone());
        Program::new(&name, plane.files(), move || {
            let mut command = Command::new(&program);
            command.arg("--config").arg(&file).arg("--kubeconfig").arg(&kubeconfig).args(["--id", &id]);
            command
        })
    };
    health.iter().enumerate().map(controller).collect()
}

/// A member of Tidegate's etcd, with the certificates the controller makes for it.
fn member(plane: &ControlPlane, number: usize, ports: &[u16], peers: &[u16]) -> Program {
    let files = plane.files().to_owned();
    let etcd = programs::find(&[]).unwrap_or_else(|error| panic!("{error}")).join("etcd");
    let peer = |port: &u16| format!("http://127.0.0.1:{port}");
    let all: Vec<String> = peers.iter().enumerate().map(|(n, port)| format!("m{n}={}", peer(port))).collect();
    let (all, own, peer) = (all.join(","), address(ports[number]), peer(&peers[number]));
    Program::new(&format!("etcd-member-{number}"), plane.files(), move || {
        let path = |name: &str| files.join("etcd-server").join(name).display().to_string();
        let mut command = Command::new(&etcd);
        command
            .arg(format!("--name=m{number}"))
            .arg(format!("--data-dir={}", files.join(format!("etcd-data-{number}")).display()))
            .arg(format!("--listen-client-urls={own}"))
            .arg(format!("--advertise-client-urls={own}"))
            .arg(format!("--listen-peer-urls={peer}"))
            .arg(format!("--initial-advertise-peer-urls={peer}"))
            .arg(format!("--initial-cluster={all}"))
            // A killed process loses nothing that it gave to the kernel.
            .args(["--unsafe-no-fsync", "--log-level=warn", "--client-cert-auth"])
            .arg(format!("--trusted-ca-file={}", path("ca.crt")))
            .arg(format!("--cert-file={}", path("tls.crt")))
            .arg(format!("--key-file={}", path("tls.key")));
        command
    })
}

fn systems(files: &Path) -> Process {
    let mut command = Command::new("python3");
    command.arg(root().join("tests/cluster/systems.py")).arg("records-sbj=10.20.1.10:8080");
    Process::start("systems", files, &mut command).expect("it starts")
}
