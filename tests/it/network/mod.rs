//! The ways to a server: TLS, SSH, proxies, and the relay that all of them end in.

use std::sync::Arc;

use dbsnap::{
    domain::{
        fields::validate,
        run::{Learned, Run, Silent},
    },
    engines::network::{Link, Protocol, Route, fields::FIELDS},
    error::{Error, Result},
};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_util::sync::CancellationToken;

mod bastion;
mod engines;
mod proxy;
mod relay;
mod ssh;
mod tls;

/// Stands wherever a secret does.
const SECRET: &str = "s3cret-0f-the-tests";

fn run() -> Run {
    Run {
        cancel: CancellationToken::new(),
        observer: Arc::new(Silent),
        scratch: std::env::temp_dir(),
        tool_dirs: Vec::new(),
        learned: Learned::default(),
        limits: Default::default(),
    }
}

/// Opens a link as settings say it, with a short time limit unless they name one.
async fn open_with(mut settings: Value, protocol: Protocol, host: &str, port: u16, run: &Run) -> Result<Link> {
    let given = settings.as_object_mut().unwrap();
    given.entry("connectTimeout").or_insert(5.into());
    let route = Route::from_settings(&validate(&FIELDS, given).unwrap())?;
    assert!(!format!("{route:?}").contains(SECRET));
    Link::open(&route, protocol, host, port, run).await
}

async fn open(settings: Value, protocol: Protocol, port: u16) -> Result<Link> {
    open_with(settings, protocol, "127.0.0.1", port, &run()).await
}

/// Asserts that the error names `part` and a next step, and no secret.
fn says(error: &Error, part: &str) {
    let text = format!("{error} {error:?}");
    assert!(text.contains(part), "{text} does not say: {part}");
    assert!(error.hint.is_some(), "{text} has no next step");
    assert!(!text.contains(SECRET) && !text.contains("PRIVATE KEY"), "{text} tells a secret");
}

/// Sends through a link to a server that sends everything back.
async fn echoes(link: &Link, text: &[u8]) -> std::io::Result<()> {
    let mut stream = TcpStream::connect((link.host(), link.port())).await?;
    stream.write_all(text).await?;
    let mut back = vec![0; text.len()];
    stream.read_exact(&mut back).await?;
    assert_eq!(back, text);
    Ok(())
}
