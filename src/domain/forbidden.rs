//! Places that no connection may go to: link-local addresses and the metadata services of clouds, which hand out the
//! machine's own credentials to whoever asks. Looking names up is the caller's part.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

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

/// Refuses the name of a metadata service. `what` names the host for people, such as `the SSH host`.
pub fn check_name(what: &str, host: &str) -> Result<()> {
    let name = host.trim_end_matches('.').to_ascii_lowercase();
    if NAMES.contains(&name.as_str()) { Err(refused(what, host, None)) } else { Ok(()) }
}

/// Refuses a host when one of the addresses that its name leads to is link-local or a metadata service.
pub fn check_addresses(what: &str, host: &str, mut addresses: impl Iterator<Item = IpAddr>) -> Result<()> {
    addresses.find(|address| is_forbidden(*address)).map_or(Ok(()), |address| Err(refused(what, host, Some(address))))
}

/// Refuses a host that says by itself, without a look at a name server, that it leads to such a place: by its name, or as an
/// address in any spelling that connections take (`2852039166` is 169.254.169.254).
pub fn check_host(what: &str, host: &str) -> Result<()> {
    let bare = host.trim().trim_matches(['[', ']']);
    let address = bare.split('%').next().unwrap_or_default();
    let address = match address.parse::<IpAddr>() {
        Ok(address) => Some(address),
        Err(_) => match Host::parse(address) {
            Ok(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
            _ => None,
        },
    };
    check_name(what, bare)?;
    check_addresses(what, bare, address.into_iter())
}

/// Refuses an address that says by itself, without a look at a name server, that it leads to such a place.
pub fn check_url(what: &str, url: &Url) -> Result<()> {
    match url.host() {
        Some(Host::Domain(name)) => check_name(what, name),
        Some(Host::Ipv4(address)) => check_addresses(what, &address.to_string(), [IpAddr::V4(address)].into_iter()),
        Some(Host::Ipv6(address)) => check_addresses(what, &address.to_string(), [IpAddr::V6(address)].into_iter()),
        None => Ok(()),
    }
}

fn is_forbidden(address: IpAddr) -> bool {
    let address = address.to_canonical();
    if ADDRESSES.contains(&address) {
        return true;
    }
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local() || carried(address).is_some_and(|inner| is_forbidden(IpAddr::V4(inner))),
    }
}

/// The IPv4 address that an IPv6 address leads to through a translator: NAT64, 6to4 and the old compatible form.
fn carried(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let part = address.segments();
    let join = |high: u16, low: u16| Ipv4Addr::from(u32::from(high) << 16 | u32::from(low));
    match part {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0, 0, 0, 0, 0, 0, high, low] => Some(join(high, low)),
        [0x2002, high, low, ..] => Some(join(high, low)),
        _ => None,
    }
}

fn refused(what: &str, host: &str, address: Option<IpAddr>) -> Error {
    let is = match address {
        Some(address) if address.to_string() == host => "is a link-local or metadata address".to_owned(),
        Some(address) => format!("leads to {address}, a link-local or metadata address"),
        None => "is the name of a metadata service".to_owned(),
    };
    Error::validation(format!("{what} {host} {is}: no connection is made to it")).hint("use the address of the server itself")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(address: &str) -> Result<()> {
        check_addresses("the host", address, [address.parse().unwrap()].into_iter())
    }

    #[test]
    fn an_address_of_the_web_is_refused_by_its_looks() {
        for url in ["http://169.254.169.254/latest", "https://2852039166/", "http://[fd00:ec2::254]/", "http://metadata.google.internal/x"]
        {
            check_url("the host", &Url::parse(url).unwrap()).expect_err(url);
        }
        for url in ["http://127.0.0.1:3999/hook", "https://hooks.example.org/x", "http://[::1]/"] {
            check_url("the host", &Url::parse(url).unwrap()).unwrap();
        }
    }

    #[test]
    fn a_host_is_refused_by_its_looks_in_every_spelling() {
        for host in [
            "169.254.169.254",
            "2852039166",
            "0xa9.0xfe.0xa9.0xfe",
            "[fe80::1]",
            "fe80::1%eth0",
            "::ffff:169.254.169.254",
            "fd00:ec2::254",
            "Metadata.Google.Internal.",
            " 169.254.1.1 ",
        ] {
            check_host("the mail server", host).expect_err(host);
        }
        for host in ["mail.example.org", "127.0.0.1", "::1", "[::1]", "10.1.2.3", "mail", "xn--bcher-kva.example", ""] {
            check_host("the mail server", host).unwrap();
        }
    }

    #[test]
    fn addresses_that_a_translator_leads_to_a_metadata_service_are_refused_too() {
        for address in ["64:ff9b::169.254.169.254", "2002:a9fe:a9fe::1", "::169.254.169.254", "::ffff:100.100.100.200"] {
            let error = check(address).expect_err(address).to_string();
            assert!(error.contains("metadata"), "{error}");
        }
    }

    #[test]
    fn addresses_of_private_networks_and_of_this_machine_are_not_refused() {
        for address in ["127.0.0.1", "::1", "10.0.0.1", "fd00::1", "2002:0a00:0001::1", "64:ff9b::8.8.8.8"] {
            check(address).unwrap();
        }
    }
}
