//! Whose request it is: the portal's, a system's, or nobody's.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use http::request::Parts;
use http::{HeaderValue, header};
use tidegate_core::{Code, ResourceId, Snapshot};

use crate::shared::Names;

/// Hosts a shard remembers; more begin anew.
const SITES_MAX: usize = 4_096;

/// A system with a host of its own.
pub(crate) struct Site {
    /// The system.
    pub(crate) id: ResourceId,
    /// Its host, lower case, without a port.
    pub(crate) host: String,
    /// Its origin as browsers write it.
    pub(crate) origin: HeaderValue,
    /// Its host and port as browsers write them.
    pub(crate) authority: HeaderValue,
}

/// Where a request goes.
pub(crate) enum Target {
    /// To the portal.
    Portal,
    /// To a system, which may not exist.
    Site(Rc<Site>),
}

/// The hosts a shard has seen lately, by the text they were asked for with.
#[derive(Default)]
pub(crate) struct Sites {
    known: RefCell<HashMap<Box<str>, Rc<Site>>>,
}

impl Sites {
    /// Where a request for `authority` goes.
    pub(crate) fn target(
        &self,
        names: &Names,
        snapshot: Option<&Snapshot>,
        authority: &str,
    ) -> Result<Target, Code> {
        if let Some(site) = self.known.borrow().get(authority) {
            return Ok(Target::Site(Rc::clone(site)));
        }
        let host = host_of(authority).ok_or(Code::HostRefused)?;
        if host == names.portal {
            return Ok(Target::Portal);
        }
        let id = names.resources.then(|| resource_of(&host, &names.portal)).flatten();
        let id = id.ok_or(Code::HostRefused)?;
        let origin = names.resource_origin(&id);
        let text = |text: &str| HeaderValue::try_from(text).map_err(|_| Code::HostRefused);
        let site = Rc::new(Site {
            origin: text(&origin)?,
            authority: text(origin.strip_prefix("https://").unwrap_or(&origin))?,
            id,
            host,
        });
        // Only what exists is kept: guessed names must not push real ones out.
        if snapshot.is_some_and(|snapshot| snapshot.resource(&site.id).is_some()) {
            let mut known = self.known.borrow_mut();
            if known.len() >= SITES_MAX {
                known.clear();
            }
            known.insert(authority.into(), Rc::clone(&site));
        }
        Ok(Target::Site(site))
    }

    /// Forgets everything; for a new snapshot.
    pub(crate) fn clear(&self) {
        self.known.borrow_mut().clear();
    }
}

/// The host and port a request is for; refused when it names none or two.
pub(crate) fn authority(parts: &Parts) -> Result<&str, Code> {
    let mut hosts = parts.headers.get_all(header::HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => Some(host.to_str().map_err(|_| Code::HostRefused)?),
        (None, _) => None,
        (Some(_), Some(_)) => return Err(Code::HostRefused),
    };
    let target = parts.uri.authority().map(|authority| authority.as_str());
    match (target, host) {
        (Some(target), Some(host)) if !target.eq_ignore_ascii_case(host) => Err(Code::HostRefused),
        (Some(name), _) | (None, Some(name)) => Ok(name),
        (None, None) => Err(Code::HostRefused),
    }
}

/// The host in `authority`, lower case, without port and final dot.
pub(crate) fn host_of(authority: &str) -> Option<String> {
    if authority.len() > 300 || authority.contains(['@', '/', '\\']) {
        return None;
    }
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        // The colons of an IPv6 address are inside its brackets.
        _ => authority,
    };
    let host = host.strip_suffix('.').unwrap_or(host);
    (!host.is_empty()).then(|| host.to_ascii_lowercase())
}

/// The system whose host this is: `<resource>-<code>.<portal>`, split at the last hyphen.
pub(crate) fn resource_of(host: &str, portal: &str) -> Option<ResourceId> {
    let label = host.strip_suffix(portal)?.strip_suffix('.')?;
    if label.contains('.') {
        return None;
    }
    let (name, code) = label.rsplit_once('-')?;
    Some(ResourceId { department: code.parse().ok()?, name: name.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(names: &Names, authority: &str) -> Result<Option<String>, Code> {
        Sites::default().target(names, None, authority).map(|target| match target {
            Target::Portal => None,
            Target::Site(site) => Some(format!("{} {:?}", site.id, site.origin)),
        })
    }

    #[test]
    fn hosts_lead_to_portal_and_systems() {
        let names = Names::new("vpn.example", 8443);
        assert_eq!(target(&names, "vpn.example:8443"), Ok(None));
        assert_eq!(target(&names, "VPN.Example."), Ok(None));
        let site = Ok(Some("sbj/pension-new \"https://pension-new-sbj.vpn.example:8443\"".to_owned()));
        assert_eq!(target(&names, "pension-new-sbj.vpn.example"), site);
        assert_eq!(target(&names, "Pension-New-SBJ.vpn.example:443"), site);
        for refused in [
            "",
            "example",
            "pension.vpn.example",
            "a.pension-sbj.vpn.example",
            "-sbj.vpn.example",
            "pension-.vpn.example",
            "pension-sbj.vpn.example.evil",
            "xvpn.example",
            "user@vpn.example",
            "vpn.example/x",
        ] {
            assert_eq!(target(&names, refused), Err(Code::HostRefused), "{refused}");
        }
    }

    #[test]
    fn on_a_bare_address_there_is_only_the_portal() {
        let names = Names::new("192.0.2.1", 443);
        assert_eq!(target(&names, "192.0.2.1"), Ok(None));
        assert_eq!(target(&names, "pension-sbj.192.0.2.1"), Err(Code::HostRefused));
        let names = Names::new("2001:db8::1", 443);
        assert_eq!(target(&names, "[2001:db8::1]:443"), Ok(None));
    }

    #[test]
    fn two_hosts_are_none() {
        let parts = |uri: &str, hosts: &[&str]| {
            let request = hosts
                .iter()
                .fold(http::Request::builder().uri(uri), |request, host| request.header(header::HOST, *host));
            request.body(()).expect("a request").into_parts().0
        };
        assert_eq!(authority(&parts("/", &["a"])), Ok("a"));
        assert_eq!(authority(&parts("https://a/", &[])), Ok("a"));
        assert_eq!(authority(&parts("https://a/", &["A"])), Ok("a"));
        for (uri, hosts) in [("/", [].as_slice()), ("/", &["a", "a"]), ("https://a/", &["b"])] {
            assert_eq!(authority(&parts(uri, hosts)), Err(Code::HostRefused));
        }
    }
}
