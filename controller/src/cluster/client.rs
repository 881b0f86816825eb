//! The connection to the Kubernetes API.

use std::time::Duration;

use kube_client::config::InferConfigError;
use kube_client::{Client, Config};
use tidegate_core::Code;

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(5);

/// How long a request may take, its answer included. Watches have an end of their own.
pub const CALL: Duration = Duration::from_secs(15);

/// The Kubernetes API cannot be used as configured.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// There is neither a kubeconfig nor a service account.
    #[error("{code} there is no way to the Kubernetes API: {0}; run in a pod with a service account, or set KUBECONFIG", code = Code::StateUnusable)]
    NotConfigured(#[source] Box<InferConfigError>),
    /// What is configured cannot be used.
    #[error("{code} the way to the Kubernetes API cannot be used: {0}; look at the certificates it names", code = Code::StateUnusable)]
    Unusable(#[source] Box<kube_client::Error>),
}

/// The API as `KUBECONFIG` or the pod's service account says. Makes no request yet; has to be called
/// within the runtime that is to carry its requests.
pub async fn connect() -> Result<Client, ConnectError> {
    let config = Config::infer().await.map_err(|error| ConnectError::NotConfigured(Box::new(error)))?;
    with_config(config)
}

/// The API at a known place.
pub fn with_config(mut config: Config) -> Result<Client, ConnectError> {
    config.connect_timeout = Some(CONNECT);
    config.write_timeout = Some(CALL);
    Client::try_from(config).map_err(|error| ConnectError::Unusable(Box::new(error)))
}
