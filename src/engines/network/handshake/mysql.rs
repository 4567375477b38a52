//! MySQL and MariaDB: the server greets, the client answers with an SSLRequest packet, then TLS begins
//! (Client/Server Protocol, Connection Phase, Protocol::HandshakeV10 and Protocol::SSLRequest).

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

/// Longest greeting or refusal, bytes.
const LONGEST: usize = 16 * 1024;
/// Payload of an SSLRequest, bytes.
const REQUEST: usize = 32;

const CLIENT_PROTOCOL_41: u32 = 1 << 9;
const CLIENT_SSL: u32 = 1 << 11;
const CLIENT_SECURE_CONNECTION: u32 = 1 << 15;
const CLIENT_PLUGIN_AUTH: u32 = 1 << 19;

/// What a server says first.
#[derive(Debug, PartialEq, Eq)]
pub enum Opening {
    Greeting {
        /// The whole packet, to be passed on.
        packet: Vec<u8>,
        tls: bool,
    },
    /// It wants no connection.
    Refusal { code: u16, message: String },
    /// It is no such server.
    Strange,
}

/// Reads the server's first packet.
pub async fn opening(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Opening> {
    let mut header = [0; 4];
    stream.read_exact(&mut header).await?;
    let length = u32::from_le_bytes([header[0], header[1], header[2], 0]) as usize;
    if header[3] != 0 || !(1..=LONGEST).contains(&length) {
        return Ok(Opening::Strange);
    }
    let mut packet = header.to_vec();
    packet.resize(header.len() + length, 0);
    stream.read_exact(&mut packet[header.len()..]).await?;
    Ok(read_opening(packet))
}

fn read_opening(packet: Vec<u8>) -> Opening {
    match packet.get(4) {
        Some(0xff) => refusal(&packet[5..]),
        Some(10) => match capabilities(&packet[5..]) {
            Some(capabilities) => Opening::Greeting { tls: capabilities & CLIENT_SSL != 0, packet },
            None => Opening::Strange,
        },
        _ => Opening::Strange,
    }
}

/// The lower capability flags: behind the version, the connection's id (4), random bytes (8) and a zero.
fn capabilities(greeting: &[u8]) -> Option<u32> {
    let version = greeting.iter().position(|byte| *byte == 0)?;
    let at = version + 1 + 4 + 8 + 1;
    Some(u32::from(u16::from_le_bytes(greeting.get(at..at + 2)?.try_into().ok()?)))
}

/// An error packet: its code, perhaps `#` and the SQL state, the words.
fn refusal(text: &[u8]) -> Opening {
    let Some((code, words)) = text.split_first_chunk::<2>() else { return Opening::Strange };
    let words = if words.first() == Some(&b'#') { words.get(6..).unwrap_or_default() } else { words };
    Opening::Refusal { code: u16::from_le_bytes(*code), message: String::from_utf8_lossy(words).into_owned() }
}

/// Reads a client's answer to the greeting; `None` when it does not begin TLS.
pub async fn ssl_request(client: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<[u8; 4 + REQUEST]>> {
    let mut packet = [0; 4 + REQUEST];
    client.read_exact(&mut packet).await?;
    let flags = u32::from_le_bytes([packet[4], packet[5], packet[6], packet[7]]);
    let is_request = packet[..4] == [REQUEST as u8, 0, 0, 1] && flags & CLIENT_SSL != 0;
    Ok(is_request.then_some(packet))
}

/// An SSLRequest of our own: for a connection that ends after the handshake.
pub fn own_ssl_request() -> [u8; 4 + REQUEST] {
    const UTF8MB4: u8 = 45;
    let flags = CLIENT_PROTOCOL_41 | CLIENT_SSL | CLIENT_SECURE_CONNECTION | CLIENT_PLUGIN_AUTH;
    let mut packet = [0; 4 + REQUEST];
    packet[..4].copy_from_slice(&[REQUEST as u8, 0, 0, 1]);
    packet[4..8].copy_from_slice(&flags.to_le_bytes());
    packet[8..12].copy_from_slice(&(1_u32 << 24).to_le_bytes());
    packet[12] = UTF8MB4;
    packet
}

#[cfg(test)]
mod tests {
    use super::*;

    fn greeting(flags: u16) -> Vec<u8> {
        let mut packet = vec![0, 0, 0, 0, 10];
        packet.extend(b"9.7.0\0");
        packet.extend([1; 12]);
        packet.push(0);
        packet.extend(flags.to_le_bytes());
        packet.extend([0; 30]);
        packet[0] = u8::try_from(packet.len() - 4).unwrap();
        packet
    }

    #[tokio::test]
    async fn a_greeting_is_read_to_its_last_byte_and_no_further() {
        for (flags, tls) in [(0x0800, true), (0xf7ff, false)] {
            let packet = greeting(flags);
            let sent = [packet.clone(), b"more".to_vec()].concat();
            let mut stream = sent.as_slice();
            assert_eq!(opening(&mut stream).await.unwrap(), Opening::Greeting { packet, tls });
            assert_eq!(stream, b"more");
        }
    }

    #[tokio::test]
    async fn what_is_no_greeting_is_told_apart() {
        let check = async |sent: &[u8], expect: Opening| assert_eq!(opening(&mut &*sent).await.unwrap(), expect, "{sent:?}");
        let refusal = |message: &str| Opening::Refusal { code: 1040, message: message.to_owned() };
        check(b"\x0b\0\0\0\xff\x10\x04too many", refusal("too many")).await;
        check(b"\x11\0\0\0\xff\x10\x04#08004too many", refusal("too many")).await;
        check(b"\x03\0\0\0\xff\x10\x04", refusal("")).await;
        check(b"\x02\0\0\0\xff\x10", Opening::Strange).await;
        check(b"\x05\0\0\0\x0a8.0\0", Opening::Strange).await;
        check(b"\xff\xff\xff\0", Opening::Strange).await;
        check(b"SSH-2.0-x\r\n", Opening::Strange).await;
        check(b"\0\0\0\0", Opening::Strange).await;
        assert!(opening(&mut &b"\x40\0\0\0\x0a8.0"[..]).await.is_err());
    }

    #[tokio::test]
    async fn only_a_request_for_tls_is_taken_for_one() {
        let ours = own_ssl_request();
        assert_eq!(ssl_request(&mut &ours[..]).await.unwrap(), Some(ours));
        let mut plain = ours;
        plain[5] &= !0x08;
        assert_eq!(ssl_request(&mut &plain[..]).await.unwrap(), None);
    }
}
