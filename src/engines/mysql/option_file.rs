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
    /// Tables that a dump program leaves out, as `database.table`.
    pub ignored: &'a [String],
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
        if !self.ignored.is_empty() {
            lines.push("[mysqldump]".into());
            for name in self.ignored {
                lines.push(line("ignore-table", name)?);
            }
        }
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
    line(name, value)
}

/// As [`setting`], with the line breaks that a table's name may hold.
fn line(name: &str, value: &str) -> Result<String> {
    let mut line = format!("{name}=\"");
    for c in value.chars() {
        match c {
            '\\' => line.push_str("\\\\"),
            '"' => line.push_str("\\\""),
            '\n' => line.push_str("\\n"),
            '\r' => line.push_str("\\r"),
            '\t' => line.push_str("\\t"),
            c => line.push(c),
        }
    }
    line.push('"');
    if line.len() > LONGEST_LINE {
        return Err(Error::validation(format!("the {name} is longer than an option file of MySQL's programs can hold")));
    }
    Ok(line)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::{super::version::Version, *};

    fn file<'a>(tool: &'a Tool, password: &'a Secret, authority: Option<&'a str>, ignored: &'a [String]) -> OptionFile<'a> {
        let connect_timeout = Duration::from_secs(10);
        OptionFile { tool, socket: None, host: "db", port: 3306, user: "u", password: Some(password), authority, connect_timeout, ignored }
    }

    fn tool(flavour: Flavour) -> Tool {
        Tool { name: "mysqldump", path: PathBuf::new(), flavour, version: Version::new(9, 7, 0) }
    }

    #[test]
    fn it_is_private_and_values_are_escaped() {
        let folder = tempfile::tempdir().unwrap();
        let (tool, password) = (tool(Flavour::MySql), Secret::new(r#"a"b\c#d'e "#));
        let path = file(&tool, &password, None, &["d.a\nb".to_owned()]).write(folder.path()).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains("\npassword=\"a\\\"b\\\\c#d'e \"\n"), "{text}");
        assert!(text.contains("\n[mysqldump]\nignore-table=\"d.a\\nb\"\n"), "{text}");
        assert!(text.contains("\nlocal-infile=0\n") && text.contains("\nssl-mode=DISABLED\n"), "{text}");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn tls_ends_at_the_given_authority_alone() {
        let password = Secret::new("p");
        let check = |flavour, expect: &str| {
            let tool = tool(flavour);
            let text = file(&tool, &password, Some("pem"), &[]).text(Some(Path::new("/ca"))).unwrap();
            assert!(text.contains("\nssl-ca=\"/ca\"\n") && text.contains(expect), "{text}");
        };
        check(Flavour::MySql, "\nssl-mode=VERIFY_CA\n");
        check(Flavour::MariaDb, "\nssl-verify-server-cert=1\n");
    }

    #[test]
    fn no_value_can_add_a_line() {
        let (tool, password) = (tool(Flavour::MySql), Secret::new("x\nlocal-infile=1"));
        assert!(file(&tool, &password, None, &[]).text(None).is_err());
        let password = Secret::new("x".repeat(5000));
        assert!(file(&tool, &password, None, &[]).text(None).is_err());
    }
}
