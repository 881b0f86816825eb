//! Simulated gateways: the store's own code, without users.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use serde_json::json;
use tidegate_core::{Generation, Timestamp};
use tidegate_store::etcd::EtcdTls;
use tidegate_store::{Ack, Etcd, EtcdConfig, EtcdRole, GatewayId, Report, Store as _};

use crate::{Certificates, now_ns, say};

/// Connections that acknowledge for many.
const CONNECTIONS: usize = 10;

/// `count` gateways that follow the store, each with its own connection, and acknowledge.
pub(crate) async fn follow(
    count: usize,
    endpoints: Vec<String>,
    with: Certificates,
    keys: &str,
) -> Result<()> {
    run(vec![1; count], endpoints, with, keys).await
}

/// `count` names that are acknowledged for over a few connections.
pub(crate) async fn acknowledge(
    count: usize,
    endpoints: Vec<String>,
    with: Certificates,
    keys: &str,
) -> Result<()> {
    let share = |number| count / CONNECTIONS + usize::from(number < count % CONNECTIONS);
    run((0..CONNECTIONS).map(share).collect(), endpoints, with, keys).await
}

/// One connection for each number of names.
async fn run(names: Vec<usize>, endpoints: Vec<String>, with: Certificates, keys: &str) -> Result<()> {
    let mut ring = Vec::new();
    for file in std::fs::read_dir(keys)? {
        let file = file?;
        let Some(kid) = file.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let key: [u8; 32] = std::fs::read(file.path())?.try_into().ok().context("32 bytes")?;
        ring.push((kid, key));
    }
    ring.sort_by_key(|(kid, _)| *kid);
    let (mut tasks, mut first) = (Vec::new(), 0);
    for (number, names) in names.into_iter().enumerate() {
        let tls =
            EtcdTls { ca: with.ca.clone(), certificate: with.certificate.clone(), key: with.key.clone() };
        let etcd = Etcd::connect(EtcdConfig {
            endpoints: endpoints.clone(),
            tls: Some(tls),
            pool: "main".into(),
            ring: ring.clone(),
            role: EtcdRole::Gateway { id: GatewayId(format!("link-{number}")) },
            snapshot_file: None,
        });
        let etcd = etcd.await?;
        // A name is the same in every run, so that a later one takes over what an earlier one said.
        tasks.push(tokio::spawn(gateway(etcd, number, first..first + names)));
        first += names;
    }
    say(&json!({"ready": true}));
    for task in tasks {
        task.await??;
    }
    Ok(())
}

async fn gateway(etcd: Etcd, number: usize, names: Range<usize>) -> Result<()> {
    let mut views = etcd.subscribe();
    let mut known = Generation::default();
    loop {
        let newest = views.borrow_and_update().snapshot.as_ref().map(|snapshot| snapshot.generation);
        if let Some(generation) = newest.filter(|newest| *newest > known) {
            known = generation;
            say(&json!({"generation": generation.to_string(), "gateway": number, "at": now_ns()}));
            for name in names.clone() {
                let gateway = GatewayId(format!("simulated-{name}"));
                let seconds = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
                let ack = Ack {
                    gateway,
                    generation,
                    broken: BTreeMap::new(),
                    evaluators: Vec::new(),
                    kids: vec![1],
                    at: Timestamp(i64::try_from(seconds)?),
                };
                etcd.report(Report { ack, sessions: Vec::new() }).await?;
            }
        }
        views.changed().await?;
    }
}
