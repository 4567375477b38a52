//! SOCKS5 and HTTP CONNECT.

use std::{io, net::SocketAddr, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    time::timeout,
};
use tokio_socks::{Error as Socks, TargetAddr, tcp::Socks5Stream};
use zeroize::Zeroizing;

use super::{
    certificates::shown,
    dial, forbidden,
    relay::BoxedStream,
    route::{Proxy, ProxyKind, address},
};
use crate::error::{Error, Kind, Result};

/// Longest head of an HTTP proxy's answer, bytes.
const LONGEST_ANSWER: u64 = 16 * 1024;

/// Connects to `host:port` through the proxy. `what` is what stands there, such as `the server`.
pub async fn connect(proxy: &Proxy, what: &str, host: &str, port: u16, limit: Duration) -> Result<BoxedStream> {
    let targets = if proxy.resolve_here {
        dial::resolve(what, host, port, limit).await?.into_iter().map(Target::Address).collect()
    } else {
        forbidden::check_remote(what, host).await?;
        vec![host.parse().map_or_else(|_| Target::Name(host, port), |ip| Target::Address(SocketAddr::new(ip, port)))]
    };
    let mut failure = None;
    for target in targets {
        let stream = dial::tcp("the proxy", &proxy.host, proxy.port, limit).await?;
        let asking = async {
            match proxy.kind {
                ProxyKind::Socks5 => socks(proxy, stream, &target).await,
                ProxyKind::Http => http(proxy, stream, &target).await,
            }
        };
        match timeout(limit, asking).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(problem)) => failure = Some(problem.error(proxy, what, &target.to_string())),
            Err(_) => failure = Some(Problem::Silent(limit).error(proxy, what, &target.to_string())),
        }
    }
    Err(failure.unwrap_or_else(|| Error::new(Kind::Database, format!("{what} {} has no address", address(host, port)))))
}

enum Target<'a> {
    Name(&'a str, u16),
    Address(SocketAddr),
}

impl std::fmt::Display for Target<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Name(host, port) => f.write_str(&address(host, *port)),
            Self::Address(place) => place.fmt(f),
        }
    }
}

/// What a proxy has against the way.
enum Problem {
    /// It wants a login, or another one.
    Login,
    /// It does not allow this target.
    Forbidden,
    /// It could not reach the target.
    Unreachable(String),
    /// It is no such proxy, or does not behave like one.
    Strange(String),
    Lost(io::Error),
    Silent(Duration),
}

impl Problem {
    fn error(self, proxy: &Proxy, what: &str, target: &str) -> Error {
        let error = |context: String| Error::new(Kind::Database, context);
        match (self, proxy.login.is_some()) {
            (Self::Login, true) => error(format!("the proxy {proxy} refuses the login")).hint("check proxyUser and proxyPassword"),
            (Self::Login, false) => error(format!("the proxy {proxy} demands a login")).hint("set proxyUser and proxyPassword"),
            (Self::Forbidden, _) => error(format!("the proxy {proxy} does not allow connections to {what} {target}"))
                .hint("allow the host and port in the proxy's settings; many HTTP proxies allow port 443 alone"),
            (Self::Unreachable(why), _) => error(format!("the proxy {proxy} cannot reach {what} {target}: {why}"))
                .hint("check host and port as the proxy sees them; proxyResolves says who looks up the name")
                .retryable(),
            (Self::Strange(why), _) => error(format!("the proxy {proxy} answered {why}")).hint("check proxyType, proxyHost and proxyPort"),
            (Self::Lost(cause), _) => {
                error(format!("the proxy {proxy} broke the connection: {cause}")).hint("check proxyType and the proxy's log").retryable()
            }
            (Self::Silent(limit), _) => error(format!("the proxy {proxy} opened no way to {what} {target} in {} s", limit.as_secs()))
                .hint("check host and port as the proxy sees them")
                .retryable(),
        }
    }
}

async fn socks(proxy: &Proxy, stream: TcpStream, target: &Target<'_>) -> Result<BoxedStream, Problem> {
    let target = match target {
        Target::Name(host, port) => TargetAddr::Domain((*host).into(), *port),
        Target::Address(place) => TargetAddr::Ip(*place),
    };
    let opened = match &proxy.login {
        Some((user, password)) => Socks5Stream::connect_with_password_and_socket(stream, target, user, password.expose()).await,
        None => Socks5Stream::connect_with_socket(stream, target).await,
    };
    let opened = opened.map_err(|cause| match cause {
        Socks::NoAcceptableAuthMethods | Socks::PasswordAuthFailure(_) | Socks::AuthorizationRequired => Problem::Login,
        Socks::ConnectionNotAllowedByRuleset => Problem::Forbidden,
        Socks::NetworkUnreachable
        | Socks::HostUnreachable
        | Socks::ConnectionRefused
        | Socks::TtlExpired
        | Socks::GeneralSocksServerFailure => Problem::Unreachable(cause.to_string().to_lowercase()),
        Socks::Io(cause) => Problem::Lost(cause),
        other => Problem::Strange(format!("not as SOCKS5 does ({other})")),
    })?;
    Ok(Box::new(opened.into_inner()))
}

/// RFC 9110, 9.3.6. What the target sends right behind the proxy's answer stays in the reader's buffer.
async fn http(proxy: &Proxy, stream: TcpStream, target: &Target<'_>) -> Result<BoxedStream, Problem> {
    let mut request = Zeroizing::new(format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n"));
    if let Some((user, password)) = &proxy.login {
        let login = Zeroizing::new(format!("{user}:{}", password.expose()));
        request.push_str("Proxy-Authorization: Basic ");
        request.push_str(&Zeroizing::new(STANDARD.encode(login.as_bytes())));
        request.push_str("\r\n");
    }
    request.push_str("\r\n");
    let mut stream = BufReader::new(stream);
    stream.write_all(request.as_bytes()).await.map_err(Problem::Lost)?;
    let status = head(&mut stream).await?;
    match status.code {
        200..=299 => Ok(Box::new(stream)),
        401 | 407 => Err(Problem::Login),
        403 | 405 => Err(Problem::Forbidden),
        500 | 502..=504 => Err(Problem::Unreachable(status.line)),
        _ => Err(Problem::Strange(format!("'{}'", status.line))),
    }
}

struct Status {
    code: u16,
    line: String,
}

/// Reads the head of an answer to its empty line.
async fn head(stream: &mut BufReader<TcpStream>) -> Result<Status, Problem> {
    let mut answer = stream.take(LONGEST_ANSWER);
    let mut status = None;
    loop {
        let mut line = Vec::new();
        answer.read_until(b'\n', &mut line).await.map_err(Problem::Lost)?;
        if line.last() != Some(&b'\n') {
            return Err(match answer.limit() {
                0 => Problem::Strange("with more than an HTTP proxy does".to_owned()),
                _ => Problem::Lost(io::ErrorKind::UnexpectedEof.into()),
            });
        }
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end();
        let Some(status) = &status else {
            let strange = || Problem::Strange("not as an HTTP proxy does".to_owned());
            let code = text.strip_prefix("HTTP/1.").and_then(|rest| rest.split(' ').nth(1)).ok_or_else(strange)?;
            status = Some((code.parse().map_err(|_| strange())?, shown(text)));
            continue;
        };
        if text.is_empty() {
            return Ok(Status { code: status.0, line: status.1.clone() });
        }
    }
}
