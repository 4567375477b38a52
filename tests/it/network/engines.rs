//! Every engine, its driver and its client programs alike, over every way: TLS with a client certificate and the name
//! proven, alone and behind an SSH server and proxies.

use std::{path::PathBuf, sync::Arc};

use dbsnap::{
    domain::{
        database::{Probe, Settings},
        fields::validate,
        run::{Learned, Run, Silent},
        stream::channel,
    },
    engines::{
        self, Engine,
        network::{Link, Protocol, Route},
    },
    error::Result,
};
use mongodb::bson::doc;
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use super::{says, tls::HERE};
use crate::support::{
    mongodb as mongo, mysql, postgres,
    proxies::{Kind, Proxy},
    ssh,
    tls::{AUTHORITY, Authority, Identity},
};

/// One server that demands a client certificate, and what its engine needs to get there.
struct Place {
    engine: &'static dyn Engine,
    settings: Value,
    tool_dirs: Vec<PathBuf>,
    scratch: tempfile::TempDir,
}

impl Place {
    /// `own` are the engine's settings; the way is TLS with `client`'s certificate.
    fn new(engine: &'static dyn Engine, own: Value, client: &Identity, tool_dirs: Vec<PathBuf>) -> Self {
        let mut settings =
            json!({"tlsMode": "verify-full", "tlsCa": AUTHORITY.certificate, "tlsCert": client.certificate, "tlsKey": client.key});
        settings.as_object_mut().unwrap().extend(own.as_object().unwrap().clone());
        Self { engine, settings, tool_dirs, scratch: tempfile::tempdir().unwrap() }
    }

    fn with(&self, more: &Value) -> Settings {
        let mut settings = self.settings.as_object().unwrap().clone();
        settings.extend(more.as_object().unwrap().clone());
        // Left out with null, such as a client certificate.
        settings.retain(|_, value| !value.is_null());
        validate(self.engine.info().connection, &settings).unwrap()
    }

    fn run(&self) -> Run {
        Run {
            cancel: CancellationToken::new(),
            observer: Arc::new(Silent),
            scratch: self.scratch.path().to_owned(),
            tool_dirs: self.tool_dirs.clone(),
            learned: Learned::default(),
            limits: Default::default(),
        }
    }

    async fn probe(&self, more: &Value) -> Result<Probe> {
        self.engine.probe(&self.with(more), &self.run()).await
    }

    /// Dumps everything and returns how much it was, bytes.
    async fn dump(&self, more: &Value) -> Result<usize> {
        let (settings, run) = (self.with(more), self.run());
        let options = validate(self.engine.info().dump_options, &Map::new())?;
        let mut dump = self.engine.open_dump(&settings, &options, false, &run).await?;
        let mut size = 0;
        for (part, _) in dump.parts() {
            let (out, mut input) = channel();
            let gather = async {
                while let Some(piece) = input.recv().await {
                    size += piece.len();
                }
            };
            let (written, ()) = tokio::join!(dump.write(part, out, &run), gather);
            written?;
        }
        Ok(size)
    }
}

/// What stands on the way, with the name of each.
struct Hops {
    socks: Proxy,
    http: Proxy,
}

impl Hops {
    fn start() -> Self {
        Self { socks: Proxy::start(Kind::Socks5, false), http: Proxy::start(Kind::Http, false) }
    }

    fn ways(&self) -> Vec<(&'static str, Value)> {
        let proxy = |kind: &str, proxy: &Proxy| json!({"proxyType": kind, "proxyHost": "127.0.0.1", "proxyPort": proxy.port});
        let bastion = json!({"sshHost": "127.0.0.1", "sshPort": ssh::shared().port, "sshUser": ssh::USER, "sshKey": ssh::keys().ed25519});
        let (mut both, socks) = (proxy("socks5", &self.socks), proxy("socks5", &self.socks));
        both.as_object_mut().unwrap().extend(bastion.as_object().unwrap().clone());
        vec![("direct", json!({})), ("SSH", bastion), ("SOCKS5", socks), ("HTTP", proxy("http", &self.http)), ("SSH behind SOCKS5", both)]
    }
}

/// Probes and dumps over every way, and sees the certificate of another server refused.
async fn goes_every_way(place: &Place) {
    let hops = Hops::start();
    let label = place.engine.info().label;
    for (way, more) in hops.ways() {
        let probe = place.probe(&more).await.unwrap_or_else(|error| panic!("{label}, {way}: {error}"));
        let facts = probe.connection.unwrap_or_else(|| panic!("{label}, {way}: no facts"));
        let tls = facts.tls.unwrap_or_else(|| panic!("{label}, {way}: no TLS"));
        assert_eq!((tls.verified.as_str(), tls.client_certificate), ("authority and name", true), "{label}, {way}");
        assert_eq!(
            (facts.ssh.is_some(), facts.proxy.is_some()),
            (way.contains("SSH"), way.contains("SOCKS") || way == "HTTP"),
            "{label}, {way}"
        );
        let size = place.dump(&more).await.unwrap_or_else(|error| panic!("{label}, {way}: {error}"));
        assert!(size > 300, "{label}, {way}: {size} bytes");
    }
    let other = json!({"tlsServerName": "elsewhere.example"});
    says(&place.probe(&other).await.unwrap_err(), "is not for elsewhere.example but for");
    let foreign = json!({ "tlsCa": Authority::new("Foreign").certificate });
    says(&place.probe(&foreign).await.unwrap_err(), "an authority that is not in tlsCa");
    let without = json!({"tlsCert": null, "tlsKey": null});
    let error = place.probe(&without).await.unwrap_err();
    assert!(error.hint.is_some(), "{label}: {error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn postgresql_goes_every_way() {
    let options = postgres::Options {
        tls: Some((&AUTHORITY.server(HERE), &AUTHORITY)),
        access: Some("hostssl all all 127.0.0.1/32 scram-sha-256 clientcert=verify-full\n"),
        ..Default::default()
    };
    let server = postgres::Server::start_with(17, &options);
    let own = json!({"host": "127.0.0.1", "port": server.port, "database": "postgres", "user": "postgres", "password": postgres::PASSWORD});
    let place =
        Place::new(&engines::postgres::Postgres { usual_places: false }, own, &AUTHORITY.client("postgres"), vec![postgres::programs(17)]);
    goes_every_way(&place).await;
    // The server takes nobody else, so that the ways above were what they say.
    let plain = json!({"tlsMode": "off", "tlsCa": null, "tlsCert": null, "tlsKey": null});
    assert!(place.probe(&plain).await.unwrap_err().to_string().contains("no encryption"));
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_and_mariadb_go_every_way_with_their_own_programs() {
    for flavour in mysql::FLAVOURS {
        let server = mysql::shared(flavour);
        let database = server.database("ways").await;
        let own =
            json!({"host": "127.0.0.1", "port": server.port, "database": database, "user": mysql::CERTIFIED, "password": mysql::PASSWORD});
        let place =
            Place::new(&engines::mysql::Mysql { usual_places: false }, own, &AUTHORITY.client("backup"), vec![mysql::programs(flavour)]);
        goes_every_way(&place).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mongodb_goes_every_way() {
    let options = mongo::Options { tls: Some(&AUTHORITY.server(HERE)), clients: Some(&AUTHORITY) };
    let server = mongo::Server::start(&options);
    let own = json!({"hosts": format!("127.0.0.1:{}", server.port), "database": "ways", "user": mongo::ADMIN, "password": mongo::PASSWORD,
        "authSource": "admin", "directConnection": true});
    let place = Place::new(&engines::mongodb::Mongodb, own, &AUTHORITY.client("backup"), Vec::new());
    let route = Route::from_settings(&place.with(&json!({}))).unwrap();
    let link = Link::open(&route, Protocol::Mongodb, "127.0.0.1", server.port, &place.run()).await.unwrap();
    let mut plain =
        mongodb::options::ClientOptions::parse(format!("mongodb://{}:{}/?directConnection=true", link.host(), link.port())).await.unwrap();
    let credential = mongodb::options::Credential::builder().username(mongo::ADMIN.to_owned()).password(mongo::PASSWORD.to_owned());
    plain.credential = Some(credential.source("admin".to_owned()).build());
    let client = mongodb::Client::with_options(plain).unwrap();
    client.database("ways").collection("t").insert_one(doc! {"text": "x".repeat(1000)}).await.unwrap();
    goes_every_way(&place).await;
}
