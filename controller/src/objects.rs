//! Objects as the controller takes them, wherever they come from.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::sync::{Arc, LazyLock};

use crate::digest::{hex, sha256};

/// Longest file name made from an object's name, without its suffix.
const FILE_STEM_MAX: usize = 200;

pub use tidegate_crd::Kind as ObjectKind;

/// Which object is meant: kind, namespace (empty for cluster-scoped kinds) and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    /// The kind.
    pub kind: ObjectKind,
    /// The namespace; empty for cluster-scoped kinds.
    pub namespace: Arc<str>,
    /// The name.
    pub name: Arc<str>,
}

/// Whose objects are judged together: the namespace they lie in, or [`PLATFORM`].
pub type TenantName = Arc<str>;

/// The tenant of the kinds that are about all departments.
pub static PLATFORM: LazyLock<TenantName> = LazyLock::new(|| Arc::from(""));

impl ObjectKey {
    /// A key from its parts.
    #[must_use]
    pub fn new(kind: ObjectKind, namespace: &str, name: &str) -> Self {
        Self { kind, namespace: namespace.into(), name: name.into() }
    }

    /// The tenant it belongs to.
    #[must_use]
    pub fn tenant(&self) -> &TenantName {
        match self.kind {
            ObjectKind::Department | ObjectKind::ClusterAccessPolicy | ObjectKind::VpnGateway => &PLATFORM,
            ObjectKind::VpnUser
            | ObjectKind::Resource
            | ObjectKind::AccessPolicy
            | ObjectKind::Recertification => &self.namespace,
        }
    }

    /// A file name that is this object's alone: `<kind>-<namespace>-<name>`, unambiguous since a
    /// department's namespace has exactly one hyphen. Whatever a broken manifest calls itself, the
    /// name stays inside its directory.
    #[must_use]
    pub(crate) fn file_stem(&self) -> String {
        let mut stem = self.kind.as_str().to_ascii_lowercase();
        for part in [&self.namespace, &self.name] {
            if part.is_empty() {
                continue;
            }
            stem.push('-');
            for byte in part.bytes() {
                if byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.') {
                    stem.push(char::from(byte));
                } else {
                    // Writing to a String cannot fail.
                    let _ = write!(stem, "_{byte:02x}");
                }
            }
        }
        if stem.len() > FILE_STEM_MAX {
            let digest = hex(&sha256(stem.as_bytes()));
            stem.truncate(FILE_STEM_MAX - digest.len());
            stem.push_str(&digest);
        }
        stem
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind.as_str();
        if self.namespace.is_empty() {
            write!(f, "{kind} {}", self.name)
        } else {
            write!(f, "{kind} {}/{}", self.namespace, self.name)
        }
    }
}

/// Builds a map anew: one that was filled in order has nodes that are half empty, and there are very many.
pub(crate) fn pack<K: Ord, V>(map: &mut BTreeMap<K, V>) {
    *map = std::mem::take(map).into_iter().collect();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_stay_inside_their_directory() {
        let plain = ObjectKey::new(ObjectKind::VpnUser, "dept-sbj", "li.qiang");
        assert_eq!(plain.file_stem(), "vpnuser-dept-sbj-li.qiang");
        let hostile = ObjectKey::new(ObjectKind::Resource, "../..", "a/b\0海");
        assert_eq!(hostile.file_stem(), "resource-.._2f..-a_2fb_00_e6_b5_b7");
        let long = ObjectKey::new(ObjectKind::Resource, "dept-sbj", &"x".repeat(1_000));
        assert_eq!(long.file_stem().len(), FILE_STEM_MAX);
    }
}
