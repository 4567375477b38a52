//! `dbsnap healthcheck`: asks the running server whether it is ready; for the container's HEALTHCHECK.

use std::{process::ExitCode, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::{
    config::Config,
    error::{Context, Error, Kind, Result},
};

/// Ask the server on this machine whether it is ready; exit code 0 when it is.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  dbsnap healthcheck")]
pub struct Args {
    /// Seconds to wait for the answer.
    #[arg(long, default_value_t = 5)]
    timeout: u64,
}

pub async fn run(args: Args, config: Config) -> Result<ExitCode> {
    let status = timeout(Duration::from_secs(args.timeout), ask(config.port))
        .await
        .map_err(|_| Error::internal(format!("no answer on port {} within {} s", config.port, args.timeout)))??;
    if status.contains(" 200 ") {
        println!("ready");
        return Ok(ExitCode::SUCCESS);
    }
    Err(Error::internal(format!("the server on port {} is not ready: {status}", config.port)))
}

/// The status line of /api/health/ready.
async fn ask(port: u16) -> Result<String> {
    let naming = || format!("asking the server on port {port}");
    let mut connection = TcpStream::connect(("127.0.0.1", port)).await.context(Kind::Internal, naming)?;
    connection
        .write_all(b"GET /api/health/ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .await
        .context(Kind::Internal, naming)?;
    let mut answer = Vec::new();
    connection.take(64 * 1024).read_to_end(&mut answer).await.context(Kind::Internal, naming)?;
    let text = String::from_utf8_lossy(&answer);
    Ok(text.lines().next().unwrap_or("an empty answer").to_owned())
}
