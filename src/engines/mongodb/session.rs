//! A restore's connection to the primary, made anew where another member has become it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use mongodb::{
    Collection,
    bson::{Document, RawDocumentBuf, doc, raw::cstr},
    options::{Acknowledgment, WriteConcern},
};
use tokio::sync::Mutex;

use super::{
    catalogue,
    connect::{Purpose, Server, Target},
    faults::{code, code_of},
    server::Facts,
};
use crate::{
    domain::run::Run,
    error::{Error, Kind, Result},
};

/// How long a replica set may be without a primary.
const ELECTION: Duration = Duration::from_secs(30);
/// Pause between two looks for it.
const LOOK: Duration = Duration::from_millis(500);
/// How long clearing up may take before it is given up.
const CLEARING: Duration = Duration::from_secs(20);

/// A connection that writes.
pub struct Session {
    target: Target,
    current: Arc<Mutex<(u64, Arc<Server>)>>,
    concern: WriteConcern,
    pub version: String,
    /// Time-series collections take their buckets under their own name (8.3 and later).
    pub raw_data: bool,
    pub run: Run,
}

impl Session {
    /// `acknowledged`: by "1" member or, unless told otherwise, by most.
    pub async fn open(target: &Target, acknowledged: Option<&str>, run: &Run) -> Result<Self> {
        let server = target.connect(Purpose::Write, run).await?;
        let facts = Facts::read(&server, &[], run).await?;
        let mut numbers = facts.version.split('.').map(|number| number.parse::<u32>().unwrap_or(0));
        let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        let acknowledgment = match acknowledged {
            Some("1") => Acknowledgment::Nodes(1),
            _ => Acknowledgment::Majority,
        };
        let mut concern = WriteConcern::default();
        concern.w = Some(acknowledgment);
        let current = Arc::new(Mutex::new((0, Arc::new(server))));
        Ok(Self { target: target.clone(), current, concern, version: facts.server(), raw_data: version >= (8, 3), run: run.clone() })
    }

    /// The same session for another run.
    pub fn with_run(&self, run: Run) -> Self {
        let Self { target, current, concern, version, raw_data, .. } = self;
        Self {
            target: target.clone(),
            current: current.clone(),
            concern: concern.clone(),
            version: version.clone(),
            raw_data: *raw_data,
            run,
        }
    }

    pub fn target(&self) -> &Target {
        &self.target
    }

    pub fn concern(&self) -> WriteConcern {
        self.concern.clone()
    }

    /// The connection, and its number for [`Session::again`].
    pub async fn server(&self) -> (u64, Arc<Server>) {
        self.current.lock().await.clone()
    }

    pub async fn collection(&self, db: &str, name: &str) -> (u64, Arc<Server>, Collection<RawDocumentBuf>) {
        let (number, server) = self.server().await;
        let collection = server.client.database(db).collection(name);
        (number, server, collection)
    }

    /// Connects again after connection `number` broke or its member is no longer the primary; waits for an election.
    /// A server that is alone is not waited for.
    pub async fn again(&self, number: u64) -> Result<()> {
        let mut current = self.current.lock().await;
        if current.0 != number {
            return Ok(());
        }
        let replicated = current.1.hello.set_name.is_some() || current.1.hello.mongos;
        let deadline = Instant::now() + if replicated { ELECTION } else { Duration::ZERO };
        loop {
            match self.target.connect(Purpose::Write, &self.run).await {
                Ok(server) => {
                    *current = (number + 1, Arc::new(server));
                    return Ok(());
                }
                Err(error) if error.retryable && Instant::now() < deadline => {
                    let pause = async {
                        tokio::time::sleep(LOOK).await;
                        Ok(())
                    };
                    self.run.until_cancelled(pause).await?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Runs a command that changes something, with the write concern. It is not repeated.
    pub async fn write(&self, db: &str, doing: impl Fn() -> String, command: Document) -> Result<Document> {
        self.run.until_cancelled(self.send(db, &doing, command)).await
    }

    /// [`Session::write`] of a command whose documents stay as they are, byte for byte.
    pub async fn write_raw(&self, db: &str, doing: impl Fn() -> String, mut command: RawDocumentBuf) -> Result<Document> {
        let concern = RawDocumentBuf::try_from(&concern_document(&self.concern));
        let concern = concern.map_err(|cause| Error::internal(format!("a write concern as BSON: {cause}")))?;
        command.append(cstr!("writeConcern"), concern);
        let sending = async {
            let (_, server) = self.server().await;
            let answer = server.client.database(db).run_raw_command(command).await;
            acknowledged(&doing, answer.map_err(|cause| server.failed(doing(), &cause))?)
        };
        self.run.until_cancelled(sending).await
    }

    async fn send(&self, db: &str, doing: &impl Fn() -> String, mut command: Document) -> Result<Document> {
        command.insert("writeConcern", concern_document(&self.concern));
        let (_, server) = self.server().await;
        let answer = server.client.database(db).run_command(command).await.map_err(|cause| server.failed(doing(), &cause))?;
        acknowledged(doing, answer)
    }

    /// Names of the collections and views of a database, without those of the system.
    pub async fn names(&self, db: &str) -> Result<Vec<catalogue::Collection>> {
        let (_, server) = self.server().await;
        catalogue::collections(&server, db, &self.run).await
    }

    /// Drops a collection or view; one that is not there is no matter.
    pub async fn drop_collection(&self, db: &str, name: &str) -> Result<()> {
        self.run.until_cancelled(self.drop_one(db, name)).await
    }

    async fn drop_one(&self, db: &str, name: &str) -> Result<()> {
        let (_, server) = self.server().await;
        let command = doc! { "drop": name, "writeConcern": concern_document(&self.concern) };
        match server.client.database(db).run_command(command).await {
            Ok(_) => Ok(()),
            Err(cause) if code_of(&cause) == Some(code::NAMESPACE_NOT_FOUND) => Ok(()),
            Err(cause) => Err(server.failed(format!("dropping {db}.{name}"), &cause)),
        }
    }

    /// Drops what a failed restore made, also after a cancel; what is left, and why.
    pub async fn clear(&self, made: &[(String, String)]) -> Vec<(String, Error)> {
        let deadline = Instant::now() + CLEARING;
        let mut left = Vec::new();
        for (db, name) in made {
            let lost = left.first().is_some_and(|(_, error): &(String, Error)| error.retryable);
            let time = deadline.saturating_duration_since(Instant::now());
            // A server that has gone is asked once.
            let dropped = match (lost, tokio::time::timeout(time, self.drop_one(db, name))) {
                (true, _) => Err(Error::new(Kind::Database, "the server is gone")),
                (false, dropping) => dropping.await.unwrap_or_else(|_| Err(Error::new(Kind::Database, "it took too long").retryable())),
            };
            if let Err(error) = dropped {
                left.push((format!("{db}.{name}"), error));
            }
        }
        left
    }
}

/// The answer, unless the server says that fewer members have the change than was asked for.
fn acknowledged(doing: &impl Fn() -> String, answer: Document) -> Result<Document> {
    match answer.get_document("writeConcernError") {
        Ok(error) => Err(Error::new(
            Kind::Database,
            format!("{}: done, but not acknowledged as asked: {}", doing(), error.get_str("errmsg").unwrap_or("for no reason told")),
        )),
        Err(_) => Ok(answer),
    }
}

fn concern_document(concern: &WriteConcern) -> Document {
    match &concern.w {
        Some(Acknowledgment::Nodes(nodes)) => doc! { "w": i64::from(*nodes) },
        _ => doc! { "w": "majority" },
    }
}
