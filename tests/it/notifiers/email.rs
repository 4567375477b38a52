//! Email against aiosmtpd: in clear, by STARTTLS, by TLS, with an account; and against servers that stall.

use std::{
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

use dbsnap::domain::notice::Notice;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{io::AsyncWriteExt, net::TcpListener};

use super::{failure, hostile, recovery, send};
use crate::support::{leash, tls::AUTHORITY};

/// A mail server of Python, and what it received.
struct Mail {
    port: u16,
    messages: Receiver<String>,
    server: Child,
    _folder: TempDir,
}

impl Mail {
    fn start(mode: &str, account: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let identity = AUTHORITY.server(&["localhost"]);
        let (certificate, key) = (folder.path().join("certificate"), folder.path().join("key"));
        std::fs::write(&certificate, identity.certificate).unwrap();
        std::fs::write(&key, identity.key).unwrap();
        let python = std::env::var_os("DBSNAP_TEST_PYTHON").map_or_else(|| leash::cache().join("python/bin/python"), PathBuf::from);
        let mut command = Command::new(python);
        command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/smtp_sink.py")).arg(mode).arg(certificate).arg(key).args(account);
        let mut server = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
        let port = lines.next().expect("the mail server starts: run scripts/test-tools").unwrap().parse().unwrap();
        let (sender, messages) = channel();
        // Read at once: a full pipe would hold the server up.
        thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { port, messages, server, _folder: folder }
    }

    fn settings(&self, security: &str, more: Value) -> Value {
        let mut settings = json!({
            "host": "localhost", "port": self.port, "security": security, "caCertificate": AUTHORITY.certificate,
            "from": "DBSnap <dbsnap@example.org>", "to": ["Öps <ops@example.org>", "night@example.org"],
        });
        settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        settings
    }

    fn received(&self) -> Value {
        serde_json::from_str(&self.messages.recv_timeout(Duration::from_secs(10)).unwrap()).unwrap()
    }
}

impl Drop for Mail {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn header<'a>(mail: &'a Value, name: &str) -> &'a str {
    let headers = mail["headers"].as_array().unwrap();
    headers.iter().find(|header| header[0].as_str().unwrap().eq_ignore_ascii_case(name)).map_or("", |header| header[1].as_str().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn email_arrives_as_text_and_as_html_in_one_conversation() {
    let mail = Mail::start("none", &[]);
    let settings = mail.settings("none", json!({}));
    send("email", &settings, &failure()).await.unwrap();
    let got = mail.received();
    assert_eq!((got["from"].as_str(), &got["to"]), (Some("dbsnap@example.org"), &json!(["ops@example.org", "night@example.org"])));
    assert_eq!((got["kind"].as_str(), got["tls"].as_bool()), (Some("multipart/alternative"), Some(false)));
    assert_eq!(header(&got, "Subject"), "❌ Backup of shop failed");
    assert_eq!(header(&got, "Auto-Submitted"), "auto-generated");
    for part in ["text", "html"] {
        let text = got[part].as_str().unwrap().replace("&amp;", "&");
        for said in ["Backup of shop failed", "connection refused", "What to do:", "Check that the server runs", "3 of 3", "jobs/1?a=1&b=2"]
        {
            assert!(text.contains(said), "{part} lacks {said}: {text}");
        }
    }
    send("email", &settings, &recovery()).await.unwrap();
    let recovered = mail.received();
    assert_eq!(header(&recovered, "References"), header(&got, "References"));
    assert_ne!(header(&recovered, "Message-ID"), header(&got, "Message-ID"));
}

#[tokio::test(flavor = "multi_thread")]
async fn email_is_encrypted_and_signed_in_as_the_settings_say() {
    for mode in ["starttls", "tls"] {
        let mail = Mail::start(mode, &["mailer", "pa55 wörd"]);
        let settings = mail.settings(mode, json!({"username": "mailer", "password": "pa55 wörd"}));
        send("email", &settings, &failure()).await.unwrap_or_else(|error| panic!("{mode}: {error}"));
        let got = mail.received();
        assert_eq!((got["tls"].as_bool(), got["authenticated"].as_bool()), (Some(true), Some(true)), "{mode}");

        let wrong = mail.settings(mode, json!({"username": "mailer", "password": "wr0ng-one"}));
        let error = send("email", &wrong, &failure()).await.unwrap_err();
        assert!(error.to_string().contains("refused the sign-in") && !error.retryable, "{mode}: {error}");
        assert!(!error.to_string().contains("wr0ng-one"), "{error}");

        let mut unknown = settings.clone();
        unknown.as_object_mut().unwrap().remove("caCertificate");
        let error = send("email", &unknown, &failure()).await.unwrap_err();
        assert!(error.to_string().contains("ertificate"), "{mode}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn email_is_not_sent_in_clear_to_a_server_without_starttls() {
    let mail = Mail::start("none", &[]);
    let error = send("email", &mail.settings("starttls", json!({})), &failure()).await.unwrap_err();
    assert!(error.to_string().contains("security"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_mail_server_refuses_for_good_is_not_tried_again_and_the_rest_is() {
    let mail = Mail::start("none", &[]);
    let error = send("email", &mail.settings("none", json!({"to": "nobody@example.org"})), &failure()).await.unwrap_err();
    assert!(error.to_string().contains("no such mailbox") && !error.retryable, "{error}");
    let error = send("email", &mail.settings("none", json!({"to": "later@example.org"})), &failure()).await.unwrap_err();
    assert!(error.to_string().contains("come back later") && error.retryable, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_names_add_no_header_and_no_markup_to_an_email() {
    let mail = Mail::start("none", &[]);
    send("email", &mail.settings("none", json!({})), &hostile()).await.unwrap();
    let got = mail.received();
    assert_eq!(got["to"], json!(["ops@example.org", "night@example.org"]));
    assert_eq!(header(&got, "Bcc"), "");
    let html = got["html"].as_str().unwrap();
    assert!(!html.contains("<script") && !html.contains("<b>") && html.contains("&lt;script&gt;"), "markup");
    assert!(header(&got, "Subject").chars().count() <= 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_of_ten_kilobytes_in_any_script_arrive_as_one_short_subject_and_in_the_text() {
    let mail = Mail::start("none", &[]);
    for wide in ["🐘", "漢", "\u{202e}e\u{301}", "x\r\nBcc: victim@example.org\r\n\r\n"] {
        let long = wide.repeat(10_000 / wide.len());
        let notice = Notice {
            title: format!("Backup of {long} failed"),
            what: format!("Why {long}"),
            subject: long.clone(),
            group: long,
            ..failure()
        };
        send("email", &mail.settings("none", json!({})), &notice).await.unwrap();
        let got = mail.received();
        assert_eq!((got["to"].clone(), header(&got, "Bcc")), (json!(["ops@example.org", "night@example.org"]), ""), "{wide:?}");
        let subject = header(&got, "Subject");
        assert!(
            subject.starts_with("❌ Backup of ") && subject.encode_utf16().count() <= 200 && !subject.contains(['\r', '\n']),
            "{subject:?}"
        );
        let text = got["text"].as_str().unwrap();
        assert!(text.contains("Why") && text.contains("What to do:") && !text.contains('\u{202e}'), "{wide:?}");
    }
}

/// A server that stalls after the greeting (or before it) holds a delivery up for half a minute and no longer.
#[tokio::test(flavor = "multi_thread")]
async fn a_mail_server_that_stalls_is_given_up_in_half_a_minute() {
    let stalling = async |greeting: &'static [u8]| {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(greeting).await.unwrap();
            std::future::pending::<()>().await;
        });
        let settings = json!({"host": "127.0.0.1", "port": port, "security": "none", "from": "a@example.org", "to": "b@example.org"});
        let began = Instant::now();
        let error = send("email", &settings, &failure()).await.unwrap_err();
        assert!(error.retryable && error.to_string().contains("did not take the message"), "{error}");
        assert!(began.elapsed().as_secs() < 30);
    };
    tokio::join!(stalling(b""), stalling(b"220 welcome\r\n"));
}
