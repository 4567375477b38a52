//! `host:port` as MongoDB writes it.

use std::fmt;

use crate::error::{Error, Result};

pub const DEFAULT_PORT: u16 = 27017;

/// For hints.
pub const FORM: &str = "write it as name:27017, 192.0.2.1:27017 or [2001:db8::1]:27017";

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Address {
    /// A name or an address, without brackets.
    pub host: String,
    pub port: u16,
}

impl Address {
    /// Reads `host`, `host:port`, `[::1]` or `[::1]:port`.
    pub fn parse(text: &str) -> Result<Self> {
        Self::read(text).map_err(|why| Error::validation(format!("the host '{}' cannot be read: {why}", text.trim())).hint(FORM))
    }

    /// As [`Address::parse`], with an error that does not repeat the text.
    pub fn read(text: &str) -> Result<Self, &'static str> {
        let text = text.trim();
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, rest) = rest.split_once(']').ok_or("its bracket is not closed")?;
                match rest {
                    "" => (host, None),
                    _ => (host, Some(rest.strip_prefix(':').ok_or("its port needs a colon")?)),
                }
            }
            None if text.matches(':').count() > 1 => (text, None),
            None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
        };
        if host.is_empty() {
            return Err("it has no name");
        }
        if host.contains('/') {
            return Err("Unix sockets are not supported");
        }
        if host.chars().any(|c| c.is_control() || c.is_whitespace() || c == '@') {
            return Err("a name has no such characters");
        }
        let port = match port {
            None => DEFAULT_PORT,
            Some(port) => port.parse().ok().filter(|port| *port > 0).ok_or("the port is no number from 1 to 65535")?,
        };
        Ok(Self { host: host.to_owned(), port })
    }

    /// Several, with commas between them.
    pub fn parse_list(text: &str) -> Result<Vec<Self>> {
        text.split(',').map(Self::parse).collect()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') { write!(f, "[{}]:{}", self.host, self.port) } else { write!(f, "{}:{}", self.host, self.port) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_read_as_mongodb_writes_them() {
        for (text, expect) in [
            ("db", "db:27017"),
            ("db.internal:27018", "db.internal:27018"),
            ("[::1]:1", "[::1]:1"),
            ("[2001:db8::1]", "[2001:db8::1]:27017"),
            ("2001:db8::1", "[2001:db8::1]:27017"),
        ] {
            assert_eq!(Address::parse(text).unwrap().to_string(), expect);
        }
        for wrong in ["", ":1", "db:0", "db:x", "db:65536", "[::1", "[::1]x", "/tmp/mongodb.sock", "a b", "u@h"] {
            assert!(Address::parse(wrong).is_err(), "{wrong}");
        }
        assert_eq!(Address::parse_list("a:1, b:2,c").unwrap().len(), 3);
        assert!(Address::parse_list("a,,b").is_err());
    }
}
