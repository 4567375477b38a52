//! What is wrong is named, with a next step, and no secret.

use std::net::TcpListener;

use dbsnap::{domain::database::Settings, error::Error};

use super::{
    everywhere,
    home::Home,
    homes,
    operations::{Bench, open, secrets},
};

/// Probes and dumps with settings that are wrong; both must fail alike.
async fn refused(home: &dyn Home, settings: &Settings) -> Error {
    let probing = home.engine().probe(settings, &Bench::new(home).run).await.unwrap_err();
    let dumping = open(home, settings, &Bench::new(home)).await.err().unwrap();
    for error in [&probing, &dumping] {
        let told = format!("{error} {error:?}");
        assert!(error.hint.is_some(), "{}: no next step: {error}", home.label());
        for secret in secrets(home, settings) {
            assert!(!told.contains(&secret), "{}: a secret is told: {told}", home.label());
        }
    }
    probing
}

#[tokio::test]
async fn a_database_that_is_not_there_is_named_with_a_next_step() {
    for home in everywhere().await {
        let home = home.as_ref();
        let database = home.make("there").await;
        let missing = format!("{database}_missing");
        let error = refused(home, &home.settings(&missing)).await;
        assert!(error.to_string().contains(&missing), "{}: {error}", home.label());
    }
}

#[tokio::test]
async fn a_wrong_password_is_told_from_an_absent_server() {
    for home in everywhere().await {
        let home = home.as_ref();
        let database = home.make("guarded").await;
        let Some(settings) = home.wrong_password(&database) else { continue };
        let wrong = refused(home, &settings).await;
        assert!(!wrong.retryable, "{}: {wrong}", home.label());
        assert!(wrong.to_string().contains("password"), "{}: {wrong}", home.label());

        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let absent = refused(home, &home.at_port(&database, port).unwrap()).await;
        assert!(absent.retryable && absent.to_string().contains(&port.to_string()), "{}: {absent}", home.label());
    }
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up() {
    for home in homes().await {
        let home = home.as_ref();
        let database = home.make("silent").await;
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let Some(mut settings) = home.at_port(&database, listener.local_addr().unwrap().port()) else { continue };
        settings.insert("connectTimeout".into(), 1.into());
        let error = home.engine().probe(&settings, &Bench::new(home).run).await.unwrap_err();
        assert!(error.retryable, "{}: {error}", home.label());
    }
}

#[tokio::test]
async fn a_server_of_another_kind_is_no_server() {
    for home in homes().await {
        let home = home.as_ref();
        let database = home.make("other").await;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let Some(mut settings) = home.at_port(&database, listener.local_addr().unwrap().port()) else { continue };
        settings.insert("connectTimeout".into(), 3.into());
        let web = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                use tokio::io::{AsyncReadExt, AsyncWriteExt};
                // Whatever is sent, an answer that no database gives.
                let _ = tokio::time::timeout(std::time::Duration::from_millis(50), stream.read(&mut [0; 64])).await;
                let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await;
            }
        });
        let error = home.engine().probe(&settings, &Bench::new(home).run).await.unwrap_err();
        assert!(!error.to_string().is_empty(), "{}", home.label());
        web.abort();
    }
}
