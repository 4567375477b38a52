//! Looking up hosts, with those left out that no connection may go to (`domain::forbidden`).

use std::net::SocketAddr;

use tokio::net::lookup_host;

use crate::{
    domain::forbidden::{check_addresses, check_name},
    error::Result,
};

/// The addresses of a host that this machine itself connects to. Errors when one of them is forbidden, and with the
/// system's own error when there is none. `what` names the host for people, such as `the SSH host`.
pub async fn resolve(what: &str, host: &str, port: u16) -> Result<std::io::Result<Vec<SocketAddr>>> {
    check_name(what, host)?;
    let found = match lookup_host((host, port)).await {
        Ok(found) => found.collect::<Vec<_>>(),
        Err(cause) => return Ok(Err(cause)),
    };
    check_addresses(what, host, found.iter().map(SocketAddr::ip))?;
    Ok(Ok(found))
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
