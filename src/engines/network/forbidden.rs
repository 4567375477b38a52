//! Places that no connection may go to: link-local addresses and the metadata services of clouds, which hand out the
//! machine's own credentials to whoever asks.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::net::lookup_host;

use crate::error::{Error, Result};

/// Names of metadata services, whatever they resolve to.
const NAMES: &[&str] = &[
    "metadata",
    "metadata.google.internal",
    "metadata.goog",
    "instance-data",
    "instance-data.ec2.internal",
    "metadata.tencentyun.com",
    "metadata.platformequinix.com",
];

/// Metadata services outside the link-local ranges: Alibaba Cloud, Oracle Cloud, Amazon over IPv6.
const ADDRESSES: &[IpAddr] = &[
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
];

/// The addresses of a host that this machine itself connects to. Errors when one of them is forbidden, and with the
/// system's own error when there is none. `what` names the host for people, such as `the SSH host`.
pub async fn resolve(what: &str, host: &str, port: u16) -> Result<std::io::Result<Vec<SocketAddr>>> {
    check_name(what, host)?;
    let found = match lookup_host((host, port)).await {
        Ok(found) => found.collect::<Vec<_>>(),
        Err(cause) => return Ok(Err(cause)),
    };
    match found.iter().find(|address| is_forbidden(address.ip())) {
        Some(address) => Err(refused(what, host, Some(address.ip()))),
        None => Ok(Ok(found)),
    }
}

/// Checks a host whose name another machine (an SSH server, a proxy) looks up.
pub async fn check_remote(what: &str, host: &str) -> Result<()> {
    check_name(what, host)?;
    // An address in any of its spellings (169.254.169.254, 2852039166, 0xa9fea9fe) needs no name server.
    let numeric = host.starts_with(|c: char| c.is_ascii_digit()) || host.contains(':');
    match numeric {
        true => resolve(what, host, 0).await.map(drop),
        false => Ok(()),
    }
}

fn check_name(what: &str, host: &str) -> Result<()> {
    let name = host.trim_end_matches('.').to_ascii_lowercase();
    if NAMES.contains(&name.as_str()) { Err(refused(what, host, None)) } else { Ok(()) }
}

fn is_forbidden(address: IpAddr) -> bool {
    let address = address.to_canonical();
    let link_local = match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    link_local || ADDRESSES.contains(&address)
}

fn refused(what: &str, host: &str, address: Option<IpAddr>) -> Error {
    let is = match address {
        Some(address) if address.to_string() == host => "is a link-local or metadata address".to_owned(),
        Some(address) => format!("leads to {address}, a link-local or metadata address"),
        None => "is the name of a metadata service".to_owned(),
    };
    Error::validation(format!("{what} {host} {is}: no connection is made to it")).hint("use the address of the database server itself")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn link_local_and_metadata_places_are_refused_in_every_spelling() {
        for host in [
            "169.254.169.254",
            "169.254.0.1",
            "2852039166",
            "0xa9fea9fe",
            "0251.0376.0251.0376",
            "::ffff:169.254.169.254",
            "fe80::1",
            "fd00:ec2::254",
            "100.100.100.200",
            "metadata.google.internal",
            "METADATA.google.internal.",
        ] {
            let error = resolve("the host", host, 80).await.expect_err(host).to_string();
            assert!(error.contains("metadata") && error.contains(host), "{error}");
            check_remote("the host", host).await.expect_err(host);
        }
    }

    #[tokio::test]
    async fn private_and_public_places_are_not() {
        for host in ["127.0.0.1", "10.0.0.1", "192.168.1.1", "172.17.0.1", "fd00::1", "::1", "8.8.8.8"] {
            assert!(resolve("the host", host, 5432).await.unwrap().is_ok(), "{host}");
        }
        check_remote("the host", "db.internal").await.unwrap();
        assert!(resolve("the host", "nothing.invalid", 1).await.unwrap().is_err());
    }
}
