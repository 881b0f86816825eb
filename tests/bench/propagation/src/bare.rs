//! The bare chain: a watch event of the API server, one put into etcd, and watches that see it.
//!
//! Nothing less can be done by whoever brings a change from Kubernetes to several processes through etcd.

use anyhow::{Context as _, Result};
use etcd_client::{Certificate, Client as Etcd, ConnectOptions, Identity, TlsOptions};
use futures_util::StreamExt as _;
use k8s_openapi::api::core::v1::Secret;
use kube_client::api::WatchEvent;
use kube_client::config::{KubeConfigOptions, Kubeconfig};
use kube_client::core::params::WatchParams;
use kube_client::{Api, Client, Config};
use serde_json::json;

use crate::{Certificates, now_ns, say};

const KEY: &str = "/bare/key";

pub(crate) async fn run(
    watchers: usize,
    kubeconfig: &str,
    endpoints: &[String],
    certificates: Certificates,
) -> Result<()> {
    for number in 0..watchers {
        // As a gateway does: a connection of its own.
        let client = connect(endpoints, &certificates).await?;
        tokio::spawn(async move {
            if let Err(error) = watch(client, number).await {
                eprintln!("watcher {number}: {error:#}");
                std::process::exit(1);
            }
        });
    }
    let mut etcd = connect(endpoints, &certificates).await?;
    let config = Kubeconfig::read_from(kubeconfig)?;
    let config = Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await?;
    let secrets: Api<Secret> = Api::namespaced(Client::try_from(config)?, "default");
    let params = WatchParams::default().fields("metadata.name=bare");
    say(&json!({"ready": true}));
    let mut version = "0".to_owned();
    loop {
        let mut events = std::pin::pin!(secrets.watch(&params, &version).await?);
        while let Some(event) = events.next().await {
            let (WatchEvent::Added(secret) | WatchEvent::Modified(secret)) = event? else { continue };
            version = secret.metadata.resource_version.context("a version")?;
            // A connection that breaks is made anew by the next try.
            while let Err(error) = etcd.put(KEY, version.as_bytes(), None).await {
                eprintln!("put: {error}");
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        }
    }
}

async fn watch(mut client: Etcd, number: usize) -> Result<()> {
    let mut stream = client.watch(KEY, None).await?;
    while let Some(response) = stream.message().await? {
        let at = now_ns();
        for event in response.events() {
            let value = event.kv().and_then(|kv| kv.value_str().ok()).unwrap_or_default();
            say(&json!({"version": value, "watcher": number, "at": at}));
        }
    }
    Ok(())
}

async fn connect(endpoints: &[String], certificates: &Certificates) -> Result<Etcd> {
    let tls = TlsOptions::new()
        .ca_certificate(Certificate::from_pem(&certificates.ca))
        .identity(Identity::from_pem(&certificates.certificate, &certificates.key));
    Ok(Etcd::connect(endpoints, Some(ConnectOptions::new().with_tls(tls))).await?)
}
