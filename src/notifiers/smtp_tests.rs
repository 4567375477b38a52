//! Mail servers that are none, or that mean ill.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::BoxFuture;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::*;

fn letter() -> Message {
    let builder = Message::builder().from("a@example.org".parse().unwrap()).to("b@example.org".parse().unwrap());
    builder.body("hello".to_owned()).unwrap()
}

/// Says the lines one after the other, each after whatever the client said; then goes on with `then` for ever, or closes.
async fn says(lines: &'static [&'static str], then: Option<&'static [u8]>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut heard = vec![0; 64 << 10];
                for (turn, line) in lines.iter().enumerate() {
                    if turn > 0 && stream.read(&mut heard).await.is_ok_and(|read| read == 0) {
                        return;
                    }
                    stream.write_all(line.as_bytes()).await.unwrap();
                }
                while let Some(bytes) = then {
                    if stream.write_all(bytes).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    port
}

fn server(port: u16, credentials: Option<(String, Secret)>) -> Server {
    Server::new("127.0.0.1", port, Security::None, credentials)
}

const TAKES: &[&str] = &["220 hi\r\n", "250 hello\r\n", "250 ok\r\n", "250 ok\r\n", "354 go\r\n", "250 taken\r\n"];

#[tokio::test]
async fn a_server_that_talks_nonsense_is_told_as_that_and_tried_again() {
    for nonsense in ["HTTP/1.1 400 Bad Request\r\n\r\n", "\0\u{1}\u{2}\r\n", "220\r\n99999 what\r\n", "220 hi\r\n250-a\r\n220 b\r\n"] {
        let port = says(vec![nonsense].leak(), None).await;
        let error = server(port, None).deliver(&letter()).await.unwrap_err();
        assert!(error.retryable && error.to_string().contains("the mail server 127.0.0.1:"), "{nonsense:?}: {error}");
    }
}

#[tokio::test]
async fn a_line_or_an_answer_without_end_is_cut_off_long_before_the_time_is_up() {
    let more: &[u8] = format!("250-{}\r\n", "and more ".repeat(60)).leak().as_bytes();
    for (lines, then) in [(&[][..], &[b'a'; 8192][..]), (&["220 hi\r\n"][..], more), (TAKES, b"\r\n")] {
        let port = says(lines, Some(then)).await;
        let began = std::time::Instant::now();
        let sent = server(port, None).deliver(&letter()).await;
        assert!(began.elapsed() < LIMIT / 2, "{lines:?} took {:?}", began.elapsed());
        assert_eq!(sent.is_ok(), lines.len() == TAKES.len(), "{lines:?}: {sent:?}");
    }
}

#[tokio::test]
async fn a_message_that_was_taken_is_not_sent_again_because_the_farewell_fails() {
    let port = says(TAKES, None).await;
    server(port, None).deliver(&letter()).await.unwrap();
    // It stays silent instead of saying farewell.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut heard = vec![0; 64 << 10];
        for (turn, line) in TAKES.iter().enumerate() {
            if turn > 0 {
                assert!(stream.read(&mut heard).await.unwrap() > 0);
            }
            stream.write_all(line.as_bytes()).await.unwrap();
        }
        std::future::pending::<()>().await;
    });
    let began = std::time::Instant::now();
    server(port, None).deliver(&letter()).await.unwrap();
    assert!(began.elapsed() < FAREWELL * 3);
}

#[tokio::test]
async fn a_name_that_leads_to_a_metadata_service_is_refused_at_sending_and_looked_up_once() {
    static ASKED: AtomicUsize = AtomicUsize::new(0);
    fn turncoat(_: String, port: u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
        let first = ASKED.fetch_add(1, Ordering::SeqCst) == 0;
        let address = if first { [127, 0, 0, 1] } else { [169, 254, 169, 254] };
        Box::pin(std::future::ready(Ok(vec![(address, port).into()])))
    }
    // The name exists nowhere else: a second look-up could not find it at all.
    let port = says(TAKES, None).await;
    let server = Server { host: "rebinding.invalid".into(), lookup: turncoat, ..server(port, None) };
    server.deliver(&letter()).await.unwrap();
    assert_eq!(ASKED.load(Ordering::SeqCst), 1, "one look-up");
    let error = server.deliver(&letter()).await.unwrap_err();
    assert!(error.kind == Kind::Validation && error.to_string().contains("169.254.169.254"), "{error}");
}

#[tokio::test]
async fn what_a_server_echoes_of_the_sign_in_is_not_shown() {
    let credentials = ("mailer".to_owned(), Secret::new("pa55-word"));
    let plain = STANDARD.encode("\0mailer\0pa55-word");
    let echo = format!("535 bad: AUTH PLAIN {plain} {} pa55-word\r\n", STANDARD.encode("pa55-word"));
    let lines: &[&str] = vec!["220 hi\r\n", "250-hello\r\n250 AUTH PLAIN LOGIN\r\n", echo.leak()].leak();
    let error = server(says(lines, None).await, Some(credentials)).deliver(&letter()).await.unwrap_err();
    let said = format!("{error} {error:?}");
    assert!(said.contains("refused the sign-in") && said.contains("[redacted]"), "{said}");
    assert!(!said.contains("pa55") && !said.contains(&plain) && !said.contains(&STANDARD.encode("pa55-word")), "{said}");
}

#[tokio::test]
async fn control_characters_and_line_breaks_of_a_server_stay_out_of_the_message() {
    let port = says(&["220 hi\r\n", "250 hello\r\n", "550 \u{1b}[31mred\u{202e}\r\n"], None).await;
    let error = server(port, None).deliver(&letter()).await.unwrap_err();
    assert!(!error.retryable && !error.to_string().contains(['\u{1b}', '\u{202e}', '\n']), "{error:?}");
}
