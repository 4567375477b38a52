//! The text that a dump program writes: its beginning is looked at, the rest passes as it is.

use bytes::Bytes;
use tokio::sync::mpsc;

use super::connect::clean;
use crate::{
    domain::{
        run::Run,
        stream::{ByteSender, DEPTH},
    },
    engines::process::Child,
    error::{Error, Kind, Result},
};

/// More than the comments at the beginning are long, bytes: the program's, host's, database's and server's names.
const HEAD: usize = 4096;
/// The first statement of every dump.
const FIRST: &[u8] = b"/*!40101 SET @OLD_CHARACTER_SET_CLIENT";
/// Longer than the end mark, bytes.
const TAIL: usize = 256;

/// The first bytes of a dump, without the line that MariaDB's programs put first. That line, `/*M!999999\- enable the sandbox
/// mode */`, keeps their own client from running shell commands, which a restore here never can; older clients and those of
/// MySQL stop at it with a syntax error.
pub struct Head {
    /// The comments that a dump begins with, whole lines; empty when there are none.
    pub comments: Bytes,
    /// What else was read.
    pub rest: Bytes,
}

impl Head {
    /// Waits for the first bytes of a program.
    pub async fn read(child: &mut Child, run: &Run) -> Result<Self> {
        child.head(HEAD, run).await.map(Self::split)
    }

    fn split(bytes: Bytes) -> Self {
        let mut at = sandbox_line(&bytes);
        let start = at;
        while bytes[at..].starts_with(b"--") || bytes[at..].starts_with(b"\n") {
            match memchr::memchr(b'\n', &bytes[at..]) {
                Some(end) => at += end + 1,
                None => break,
            }
        }
        Self { comments: bytes.slice(start..at), rest: bytes.slice(at..) }
    }

    /// Errors unless the comments are followed by the statement that dumps begin with: the program writes the server's version
    /// into a comment as it is, and a line break in it would put any statement there.
    pub fn check(&self) -> Result<()> {
        if self.rest.starts_with(FIRST) {
            return Ok(());
        }
        let line = String::from_utf8_lossy(self.rest.split(|byte| *byte == b'\n').next().unwrap_or_default()).into_owned();
        Err(Error::new(Kind::Backup, format!("the dump begins with what no dump program writes: '{:.80}'", clean(&line)))
            .hint("look for a server that tells a version with a line break in it"))
    }

    pub fn is_empty(&self) -> bool {
        self.comments.is_empty() && self.rest.is_empty()
    }

    /// Both together.
    pub fn all(&self) -> Bytes {
        [&self.comments[..], &self.rest[..]].concat().into()
    }
}

/// Length of the sandbox line; 0 when there is none.
fn sandbox_line(bytes: &[u8]) -> usize {
    let mode = bytes.starts_with(b"/*M!999999\\-") || bytes.starts_with(b"/*!999999\\-");
    if mode { memchr::memchr(b'\n', bytes).map_or(0, |end| end + 1) } else { 0 }
}

/// Sends a text, unless it is empty.
pub async fn send(out: &ByteSender, text: impl Into<Bytes>) -> Result<()> {
    let text = text.into();
    if text.is_empty() {
        return Ok(());
    }
    out.send(text).await.map_err(|_| Error::new(Kind::Backup, "the dump is no longer wanted"))
}

/// Sends `first` and what a program writes after it, but for the last bytes, which are returned: at least [`TAIL`] of them
/// where there are so many.
pub async fn send_but_tail(first: Bytes, child: &mut Child, out: &ByteSender, run: &Run) -> Result<Bytes> {
    let (inner, mut pieces) = mpsc::channel::<Bytes>(DEPTH);
    let reading = async {
        let inner = inner;
        child.send_to(&inner, run).await
    };
    let forwarding = async {
        let mut tail = first;
        while let Some(piece) = pieces.recv().await {
            if piece.len() >= TAIL {
                send(out, std::mem::replace(&mut tail, piece)).await?;
            } else {
                // Only the last piece is this short.
                tail = [&tail[..], &piece[..]].concat().into();
            }
        }
        Ok(tail)
    };
    // The reader waits for the forwarder, so a cancel or an error of either ends both.
    tokio::pin!(reading, forwarding);
    tokio::select! {
        tail = &mut forwarding => { let tail = tail?; reading.await?; Ok(tail) }
        sent = &mut reading => { sent?; forwarding.await }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sandbox_line_goes_and_the_comments_stay() {
        let check = |text: &'static str, comments: &str, rest: &str| {
            let head = Head::split(Bytes::from_static(text.as_bytes()));
            assert_eq!((&head.comments[..], &head.rest[..]), (comments.as_bytes(), rest.as_bytes()));
        };
        check("/*M!999999\\- enable the sandbox mode */ \n-- MariaDB dump\n--\n\n/*!40101 SET", "-- MariaDB dump\n--\n\n", "/*!40101 SET");
        check("/*!999999\\- enable the sandbox mode */\n/*!40101 SET", "", "/*!40101 SET");
        check("-- MySQL dump\n\n/*!40101 SET", "-- MySQL dump\n\n", "/*!40101 SET");
        check("", "", "");
        check("-- no end", "", "-- no end");
    }

    #[test]
    fn a_version_with_a_line_break_cannot_write_a_statement() {
        let check = |version: &str| {
            let text = format!("-- MySQL dump\n--\n-- Server version\t{version}\n\n/*!40101 SET @OLD_CHARACTER_SET_CLIENT=1 */;\n");
            Head::split(Bytes::from(text)).check().is_ok()
        };
        assert!(check("8.0.35"));
        assert!(check("8.0.35\n-- another comment"));
        assert!(!check("8.0.35\nDROP DATABASE shop; -- "));
        assert!(!check("8.0.35\n\\! touch /tmp/x"));
    }
}
