//! The option file that gives a client program its server, its account and its manners. Secrets are nowhere else.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{connect::LARGEST_PACKET, tools::Tool, version::Flavour};
use crate::{
    domain::secret::Secret,
    error::{Context, Error, Kind, Result},
};

/// The programs read lines into a buffer of 4096 bytes.
const LONGEST_LINE: usize = 4000;

/// What one program is told.
pub struct OptionFile<'a> {
    pub tool: &'a Tool,
    /// Path of a Unix socket, instead of host and port.
    pub socket: Option<&'a str>,
    pub host: &'a str,
    pub port: u16,
    pub user: &'a str,
    pub password: Option<&'a Secret>,
    /// The only authority (PEM) that TLS may end at; without one there is no TLS.
    pub authority: Option<&'a str>,
    pub connect_timeout: Duration,
}

impl OptionFile<'_> {
    /// Writes it (0600) into a private folder and returns its path.
    pub fn write(&self, folder: &Path) -> Result<PathBuf> {
        let name = uuid::Uuid::new_v4().simple();
        let authority = match self.authority {
            Some(pem) => {
                let path = folder.join(format!("authority-{name}.pem"));
                create(&path, pem)?;
                Some(path)
            }
            None => None,
        };
        let path = folder.join(format!("client-{name}.cnf"));
        create(&path, &self.text(authority.as_deref())?)?;
        Ok(path)
    }

    fn text(&self, authority: Option<&Path>) -> Result<String> {
        let mut lines: Vec<String> = vec!["[client]".into()];
        match self.socket {
            Some(path) => lines.extend(["protocol=socket".into(), setting("socket", path)?]),
            None => lines.extend(["protocol=tcp".into(), setting("host", self.host)?, format!("port={}", self.port)]),
        }
        lines.push(setting("user", self.user)?);
        // Named even where it is empty, so that no program asks at a terminal.
        lines.push(setting("password", self.password.map(Secret::expose).unwrap_or_default())?);
        let authority = authority.map(|path| setting("ssl-ca", &path.to_string_lossy())).transpose()?;
        match (self.tool.flavour, authority) {
            (Flavour::MySql, Some(authority)) => lines.extend([authority, "ssl-mode=VERIFY_CA".into()]),
            (Flavour::MySql, None) => lines.push("ssl-mode=DISABLED".into()),
            (Flavour::MariaDb, Some(authority)) => lines.extend([authority, "ssl-verify-server-cert=1".into()]),
            (Flavour::MariaDb, None) => lines.push("ssl=0".into()),
        }
        if self.tool.flavour == Flavour::MySql && self.authority.is_none() && self.tool.version.major >= 8 {
            lines.push("get-server-public-key=1".into());
        }
        lines.push("default-character-set=utf8mb4".into());
        lines.push(format!("max-allowed-packet={LARGEST_PACKET}"));
        lines.push("[mysql]".into());
        lines.push("local-infile=0".into());
        lines.push(format!("connect-timeout={}", self.connect_timeout.as_secs().max(2)));
        Ok(lines.into_iter().map(|line| line + "\n").collect())
    }
}

fn create(path: &Path, text: &str) -> Result<()> {
    let written =
        fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).and_then(|mut file| file.write_all(text.as_bytes()));
    written.context(Kind::Internal, || format!("writing {}", path.display()))
}

/// `name="value"`, escaped as option files are read. Errors when it would end the line or not fit one.
fn setting(name: &str, value: &str) -> Result<String> {
    if value.chars().any(char::is_control) {
        return Err(Error::validation(format!("the {name} holds a control character")).hint("write it without line breaks"));
    }
    let line = format!("{name}=\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""));
    if line.len() > LONGEST_LINE {
        return Err(Error::validation(format!("the {name} is longer than an option file of MySQL's programs can hold")));
    }
    Ok(line)
}
