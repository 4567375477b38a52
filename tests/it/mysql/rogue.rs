//! Servers that are not what they seem: a real one with someone in between.

use std::sync::{Arc, Mutex};

use dbsnap::domain::database::Settings;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};

use super::{Bench, refused, run, settings};
use crate::support::mysql::{FLAVOURS, Flavour, Server, shared};

/// What stands between a client and a server, and what it does.
#[derive(Clone, Default)]
struct Middle {
    /// A query with these words is answered with the request for a file of the client.
    ask_at: &'static str,
    /// The version that clients are told.
    version: Option<&'static str>,
    /// What clients sent after they were asked for a file; one for each time.
    sent: Arc<Mutex<Vec<Vec<u8>>>>,
}

const FILE: &[u8] = b"\xFB/etc/passwd";

impl Middle {
    /// Stands in front of a server; returns the port.
    async fn listen(&self, server: &Server) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (port, to, middle) = (listener.local_addr().unwrap().port(), server.port, self.clone());
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let server = TcpStream::connect(("127.0.0.1", to)).await.unwrap();
                tokio::spawn(middle.clone().carry(client, server));
            }
        });
        port
    }

    async fn carry(self, client: TcpStream, server: TcpStream) {
        let (mut from_client, mut to_client) = client.into_split();
        let (mut from_server, mut to_server) = server.into_split();
        let Some((_, greeting)) = packet(&mut from_server).await else { return };
        let greeting = match self.version {
            Some(version) => {
                let rest = greeting[1..].iter().position(|byte| *byte == 0).unwrap() + 1;
                [&[10][..], version.as_bytes(), &greeting[rest..]].concat()
            }
            None => greeting,
        };
        write(&mut to_client, 0, &greeting).await;
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let answering = tokio::spawn(async move {
            tokio::select! {
                _ = tokio::io::copy(&mut from_server, &mut to_client) => {}
                _ = stopped => {}
            }
            to_client
        });
        while let Some((sequence, payload)) = packet(&mut from_client).await {
            let query = String::from_utf8_lossy(&payload).into_owned();
            if sequence == 0 && payload.first() == Some(&3) && !self.ask_at.is_empty() && query.contains(self.ask_at) {
                stop.send(()).unwrap();
                let mut to_client = answering.await.unwrap();
                write(&mut to_client, 1, FILE).await;
                let mut sent = Vec::new();
                let reading = from_client.read_to_end(&mut sent);
                let _ = tokio::time::timeout(std::time::Duration::from_millis(500), reading).await;
                self.sent.lock().unwrap().push(sent);
                return;
            }
            write(&mut to_server, sequence, &payload).await;
        }
    }

    /// Asserts that clients were asked and sent no byte of a file.
    fn got_nothing(&self, who: &str) {
        let sent = self.sent.lock().unwrap();
        assert!(!sent.is_empty(), "{who} was not asked");
        for sent in &*sent {
            // An empty packet ends the transfer of a client that refuses; QUIT may follow.
            let file = String::from_utf8_lossy(sent);
            assert!(!file.contains("root:") && sent.len() <= 16, "{who} sent {file}");
        }
    }
}

async fn packet(from: &mut OwnedReadHalf) -> Option<(u8, Vec<u8>)> {
    let mut head = [0; 4];
    from.read_exact(&mut head).await.ok()?;
    let mut payload = vec![0; u32::from_le_bytes([head[0], head[1], head[2], 0]) as usize];
    from.read_exact(&mut payload).await.ok()?;
    Some((head[3], payload))
}

async fn write(to: &mut OwnedWriteHalf, sequence: u8, payload: &[u8]) {
    let length = u32::try_from(payload.len()).unwrap().to_le_bytes();
    // The other side may have gone already.
    let _ = to.write_all(&[&[length[0], length[1], length[2], sequence], payload].concat()).await;
}

fn through(server: &Server, port: u16, database: &str) -> Settings {
    let mut settings = settings(server, database);
    settings.insert("port".into(), port.into());
    settings.insert("tlsMode".into(), "off".into());
    settings
}

async fn shop(server: &Server) -> String {
    let name = server.database("rogue").await;
    run(server, &name, &["CREATE TABLE t (a INT)", "INSERT INTO t VALUES (1)"]).await;
    name
}

#[tokio::test]
async fn a_server_that_asks_the_driver_for_a_file_gets_nothing() {
    for flavour in [Flavour::MySql97, Flavour::MariaDb1011] {
        let server = shared(flavour);
        let name = shop(server).await;
        let middle = Middle { ask_at: "@@version_comment", ..Middle::default() };
        let port = middle.listen(server).await;
        refused(Bench::with(flavour).probe(&through(server, port, &name)).await, &["reading the version"]);
        refused(Bench::with(flavour).dump_with(&through(server, port, &name), json!({})).await, &["reading the version"]);
        // The driver's side may close before the middle has noted what came.
        tokio::time::timeout(std::time::Duration::from_secs(5), async {
            while middle.sent.lock().unwrap().len() < 2 {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        })
        .await
        .unwrap();
        middle.got_nothing("the driver");
    }
}

#[tokio::test]
async fn a_server_that_asks_a_dump_program_for_a_file_gets_nothing() {
    for tool in FLAVOURS {
        // The second is in the middle of the dump, where the rows of a table are due.
        for ask_at in ["SET @@SQL_MODE=''", "SQL_NO_CACHE"] {
            let server = shared(tool);
            let name = shop(server).await;
            let middle = Middle { ask_at, ..Middle::default() };
            let port = middle.listen(server).await;
            let result = Bench::with(tool).dump_with(&through(server, port, &name), json!({})).await;
            assert!(result.is_err(), "{tool:?} at {ask_at}");
            middle.got_nothing(&format!("the program of {tool:?} at {ask_at}"));
        }
    }
}

#[tokio::test]
async fn a_version_with_a_line_break_writes_no_statement_into_a_dump() {
    for flavour in FLAVOURS {
        let server = shared(flavour);
        let name = shop(server).await;
        let version =
            if flavour.is_mariadb() { "5.5.5-10.11.1-MariaDB\nDROP DATABASE evil; -- " } else { "9.7.4\nDROP DATABASE evil; -- " };
        let middle = Middle { version: Some(version), ..Middle::default() };
        let port = middle.listen(server).await;
        let result = Bench::with(flavour).dump_with(&through(server, port, &name), json!({})).await;
        match result {
            Ok(dumped) => assert!(!dumped.text().lines().any(|line| line.starts_with("DROP DATABASE")), "{flavour:?}"),
            Err(error) => {
                assert!(error.to_string().contains("begins with what no dump program writes: 'DROP DATABASE evil; -- '"), "{error}")
            }
        }
    }
}
