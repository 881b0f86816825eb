//! Kubernetes types and schema, and their conversion to core.
