//! Where a MongoDB is, and connections to it. DBSnap chooses one member of a replica set itself, because the way to each
//! may lead through a tunnel of its own; the driver then speaks to that member alone.

use std::{fmt, time::Duration};

use futures_util::TryStreamExt;
use mongodb::{
    Client,
    bson::{Document, doc},
    error::ErrorKind,
    options::{AuthMechanism, ClientOptions, Credential, ReadPreference, SelectionCriteria, ServerAddress, ServerMonitoringMode},
};

use super::{
    address::{Address, DEFAULT_PORT},
    faults::{code, code_of, failed},
    hello::{self, Hello},
    member::choose,
};
use crate::{
    domain::{database::Settings, fields::SettingsExt, run::Run, secret::Secret},
    engines::network::{Link, Protocol, Route},
    error::{Error, Kind, Result},
};

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The member that the read preference says.
    Read,
    /// The primary.
    Write,
}

/// One server, replica set or sharded cluster, one database of it or all, and who asks.
#[derive(Clone)]
pub struct Target {
    hosts: String,
    srv: bool,
    /// `None`: every database.
    pub database: Option<String>,
    pub user: Option<String>,
    password: Option<Secret>,
    auth_source: Option<String>,
    mechanism: Option<AuthMechanism>,
    replica_set: Option<String>,
    pub(super) preference: ReadPreference,
    pub(super) direct: bool,
    route: Route,
}

/// Servers to ask first, and what their records say of them.
pub(super) struct Seeds {
    pub hosts: Vec<Address>,
    pub replica_set: Option<String>,
    pub auth_source: Option<String>,
}

/// A connection to one server. What it holds open ends when it is dropped.
pub struct Server {
    pub client: Client,
    pub hello: Hello,
    link: Link,
    /// For commands that read.
    reading: SelectionCriteria,
    user: Option<String>,
}

impl Server {
    /// Runs a command that reads; the server's answer.
    pub async fn command(&self, database: &str, command: Document) -> mongodb::error::Result<Document> {
        self.client.database(database).run_command(command).selection_criteria(self.reading.clone()).await
    }

    /// Runs a command that answers with a cursor over a list that fits in memory.
    pub async fn list(&self, database: &str, command: Document) -> mongodb::error::Result<Vec<Document>> {
        let database = self.client.database(database);
        database.run_cursor_command(command).selection_criteria(self.reading.clone()).await?.try_collect().await
    }

    pub fn reading(&self) -> SelectionCriteria {
        self.reading.clone()
    }

    /// An error of the driver as a person reads it, with what the link knows of a lost connection.
    pub fn failed(&self, doing: impl fmt::Display, cause: &mongodb::error::Error) -> Error {
        let error = failed(doing, cause);
        match (&*cause.kind, &self.user) {
            (ErrorKind::Command(command), None) if command.code == code::UNAUTHORIZED => {
                error.hint("the server asks who is there: set user and password")
            }
            (ErrorKind::Command(command), Some(user)) if command.code == code::UNAUTHORIZED => {
                error.hint(format!("grant the user {user} what it lacks: a test of the connection names it and writes a script"))
            }
            (ErrorKind::Command(_), _) => error,
            _ => self.link.explain(error),
        }
    }

    pub fn link(&self) -> &Link {
        &self.link
    }
}

impl Target {
    /// Reads validated settings.
    pub fn from_settings(settings: &Settings) -> Result<Self> {
        let text = |name: &str| settings.text(name).filter(|text| !text.is_empty()).map(str::to_owned);
        let mechanism = match settings.text("authMechanism") {
            Some("SCRAM-SHA-1") => Some(AuthMechanism::ScramSha1),
            Some("SCRAM-SHA-256") => Some(AuthMechanism::ScramSha256),
            Some("MONGODB-X509") => Some(AuthMechanism::MongoDbX509),
            Some("PLAIN") => Some(AuthMechanism::Plain),
            _ => None,
        };
        let options = None;
        let preference = match settings.text("readPreference") {
            Some("primaryPreferred") => ReadPreference::PrimaryPreferred { options },
            Some("secondary") => ReadPreference::Secondary { options },
            Some("secondaryPreferred") => ReadPreference::SecondaryPreferred { options },
            Some("nearest") => ReadPreference::Nearest { options },
            _ => ReadPreference::Primary,
        };
        let target = Self {
            hosts: text("hosts").unwrap_or_else(|| format!("localhost:{DEFAULT_PORT}")),
            srv: settings.flag("srv"),
            database: text("database"),
            user: text("user"),
            password: text("password").map(Secret::new),
            auth_source: text("authSource"),
            mechanism,
            replica_set: text("replicaSet"),
            preference,
            direct: settings.flag("directConnection"),
            route: Route::from_settings(settings)?,
        };
        if target.srv {
            let named = target.hosts.chars().all(|c| c.is_ascii_alphanumeric() || ['.', '-', '_'].contains(&c));
            return named.then_some(target).ok_or_else(|| Error::validation("a DNS seed list is one name, without a port"));
        }
        Address::parse_list(&target.hosts)?;
        Ok(target)
    }

    pub fn with_database(&self, database: &str) -> Self {
        Self { database: Some(database.to_owned()), ..self.clone() }
    }

    fn limit(&self) -> Duration {
        self.route.connect_timeout
    }

    /// Connects to the member that fits, and proves user and password.
    pub async fn connect(&self, purpose: Purpose, run: &Run) -> Result<Server> {
        run.until_cancelled(async {
            let seeds = self.seeds().await?;
            let (_, link, hello) = choose(self, &seeds, purpose, run).await?;
            let client = self.client(&link, seeds.auth_source.as_deref())?;
            let preference = match purpose {
                Purpose::Write => ReadPreference::Primary,
                Purpose::Read => self.preference.clone(),
            };
            let server = Server { client, hello, link, reading: preference.into(), user: self.user.clone() };
            // The driver authenticates when it first sends something.
            let greeted = server.client.database("admin").run_command(doc! { "ping": 1 }).await;
            greeted.map_err(|cause| self.refused(&server, seeds.auth_source.as_deref(), &cause))?;
            Ok(server)
        })
        .await
    }

    /// The servers to ask first, from the settings or from the records of a seed list.
    async fn seeds(&self) -> Result<Seeds> {
        let own = Seeds { hosts: Vec::new(), replica_set: self.replica_set.clone(), auth_source: self.auth_source.clone() };
        if !self.srv {
            return Ok(Seeds { hosts: Address::parse_list(&self.hosts)?, ..own });
        }
        let doing = || format!("looking up the servers of {}", self.hosts);
        let looked_up = tokio::time::timeout(self.limit() * 2, ClientOptions::parse(format!("mongodb+srv://{}/", self.hosts))).await;
        let found = looked_up
            .map_err(|_| Error::new(Kind::Database, format!("{}: no answer in {} s", doing(), self.limit().as_secs() * 2)).retryable())?
            .map_err(|cause| {
                failed(doing(), &cause).hint("check the name, and that this machine can look up its SRV and TXT records").retryable()
            })?;
        let hosts = found.hosts.iter().map(|host| Address::parse(&host.to_string())).collect::<Result<_>>()?;
        Ok(Seeds {
            hosts,
            replica_set: own.replica_set.or(found.repl_set_name),
            auth_source: own.auth_source.or(found.credential.and_then(|credential| credential.source)),
        })
    }

    /// Opens the way to one server and asks what it is.
    pub(super) async fn ask(&self, address: &Address, run: &Run) -> Result<(Link, Hello)> {
        let link = Link::open(&self.route, Protocol::Mongodb, &address.host, address.port, run).await?;
        let hello = hello::ask(link.host(), link.port(), self.limit()).await;
        let hello = hello.map_err(|error| link.explain(error.while_doing(format!("connecting to {address}"))))?;
        Ok((link, hello))
    }

    fn client(&self, link: &Link, auth_source: Option<&str>) -> Result<Client> {
        let mut options = ClientOptions::default();
        options.hosts = vec![ServerAddress::Tcp { host: link.host().to_owned(), port: Some(link.port()) }];
        options.direct_connection = Some(true);
        options.app_name = Some("dbsnap".to_owned());
        options.connect_timeout = Some(self.limit());
        options.server_selection_timeout = Some(self.limit());
        options.server_monitoring_mode = Some(ServerMonitoringMode::Poll);
        options.credential = self.credential(auth_source);
        Client::with_options(options).map_err(|cause| failed("the connection settings", &cause))
    }

    fn credential(&self, auth_source: Option<&str>) -> Option<Credential> {
        let external = matches!(self.mechanism, Some(AuthMechanism::MongoDbX509 | AuthMechanism::Plain));
        if self.user.is_none() && self.mechanism != Some(AuthMechanism::MongoDbX509) {
            return None;
        }
        let mut credential = Credential::default();
        credential.username.clone_from(&self.user);
        credential.password = self.password.as_ref().map(|password| password.expose().to_owned());
        credential.source = Some(if external { "$external" } else { auth_source.unwrap_or("admin") }.to_owned());
        credential.mechanism.clone_from(&self.mechanism);
        Some(credential)
    }

    fn refused(&self, server: &Server, auth_source: Option<&str>, cause: &mongodb::error::Error) -> Error {
        let error = server.failed(format!("connecting to {self}"), cause);
        let wrong = matches!(&*cause.kind, ErrorKind::Authentication { .. }) || code_of(cause) == Some(code::AUTHENTICATION_FAILED);
        match () {
            () if wrong && self.mechanism == Some(AuthMechanism::MongoDbX509) => {
                error.hint("check the client certificate: its subject must be a user of $external on the server")
            }
            () if wrong => error.hint(format!(
                "check user and password; the user may be defined in another database than {}: set authSource",
                auth_source.unwrap_or("admin")
            )),
            () => error,
        }
    }
}

/// For people: `user@host:port/database`, without a slash for all databases.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        f.write_str(&self.hosts)?;
        match &self.database {
            Some(database) => write!(f, "/{database}"),
            None => Ok(()),
        }
    }
}
