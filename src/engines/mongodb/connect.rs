//! Where a MongoDB is, and connections to it. DBSnap chooses one member of a replica set itself, because the way to each
//! may lead through a tunnel of its own; the driver then speaks to that member alone.

use std::{fmt, time::Duration};

use mongodb::{
    Client,
    bson::doc,
    error::ErrorKind,
    options::{AuthMechanism, ClientOptions, Credential, ServerAddress, ServerMonitoringMode},
};

use super::{
    address::{Address, DEFAULT_PORT},
    faults::{code, code_of, failed},
    hello::{self, Hello},
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
    preference: Preference,
    direct: bool,
    route: Route,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Preference {
    Primary,
    PrimaryPreferred,
    Secondary,
    SecondaryPreferred,
    Nearest,
}

/// A connection to one server. What it holds open ends when it is dropped.
pub struct Server {
    pub client: Client,
    pub hello: Hello,
    pub address: Address,
    link: Link,
}

impl Server {
    /// An error of the driver as a person reads it, with what the link knows of a lost connection.
    pub fn failed(&self, doing: impl fmt::Display, cause: &mongodb::error::Error) -> Error {
        let error = failed(doing, cause);
        match &*cause.kind {
            ErrorKind::Command(_) => error,
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
        let preference = match settings.text("readPreference") {
            Some("primaryPreferred") => Preference::PrimaryPreferred,
            Some("secondary") => Preference::Secondary,
            Some("secondaryPreferred") => Preference::SecondaryPreferred,
            Some("nearest") => Preference::Nearest,
            _ => Preference::Primary,
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
        if !target.srv {
            Address::parse_list(&target.hosts)?;
        }
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
            let (address, link, hello) = self.choose(purpose, run).await?;
            let client = self.client(&link)?;
            let server = Server { client, hello, address, link };
            // The driver authenticates when it first sends something.
            server.client.database("admin").run_command(doc! { "ping": 1 }).await.map_err(|cause| self.refused(&server, &cause))?;
            Ok(server)
        })
        .await
    }

    /// The member to speak to, and the open way to it.
    async fn choose(&self, _purpose: Purpose, run: &Run) -> Result<(Address, Link, Hello)> {
        let address = Address::parse_list(&self.hosts)?.remove(0);
        let (link, hello) = self.ask(&address, run).await?;
        Ok((address, link, hello))
    }

    async fn ask(&self, address: &Address, run: &Run) -> Result<(Link, Hello)> {
        let link = Link::open(&self.route, Protocol::Mongodb, &address.host, address.port, run).await?;
        let hello = hello::ask(link.host(), link.port(), self.limit()).await;
        let hello = hello.map_err(|error| link.explain(error).while_doing(format!("connecting to {address}")))?;
        Ok((link, hello))
    }

    fn client(&self, link: &Link) -> Result<Client> {
        let mut options = ClientOptions::default();
        options.hosts = vec![ServerAddress::Tcp { host: link.host().to_owned(), port: Some(link.port()) }];
        options.direct_connection = Some(true);
        options.app_name = Some("dbsnap".to_owned());
        options.connect_timeout = Some(self.limit());
        options.server_selection_timeout = Some(self.limit());
        options.server_monitoring_mode = Some(ServerMonitoringMode::Poll);
        options.credential = self.credential();
        Client::with_options(options).map_err(|cause| failed("the connection settings", &cause))
    }

    fn credential(&self) -> Option<Credential> {
        let external = matches!(self.mechanism, Some(AuthMechanism::MongoDbX509 | AuthMechanism::Plain));
        if self.user.is_none() && self.mechanism != Some(AuthMechanism::MongoDbX509) {
            return None;
        }
        let mut credential = Credential::default();
        credential.username.clone_from(&self.user);
        credential.password = self.password.as_ref().map(|password| password.expose().to_owned());
        credential.source = Some(if external { "$external".to_owned() } else { self.auth_source() });
        credential.mechanism.clone_from(&self.mechanism);
        Some(credential)
    }

    fn auth_source(&self) -> String {
        self.auth_source.clone().unwrap_or_else(|| "admin".to_owned())
    }

    fn refused(&self, server: &Server, cause: &mongodb::error::Error) -> Error {
        let error = server.failed(format!("connecting to {self}"), cause);
        let wrong = matches!(&*cause.kind, ErrorKind::Authentication { .. }) || code_of(cause) == Some(code::AUTHENTICATION_FAILED);
        match () {
            () if wrong => Error::new(Kind::Database, error.context).hint(format!(
                "check user and password; the user may be defined in another database than {}: set authSource",
                self.auth_source()
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
