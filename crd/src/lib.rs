//! Kubernetes types and schema, and their conversion to core.
//!
//! ```text
//!  types (Rust) --kube derive--> definitions() --> chart, reference, and here:
//!
//!  manifest (JSON value) --validate(kind, value, old)--> violations: schema, rules, features not built
//!  manifest              --convert(kind, value, ctx)---> Form in core's words, or violations
//! ```
//!
//! An API server applies the same schema and the same rules to what is written in a cluster; a
//! folder of manifests has only [`validate`]. [`convert`] refuses what no schema can say. Each
//! [`Violation`] names the field, has a stable code and says what to write instead.

pub mod convert;
mod definition;
mod kind;
mod reference;
pub mod types;
mod validate;
mod violation;
mod yaml;

pub use convert::{Form, convert};
pub use definition::{chart_file, definition, schema};
pub use kind::{API_VERSION, GROUP, Kind, VERSION};
pub use reference::reference;
pub use validate::{cluster_only, validate};
pub use violation::Violation;
