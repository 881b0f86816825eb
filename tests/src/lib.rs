//! What the test binaries of this package share.
//!
//! - [`tree`]: the files of the repository
//! - [`findings`]: failing with everything that is wrong, in sentences
//! - [`manifest`]: YAML documents as JSON values, folders of manifests as objects
//! - [`wait`]: waiting for a condition, with a deadline
//! - [`process`]: programs that end with the test
//! - [`endpoint`]: what our programs say about themselves
//! - [`place`]: beside the test, or inside the namespaces of a node
//! - [`network`]: a network of a test's own
//! - [`control_plane`]: a real etcd and Kubernetes API server
//! - [`pod`]: a gateway's pod where nothing runs pods
//! - [`base64`]: the values of Secrets
//! - [`programs`]: where the real programs are
//! - [`helm`]: the chart as Helm renders it
//! - [`promtool`]: what Prometheus has against metrics
//! - [`node`]: a real cluster with pods, in namespaces of its own

pub mod base64;
pub mod control_plane;
pub mod endpoint;
pub mod findings;
pub mod helm;
pub mod manifest;
pub mod network;
pub mod node;
pub mod place;
pub mod pod;
pub mod process;
pub mod programs;
pub mod promtool;
pub mod tree;
pub mod wait;
