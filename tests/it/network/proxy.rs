//! Through a SOCKS5 or an HTTP proxy.

use dbsnap::{
    engines::network::{Link, Protocol},
    error::Result,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::{
    SECRET, echoes, open_with, run, says,
    tls::{HERE, echo},
};
use crate::support::{
    proxies::{Kind, PASSWORD, Proxy, USER},
    ssh,
    tls::AUTHORITY,
};

fn through(kind: Kind, port: u16, more: Value) -> Value {
    let kind = if kind == Kind::Socks5 { "socks5" } else { "http" };
    let mut settings =
        json!({"tlsMode": "verify-full", "tlsCa": AUTHORITY.certificate, "proxyType": kind, "proxyHost": "127.0.0.1", "proxyPort": port});
    settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    settings
}

async fn open(settings: Value, host: &str, port: u16) -> Result<Link> {
    open_with(settings, Protocol::Mongodb, host, port, &run()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_is_reached_and_proven_through_either_proxy() {
    let target = echo(&AUTHORITY.server(HERE), None, false).await;
    for kind in [Kind::Socks5, Kind::Http] {
        for login in [false, true] {
            let proxy = Proxy::start(kind, login);
            for (host, resolves) in [("127.0.0.1", "proxy"), ("localhost", "proxy"), ("localhost", "here")] {
                let mut settings = through(kind, proxy.port, json!({ "proxyResolves": resolves }));
                if login {
                    settings["proxyUser"] = USER.into();
                    settings["proxyPassword"] = PASSWORD.into();
                }
                let link = open(settings, host, target).await.unwrap_or_else(|error| panic!("{kind:?} {host} {resolves}: {error}"));
                echoes(&link, &vec![4; 2_000_000]).await.unwrap();
                let facts = link.facts();
                let scheme = if kind == Kind::Socks5 { "socks5" } else { "http" };
                let user = if login { format!("{USER}@") } else { String::new() };
                assert_eq!(facts.proxy.unwrap(), format!("{scheme}://{user}127.0.0.1:{}", proxy.port));
                assert!(facts.tls.is_some());
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_proxy_has_against_it_is_told_apart() {
    let target = echo(&AUTHORITY.server(HERE), None, false).await;
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    for kind in [Kind::Socks5, Kind::Http] {
        let proxy = Proxy::start(kind, true);
        let login = |user: &str, password: &str| through(kind, proxy.port, json!({"proxyUser": user, "proxyPassword": password}));
        says(&open(login(USER, SECRET), "127.0.0.1", target).await.unwrap_err(), "refuses the login");
        says(&open(through(kind, proxy.port, json!({})), "127.0.0.1", target).await.unwrap_err(), "demands a login");
        says(&open(login(USER, PASSWORD), "127.0.0.1", closed).await.unwrap_err(), "cannot reach the server");
        says(&open(through(kind, closed, json!({})), "127.0.0.1", target).await.unwrap_err(), "the proxy 127.0.0.1:");
        says(&open(login(USER, PASSWORD), "169.254.169.254", 80).await.unwrap_err(), "metadata");
    }
}

/// A proxy that answers every request with `answer`.
async fn answering(answer: &'static [u8], times: usize) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut request = [0; 1024];
                let mut read = stream.read(&mut request).await.unwrap();
                while read > 0 && !request[..read].ends_with(b"\r\n\r\n") {
                    read += stream.read(&mut request[read..]).await.unwrap();
                }
                for _ in 0..times {
                    if stream.write_all(answer).await.is_err() {
                        return;
                    }
                }
                // The rest is read, so that the answer is not lost to a reset.
                while stream.read(&mut request).await.is_ok_and(|count| count > 0) {}
            });
        }
    });
    port
}

#[tokio::test]
async fn an_http_proxys_answer_is_read_with_care() {
    let table: [(&[u8], usize, &str); 7] = [
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", 1, "does not allow connections"),
        (b"HTTP/1.1 407 Proxy Authentication Required\r\nX: y\r\n\r\n", 1, "demands a login"),
        (b"HTTP/1.0 502 Bad Gateway\r\n\r\n", 1, "cannot reach the server"),
        (b"HTTP/1.1 301 Moved\x1b[31m\r\n\r\n", 1, "answered 'HTTP/1.1 301 Moved[31m'"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", 1, "not as an HTTP proxy does"),
        (b"HTTP/1.1 200 OK\r\nX: y\r\n", 10_000, "more than an HTTP proxy does"),
        (b"HTTP/1.1 200 OK and no end of the line ", 10_000, "more than an HTTP proxy does"),
    ];
    for (answer, times, part) in table {
        let port = answering(answer, times).await;
        let error = open(through(Kind::Http, port, json!({})), "127.0.0.1", 9).await.unwrap_err();
        says(&error, part);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ssh_server_is_reached_through_the_proxy() {
    let target = echo(&AUTHORITY.server(HERE), None, false).await;
    for kind in [Kind::Socks5, Kind::Http] {
        let proxy = Proxy::start(kind, false);
        let bastion = json!({"sshHost": "127.0.0.1", "sshPort": ssh::shared().port, "sshUser": ssh::USER, "sshPassword": ssh::PASSWORD});
        let link = open(through(kind, proxy.port, bastion), "localhost", target).await.unwrap();
        echoes(&link, &vec![4; 2_000_000]).await.unwrap();
        let facts = link.facts();
        assert!(facts.tls.is_some() && facts.ssh.is_some() && facts.proxy.is_some());
        // The target is the SSH server's business alone.
        assert!(!proxy.log().contains(&target.to_string()), "{}", proxy.log());
    }
}
