//! Which installed client program fits which server.

use std::{
    collections::HashMap,
    fmt, fs,
    path::{Path, PathBuf},
    sync::{Mutex, OnceLock, PoisonError},
    time::SystemTime,
};

use super::version::{Flavour, Version};
use crate::{
    domain::run::Run,
    engines::process::{Program, is_program, path_dirs},
    error::{Error, Kind, Result},
};

/// An installed client program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tool {
    pub name: &'static str,
    pub path: PathBuf,
    pub flavour: Flavour,
    pub version: Version,
}

impl fmt::Display for Tool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.version)?;
        // MariaDB's packages carry MySQL's names too.
        if self.flavour == Flavour::MariaDb && self.name.starts_with("mysql") { f.write_str(" (MariaDB)") } else { Ok(()) }
    }
}

/// Names of a program, best first.
type Names = &'static [&'static str];
const DUMP: Names = &["mariadb-dump", "mysqldump"];
const CLIENT: Names = &["mariadb", "mysql"];

/// Where programs are looked for.
#[derive(Debug, Clone, Copy)]
pub struct Places {
    /// Also where packages install them and in PATH, after the run's own folders.
    pub usual: bool,
}

impl Places {
    /// The program that dumps a server: of the server's own flavour where there is one, and there the smallest release
    /// that is not older than the server, else the newest.
    pub async fn to_dump(self, server: Flavour, version: Version, run: &Run) -> Result<Tool> {
        self.best(DUMP, server, version, run).await
    }

    /// The client that runs a script on a server, chosen likewise.
    pub async fn to_restore(self, server: Flavour, version: Version, run: &Run) -> Result<Tool> {
        self.best(CLIENT, server, version, run).await
    }

    async fn best(self, names: Names, server: Flavour, version: Version, run: &Run) -> Result<Tool> {
        let found = self.find_all(names, run).await?;
        best(&found, server, version).cloned().ok_or_else(|| missing(names, server))
    }

    /// Every installed program of these names, those in the run's own folders first.
    async fn find_all(self, names: Names, run: &Run) -> Result<Vec<Tool>> {
        let mut found: Vec<Tool> = Vec::new();
        for dir in self.dirs(run) {
            for name in names {
                let path = dir.join(name);
                if !is_program(&path) || found.iter().any(|tool| tool.path == path) {
                    continue;
                }
                match version(&path, run).await {
                    Ok((flavour, version)) => found.push(Tool { name, path, flavour, version }),
                    Err(error) if error.is_cancelled() => return Err(error),
                    Err(error) => run.warn(format!("{} is not used: {error}", path.display())),
                }
            }
        }
        Ok(found)
    }

    fn dirs(self, run: &Run) -> Vec<PathBuf> {
        let mut dirs = run.tool_dirs.clone();
        if self.usual {
            dirs.extend(
                ["/usr/local/bin", "/usr/bin", "/usr/local/mysql/bin", "/usr/local/mariadb/bin", "/opt/mysql/bin", "/opt/mariadb/bin"]
                    .map(PathBuf::from),
            );
            dirs.extend(path_dirs());
        }
        dirs
    }
}

fn best(found: &[Tool], server: Flavour, version: Version) -> Option<&Tool> {
    found.iter().min_by_key(|tool| {
        let foreign = tool.flavour != server;
        let older = (tool.version.major, tool.version.minor) < (version.major, version.minor);
        let far = |version: Version| i64::from(version.major) * 1_000_000 + i64::from(version.minor) * 1_000 + i64::from(version.patch);
        (foreign, older, (far(tool.version) - far(version)).abs())
    })
}

fn missing(names: Names, server: Flavour) -> Error {
    Error::new(Kind::Database, format!("no {} is installed", names.join(" or ")))
        .hint(format!("install {} or set MYSQL_BIN_DIRS", package(server)))
}

/// The package with the client programs of a flavour.
pub fn package(flavour: Flavour) -> &'static str {
    match flavour {
        Flavour::MySql => "mysql-client of MySQL's own repository",
        Flavour::MariaDb => "mariadb-client",
    }
}

type Known = HashMap<(PathBuf, Option<SystemTime>), (Flavour, Version)>;

/// Flavour and version of a program, asked once per file and change of it.
async fn version(path: &Path, run: &Run) -> Result<(Flavour, Version)> {
    static KNOWN: OnceLock<Mutex<Known>> = OnceLock::new();
    let known = || KNOWN.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    let key = (path.to_owned(), fs::metadata(path).and_then(|metadata| metadata.modified()).ok());
    if let Some(version) = known().get(&key) {
        return Ok(*version);
    }
    let output = Program::new(path).arg("--version").output(1024, run).await?;
    let text = String::from_utf8_lossy(&output);
    let version = read_version(&text).ok_or_else(|| Error::internal(format!("its version '{}' cannot be read", text.trim())))?;
    known().insert(key, version);
    Ok(version)
}

/// From the output of `--version`.
fn read_version(text: &str) -> Option<(Flavour, Version)> {
    // The program's own path stands in front and may hold numbers.
    let after = |mark: &str| text.split_once(mark).map(|(_, rest)| rest);
    let number = after(" Distrib ").or_else(|| after(" from ")).or_else(|| after(" Ver "))?;
    let flavour = if text.contains("-MariaDB") { Flavour::MariaDb } else { Flavour::MySql };
    Some((flavour, Version::find(number)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_what_the_programs_print() {
        for (text, expect) in [
            ("mysqldump  Ver 9.7.4-2 for Linux on x86_64 ((Debian))", Some((Flavour::MySql, Version::new(9, 7, 4)))),
            ("/opt/mysql8.1/mysql  Ver 8.0.35-27 for Linux on x86_64 (Percona Server)", Some((Flavour::MySql, Version::new(8, 0, 35)))),
            ("mysqldump  Ver 10.13 Distrib 5.7.33, for Linux (x86_64)", Some((Flavour::MySql, Version::new(5, 7, 33)))),
            (
                "mysqldump  Ver 10.19 Distrib 10.11.18-MariaDB, for debian-linux-gnu (x86_64)",
                Some((Flavour::MariaDb, Version::new(10, 11, 18))),
            ),
            (
                "/m11.8/mariadb-dump from 11.8.6-MariaDB, client 10.19 for debian-linux-gnu",
                Some((Flavour::MariaDb, Version::new(11, 8, 6))),
            ),
            ("something else 15.1", None),
        ] {
            assert_eq!(read_version(text), expect, "{text}");
        }
    }

    #[test]
    fn the_servers_own_flavour_and_the_nearest_release_that_is_not_older_are_taken() {
        let tool =
            |flavour, major, minor| Tool { name: "mysqldump", path: PathBuf::new(), flavour, version: Version::new(major, minor, 3) };
        let found = [tool(Flavour::MariaDb, 11, 8), tool(Flavour::MySql, 9, 7), tool(Flavour::MySql, 8, 4), tool(Flavour::MariaDb, 10, 11)];
        let check = |flavour, major, minor, expect: (Flavour, u32)| {
            let best = best(&found, flavour, Version::new(major, minor, 30)).unwrap();
            assert_eq!((best.flavour, best.version.major), expect, "{flavour:?} {major}.{minor}");
        };
        check(Flavour::MySql, 8, 0, (Flavour::MySql, 8));
        check(Flavour::MySql, 8, 4, (Flavour::MySql, 8));
        check(Flavour::MySql, 9, 0, (Flavour::MySql, 9));
        check(Flavour::MySql, 10, 0, (Flavour::MySql, 9));
        check(Flavour::MariaDb, 10, 6, (Flavour::MariaDb, 10));
        check(Flavour::MariaDb, 11, 4, (Flavour::MariaDb, 11));
        assert_eq!(best(&found[..1], Flavour::MySql, Version::new(9, 7, 0)).unwrap().flavour, Flavour::MariaDb);
        assert!(best(&[], Flavour::MySql, Version::new(9, 7, 0)).is_none());
    }
}
