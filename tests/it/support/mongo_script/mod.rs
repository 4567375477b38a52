//! A MongoDB server that does what a test says: for what the real test server cannot show. That is: replica sets, reads
//! at one cluster time, snapshots that grow too old, cursors that get lost, capped, clustered and time-series
//! collections, collations, changed primaries, privileges.
//!
//! It speaks the wire protocol, keeps what it is told to keep in memory (see [`store`]) and remembers every command.
//! A test sets a [`Script::on`] handler for what it wants otherwise.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
};

use mongodb::bson::{Document, RawDocumentBuf, doc};
use tokio::{net::TcpListener, runtime};
use tokio_util::sync::CancellationToken;

pub mod store;
mod wire;

use store::Store;

/// What a handler wants to happen.
pub enum Reply {
    /// The server's own answer.
    Default,
    /// This answer; `ok` is added.
    Answer(Document),
    /// A failure with this code, its name and words.
    Error(i32, &'static str, &'static str),
    /// The connection is closed without an answer.
    HangUp,
    /// What the server itself does, then the connection is closed without an answer.
    DoAndHangUp,
    /// No answer, ever.
    Silence,
}

/// One command as it came, document sequences folded into it.
#[derive(Debug, Clone)]
pub struct Command {
    /// Without `documents` of an insert.
    pub body: Document,
    pub documents: Vec<RawDocumentBuf>,
}

impl Command {
    pub fn name(&self) -> &str {
        self.body.keys().next().map_or("", String::as_str)
    }

    pub fn db(&self) -> &str {
        self.body.get_str("$db").unwrap_or_default()
    }

    /// The collection that it names.
    pub fn collection(&self) -> &str {
        self.body.get_str(self.name()).unwrap_or_default()
    }
}

type Handler = Arc<dyn Fn(&Command) -> Reply + Send + Sync>;

/// What kind of server it plays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    Standalone,
    Primary,
    Secondary,
}

struct State {
    address: SocketAddr,
    role: Mutex<Role>,
    /// Merged over the answer to `hello`.
    hello: Mutex<Document>,
    handlers: Mutex<HashMap<String, Handler>>,
    received: Mutex<Vec<Command>>,
    store: Mutex<Store>,
    /// Answers to writes that a driver may send once more, by session and number.
    answered: Mutex<HashMap<String, Document>>,
    alive: CancellationToken,
}

/// A running server on 127.0.0.1. It ends when this is dropped.
pub struct Script(Arc<State>);

impl Script {
    pub const SET: &str = "rs0";

    /// A server alone.
    pub fn standalone() -> Self {
        Self::start(Role::Standalone)
    }

    /// A replica set of this one member, which can read at one cluster time.
    pub fn primary() -> Self {
        Self::start(Role::Primary)
    }

    pub fn start(role: Role) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let state = Arc::new(State {
            address: listener.local_addr().unwrap(),
            role: Mutex::new(role),
            hello: Mutex::default(),
            handlers: Mutex::default(),
            received: Mutex::default(),
            store: Mutex::default(),
            answered: Mutex::default(),
            alive: CancellationToken::new(),
        });
        // A thread of its own: it answers whatever the test's own runtime is busy with.
        std::thread::spawn({
            let state = state.clone();
            move || {
                let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async {
                    let listener = TcpListener::from_std(listener).unwrap();
                    while let Some(Ok((stream, _))) = state.alive.run_until_cancelled(listener.accept()).await {
                        let state = state.clone();
                        tokio::spawn(async move {
                            let alive = state.alive.clone();
                            alive.run_until_cancelled(wire::serve(stream, state)).await
                        });
                    }
                });
            }
        });
        Self(state)
    }

    /// `127.0.0.1:port`.
    pub fn address(&self) -> String {
        self.0.address.to_string()
    }

    /// From now on this answers commands of that name; the last one set counts.
    pub fn on(&self, command: &str, handler: impl Fn(&Command) -> Reply + Send + Sync + 'static) {
        self.0.handlers.lock().unwrap().insert(command.to_ascii_lowercase(), Arc::new(handler));
    }

    /// Commands of that name so far, in the order of their arrival.
    pub fn received(&self, name: &str) -> Vec<Command> {
        self.0.received.lock().unwrap().iter().filter(|command| command.name().eq_ignore_ascii_case(name)).cloned().collect()
    }

    /// Names of all commands so far, without those that drivers send by themselves.
    pub fn names(&self) -> Vec<String> {
        let all = self.0.received.lock().unwrap();
        let quiet = ["hello", "ismaster", "ping", "endSessions", "buildInfo"];
        all.iter().map(|command| command.name().to_owned()).filter(|name| !quiet.contains(&name.as_str())).collect()
    }

    /// What it holds.
    pub fn store(&self) -> MutexGuard<'_, Store> {
        self.0.store.lock().unwrap()
    }

    pub fn become_role(&self, role: Role) {
        *self.0.role.lock().unwrap() = role;
    }

    /// Says this in answer to `hello`, over what it would say.
    pub fn say_hello(&self, fields: Document) {
        *self.0.hello.lock().unwrap() = fields;
    }

    /// Dies: every connection breaks and none is accepted any more.
    pub fn kill(&self) {
        self.0.alive.cancel();
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        self.kill();
    }
}

impl State {
    fn hello(&self) -> Document {
        let role = self.role.lock().unwrap().clone();
        let me = self.address.to_string();
        let mut hello = doc! {
            "helloOk": true,
            "isWritablePrimary": role != Role::Secondary,
            "ismaster": role != Role::Secondary,
            "maxBsonObjectSize": 16 * 1024 * 1024,
            "maxMessageSizeBytes": 48_000_000,
            "maxWriteBatchSize": 100_000,
            "logicalSessionTimeoutMinutes": 30,
            "connectionId": 1,
            "minWireVersion": 0,
            "maxWireVersion": 21,
            "readOnly": false,
        };
        if role != Role::Standalone {
            hello.extend(doc! { "setName": Script::SET, "setVersion": 1, "hosts": [&me], "me": &me, "secondary": role == Role::Secondary });
            if role == Role::Primary {
                hello.insert("primary", me);
            }
        }
        hello.extend(self.hello.lock().unwrap().clone());
        hello
    }

    /// A write that is sent again is not done again.
    fn once(&self, command: &Command, replicated: bool) -> Document {
        let run = || self.store.lock().unwrap().run(command, replicated);
        match (command.body.get("lsid"), command.body.get("txnNumber")) {
            (Some(session), Some(number)) => {
                let key = format!("{session} {number}");
                let known = self.answered.lock().unwrap().get(&key).cloned();
                known.unwrap_or_else(|| {
                    let answer = run();
                    self.answered.lock().unwrap().insert(key, answer.clone());
                    answer
                })
            }
            _ => run(),
        }
    }

    /// The answer to a command, or `None` where the connection is to be closed.
    async fn answer(&self, command: Command) -> Option<Document> {
        self.received.lock().unwrap().push(command.clone());
        let handler = self.handlers.lock().unwrap().get(&command.name().to_ascii_lowercase()).cloned();
        let reply = handler.map_or(Reply::Default, |handler| handler(&command));
        let replicated = *self.role.lock().unwrap() != Role::Standalone;
        let mut answer = match reply {
            Reply::Answer(answer) => answer,
            Reply::Error(code, name, words) => doc! { "ok": 0.0, "code": code, "codeName": name, "errmsg": words },
            Reply::HangUp => return None,
            Reply::Silence => std::future::pending().await,
            Reply::Default | Reply::DoAndHangUp => {
                let done = match command.name().to_ascii_lowercase().as_str() {
                    "hello" | "ismaster" => self.hello(),
                    _ => self.once(&command, replicated),
                };
                if matches!(reply, Reply::DoAndHangUp) {
                    return None;
                }
                done
            }
        };
        if !answer.contains_key("ok") {
            answer.insert("ok", 1.0);
        }
        if replicated {
            let time = self.store.lock().unwrap().time();
            answer.insert("operationTime", time);
            answer.insert("$clusterTime", doc! { "clusterTime": time, "signature": { "hash": mongodb::bson::Binary { subtype: mongodb::bson::spec::BinarySubtype::Generic, bytes: vec![0; 20] }, "keyId": 0_i64 } });
        }
        Some(answer)
    }
}

#[tokio::test]
async fn the_driver_takes_it_for_a_server_and_reads_at_one_moment() {
    use futures_util::TryStreamExt;
    use mongodb::{Client, options::SessionOptions};

    let script = Script::primary();
    script.store().add("d", "c", (0..250).map(|id| doc! { "_id": id }));
    let client = Client::with_uri_str(format!("mongodb://{}/?directConnection=true", script.address())).await.unwrap();
    let collection = client.database("d").collection::<Document>("c");
    let options = SessionOptions::builder().snapshot(true).build();
    let mut session = client.start_session().with_options(options).await.unwrap();
    let mut ids = Vec::new();
    for _ in 0..2 {
        let mut cursor = collection.find(doc! {}).session(&mut session).await.unwrap();
        ids.push(cursor.stream(&mut session).try_collect::<Vec<_>>().await.unwrap().len());
        collection.insert_one(doc! { "_id": "later" }).await.unwrap_or_else(|error| panic!("{error}"));
        collection.insert_one(doc! { "_id": "later" }).await.unwrap_err();
        script.store().collection_mut("d", "c").documents.pop();
        script.store().add("d", "c", [doc! { "_id": "more" }]);
    }
    assert_eq!(ids, [250, 250]);
    assert_eq!(collection.count_documents(doc! {}).await.unwrap(), 252);
    let time = |command: &Command| command.body.get_document("readConcern").unwrap().get_timestamp("atClusterTime").ok();
    let times: Vec<_> = script.received("find").iter().map(time).collect();
    assert!(times[0].is_none() && times[1].is_some(), "{times:?}");
}
