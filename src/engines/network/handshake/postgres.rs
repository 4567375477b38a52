//! PostgreSQL: an SSLRequest, answered by one byte (Frontend/Backend Protocol, 54.2.11 SSL Session Encryption).

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Length, then the code 80877103.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

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
