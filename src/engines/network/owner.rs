//! Whose process is at the other end of a loopback connection.

use std::{
    fs::File,
    io::{self, BufRead, BufReader},
    net::{IpAddr, SocketAddr},
};

/// The inode of a connection that no process holds any more; its owner's id may then be given as root's.
const ORPHAN: &str = "0";

/// True when the peer of a loopback connection belongs to a process of this process's own user. `peer` and `here` are
/// the two ends as this side sees them. Errors when the kernel's table cannot be read.
pub fn is_ours(peer: SocketAddr, here: SocketAddr) -> io::Result<bool> {
    let own = rustix::process::geteuid().as_raw();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let lines = match File::open(table) {
            Ok(file) => BufReader::new(file).lines(),
            // A machine without IPv6.
            Err(cause) if cause.kind() == io::ErrorKind::NotFound && table.ends_with('6') => continue,
            Err(cause) => return Err(io::Error::new(cause.kind(), format!("{table}: {cause}"))),
        };
        for line in lines.skip(1) {
            if let Some(owner) = owner_in(&line?, peer, here) {
                return Ok(owner == own);
            }
        }
    }
    Ok(false)
}

/// The owner that a line of the table gives, when it is the line of this connection seen from the peer and a process
/// holds it.
fn owner_in(line: &str, peer: SocketAddr, here: SocketAddr) -> Option<u32> {
    let mut words = line.split_ascii_whitespace().skip(1);
    let is = |word: Option<&str>, end: SocketAddr| word.and_then(end_in) == Some((end.ip().to_canonical(), end.port()));
    if !is(words.next(), peer) || !is(words.next(), here) {
        return None;
    }
    // Behind the state, the queues, the timer and the retransmissions; a timeout stands between the two.
    let (owner, inode) = (words.nth(4)?, words.nth(1)?);
    if inode == ORPHAN { None } else { owner.parse().ok() }
}

/// An end as the kernel writes it: the address in 32-bit words of the machine's byte order, the port as a number.
fn end_in(text: &str) -> Option<(IpAddr, u16)> {
    let (address, port) = text.split_once(':')?;
    let mut bytes = Vec::new();
    hex::decode(address).ok()?.chunks(4).for_each(|word| {
        let word: [u8; 4] = word.try_into().unwrap_or_default();
        bytes.extend(u32::from_be_bytes(word).to_ne_bytes());
    });
    let address = match bytes.len() {
        4 => IpAddr::from(<[u8; 4]>::try_from(bytes.as_slice()).ok()?),
        _ => IpAddr::from(<[u8; 16]>::try_from(bytes.as_slice()).ok()?),
    };
    Some((address.to_canonical(), u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn lines_of_the_kernels_table_are_read() {
        let line = "  12: 0100007F:C350 0100007F:1538 01 00000000:00000000 00:00000000 00000000  1000        0 99009 1 0 100 0 0 10 0";
        let mapped = line.replace("0100007F", "0000000000000000FFFF00000100007F");
        let (peer, here) = ("127.0.0.1:50000".parse().unwrap(), "127.0.0.1:5432".parse().unwrap());
        assert_eq!(owner_in(line, peer, here), Some(1000));
        assert_eq!(owner_in(&mapped, peer, here), Some(1000));
        assert_eq!(owner_in(line, here, peer), None);
        assert_eq!(owner_in(&line.replace("99009", "0"), peer, here), None);
        assert_eq!(owner_in("", peer, here), None);
        assert_eq!(end_in("00000000000000000000000001000000:0050"), Some(("::1".parse().unwrap(), 80)));
    }

    #[test]
    fn our_own_connection_is_ours_until_it_is_closed() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, peer) = listener.accept().unwrap();
        assert!(is_ours(peer, server.local_addr().unwrap()).unwrap());
        client.shutdown(std::net::Shutdown::Write).unwrap();
        assert!(is_ours(peer, server.local_addr().unwrap()).unwrap());
        drop(client);
        assert!(!is_ours(peer, server.local_addr().unwrap()).unwrap());
    }
}
