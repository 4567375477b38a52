//! Which installed client program fits which server.

use std::{
    collections::HashMap,
    fmt, fs,
    path::{Path, PathBuf},
    sync::{Mutex, OnceLock, PoisonError},
    time::SystemTime,
};

use super::archive::ArchiveVersion;
use crate::{
    domain::run::Run,
    engines::process::{Program, is_program, path_dirs},
    error::{Error, Kind, Result},
};

/// The version of a server or a program. Since PostgreSQL 10 the first number is the major release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    pub major: u32,
    pub minor: u32,
}

impl Version {
    /// From `server_version_num`, such as 150018.
    pub fn from_number(number: u32) -> Self {
        Self { major: number / 10_000, minor: number % 10_000 }
    }

    /// From the output of `--version`, such as `pg_dump (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`.
    fn from_output(text: &str) -> Option<Self> {
        let number = text.split_once("(PostgreSQL) ")?.1;
        let digits = |text: &str| text.chars().take_while(char::is_ascii_digit).collect::<String>();
        let major = digits(number);
        let minor = digits(number.strip_prefix(&major)?.strip_prefix('.').unwrap_or_default());
        Some(Self { major: major.parse().ok()?, minor: minor.parse().unwrap_or(0) })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// An installed client program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tool {
    pub name: &'static str,
    pub path: PathBuf,
    pub version: Version,
}

impl Tool {
    /// Says so when this release has published security holes that a hostile server or archive can use.
    pub fn warning(&self) -> Option<String> {
        let fixed = FIXED.iter().find(|fixed| fixed.major == self.version.major);
        let safe = match fixed {
            Some(fixed) => self.version.minor >= fixed.minor,
            None => self.version.major > 17,
        };
        let fix = fixed.map_or_else(|| "a supported release".to_owned(), |fixed| format!("{fixed} or newer"));
        (!safe).then(|| format!("{self} has known security holes (CVE-2025-8714, CVE-2025-8715): install {fix}"))
    }
}

/// The first minor release of each major with the fixes of August 2025.
const FIXED: &[Version] = &[
    Version { major: 13, minor: 22 },
    Version { major: 14, minor: 19 },
    Version { major: 15, minor: 14 },
    Version { major: 16, minor: 10 },
    Version { major: 17, minor: 6 },
];

impl fmt::Display for Tool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.version)
    }
}

/// Where programs are looked for.
#[derive(Debug, Clone, Copy)]
pub struct Places {
    /// Also where packages install them and in PATH, after the run's own folders.
    pub usual: bool,
}

impl Places {
    /// The program that dumps this server: the smallest major that is not older than the server.
    pub async fn to_dump(self, name: &'static str, server: Version, run: &Run) -> Result<Tool> {
        let found = self.find_all(name, run).await?;
        best_to_dump(&found, server)
            .cloned()
            .ok_or_else(|| missing(name, &found, &format!("dump server {server}"), &format!("postgresql-client-{}", server.major)))
    }

    /// The `pg_restore` that reads this archive and suits this server best.
    pub async fn to_restore(self, archive: ArchiveVersion, server: Version, run: &Run) -> Result<Tool> {
        let found = self.find_all("pg_restore", run).await?;
        best_to_restore(&found, archive, server).cloned().ok_or_else(|| {
            let needed = archive.oldest_reader();
            missing("pg_restore", &found, &format!("read an archive of version {archive}"), &format!("postgresql-client-{needed} or newer"))
        })
    }

    /// Every installed program of this name, those in the run's own folders first.
    async fn find_all(self, name: &'static str, run: &Run) -> Result<Vec<Tool>> {
        let mut found: Vec<Tool> = Vec::new();
        for path in self.dirs(run).into_iter().map(|dir| dir.join(name)).filter(|path| is_program(path)) {
            if found.iter().any(|tool| tool.path == path) {
                continue;
            }
            match version(&path, run).await {
                Ok(version) => found.push(Tool { name, path, version }),
                Err(error) if error.is_cancelled() => return Err(error),
                Err(error) => run.warn(format!("{} is not used: {error}", path.display())),
            }
        }
        Ok(found)
    }

    fn dirs(self, run: &Run) -> Vec<PathBuf> {
        let mut dirs = run.tool_dirs.clone();
        if self.usual {
            for parent in ["/usr/lib/postgresql", "/usr/local/lib/postgresql", "/opt/postgresql"] {
                let mut versions: Vec<PathBuf> =
                    fs::read_dir(parent).into_iter().flatten().flatten().map(|entry| entry.path().join("bin")).collect();
                versions.sort();
                dirs.extend(versions);
            }
            dirs.extend(["/usr/local/pgsql/bin".into(), "/usr/local/bin".into()]);
            dirs.extend(path_dirs());
        }
        dirs
    }
}

fn best_to_dump(found: &[Tool], server: Version) -> Option<&Tool> {
    found.iter().filter(|tool| tool.version.major >= server.major).min_by_key(|tool| tool.version.major)
}

/// The server's own major where it reads the archive, else the nearest newer one, else the nearest older one.
fn best_to_restore(found: &[Tool], archive: ArchiveVersion, server: Version) -> Option<&Tool> {
    found.iter().filter(|tool| tool.version.major >= archive.oldest_reader()).min_by_key(|tool| {
        let older = tool.version.major < server.major;
        (older, tool.version.major.abs_diff(server.major))
    })
}

fn missing(name: &str, found: &[Tool], to_do: &str, package: &str) -> Error {
    let mut versions: Vec<String> = found.iter().map(Tool::to_string).collect();
    versions.sort();
    versions.dedup();
    let found = if versions.is_empty() { "found none".to_owned() } else { format!("found {}", versions.join(", ")) };
    Error::new(Kind::Database, format!("no installed {name} can {to_do}: {found}")).hint(format!("install {package} or set PG_BIN_DIRS"))
}

type Known = HashMap<(PathBuf, Option<SystemTime>), Version>;

/// The version of a program, asked once per file and change of it.
async fn version(path: &Path, run: &Run) -> Result<Version> {
    static KNOWN: OnceLock<Mutex<Known>> = OnceLock::new();
    let known = || KNOWN.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    let key = (path.to_owned(), fs::metadata(path).and_then(|metadata| metadata.modified()).ok());
    if let Some(version) = known().get(&key) {
        return Ok(*version);
    }
    let output = Program::new(path).arg("--version").output(1024, run).await?;
    let text = String::from_utf8_lossy(&output);
    let version = Version::from_output(&text).ok_or_else(|| Error::internal(format!("its version '{}' cannot be read", text.trim())))?;
    known().insert(key, version);
    Ok(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tools(majors: &[u32]) -> Vec<Tool> {
        let tool = |major: &u32| Tool { name: "pg_dump", path: PathBuf::new(), version: Version { major: *major, minor: 18 } };
        majors.iter().map(tool).collect()
    }

    #[test]
    fn versions_are_read_from_what_the_programs_print() {
        for (text, expect) in [
            ("pg_dump (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n", Some((15, 18))),
            ("pg_restore (PostgreSQL) 19beta1", Some((19, 0))),
            ("pg_dump (PostgreSQL) 18.1", Some((18, 1))),
            ("something else 15.1", None),
        ] {
            assert_eq!(Version::from_output(text).map(|version| (version.major, version.minor)), expect, "{text}");
        }
        assert_eq!(Version::from_number(150_018).to_string(), "15.18");
    }

    #[test]
    fn the_smallest_pg_dump_that_is_not_older_than_the_server_is_taken() {
        let found = tools(&[18, 15, 17]);
        let check = |server, expect: Option<u32>| {
            let best = best_to_dump(&found, Version { major: server, minor: 0 });
            assert_eq!(best.map(|tool| tool.version.major), expect, "server {server}");
        };
        check(13, Some(15));
        check(15, Some(15));
        check(16, Some(17));
        check(18, Some(18));
        check(19, None);
        let error = missing("pg_dump", &tools(&[15]), "dump server 18.1", "postgresql-client-18").to_string();
        assert_eq!(
            error,
            "no installed pg_dump can dump server 18.1: found pg_dump 15.18 (install postgresql-client-18 or set PG_BIN_DIRS)"
        );
    }

    #[test]
    fn pg_restore_reads_the_archive_and_is_near_the_server() {
        let found = tools(&[18, 15, 17]);
        let check = |minor, server, expect: Option<u32>| {
            let best = best_to_restore(&found, ArchiveVersion { major: 1, minor }, Version { major: server, minor: 0 });
            assert_eq!(best.map(|tool| tool.version.major), expect, "1.{minor} into {server}");
        };
        check(14, 15, Some(15));
        check(14, 13, Some(15));
        check(16, 15, Some(17));
        check(16, 18, Some(18));
        check(14, 19, Some(18));
    }

    #[test]
    fn old_minor_releases_are_warned_about() {
        let warning = |major, minor| Tool { name: "pg_dump", path: PathBuf::new(), version: Version { major, minor } }.warning();
        assert!(warning(15, 13).is_some() && warning(12, 22).is_some());
        assert!(warning(15, 14).is_none() && warning(18, 0).is_none());
    }
}
