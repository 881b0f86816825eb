//! What a pod says about itself: its metrics, through the API server's proxy.

use http::Request;
use k8s_openapi::api::core::v1::Pod;

use crate::cluster::{Cluster, Failure, call};

/// The port of a pod that answers it.
const PORT: &str = "metrics";

/// Bytes of metrics that are read.
const BYTES_MAX: usize = 4 * 1024 * 1024;

/// The samples of one pod.
#[derive(Clone, Debug, Default)]
pub(crate) struct Metrics(String);

impl Metrics {
    /// Reads `/metrics` of a pod at its port named `metrics`.
    pub(crate) async fn of_pod(cluster: &Cluster, pod: &Pod) -> Result<Self, Failure> {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
        let mut ports = containers.flat_map(|container| container.ports.iter().flatten());
        let Some(port) = ports.find(|port| port.name.as_deref() == Some(PORT)) else {
            return Err(Failure::Unreachable(format!("pod {name} has no port named {PORT}")));
        };
        let port = port.container_port;
        let path = format!("/api/v1/namespaces/{namespace}/pods/{name}:{port}/proxy/metrics");
        let request = Request::get(path).body(Vec::new());
        let request = request.map_err(|error| Failure::Unreachable(error.to_string()))?;
        let mut text = call(cluster.client.request_text(request)).await?;
        if text.len() > BYTES_MAX {
            text.clear();
        }
        Ok(Self(text))
    }

    /// What an endpoint said.
    #[cfg(test)]
    pub(crate) fn of(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The value of the first sample of a metric.
    pub(crate) fn value(&self, name: &str) -> Option<f64> {
        self.samples(name).next().and_then(|(_, value)| value.parse().ok())
    }

    /// The values of all samples of a metric together.
    pub(crate) fn sum(&self, name: &str) -> f64 {
        self.samples(name).filter_map(|(_, value)| value.parse::<f64>().ok()).sum()
    }

    /// The largest value of all samples of a metric.
    pub(crate) fn largest(&self, name: &str) -> Option<f64> {
        self.samples(name).filter_map(|(_, value)| value.parse().ok()).max_by(f64::total_cmp)
    }

    /// The value of a label of the first sample of a metric.
    pub(crate) fn label<'a>(&'a self, name: &'a str, label: &str) -> Option<&'a str> {
        let (labels, _) = self.samples(name).next()?;
        let start = format!("{label}=\"");
        labels.split(',').find_map(|pair| pair.trim().strip_prefix(start.as_str())?.strip_suffix('"'))
    }

    fn samples<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.0.lines().filter_map(move |line| {
            let rest = line.strip_prefix(name)?;
            match rest.strip_prefix('{') {
                Some(rest) => {
                    let (labels, value) = rest.rsplit_once('}')?;
                    Some((labels, value.trim()))
                }
                None => rest.strip_prefix(' ').map(|value| ("", value.trim())),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_found_by_their_whole_name() {
        let text = "# HELP a_b x\n# TYPE a_b gauge\na_b_more 3\na_b 2.5\nc{version=\"3.6.16\",x=\"y\"} 1\n\
                    d{to=\"state\"} 0\nd{to=\"store\"} 2\n";
        let metrics = Metrics(text.into());
        assert_eq!(metrics.value("a_b"), Some(2.5));
        assert_eq!(metrics.value("a"), None);
        assert_eq!(metrics.label("c", "version"), Some("3.6.16"));
        assert_eq!(metrics.label("c", "none"), None);
        assert_eq!((metrics.sum("d"), metrics.sum("e")), (2.0, 0.0));
        assert_eq!((metrics.largest("d"), metrics.largest("e")), (Some(2.0), None));
    }
}
