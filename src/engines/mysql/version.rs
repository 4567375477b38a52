//! Flavours and releases of servers and client programs.

use std::fmt;

/// Who made it. What derives from MySQL (Percona Server, Aurora) counts as MySQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Flavour {
    MySql,
    MariaDb,
}

impl Flavour {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MySql => "MySQL",
            Self::MariaDb => "MariaDB",
        }
    }
}

/// The version of a server or a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    pub major: u32,
    pub minor: u32,
    pub patch: u32,
}

impl Version {
    pub const fn new(major: u32, minor: u32, patch: u32) -> Self {
        Self { major, minor, patch }
    }

    /// The first `number.number.number` of a text; a missing third number counts as 0. `None` when there is none, or a
    /// number that no release has.
    pub fn find(text: &str) -> Option<Self> {
        text.split(|c: char| !c.is_ascii_digit() && c != '.').find_map(|word| {
            let mut numbers = word.split('.').map(|number| number.parse().ok().filter(|number| *number < 10_000));
            Some(Self { major: numbers.next()??, minor: numbers.next()??, patch: numbers.next().flatten().unwrap_or(0) })
        })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_texts() {
        for (text, expect) in [
            ("8.0.35-27", Some((8, 0, 35))),
            ("10.11.18-MariaDB-0+deb12u1-log", Some((10, 11, 18))),
            ("9.7", Some((9, 7, 0))),
            ("nothing", None),
            ("99999999999.1.1", None),
            ("1", None),
        ] {
            assert_eq!(Version::find(text).map(|found| (found.major, found.minor, found.patch)), expect, "{text}");
        }
    }
}
