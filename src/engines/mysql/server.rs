//! What a server says of itself. All of it is text from outside: it is checked before it is shown or compared.

use mysql_async::Conn;

use super::{
    connect::Target,
    record::record,
    version::{Flavour, Version},
};
use crate::error::{Error, Kind, Result};

/// The oldest servers that are supported.
const OLDEST_MYSQL: Version = Version::new(5, 7, 0);
const OLDEST_MARIADB: Version = Version::new(10, 3, 0);

/// What a server is.
#[derive(Debug, Clone)]
pub struct Server {
    pub flavour: Flavour,
    pub version: Version,
    /// `@@version_comment`, such as `Percona Server (GPL)`, without control characters.
    comment: String,
}

impl Server {
    /// Asks a server. Errors when its version cannot be read or is too old, or when it holds characters that could end
    /// a comment's line in a dump.
    pub async fn read(connection: &mut Conn, target: &Target) -> Result<Self> {
        let row = record(connection, "SELECT @@version, @@version_comment").await;
        let row = row.map_err(|failure| target.explain(failure.while_doing(format!("reading the version of {}", target.address))))?;
        let (version, comment) = (row.owned(0), row.owned(1));
        let (flavour, version) = read_version(&version, &comment)
            .ok_or_else(|| Error::new(Kind::Database, format!("{} tells a version that no MySQL or MariaDB server has", target.address)))?;
        let oldest = if flavour == Flavour::MySql { OLDEST_MYSQL } else { OLDEST_MARIADB };
        if version < oldest {
            return Err(Error::new(
                Kind::Database,
                format!(
                    "{} runs {} {version}; the oldest supported release is {}.{}",
                    target.address,
                    flavour.as_str(),
                    oldest.major,
                    oldest.minor
                ),
            )
            .hint("upgrade the server"));
        }
        Ok(Self { flavour, version, comment })
    }
}

#[cfg(test)]
impl Server {
    pub fn of(flavour: Flavour, version: Version) -> Self {
        Self { flavour, version, comment: String::new() }
    }
}

/// As a person reads it.
impl std::fmt::Display for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = if self.comment.contains("Percona") { "Percona Server" } else { self.flavour.as_str() };
        write!(f, "{name} {}", self.version)
    }
}

/// Flavour and number of a version; `None` when it holds what no server writes.
fn read_version(version: &str, comment: &str) -> Option<(Flavour, Version)> {
    if version.len() > 100 || version.chars().chain(comment.chars()).any(|c| c.is_control()) {
        return None;
    }
    let mariadb = version.contains("MariaDB") || comment.to_ascii_lowercase().contains("mariadb");
    let flavour = if mariadb { Flavour::MariaDb } else { Flavour::MySql };
    // What MariaDB told replicas that refuse a first number of two digits.
    Some((flavour, Version::find(version.strip_prefix("5.5.5-").unwrap_or(version))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_and_what_no_server_writes_is_refused() {
        let check = |version, comment, expect: Option<(Flavour, (u32, u32))>| {
            let read = read_version(version, comment).map(|(flavour, version)| (flavour, (version.major, version.minor)));
            assert_eq!(read, expect, "{version}");
        };
        check("8.0.35-27", "Percona Server (GPL)", Some((Flavour::MySql, (8, 0))));
        check("10.11.18-MariaDB-0+deb12u1-log", "Debian 12", Some((Flavour::MariaDb, (10, 11))));
        check("5.5.5-10.6.1-MariaDB", "", Some((Flavour::MariaDb, (10, 6))));
        check("8.0.35\nDROP TABLE x; -- ", "", None);
        check("8.0.35", "a\rb", None);
        check("", "", None);
    }
}
