//! Errors of the driver as a person reads them.

use mongodb::error::ErrorKind;

use crate::error::{Error, Kind};

/// Codes of the server that errors are told apart by.
pub mod code {
    pub const UNAUTHORIZED: i32 = 13;
    pub const AUTHENTICATION_FAILED: i32 = 18;
    pub const NAMESPACE_NOT_FOUND: i32 = 26;
    pub const CURSOR_NOT_FOUND: i32 = 43;
    pub const MAX_TIME_EXPIRED: i32 = 50;
    pub const COMMAND_NOT_FOUND: i32 = 59;
    pub const INVALID_OPTIONS: i32 = 72;
    pub const NOT_A_REPLICA_SET: i32 = 123;
    pub const CAPPED_POSITION_LOST: i32 = 136;
    pub const QUERY_PLAN_KILLED: i32 = 175;
    pub const CURSOR_KILLED: i32 = 237;
    pub const SNAPSHOT_TOO_OLD: i32 = 239;
    pub const SNAPSHOT_UNAVAILABLE: i32 = 246;
}

/// Codes after which the same call may succeed: the server stepped down, restarted, or lost the cursor.
const PASSING: &[i32] = &[
    6,
    7,
    89,
    91,
    134,
    189,
    262,
    317,
    10107,
    10058,
    11600,
    11601,
    11602,
    13435,
    13436,
    9001,
    code::CURSOR_NOT_FOUND,
    code::CAPPED_POSITION_LOST,
    code::QUERY_PLAN_KILLED,
    code::CURSOR_KILLED,
];

/// The server's code of an error, where it comes from the server.
pub fn code_of(cause: &mongodb::error::Error) -> Option<i32> {
    match &*cause.kind {
        ErrorKind::Command(command) => Some(command.code),
        _ => None,
    }
}

/// `doing: the server's own words`, with whether trying again helps. Plain words for a lost connection.
pub fn failed(doing: impl std::fmt::Display, cause: &mongodb::error::Error) -> Error {
    let words = match &*cause.kind {
        ErrorKind::Command(command) if command.code_name.is_empty() => command.message.clone(),
        ErrorKind::Command(command) => format!("{} ({})", command.message, command.code_name),
        ErrorKind::Io(io) => format!("the connection broke: {io}"),
        other => other.to_string(),
    };
    let error = Error::new(Kind::Database, format!("{doing}: {words}"));
    let passing = match &*cause.kind {
        ErrorKind::Command(command) => PASSING.contains(&command.code),
        ErrorKind::Io(_) | ErrorKind::ServerSelection { .. } | ErrorKind::ConnectionPoolCleared { .. } => true,
        _ => false,
    };
    if passing { error.retryable() } else { error }
}
