//! Stylesheet, script and site icons: embedded, addressed by their content, cached for ever.

use std::sync::LazyLock;

use aws_lc_rs::digest::{SHA256, digest};

/// Where the gateway's own paths begin on every host; never forwarded to a business system.
pub(crate) const OWN_PREFIX: &str = "/.tidegate/";

/// A file served as it is.
#[derive(Clone, Copy)]
pub(crate) struct Asset {
    pub(crate) name: &'static str,
    pub(crate) content_type: &'static str,
    pub(crate) bytes: &'static [u8],
}

const ASSETS: [Asset; 5] = [
    Asset {
        name: "style.css",
        content_type: "text/css; charset=utf-8",
        bytes: include_bytes!("../../assets/style.css"),
    },
    Asset {
        name: "portal.js",
        content_type: "text/javascript; charset=utf-8",
        bytes: include_bytes!("../../assets/portal.js"),
    },
    Asset {
        name: "favicon.svg",
        content_type: "image/svg+xml",
        bytes: include_bytes!("../../assets/icons/favicon.svg"),
    },
    Asset {
        name: "favicon.ico",
        content_type: "image/x-icon",
        bytes: include_bytes!("../../assets/icons/favicon.ico"),
    },
    Asset {
        name: "touch-180.png",
        content_type: "image/png",
        bytes: include_bytes!("../../assets/icons/touch-180.png"),
    },
];

/// The path of each asset; the digest in it changes with the content.
static PATHS: LazyLock<[String; 5]> = LazyLock::new(|| {
    ASSETS.map(|asset| {
        let sum = digest(&SHA256, asset.bytes);
        let short: String = sum.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        format!("{OWN_PREFIX}{short}/{}", asset.name)
    })
});

/// The path of the asset called `name`.
pub(crate) fn path(name: &str) -> String {
    ASSETS
        .iter()
        .zip(PATHS.iter())
        .find(|(asset, _)| asset.name == name)
        .map_or_else(String::new, |(_, path)| path.clone())
}

/// The asset at `path`.
pub(crate) fn at(path: &str) -> Option<Asset> {
    ASSETS.iter().zip(PATHS.iter()).find(|(_, own)| *own == path).map(|(asset, _)| *asset)
}

/// The asset called `name`, for the one address browsers ask for unasked.
pub(crate) fn named(name: &str) -> Option<Asset> {
    ASSETS.iter().find(|asset| asset.name == name).copied()
}
