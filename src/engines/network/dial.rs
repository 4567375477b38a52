//! TCP connections, direct or through a proxy, each step with a time limit and an error that names the hop.

use std::{io, net::SocketAddr, time::Duration};

use rustix::net::sockopt;
use tokio::{net::TcpStream, time::timeout};

use super::{
    certificates::shown,
    forbidden, proxy,
    relay::BoxedStream,
    route::{Proxy, address},
};
use crate::error::{Error, Kind, Result};

/// A silent peer is asked for a sign of life after this time, and given up after [`PROBES`] without one.
const KEEP_ALIVE: Duration = Duration::from_secs(60);
const BETWEEN_PROBES: Duration = Duration::from_secs(15);
const PROBES: u32 = 4;

/// Connects to `host:port`, through the proxy where there is one. `what` is the server's part, such as `the SSH server`.
pub async fn connect(what: &str, host: &str, port: u16, proxy: Option<&Proxy>, limit: Duration) -> Result<BoxedStream> {
    match proxy {
        None => Ok(Box::new(tcp(what, host, port, limit).await?)),
        Some(proxy) => proxy::connect(proxy, what, host, port, limit).await,
    }
}

/// Connects to the first address of `host` that answers; each has the whole limit.
pub async fn tcp(what: &str, host: &str, port: u16, limit: Duration) -> Result<TcpStream> {
    let naming = format!("{what} {}", address(host, port));
    let mut failure = None;
    for place in resolve(what, host, port, limit).await? {
        match timeout(limit, TcpStream::connect(place)).await {
            Ok(Ok(stream)) => {
                prepare(&stream);
                return Ok(stream);
            }
            Ok(Err(cause)) => failure = Some(unreachable(&naming, &cause)),
            Err(_) => {
                failure = Some(
                    Error::new(Kind::Database, format!("{naming} did not answer in {} s", limit.as_secs()))
                        .hint("check the address and whether a firewall stands between; connectTimeout is how long it is waited for"),
                );
            }
        }
    }
    Err(failure.unwrap_or_else(|| Error::new(Kind::Database, format!("{naming} has no address"))).retryable())
}

/// The addresses of a name, as this machine knows them, none of them forbidden.
pub async fn resolve(what: &str, host: &str, port: u16, limit: Duration) -> Result<Vec<SocketAddr>> {
    let failed = |why: String| {
        Error::new(Kind::Database, format!("the name of {what} {} is not known: {why}", shown(host)))
            .hint("check the spelling; where only an SSH server or a proxy knows the name, it must be set")
            .retryable()
    };
    let looked_up = timeout(limit, forbidden::resolve(what, host, port)).await;
    let found = looked_up.map_err(|_| failed(format!("no answer in {} s", limit.as_secs())))??;
    found.map_err(|cause| failed(cause.to_string()))
}

fn unreachable(naming: &str, cause: &io::Error) -> Error {
    let error = Error::new(Kind::Database, format!("{naming} cannot be reached: {cause}"));
    match cause.kind() {
        io::ErrorKind::ConnectionRefused => error.hint("check host and port, and that the server runs and listens on that address"),
        _ => error.hint("check the address and whether a firewall stands between"),
    }
}

/// Small messages go out at once, and a peer that has vanished is noticed.
pub fn prepare(stream: &TcpStream) {
    let set = || -> io::Result<()> {
        stream.set_nodelay(true)?;
        sockopt::set_socket_keepalive(stream, true)?;
        sockopt::set_tcp_keepidle(stream, KEEP_ALIVE)?;
        sockopt::set_tcp_keepintvl(stream, BETWEEN_PROBES)?;
        sockopt::set_tcp_keepcnt(stream, PROBES)?;
        Ok(())
    };
    if let Err(cause) = set() {
        // The connection works without, only slower to notice its end.
        tracing::debug!("socket options: {cause}");
    }
}
