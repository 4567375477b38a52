//! MongoDB, as DocumentDB behind its protocol plays it.

use std::sync::OnceLock;

use async_trait::async_trait;
use dbsnap::{
    domain::{database::Settings, fields::validate},
    engines::{self, Engine},
};
use futures_util::TryStreamExt;
use mongodb::{
    Client,
    bson::{Binary, Document, doc, spec::BinarySubtype},
};

use super::home::{CUSTOMERS, Home};
use crate::support::{
    mongodb::{Options, Server, shared},
    tls::AUTHORITY,
    tls_front,
};

pub struct Mongodb {
    server: Running,
    /// Ports before it that speak TLS: to everybody, and to those with a certificate.
    fronts: [OnceLock<u16>; 2],
}

enum Running {
    Shared(&'static Server),
    Own(Box<Server>),
}

impl Mongodb {
    pub fn shared() -> Self {
        Self { server: Running::Shared(shared()), fronts: Default::default() }
    }

    fn server(&self) -> &Server {
        match &self.server {
            Running::Shared(server) => server,
            Running::Own(server) => server,
        }
    }

    async fn connect(&self) -> Client {
        self.server().connect().await
    }
}

#[async_trait]
impl Home for Mongodb {
    fn label(&self) -> String {
        "MongoDB".into()
    }

    fn engine(&self) -> &'static dyn Engine {
        engines::find("mongodb").unwrap()
    }

    fn settings(&self, database: &str) -> Settings {
        let settings = self.engine().settings_from_url(&self.server().url(database)).unwrap();
        validate(self.engine().info().connection, &settings).unwrap()
    }

    async fn make(&self, purpose: &str) -> String {
        // A database's name may be hardly anything but letters.
        let name = self.server().database(&purpose.replace([' ', '$'], "_"));
        let database = self.connect().await.database(&name);
        let customers = (0..CUSTOMERS as i64).map(|id| doc! { "_id": id, "name": format!("customer {id}") });
        database.collection::<Document>("customers").insert_many(customers).await.unwrap();
        database.create_collection("unsold").await.unwrap();
        name
    }

    async fn make_heavy(&self, database: &str, megabytes: u32) {
        let heavy = self.connect().await.database(database).collection::<Document>("heavy");
        for id in 0..megabytes {
            let mut bytes = vec![0; 1024 * 1024];
            rand::fill(&mut bytes[..]);
            heavy.insert_one(doc! { "_id": id, "body": Binary { subtype: BinarySubtype::Generic, bytes } }).await.unwrap();
        }
    }

    async fn add_table(&self, database: &str, table: &str) {
        self.connect().await.database(database).collection::<Document>(table).insert_one(doc! { "_id": 1, "name": table }).await.unwrap();
    }

    fn odd_tables(&self) -> Vec<&'static str> {
        // A dollar and a line break DocumentDB does not take.
        vec!["sp ace", "quo\"te", "it's", "back`tick", "dot.ted", "--help", "semi;colon", "back\\slash", "🐘 tötal"]
    }

    fn odd_copy(&self, database: &str) -> String {
        format!("{database}-'copy'&🐘")
    }

    async fn contents(&self, database: &str) -> Vec<(String, Vec<String>)> {
        let database = self.connect().await.database(database);
        let mut contents = Vec::new();
        for name in database.list_collection_names().await.unwrap() {
            let rows = database.collection::<Document>(&name).find(doc! {}).sort(doc! { "_id": 1 }).await.unwrap();
            contents.push((name, rows.map_ok(|row| row.to_string()).try_collect().await.unwrap()));
        }
        contents.sort();
        contents
    }

    async fn names(&self, prefix: &str) -> Vec<String> {
        let client = self.connect().await;
        let mut names = Vec::new();
        for name in client.list_database_names().await.unwrap() {
            // MongoDB forgets a database with its last collection; DocumentDB goes on listing it.
            if name.starts_with(prefix) && !client.database(&name).list_collection_names().await.unwrap().is_empty() {
                names.push(name);
            }
        }
        names.sort();
        names
    }

    async fn remove(&self, database: &str) {
        self.connect().await.database(database).drop().await.unwrap();
    }

    async fn of_its_own(&self) -> Option<Box<dyn Home>> {
        let server = Running::Own(Box::new(Server::start(&Options::default())));
        Some(Box::new(Self { server, fronts: Default::default() }))
    }

    fn encrypt(&self, settings: &mut Settings, certificate: bool) {
        let front = *self.fronts[usize::from(certificate)].get_or_init(|| {
            let identity = AUTHORITY.server(&["127.0.0.1", "localhost"]);
            tls_front::start(self.server().port, &identity, certificate.then_some(&*AUTHORITY))
        });
        if settings["hosts"] == format!("127.0.0.1:{}", self.server().port) {
            settings.insert("hosts".into(), format!("127.0.0.1:{front}").into());
        }
    }

    fn kill(&self) {
        self.server().crash();
    }

    fn at_port(&self, database: &str, port: u16) -> Option<Settings> {
        let mut settings = self.settings(database);
        settings.insert("hosts".into(), format!("127.0.0.1:{port}").into());
        Some(settings)
    }
}
