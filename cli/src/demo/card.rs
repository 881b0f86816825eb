//! What the demo prints when it is ready: one object for programs, a card for people.

use std::path::Path;

use serde::Serialize;
use tidegate_core::policy::PortRange;
use tidegate_core::{Account, DenyReason, Department, Lang, Resource, Snapshot, Timestamp};

use super::folder::Folder;
use crate::width::fit;

/// Who the card suggests to be, and the system of the example she may not open.
const HEROINE: &str = "wangfang";
const CLOSED_TO_HER: &str = "sbj/fund";

/// Columns of the card.
const COLUMNS: usize = 96;

/// The demo as scripts see it; the shape is documented in `docs/reference/cli.md`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Ready {
    /// Where to log in.
    pub(crate) address: String,
    /// The certificate to trust.
    pub(crate) ca: String,
    /// The state; the manifests lie beside it.
    pub(crate) state: String,
    /// The people.
    pub(crate) users: Vec<User>,
    /// The systems.
    pub(crate) resources: Vec<System>,
    /// What VPN clients know the gateway by.
    pub(crate) pin: String,
    /// The systems behind the tunnel.
    pub(crate) network_resources: Vec<NetworkSystem>,
}

/// A person of the demo.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct User {
    /// The department's code.
    pub(crate) department: String,
    /// The login name.
    pub(crate) name: String,
    /// `Active`, or why the account may not be used.
    pub(crate) state: &'static str,
    /// The code of the first login, while it is outstanding.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) activation_code: Option<String>,
    /// The person's name, for the card.
    #[serde(skip)]
    pub(crate) person: String,
}

/// A system of the demo.
#[derive(Debug, Serialize)]
pub(crate) struct System {
    /// The department's code.
    pub(crate) department: String,
    /// The resource's name.
    pub(crate) name: String,
    /// Its address behind the gateway.
    pub(crate) url: String,
    /// Its title in both languages, for the card.
    #[serde(skip)]
    pub(crate) title: String,
}

/// A system of the demo that is reached through the tunnel only.
#[derive(Debug, Serialize)]
pub(crate) struct NetworkSystem {
    /// The department's code.
    pub(crate) department: String,
    /// The resource's name.
    pub(crate) name: String,
    /// Its hosts.
    pub(crate) hosts: Vec<String>,
    /// Its ports, each a number or a range.
    pub(crate) ports: Vec<String>,
    /// Its title in both languages, for the card.
    #[serde(skip)]
    pub(crate) title: String,
}

impl NetworkSystem {
    /// What one types to reach it, once the client is connected.
    fn try_it(&self) -> Option<String> {
        let (host, port) = (self.hosts.first()?, self.ports.first()?.split('-').next()?);
        Some(format!("curl http://{host}:{port}/"))
    }
}

/// The people of a snapshot, in the order of department and name, with the codes laid out for them.
pub(crate) fn users(snapshot: &Snapshot, codes: &Path, now: Timestamp) -> Vec<User> {
    let mut users = Vec::new();
    for department in snapshot.departments.values() {
        let mut accounts: Vec<_> = department.accounts.values().collect();
        accounts.sort_by(|a, b| a.name.cmp(&b.name));
        for account in accounts {
            let code = codes.join(department.code.as_str()).join(account.name.as_str());
            users.push(User {
                department: department.code.to_string(),
                name: account.name.to_string(),
                state: state(account, now),
                activation_code: std::fs::read_to_string(code).ok().map(|code| code.trim().to_owned()),
                person: account.person.display_name.to_string(),
            });
        }
    }
    users
}

fn state(account: &Account, now: Timestamp) -> &'static str {
    match account.standing(now).denied {
        None => "Active",
        Some(DenyReason::AccountSuspended) => "Suspended",
        Some(DenyReason::AccountLeft) => "Left",
        Some(DenyReason::AccountNotApproved) => "NotApproved",
        Some(DenyReason::AccountNotYetValid) => "NotYetValid",
        Some(DenyReason::AccountExpired) => "Expired",
        Some(DenyReason::AccountReviewOverdue) => "ReviewOverdue",
        Some(_) => "Invalid",
    }
}

/// The systems of a snapshot; `host` is the gateway's, with its port where that is not the usual one.
pub(crate) fn systems(snapshot: &Snapshot, host: &str) -> Vec<System> {
    let web = resources(snapshot).filter(|(_, resource)| resource.web().is_some());
    web.map(|(department, resource)| System {
        department: department.code.to_string(),
        name: resource.name.to_string(),
        url: format!("https://{}-{}.{host}/", resource.name, department.code),
        title: title(resource),
    })
    .collect()
}

/// The systems of a snapshot that are reached through the tunnel only.
pub(crate) fn network_systems(snapshot: &Snapshot) -> Vec<NetworkSystem> {
    let range = |range: &PortRange| match range.from == range.to {
        true => range.from.to_string(),
        false => format!("{}-{}", range.from, range.to),
    };
    let network = resources(snapshot).filter_map(|(department, resource)| {
        let network = resource.network()?;
        Some(NetworkSystem {
            department: department.code.to_string(),
            name: resource.name.to_string(),
            hosts: network.hosts.iter().map(ToString::to_string).collect(),
            ports: network.ports.iter().map(range).collect(),
            title: title(resource),
        })
    });
    network.collect()
}

fn resources(snapshot: &Snapshot) -> impl Iterator<Item = (&Department, &Resource)> {
    let departments = snapshot.departments.values();
    departments.flat_map(|department| {
        department.resources.values().map(move |resource| (&**department, &**resource))
    })
}

fn title(resource: &Resource) -> String {
    both(resource.title.get(Lang::ZhCn), resource.title.get(Lang::En))
}

fn both(zh: &str, en: &str) -> String {
    if zh == en { zh.to_owned() } else { format!("{zh} {en}") }
}

/// The card.
pub(crate) fn card(ready: &Ready, folder: &Folder) -> String {
    let rule = "─".repeat(COLUMNS);
    let mut lines = vec![
        rule.clone(),
        "  Tidegate 演示 demo".into(),
        String::new(),
        format!("  地址 Address    {}", ready.address),
        format!("  证书 CA         {}", ready.ca),
        format!("  清单 Manifests  {}", folder.manifests().display()),
        String::new(),
        row(&["部门 Dept", "账号 Account", "姓名 Name", "状态 State", "激活码 Activation code"]),
    ];
    lines.extend(ready.users.iter().map(|user| {
        let code = user.activation_code.as_deref().unwrap_or("—");
        row(&[&user.department, &user.name, &user.person, user.state, code])
    }));
    lines.push(String::new());
    lines.push("  业务系统 Systems".into());
    lines.extend(
        ready
            .resources
            .iter()
            .map(|system| format!("  {}  {}", fit(&system.url, 46), fit(&system.title, 46).trim_end())),
    );
    lines.extend(tunnel(ready));
    lines.push(String::new());
    lines.extend(tries(ready, folder));
    lines.extend([String::new(), "  Ctrl-C 结束，不留痕迹 ends it and leaves nothing behind".into(), rule]);
    lines.join("\n")
}

/// What to type to come with a VPN client, and what it reaches that a browser does not. Lines to be copied are whole,
/// however long they are.
fn tunnel(ready: &Ready) -> Vec<String> {
    let mut lines = Vec::new();
    for system in &ready.network_resources {
        let Some(try_it) = system.try_it() else { continue };
        let user =
            ready.users.iter().find(|user| user.department == system.department && user.state == "Active");
        let user = user.map_or_else(String::new, |user| format!(" --user {}", user.name));
        lines.extend([
            String::new(),
            "  VPN 客户端 VPN client: Debian openconnect；第一次用激活码作密码 the code is the first password".into(),
            format!("  sudo openconnect {}{}{user} --servercert {}", ready.address, system.department, ready.pin),
            format!("  {try_it}    {} / {}: {}", system.department, system.name, system.title),
        ]);
    }
    lines
}

fn row(cells: &[&str; 5]) -> String {
    let widths = [12, 16, 18, 16, 24];
    let cells: Vec<String> = cells.iter().zip(widths).map(|(cell, columns)| fit(cell, columns)).collect();
    format!("  {}", cells.join(" ").trim_end())
}

fn tries(ready: &Ready, folder: &Folder) -> Vec<String> {
    let mut lines = vec!["  试一试 Three things to try".into()];
    let with_code = |user: &&User| user.activation_code.is_some();
    let heroine = ready.users.iter().filter(with_code).find(|user| user.name == HEROINE);
    let Some(user) = heroine.or_else(|| ready.users.iter().find(with_code)) else { return lines };
    let file = folder.file_of(&user.name).unwrap_or_else(|| folder.manifests());
    let (name, closed) = (format!("{}/{}", user.department, user.name), CLOSED_TO_HER);
    lines.extend([
        format!(
            "  1  打开地址，选择部门 {}，用激活码激活 {}，登录后点开一个系统。",
            user.department, user.name
        ),
        format!("     Open the address, choose {}, activate {}, open a system.", user.department, user.name),
        "  2  在系统里开始下载或打开时钟，再把此人的 state 改为 Suspended 并保存：连接立即断开。".into(),
        "     Start the download or the clock there, then set the person's state to Suspended".into(),
        "     and save: what is open is cut within a second. The file:".into(),
        format!("     {}", file.display()),
        "  3  问问为什么 Ask why:".into(),
        format!("     tidegate explain {name} {closed} --state {}", ready.state),
    ]);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::width;

    #[test]
    fn rows_are_aligned_whatever_the_script() {
        let one = row(&["sbj", "wangfang", "王芳", "Active", "ABCD-EFGH-IJKL-MNOP"]);
        let other = row(&["sbj", "wangfang", "Wang Fang", "Active", "ABCD-EFGH-IJKL-MNOP"]);
        assert_eq!(width::of(&one), width::of(&other));
        assert!(width::of(&row(&[&"长".repeat(80); 5].map(|s| s.as_str()))) <= COLUMNS);
    }
}
