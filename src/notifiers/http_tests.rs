//! The client against sockets that answer as told.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::*;

/// Answers every connection with these bytes; counts them. With `None` it never answers.
async fn served(answer: Option<Vec<u8>>) -> (u16, &'static AtomicUsize) {
    let seen: &'static AtomicUsize = Box::leak(Box::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            seen.fetch_add(1, Ordering::SeqCst);
            let answer = answer.clone();
            tokio::spawn(async move {
                let mut request = vec![0; 16 << 10];
                let _ = stream.read(&mut request).await;
                match answer {
                    Some(answer) => drop(stream.write_all(&answer).await),
                    None => std::future::pending().await,
                }
            });
        }
    });
    (port, seen)
}

fn client() -> Outbound {
    Outbound::new("the webhook").within(Duration::from_secs(10))
}

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";

#[tokio::test]
async fn metadata_addresses_are_refused_in_every_spelling() {
    for host in [
        "169.254.169.254",
        "2852039166",
        "0xa9fea9fe",
        "0251.0376.0251.0376",
        "169.254.43518",
        "[::ffff:169.254.169.254]",
        "[64:ff9b::a9fe:a9fe]",
        "[fd00:ec2::254]",
        "[fe80::1]",
        "100.100.100.200",
        "metadata.google.internal",
        "METADATA.google.internal.",
        "user:password@169.254.169.254:80",
    ] {
        let error = client().post(&format!("http://{host}/latest/token"), &[], "").await.expect_err(host);
        assert!(error.kind == Kind::Validation && !error.retryable, "{host}: {error}");
        assert!(error.to_string().contains("metadata") && !error.to_string().contains("password"), "{error}");
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let (inside, reached) = served(Some(OK.to_vec())).await;
    let redirect = format!("HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:{inside}/secret\r\ncontent-length: 0\r\n\r\n");
    let (port, _) = served(Some(redirect.into_bytes())).await;
    let answer = client().post(&format!("http://127.0.0.1:{port}/"), &[], "x").await.unwrap();
    let error = client().accepted(&answer).unwrap_err();
    assert!(error.to_string().contains("redirect") && !error.retryable, "{error}");
    assert_eq!(reached.load(Ordering::SeqCst), 0, "the redirect was followed");
}

#[tokio::test]
async fn a_name_that_changes_its_answer_after_the_check_gains_nothing() {
    // The name exists nowhere else: a second look-up, by the client itself, could not find it at all.
    static ASKED: AtomicUsize = AtomicUsize::new(0);
    fn turncoat(_: String, port: u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
        let first = ASKED.fetch_add(1, Ordering::SeqCst) == 0;
        let address = if first { [127, 0, 0, 1] } else { [169, 254, 169, 254] };
        Box::pin(std::future::ready(Ok(vec![(address, port).into()])))
    }
    let (port, reached) = served(Some(OK.to_vec())).await;
    let client = Outbound { lookup: turncoat, ..client() };
    let url = format!("http://rebinding.invalid:{port}/");
    assert_eq!(client.post(&url, &[], "").await.unwrap().status, 200);
    assert_eq!((ASKED.load(Ordering::SeqCst), reached.load(Ordering::SeqCst)), (1, 1), "one look-up, one connection");
    let error = client.post(&url, &[], "").await.unwrap_err();
    assert!(error.to_string().contains("169.254.169.254"), "{error}");
    assert_eq!(reached.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn one_forbidden_address_among_several_refuses_the_name() {
    fn mixed(_: String, port: u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
        Box::pin(std::future::ready(Ok(vec![([127, 0, 0, 1], port).into(), ([169, 254, 1, 1], port).into()])))
    }
    let error = Outbound { lookup: mixed, ..client() }.get("http://mixed.invalid/", &[]).await.unwrap_err();
    assert!(error.to_string().contains("169.254.1.1"), "{error}");
}

#[tokio::test]
async fn an_answer_without_end_is_read_up_to_the_limit() {
    let mut answer = b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n".to_vec();
    answer.resize(4 << 20, b'a');
    let (port, _) = served(Some(answer)).await;
    let answer = client().get(&format!("http://127.0.0.1:{port}/"), &[]).await.unwrap();
    assert_eq!(answer.body.len(), ANSWER_LIMIT);
}

#[tokio::test]
async fn a_server_that_never_answers_is_given_up() {
    let (port, _) = served(None).await;
    let error = client().within(Duration::from_millis(200)).post(&format!("http://127.0.0.1:{port}/hook"), &[], "").await.unwrap_err();
    assert!(error.retryable && error.to_string().contains("did not answer"), "{error}");
}

/// Answers with `head`, then with one byte after the other for ever.
async fn dripping(head: &'static [u8]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = vec![0; 16 << 10];
                let _ = stream.read(&mut request).await;
                let mut sent = stream.write_all(head).await;
                while sent.is_ok() {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    sent = stream.write_all(b"a").await;
                }
            });
        }
    });
    port
}

#[tokio::test]
async fn an_answer_that_comes_byte_by_byte_for_ever_is_given_up_and_counts_by_its_status() {
    let client = client().within(Duration::from_millis(500));
    let ask = async |port: u16| client.post(&format!("http://127.0.0.1:{port}/"), &[], "x").await;
    let head = ask(dripping(b"HTTP/1.1 200 OK\r\nx-slow: ").await).await.unwrap_err();
    assert!(head.retryable && head.to_string().contains("did not answer within 500ms"), "{head}");
    let body = ask(dripping(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n").await).await.unwrap();
    assert!(body.status == 200 && !body.whole && body.body.starts_with('a'), "it has taken the message: {body:?}");
    let refused = ask(dripping(b"HTTP/1.1 500 No\r\ncontent-length: 100000\r\n\r\n").await).await.unwrap();
    assert!(client.accepted(&refused).unwrap_err().retryable);
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_an_error_in_its_head_and_none_in_its_body() {
    let get = async |answer: &[u8]| {
        let (port, _) = served(Some(answer.to_vec())).await;
        client().get(&format!("http://127.0.0.1:{port}/"), &[]).await
    };
    for cut in [&b""[..], b"HTTP/1.1 2", b"HTTP/1.1 200 OK\r\ncontent-le", b"220 mail.example.org ESMTP\r\n"] {
        let error = get(cut).await.unwrap_err();
        assert!(error.retryable && error.to_string().contains("the webhook at http://127.0.0.1:"), "{error}");
    }
    let answer = get(b"HTTP/1.1 204 OK\r\ncontent-length: 100\r\n\r\nhalf").await.unwrap();
    assert!(client().accepted(&answer).is_ok());
    let answer = get(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf").await.unwrap();
    assert_eq!((answer.whole, answer.body.as_str()), (false, "half"));
}

#[tokio::test]
async fn a_head_without_end_is_refused() {
    let mut answer = b"HTTP/1.1 200 OK\r\nx-long: ".to_vec();
    answer.resize(8 << 20, b'a');
    let (port, _) = served(Some(answer)).await;
    let error = client().get(&format!("http://127.0.0.1:{port}/"), &[]).await.unwrap_err();
    assert!(error.retryable, "{error}");
}

#[tokio::test]
async fn of_an_address_that_is_a_secret_no_part_beyond_the_host_is_shown() {
    let secret = "https://user:pa55w@hooks.example/services/T00AB/B0/xoxbsecretpart?sig=aBc-9xyz&api=1";
    let client = client().hiding_address(&Secret::new(secret));
    for echo in [
        secret,
        "Cannot POST /services/T00AB/B0/xoxbsecretpart",
        "no hook xoxbsecretpart of T00AB",
        r"\/services\/T00AB\/B0\/xoxbsecretpart",
        "sig aBc-9xyz by user pa55w",
    ] {
        let answer = Answer { status: 404, body: echo.into(), whole: true, place: "https://hooks.example".into() };
        let said = client.accepted(&answer).unwrap_err().to_string();
        assert!(said.contains("[redacted]"), "{said}");
        for part in ["xoxbsecretpart", "T00AB", "aBc-9xyz", "pa55w"] {
            assert!(!said.contains(part), "{part} of {echo}: {said}");
        }
    }
    let answer = Answer { status: 404, body: "there is no such team in services".into(), whole: true, place: String::new() };
    assert!(client.accepted(&answer).unwrap_err().to_string().contains("there is no such team in services"));
}

#[tokio::test]
async fn errors_hold_no_part_of_the_address_beyond_the_host_and_no_secret_that_is_echoed() {
    let echo = "HTTP/1.1 403 Forbidden\r\nconnection: close\r\n\r\nBearer t0ken-1234\r\nis not\x1b[31m allowed";
    let (port, _) = served(Some(echo.as_bytes().to_vec())).await;
    let client = client().hiding([Secret::new("t0ken-1234")]);
    let url = format!("http://user:pa55@127.0.0.1:{port}/services/T00/B00/s3cret?key=al5o");
    let answer = client.post(&url, &[("authorization", "Bearer t0ken-1234")], "").await.unwrap();
    let refused = client.accepted(&answer).unwrap_err();
    assert!(refused.to_string().contains("403: Bearer [redacted] is not [31m allowed"), "{refused}");
    drop(TcpListener::bind("127.0.0.1:0").await.unwrap());
    let closed = client.post(&url.replace(&port.to_string(), "1"), &[], "").await.unwrap_err();
    assert!(closed.to_string().contains("cannot be reached") && closed.retryable, "{closed}");
    for error in [refused, closed] {
        for secret in ["s3cret", "al5o", "pa55", "t0ken", "T00"] {
            assert!(!format!("{error} {error:?}").contains(secret), "{error}");
        }
    }
}

#[tokio::test]
async fn only_http_addresses_and_valid_headers_are_sent() {
    for url in ["file:///etc/passwd", "ftp://example.org/", "example.org", "", "http://"] {
        assert_eq!(client().get(url, &[]).await.unwrap_err().kind, Kind::Validation, "{url}");
    }
    let error = client().get("http://127.0.0.1:1/", &[("x-a", "b\r\nx-c: d")]).await.unwrap_err();
    assert_eq!(error.kind, Kind::Validation);
}
