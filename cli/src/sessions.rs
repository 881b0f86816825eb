//! `tidegate sessions` and `tidegate kick`: who is online, and the end of it.
//!
//! ```text
//!  --dir, --state --> STATE/control.sock of a running `up`
//!  else           --> admin: the leading controller, through kubectl's tunnel or --admin
//! ```
//!
//! Both are asked the same and answer the same (docs/reference/admin-api.md).

mod admin;
mod args;

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use serde::Serialize;
use tidegate_controller::State;
use tidegate_controller::admin::{Session, Sessions};

use crate::args::Format;
use crate::control;
use crate::output::{self, Exit};
use crate::width::fit;
use admin::Admin;
use args::WhereArgs;

pub(crate) use args::{KickArgs, SessionsArgs};

/// Sessions of one account that are ended at a time.
const KICKED_MAX: usize = 100;

/// Whom to ask.
enum Source {
    /// A running `up`, by its socket.
    Socket(PathBuf),
    /// The leading controller of a cluster.
    Cluster(Admin),
}

/// What was ended; the shape is documented in `docs/reference/cli.md`.
#[derive(Debug, Serialize)]
struct Kicked {
    ended: Vec<String>,
}

/// Prints who is online.
pub(crate) async fn list(args: &SessionsArgs) -> Result<Exit> {
    let sessions = Source::of(&args.place).await?.sessions(args.department.as_deref()).await?;
    match args.place.output {
        Format::Json => output::json(&sessions),
        Format::Text => lines(&sessions).iter().for_each(|line| output::line(line)),
    }
    Ok(Exit::Done)
}

/// Ends a session, or those of an account.
pub(crate) async fn kick(args: &KickArgs) -> Result<Exit> {
    let source = Source::of(&args.place).await?;
    let ids = match args.whose.split_once('/') {
        None => vec![args.whose.clone()],
        Some((department, _)) => {
            let online = source.sessions(Some(department)).await?.sessions;
            let own = online.into_iter().filter(|session| session.account == args.whose);
            own.map(|session| session.id).take(KICKED_MAX).collect()
        }
    };
    if ids.is_empty() {
        bail!("{} has no session; `tidegate sessions` shows who has", args.whose);
    }
    let mut kicked = Kicked { ended: Vec::new() };
    for id in ids {
        source.end(&id).await?;
        if args.place.output == Format::Text {
            output::line(&format!("ended      {id}"));
        }
        kicked.ended.push(id);
    }
    if args.place.output == Format::Json {
        output::json(&kicked);
    }
    Ok(Exit::Done)
}

impl Source {
    async fn of(place: &WhereArgs) -> Result<Self> {
        let state = match (&place.state, &place.dir) {
            (Some(state), _) => state.clone(),
            (None, Some(dir)) => State::default_path(dir)?,
            (None, None) => return Ok(Self::Cluster(Admin::find(place).await?)),
        };
        Ok(Self::Socket(state.join("control.sock")))
    }

    async fn sessions(&self, department: Option<&str>) -> Result<Sessions> {
        match self {
            Self::Socket(socket) => control::sessions(socket, department).await?.with_context(stopped),
            Self::Cluster(admin) => admin.sessions(department).await,
        }
    }

    async fn end(&self, id: &str) -> Result<()> {
        match self {
            Self::Socket(socket) => control::end(socket, id).await?.with_context(stopped),
            Self::Cluster(admin) => admin.end(id).await,
        }
    }
}

fn stopped() -> &'static str {
    "no `tidegate up` serves from this state; name its state with --state, or leave it out to ask a cluster"
}

/// The table for people.
fn lines(sessions: &Sessions) -> Vec<String> {
    if sessions.sessions.is_empty() {
        return vec!["nobody is online".to_owned()];
    }
    let head =
        ["ACCOUNT", "KIND", "SINCE", "FROM", "CLIENT", "FLOWS", "UP", "DOWN", "SESSION"].map(str::to_owned);
    let mut lines: Vec<String> = std::iter::once(row(&head))
        .chain(sessions.sessions.iter().map(|session| row(&cells(session))))
        .collect();
    if sessions.truncated {
        lines.push("there are more: ask for one department with --department".to_owned());
    }
    lines
}

fn cells(session: &Session) -> [String; 9] {
    let none = || "-".to_owned();
    let [client, flows, up, down] = match &session.tunnel {
        Some(tunnel) => {
            [tunnel.client.clone(), tunnel.flows.to_string(), size(tunnel.bytes_up), size(tunnel.bytes_down)]
        }
        None => [none(), none(), none(), none()],
    };
    let Session { account, kind, since, source, id, .. } = session.clone();
    [account, kind, since, source, client, flows, up, down, id]
}

fn row(cells: &[String; 9]) -> String {
    let widths = [24, 7, 20, 24, 34, 6, 9, 9, 32];
    let cells: Vec<String> = cells.iter().zip(widths).map(|(cell, columns)| fit(cell, columns)).collect();
    cells.join(" ").trim_end().to_owned()
}

/// Bytes as people read them.
fn size(bytes: u64) -> String {
    const UNITS: [(u64, &str); 4] = [(1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match UNITS.iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, name)) => format!("{}.{} {name}", bytes / unit, bytes % unit * 10 / unit),
        None => format!("{bytes} B"),
    }
}

#[cfg(test)]
mod tests {
    use tidegate_controller::admin::Tunnel;

    use super::*;

    #[test]
    fn sizes_are_short() {
        assert_eq!(size(0), "0 B");
        assert_eq!(size(1_023), "1023 B");
        assert_eq!(size(1_536), "1.5 KiB");
        assert_eq!(size(u64::MAX), "16777215.9 TiB");
    }

    #[test]
    fn the_table_says_who_from_where_and_by_which_client() {
        let session = Session {
            id: "00".repeat(16),
            account: "sbj/wangfang".to_owned(),
            kind: "tunnel".to_owned(),
            source: "192.0.2.10".to_owned(),
            since: "2026-11-25T08:00:00Z".to_owned(),
            seen: "2026-11-25T08:01:00Z".to_owned(),
            pool: "main".to_owned(),
            gateway: "one".to_owned(),
            tunnel: Some(Tunnel {
                client: "Open AnyConnect VPN Agent v9.01-3".to_owned(),
                bytes_up: 2_048,
                bytes_down: 3 << 20,
                flows: 7,
            }),
        };
        let lines = lines(&Sessions { sessions: vec![session], truncated: true });
        for part in ["sbj/wangfang", "192.0.2.10", "v9.01-3", "2.0 KiB", "3.0 MiB", " 7 "] {
            assert!(lines[1].contains(part), "{part}: {}", lines[1]);
        }
        assert_eq!(lines.len(), 3);
    }
}
