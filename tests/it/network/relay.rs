//! The loopback end: who is let in, and what ends with what.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use dbsnap::{
    engines::network::{Link, Protocol},
    error::{Error, Kind},
};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};

use super::{open, says, tls::echo};
use crate::support::tls::AUTHORITY;

async fn link() -> Link {
    let port = echo(&AUTHORITY.server(&["127.0.0.1"]), None, false).await;
    open(json!({"tlsMode": "require"}), Protocol::Mongodb, port).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn another_users_process_is_not_let_in() {
    assert!(rustix::process::geteuid().is_root(), "only root can become somebody else: run the tests as root");
    let link = link().await;
    let ask = |user: &str| {
        let script = format!("exec 3<>/dev/tcp/127.0.0.1/{}; echo hello >&3; head -c 6 <&3", link.port());
        Command::new("setpriv").args([&format!("--reuid={user}"), "--clear-groups", "bash", "-c", &script]).output().unwrap().stdout
    };
    let (ours, others) = tokio::task::block_in_place(|| (ask("0"), ask("65534")));
    assert_eq!(ours, b"hello\n");
    assert_eq!(others, b"");
}

#[tokio::test]
async fn a_side_that_has_finished_still_hears_the_other() {
    let link = link().await;
    let mut stream = TcpStream::connect((link.host(), link.port())).await.unwrap();
    let text = vec![3; 3_000_000];
    let (mut read, mut write) = stream.split();
    let mut back = Vec::new();
    let sending = async {
        write.write_all(&text).await.unwrap();
        write.shutdown().await.unwrap();
    };
    let (_, read) = tokio::join!(sending, read.read_to_end(&mut back));
    read.unwrap_or_else(|cause| panic!("{}", link.explain(Error::new(Kind::Database, cause.to_string()))));
    assert!(back == text, "{} bytes came back of {}", back.len(), text.len());
}

#[tokio::test]
async fn a_dropped_link_ends_its_connections_and_lets_nobody_in() {
    let link = link().await;
    let place = (link.host().to_owned(), link.port());
    let mut stream = TcpStream::connect(place.clone()).await.unwrap();
    stream.write_all(b"x").await.unwrap();
    stream.read_u8().await.unwrap();
    drop(link);
    let ended = timeout(Duration::from_secs(5), stream.read_u8()).await.unwrap();
    assert!(ended.is_err());
    let deadline = Instant::now() + Duration::from_secs(5);
    while TcpStream::connect(place.clone()).await.is_ok() {
        assert!(Instant::now() < deadline, "the relay still listens");
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn what_broke_on_the_way_explains_what_a_driver_saw() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = tokio::spawn(async move {
        let (mut first, _) = listener.accept().await.unwrap();
        let mut request = [0; 8];
        first.read_exact(&mut request).await.unwrap();
        first.write_all(b"N").await.unwrap();
    });
    // A server that had no TLS when it was asked for it says so at once.
    let error = open(json!({"tlsMode": "require"}), Protocol::Postgres, port).await.unwrap_err();
    says(&error, "offers no TLS, and tlsMode is require");
    server.await.unwrap();

    let link = link().await;
    let plain = link.explain(Error::new(Kind::Database, "the driver broke"));
    assert_eq!(plain.to_string(), "the driver broke");
}
