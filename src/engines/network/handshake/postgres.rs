//! PostgreSQL: an SSLRequest, answered by one byte (Frontend/Backend Protocol, 54.2.11 SSL Session Encryption), and the
//! beginning of a session that is encrypted on one side of the relay alone.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Length, then the code 80877103.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];
/// The same for encryption by GSSAPI, 80877104.
const GSS_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 48];
/// The code 80877102, to which the server answers nothing.
const CANCEL_REQUEST: [u8; 4] = [4, 210, 22, 46];
/// Longest first message of a client, bytes; the server's own limit.
const LONGEST_START: usize = 10_000;
/// Longest message that a server sends before it asks for a login, bytes.
const LONGEST_REPLY: usize = 64 * 1024;
/// AuthenticationSASL.
const SASL: [u8; 4] = [0, 0, 0, 10];
const CHANNEL_BINDING: &[u8] = b"-PLUS";

/// What the server says to TLS.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    Willing,
    /// It goes on without.
    Unwilling,
    /// It is no such server, or says an error. Its words would come from anybody on the way, and are left unread.
    Strange,
}

/// Asks for TLS.
pub async fn ask(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> io::Result<Answer> {
    stream.write_all(&SSL_REQUEST).await?;
    stream.flush().await?;
    Ok(match stream.read_u8().await? {
        b'S' => Answer::Willing,
        b'N' => Answer::Unwilling,
        _ => Answer::Strange,
    })
}

/// Carries a session to the server's request for a login, and takes the ways of it out that bind the login to the TLS
/// of the connection: the client's has none, and libpq takes the offer of such a way for an attack.
pub async fn introduce(
    client: &mut (impl AsyncRead + AsyncWrite + Unpin),
    server: &mut (impl AsyncRead + AsyncWrite + Unpin),
) -> io::Result<()> {
    let start = loop {
        let start = match sized(client, Vec::new(), LONGEST_START).await {
            // It has gone again.
            Err(cause) if cause.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            start => start?,
        };
        if start != SSL_REQUEST && start != GSS_REQUEST {
            break start;
        }
        client.write_all(b"N").await?;
    };
    server.write_all(&start).await?;
    server.flush().await?;
    if start.get(4..8) == Some(&CANCEL_REQUEST) {
        return Ok(());
    }
    loop {
        let kind = match server.read_u8().await {
            Ok(kind) => kind,
            // It has closed the connection without a word, as the client will see.
            Err(cause) if cause.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(cause) => return Err(cause),
        };
        let reply = sized(server, vec![kind], LONGEST_REPLY).await?;
        match kind {
            b'R' => return client.write_all(&without_binding(reply)).await,
            b'v' | b'N' => client.write_all(&reply).await?,
            _ => return client.write_all(&reply).await,
        }
    }
}

/// The rest of a message that begins with its length.
async fn sized(stream: &mut (impl AsyncRead + Unpin), mut message: Vec<u8>, longest: usize) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).await?;
    let rest = (u32::from_be_bytes(length) as usize).checked_sub(length.len()).filter(|rest| *rest <= longest);
    let rest = rest.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a message has an impossible length"))?;
    message.extend(length);
    let from = message.len();
    message.resize(from + rest, 0);
    stream.read_exact(&mut message[from..]).await?;
    Ok(message)
}

fn without_binding(reply: Vec<u8>) -> Vec<u8> {
    let Some(list) = reply.get(5..).and_then(|rest| rest.strip_prefix(&SASL)) else { return reply };
    let mut kept = SASL.to_vec();
    for name in list.split(|byte| *byte == 0).filter(|name| !name.is_empty() && !name.ends_with(CHANNEL_BINDING)) {
        kept.extend(name);
        kept.push(0);
    }
    kept.push(0);
    let length = u32::try_from(kept.len() + 4).unwrap_or(u32::MAX).to_be_bytes();
    [b"R".as_slice(), &length, &kept].concat()
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;

    use super::*;

    /// What the server and the client get, when they send these.
    async fn introduced(from_client: &[u8], from_server: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let ((mut client, mut one), (mut server, mut other)) = (duplex(65_536), duplex(65_536));
        client.write_all(from_client).await.unwrap();
        server.write_all(from_server).await.unwrap();
        server.shutdown().await.unwrap();
        introduce(&mut one, &mut other).await.unwrap();
        drop((one, other));
        let (mut at_client, mut at_server) = (Vec::new(), Vec::new());
        client.read_to_end(&mut at_client).await.unwrap();
        server.read_to_end(&mut at_server).await.unwrap();
        (at_server, at_client)
    }

    const START: &[u8] = b"\0\0\0\x0e\0\x03\0\0user\0\0";

    #[tokio::test]
    async fn no_way_to_log_in_that_needs_tls_is_offered_where_there_is_none() {
        let (at_server, at_client) = introduced(START, b"R\0\0\0\x2a\0\0\0\x0aSCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0").await;
        assert_eq!(at_server, START);
        assert_eq!(at_client, b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0");
    }

    #[tokio::test]
    async fn everything_else_passes_as_it_is() {
        let error = b"E\0\0\0\x06x\0";
        let password = b"R\0\0\0\x08\0\0\0\x03";
        let version = b"v\0\0\0\x0c\0\0\0\0\0\0\0\0";
        for reply in [error.to_vec(), password.to_vec(), [version.as_slice(), password].concat(), Vec::new()] {
            assert_eq!(introduced(START, &reply).await, (START.to_vec(), reply));
        }
        let cancel = b"\0\0\0\x10\x04\xd2\x16\x2e\0\0\0\x01\0\0\0\x02";
        assert_eq!(introduced(cancel, b"").await, (cancel.to_vec(), Vec::new()));
        let asking = [SSL_REQUEST.as_slice(), &GSS_REQUEST, START].concat();
        assert_eq!(introduced(&asking, b"").await, (START.to_vec(), b"NN".to_vec()));
    }

    #[tokio::test]
    async fn impossible_lengths_are_refused() {
        for start in [b"\0\0\0\x03".as_slice(), b"\xff\xff\xff\xff", b"\0\0\x27\x15"] {
            let (mut client, mut server) = (tokio::io::join(start, tokio::io::sink()), tokio::io::join(&b""[..], tokio::io::sink()));
            assert!(introduce(&mut client, &mut server).await.is_err());
        }
    }
}
