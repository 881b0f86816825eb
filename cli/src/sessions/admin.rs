//! The admin API of a cluster: found at the controller that leads, asked with a bearer token.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use bytes::Bytes;
use http::{Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::ServiceAccount;
use kube_client::Api;
use kube_client::api::PostParams;
use serde::Deserialize;
use tidegate_controller::admin::Sessions;

use super::args::WhereArgs;
use crate::cluster::{Cluster, ClusterArgs, call};

/// The Lease of the controller, and the namespace it lies in where no other is named.
const LEASE: &str = "tidegate-controller";
const NAMESPACE: &str = "tidegate-system";
/// The port of the admin API.
const PORT: u16 = 9090;
/// How long a tunnel or an answer may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// Bytes of an answer: as many sessions as the API gives, and some.
const ANSWER_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Seconds for which a token that is made for this counts; no shorter one is given.
const TOKEN_S: i64 = 600;

/// The admin API, within reach for as long as this value.
pub(super) struct Admin {
    authority: String,
    token: String,
    _tunnel: Option<Tunnel>,
}

/// kubectl's tunnel, which ends with this value.
struct Tunnel(Child);

impl Drop for Tunnel {
    fn drop(&mut self) {
        // It may have ended already; then there is nothing to kill.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What an error says.
#[derive(Deserialize)]
struct Refusal {
    error: String,
}

impl Admin {
    /// Finds it, and a token to ask with.
    pub(super) async fn find(place: &WhereArgs) -> Result<Self> {
        let cluster = Cluster::connect(&place.cluster).await;
        let token = token(place, cluster.as_ref()).await?;
        if let Some(url) = &place.admin {
            let uri: Uri = url.parse().with_context(|| format!("{url} is no address"))?;
            if uri.scheme_str() != Some("http") {
                bail!("{url}: the admin API is plain HTTP at the end of a tunnel; begin with http://");
            }
            let authority = uri.authority().context("the address names no host")?.to_string();
            return Ok(Self { authority, token, _tunnel: None });
        }
        let namespace = place.cluster.namespace.as_deref().unwrap_or(NAMESPACE);
        let pod = leader(&cluster?, namespace).await?;
        let (tunnel, port) = forward(&place.cluster, namespace, &pod).await?;
        Ok(Self { authority: format!("127.0.0.1:{port}"), token, _tunnel: Some(tunnel) })
    }

    /// Who is online.
    pub(super) async fn sessions(&self, department: Option<&str>) -> Result<Sessions> {
        let query = department.map(|code| format!("?department={code}")).unwrap_or_default();
        let answer = self.ask(Method::GET, &format!("/v1/sessions{query}")).await?;
        serde_json::from_slice(&answer)
            .context("the controller's answer is not understood; is it an older one?")
    }

    /// Ends a session.
    pub(super) async fn end(&self, id: &str) -> Result<()> {
        self.ask(Method::DELETE, &format!("/v1/sessions/{id}")).await.map(drop)
    }

    async fn ask(&self, method: Method, path: &str) -> Result<Bytes> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, &self.authority)
            .header(header::AUTHORIZATION, format!("Bearer {}", self.token))
            .body(Empty::<Bytes>::new())
            .context("this cannot be asked for")?;
        let asked = async {
            let stream = tokio::net::TcpStream::connect(&self.authority).await?;
            let (mut sender, connection) =
                hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
            let connection = tokio::spawn(connection);
            let answer = sender.send_request(request).await?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
            connection.abort();
            anyhow::Ok((status, body.map_err(|error| anyhow!(error))?.to_bytes()))
        };
        let (status, body) = tokio::time::timeout(PATIENCE, asked)
            .await
            .context("the controller does not answer in time")?
            .with_context(|| format!("the admin API at {} cannot be asked", self.authority))?;
        if status == StatusCode::OK {
            return Ok(body);
        }
        let why = serde_json::from_slice(&body).map_or_else(|_| status.to_string(), |no: Refusal| no.error);
        bail!("the controller refuses: {why}")
    }
}

/// The token to ask with: as it was named, else the kubeconfig's own.
async fn token(place: &WhereArgs, cluster: Result<&Cluster, &anyhow::Error>) -> Result<String> {
    if let Some(file) = &place.token_file {
        let token =
            std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        return Ok(token.trim().to_owned());
    }
    let cluster = cluster.map_err(|error| anyhow!("{error:#}"))?;
    if let Some(account) = &place.service_account {
        return service_account(cluster, account).await;
    }
    cluster.token.clone().context(
        "your kubeconfig has no bearer token, which is all the admin API takes; \
         name one with --token-file, or ask as a service account with --service-account",
    )
}

async fn service_account(cluster: &Cluster, account: &str) -> Result<String> {
    let (namespace, name) =
        account.split_once('/').context("name the service account as <namespace>/<name>")?;
    let accounts: Api<ServiceAccount> = Api::namespaced(cluster.client.clone(), namespace);
    let spec = TokenRequestSpec { expiration_seconds: Some(TOKEN_S), ..TokenRequestSpec::default() };
    let request = TokenRequest { spec, ..TokenRequest::default() };
    let made = call(accounts.create_token_request(name, &PostParams::default(), &request)).await;
    let made = made.map_err(|failure| failure.explained(&cluster.address))?;
    made.status.map(|status| status.token).context("the API server gave no token")
}

/// The pod of the controller that leads.
async fn leader(cluster: &Cluster, namespace: &str) -> Result<String> {
    let leases: Api<Lease> = Api::namespaced(cluster.client.clone(), namespace);
    let lease = call(leases.get(LEASE)).await.map_err(|failure| {
        let hint = format!("name the controller's namespace with -n if it is not {namespace}");
        failure.explained(&cluster.address).context(hint)
    })?;
    let holder = lease.spec.and_then(|spec| spec.holder_identity).filter(|holder| !holder.is_empty());
    let holder = holder.context("no controller leads now; see its Deployment, and try again")?;
    // The holder is `<pod>_<random>`.
    Ok(holder.rsplit_once('_').map_or(holder.as_str(), |(pod, _)| pod).to_owned())
}

/// Opens kubectl's tunnel; the port of this computer that leads into it.
async fn forward(cluster: &ClusterArgs, namespace: &str, pod: &str) -> Result<(Tunnel, u16)> {
    let mut command = Command::new("kubectl");
    command.arg("port-forward").arg(format!("pod/{pod}")).arg(format!(":{PORT}"));
    command.args(["--address", "127.0.0.1", "--namespace", namespace]);
    if let Some(file) = &cluster.kubeconfig {
        command.arg("--kubeconfig").arg(file);
    }
    for (flag, value) in [("--context", &cluster.context), ("--as", &cluster.act_as)] {
        if let Some(value) = value {
            command.args([flag, value]);
        }
    }
    for group in &cluster.act_as_group {
        command.args(["--as-group", group]);
    }
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context(
            "kubectl cannot be started; put it into the PATH, or forward yourself and name --admin",
        )?;
    let said = child.stdout.take().context("kubectl has no output")?;
    let tunnel = Tunnel(child);
    let first = tokio::task::spawn_blocking(move || {
        let mut said = BufReader::new(said);
        let mut line = String::new();
        let read = said.read_line(&mut line);
        // What it says later is nobody's business, but it must not stop for it.
        std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
        read.map(|_| line)
    });
    let line = tokio::time::timeout(PATIENCE, first).await.context("kubectl opens no tunnel")???;
    let port = forwarded(&line).context("kubectl opened no tunnel; it said why above")?;
    Ok((tunnel, port))
}

/// The port in `Forwarding from 127.0.0.1:41823 -> 9090`.
fn forwarded(line: &str) -> Option<u16> {
    line.strip_prefix("Forwarding from 127.0.0.1:")?.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kubectls_word_is_understood() {
        assert_eq!(forwarded("Forwarding from 127.0.0.1:41823 -> 9090\n"), Some(41_823));
        assert_eq!(forwarded("error: unable to forward port"), None);
        assert_eq!(forwarded(""), None);
    }
}
