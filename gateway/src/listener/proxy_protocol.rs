//! PROXY protocol, version 2: a balancer says whose connection it passes on.
//!
//! ```text
//!  12 bytes of signature | version 2 and command | family | length 2 | addresses | TLVs
//! ```
//!
//! Only networks that the configuration lists are believed, and from them every connection must begin so:
//! otherwise somebody who finds the way around the balancer would be taken for it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tokio::io::{AsyncRead, AsyncReadExt as _};

#[cfg(test)]
mod tests;

/// What no other protocol begins with.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Bytes before the addresses.
const FIXED: usize = 16;
/// Addresses and TLVs at most; balancers send some hundred bytes.
const REST_MAX: usize = 4_096;

/// Version 2 with its two commands.
const LOCAL: u8 = 0x20;
const PROXY: u8 = 0x21;
/// The families of addresses that are looked at; UDP is spoken by nobody here.
const UNSPECIFIED: u8 = 0x00;
const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;

/// The connection does not begin with a header that can be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the connection does not begin with a PROXY protocol header, version 2")]
pub(crate) struct NoHeader;

/// Reads the header and nothing beyond it. `None`: the balancer speaks for itself, as its health checks do.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<Option<IpAddr>, NoHeader> {
    let mut fixed = [0; FIXED];
    stream.read_exact(&mut fixed).await.map_err(|_| NoHeader)?;
    let mut rest = vec![0; rest_of(&fixed)?];
    stream.read_exact(&mut rest).await.map_err(|_| NoHeader)?;
    source(&fixed, &rest)
}

/// How many bytes follow the fixed part.
fn rest_of(fixed: &[u8; FIXED]) -> Result<usize, NoHeader> {
    let [.., high, low] = *fixed;
    let rest = usize::from(u16::from_be_bytes([high, low]));
    if fixed.starts_with(&SIGNATURE) && rest <= REST_MAX { Ok(rest) } else { Err(NoHeader) }
}

/// Whose connection it is.
fn source(fixed: &[u8; FIXED], rest: &[u8]) -> Result<Option<IpAddr>, NoHeader> {
    let [.., command, family, _, _] = *fixed;
    match (command, family) {
        // What stands in the addresses of a LOCAL connection is to be ignored.
        (LOCAL, _) | (PROXY, UNSPECIFIED) => Ok(None),
        // Source and destination address, source and destination port.
        (PROXY, TCP4) if rest.len() >= 12 => {
            let source = rest.first_chunk::<4>().ok_or(NoHeader)?;
            Ok(Some(IpAddr::V4(Ipv4Addr::from(*source))))
        }
        (PROXY, TCP6) if rest.len() >= 36 => {
            let source = rest.first_chunk::<16>().ok_or(NoHeader)?;
            Ok(Some(IpAddr::V6(Ipv6Addr::from(*source)).to_canonical()))
        }
        _ => Err(NoHeader),
    }
}

/// What is read from bytes that are there, for fuzz targets: the source and how many bytes were used.
pub(crate) fn parse(bytes: &[u8]) -> Result<(Option<IpAddr>, usize), NoHeader> {
    let (fixed, rest) = bytes.split_first_chunk::<FIXED>().ok_or(NoHeader)?;
    let length = rest_of(fixed)?;
    let rest = rest.get(..length).ok_or(NoHeader)?;
    Ok((source(fixed, rest)?, FIXED + length))
}
