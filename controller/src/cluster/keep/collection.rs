//! Which documents lie together, and in objects of which kind and name.

use std::path::{Path, PathBuf};

use super::shelf::{Prefix, Shelf};

/// Credentials in one Secret.
const CREDENTIALS_MAX: usize = 64;

/// Other documents in one ConfigMap: all of them are sent when one changes.
const DOCUMENTS_MAX: usize = 128;

/// A family of documents.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Collection {
    /// `credentials/<department>/<uid>.json`: the credentials of one department, in Secrets.
    Credentials(Box<str>),
    /// `last-good/<object>.json`.
    LastGood,
    /// `uids/<object>.json`.
    Register,
    /// `activation/<department>/<account>`: which codes are laid out. The codes themselves lie in the
    /// departments' namespaces, where the controller may not look.
    Activation,
}

impl Collection {
    /// Where a document lies: its collection and its name there.
    pub(super) fn of(path: &Path) -> Option<(Self, String)> {
        let mut parts = path.iter().map(|part| part.to_str());
        let directory = parts.next()??;
        let (first, second) = (parts.next()??, parts.next());
        match (directory, second) {
            ("credentials", Some(name)) => Some((Self::Credentials(first.into()), name?.to_owned())),
            ("activation", Some(name)) => Some((Self::Activation, format!("{first}.{}", name?))),
            ("last-good", None) => Some((Self::LastGood, first.to_owned())),
            ("uids", None) => Some((Self::Register, first.to_owned())),
            _ => None,
        }
    }

    /// The path of one of its documents.
    pub(super) fn path(&self, name: &str) -> Option<PathBuf> {
        match self {
            Self::Credentials(department) => Some(Path::new("credentials").join(&**department).join(name)),
            Self::LastGood => Some(Path::new("last-good").join(name)),
            Self::Register => Some(Path::new("uids").join(name)),
            Self::Activation => {
                // A department's code has no dot.
                let (department, account) = name.split_once('.')?;
                Some(Path::new("activation").join(department).join(account))
            }
        }
    }

    /// Whether it lies in Secrets.
    pub(super) fn is_secret(&self) -> bool {
        matches!(self, Self::Credentials(_))
    }

    /// The value of the label by which its objects are found.
    pub(super) fn label(&self) -> &'static str {
        match self {
            Self::Credentials(_) => "credentials",
            Self::LastGood => "last-good",
            Self::Register => "register",
            Self::Activation => "activation",
        }
    }

    /// The name of the object that holds one of its shards.
    pub(super) fn object_name(&self, prefix: Prefix) -> String {
        match self {
            Self::Credentials(department) => format!("tidegate-credentials-{department}-{prefix}"),
            _ => format!("tidegate-{}-{prefix}", self.label()),
        }
    }

    /// What an object of this name holds.
    pub(super) fn of_object(name: &str) -> Option<(Self, Prefix)> {
        let rest = name.strip_prefix("tidegate-")?;
        let mut parts = rest.rsplitn(3, '-');
        let (value, bits) = (parts.next()?, parts.next()?);
        let prefix = Prefix::parse(bits, value)?;
        let collection = match parts.next()? {
            "last-good" => Self::LastGood,
            "register" => Self::Register,
            "activation" => Self::Activation,
            other => Self::Credentials(other.strip_prefix("credentials-")?.into()),
        };
        Some((collection, prefix))
    }

    /// An empty shelf for it.
    pub(super) fn shelf(&self) -> Shelf {
        Shelf::new(if self.is_secret() { CREDENTIALS_MAX } else { DOCUMENTS_MAX })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_names_of_objects_lead_back() {
        for path in [
            "credentials/sbj/0b1c2d3e-0000-4000-8000-000000000001.json",
            "activation/sbj/li.qiang",
            "last-good/resource-dept-sbj-portal.json",
            "uids/vpnuser-dept-sbj-li.json",
        ] {
            let (collection, name) = Collection::of(Path::new(path)).unwrap();
            assert_eq!(collection.path(&name).as_deref(), Some(Path::new(path)));
            let prefix = Prefix::parse("3", "5").unwrap();
            let object = collection.object_name(prefix);
            assert_eq!(Collection::of_object(&object), Some((collection, prefix)), "{object}");
        }
        for path in ["keys/root", "credentials/sbj", "uids", ""] {
            assert_eq!(Collection::of(Path::new(path)), None);
        }
        for name in ["tidegate-root", "tidegate-pool-main", "tidegate-term", "tidegate-credentials-sbj-40-0"]
        {
            assert_eq!(Collection::of_object(name), None);
        }
    }
}
