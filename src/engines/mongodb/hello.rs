//! The first question to a server: what it is among others. Asked without credentials, so that a member can be chosen
//! before the driver connects, and so that what is no MongoDB is told from one that refuses.

use std::time::{Duration, Instant};

use mongodb::bson::{Document, doc};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{address::Address, faults::code};
use crate::error::{Error, Kind, Result};

/// OP_MSG, of the wire protocol.
const OP_MSG: i32 = 2013;
/// Far more than any answer to `hello` needs, bytes.
const LARGEST_ANSWER: usize = 1024 * 1024;
/// The oldest that the driver speaks to: MongoDB 4.2.
const OLDEST_WIRE: i32 = 8;

/// What a server says of itself.
#[derive(Debug, Clone, Default)]
pub struct Hello {
    pub writable_primary: bool,
    pub secondary: bool,
    pub arbiter: bool,
    /// A router of a sharded cluster.
    pub mongos: bool,
    pub set_name: Option<String>,
    /// Members that hold data and are not hidden, as the set names them.
    pub members: Vec<Address>,
    pub primary: Option<Address>,
    pub wire_version: i32,
    /// How long a session lives that is not used.
    pub session_timeout: Duration,
    pub round_trip: Duration,
}

impl Hello {
    /// Such as `replica set rs0, secondary`.
    pub fn role(&self) -> String {
        match &self.set_name {
            Some(set) => {
                let role = match () {
                    () if self.writable_primary => "primary",
                    () if self.secondary => "secondary",
                    () if self.arbiter => "arbiter",
                    () => "neither primary nor secondary now",
                };
                format!("replica set {set}, {role}")
            }
            None if self.mongos => "sharded cluster (mongos)".to_owned(),
            None => "standalone".to_owned(),
        }
    }

    fn read(answer: &Document, round_trip: Duration) -> Self {
        let flag = |name: &str| answer.get_bool(name).unwrap_or(false);
        let text = |name: &str| answer.get_str(name).ok().filter(|text| !text.is_empty());
        let list = |name: &str| {
            let items = answer.get_array(name).map(Vec::as_slice).unwrap_or_default();
            items.iter().filter_map(|item| item.as_str()).filter_map(|text| Address::parse(text).ok()).collect::<Vec<_>>()
        };
        let minutes = answer.get_i32("logicalSessionTimeoutMinutes").ok().and_then(|minutes| u64::try_from(minutes).ok());
        Self {
            writable_primary: flag("isWritablePrimary") || flag("ismaster"),
            secondary: flag("secondary"),
            arbiter: flag("arbiterOnly"),
            mongos: text("msg") == Some("isdbgrid"),
            set_name: text("setName").map(str::to_owned),
            members: [list("hosts"), list("passives")].concat(),
            primary: text("primary").and_then(|text| Address::parse(text).ok()),
            wire_version: answer.get_i32("maxWireVersion").unwrap_or(0),
            session_timeout: Duration::from_secs(60 * minutes.unwrap_or(30)),
            round_trip,
        }
    }
}

/// Asks the server at this host and port. Errors when it does not answer in `limit`, or not as a MongoDB answers.
pub async fn ask(host: &str, port: u16, limit: Duration) -> Result<Hello> {
    let asking = async {
        let mut stream = TcpStream::connect((host, port)).await.map_err(|cause| unreachable(&cause))?;
        let asked = Instant::now();
        let mut answer = command(&mut stream, &doc! { "hello": 1, "$db": "admin" }).await?;
        if matches!(answer.get_i32("code"), Ok(code::COMMAND_NOT_FOUND)) {
            // Before 4.4.2 it is known by another name.
            answer = command(&mut stream, &doc! { "isMaster": 1, "$db": "admin" }).await?;
        }
        let ok = answer.get("ok").is_some_and(|ok| ok.as_f64() == Some(1.0) || ok.as_i32() == Some(1) || ok.as_i64() == Some(1));
        if !ok {
            let words = answer.get_str("errmsg").unwrap_or("without a reason");
            return Err(Error::new(Kind::Database, format!("the server refuses to say what it is: {words}")));
        }
        match answer.get_i32("maxWireVersion") {
            Ok(version) if version < OLDEST_WIRE => {
                Err(Error::new(Kind::Database, "the server is older than MongoDB 4.2, the oldest supported release")
                    .hint("upgrade the server"))
            }
            Ok(_) => Ok(Hello::read(&answer, asked.elapsed())),
            Err(_) => Err(no_mongodb("its answer to hello names no wire version")),
        }
    };
    tokio::time::timeout(limit, asking).await.map_err(|_| {
        Error::new(Kind::Database, format!("no answer in {} s", limit.as_secs()))
            .hint("check host and port, and whether the server expects TLS")
            .retryable()
    })?
}

async fn command(stream: &mut TcpStream, command: &Document) -> Result<Document> {
    let body = command.to_vec().map_err(|cause| Error::internal(format!("writing a command: {cause}")))?;
    let length = i32::try_from(body.len() + 21).map_err(|cause| Error::internal(format!("writing a command: {cause}")))?;
    let mut message = Vec::with_capacity(body.len() + 21);
    for number in [length, 1, 0, OP_MSG, 0] {
        message.extend(number.to_le_bytes());
    }
    message.push(0);
    message.extend(body);
    stream.write_all(&message).await.map_err(|cause| broken(&cause))?;
    let mut head = [0; 16];
    stream.read_exact(&mut head).await.map_err(|cause| broken(&cause))?;
    let number = |at: usize| head.get(at..at + 4).and_then(|four| four.try_into().ok()).map_or(0, i32::from_le_bytes);
    let length = usize::try_from(number(0)).unwrap_or(0);
    if number(12) != OP_MSG || !(16 + 5..=LARGEST_ANSWER).contains(&length) {
        return Err(no_mongodb("it answers in another protocol"));
    }
    let mut rest = vec![0; length - 16];
    stream.read_exact(&mut rest).await.map_err(|cause| broken(&cause))?;
    match rest.get(4..) {
        // Flags of four bytes, then one section of kind 0.
        Some([0, document @ ..]) => Document::from_reader(document).map_err(|_| no_mongodb("its answer cannot be read")),
        _ => Err(no_mongodb("its answer cannot be read")),
    }
}

fn unreachable(cause: &std::io::Error) -> Error {
    Error::new(Kind::Database, cause.to_string()).hint("check host and port, and that the server listens there").retryable()
}

fn broken(cause: &std::io::Error) -> Error {
    let why = match cause.kind() {
        std::io::ErrorKind::UnexpectedEof => "it closed the connection".to_owned(),
        _ => cause.to_string(),
    };
    Error::new(Kind::Database, why).hint("check that a MongoDB listens there, and whether it expects TLS").retryable()
}

fn no_mongodb(why: &str) -> Error {
    Error::new(Kind::Database, format!("this is no MongoDB: {why}")).hint("check host and port")
}
