//! What a statement of a script is about: enough to choose statements, to send them to another database, and to refuse those
//! that no backup needs. What is not known is refused.

use std::{iter::Peekable, ops::Range};

use super::token::{Token, Tokens, What, beginning};

/// Commands of the clients that are words.
const CLIENT_COMMANDS: &[&str] = &[
    "charset",
    "clear",
    "connect",
    "costs",
    "edit",
    "ego",
    "exit",
    "go",
    "nopager",
    "notee",
    "nowarning",
    "pager",
    "print",
    "prompt",
    "query_attributes",
    "quit",
    "rehash",
    "resetconnection",
    "sandbox",
    "source",
    "status",
    "system",
    "tee",
    "warnings",
];
/// Character sets in which a backslash may be the second half of a character.
const BACKSLASH_SETS: &[&str] = &["big5", "cp932", "gb18030", "gbk", "sjis"];

/// What lives in a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Thing {
    Table,
    Sequence,
    View,
    Function,
    Procedure,
    Package,
    Trigger,
    Event,
}

impl Thing {
    /// The word for it in SQL.
    pub fn word(self) -> &'static str {
        match self {
            Self::Table => "TABLE",
            Self::Sequence => "SEQUENCE",
            Self::View => "VIEW",
            Self::Function => "FUNCTION",
            Self::Procedure => "PROCEDURE",
            Self::Package => "PACKAGE",
            Self::Trigger => "TRIGGER",
            Self::Event => "EVENT",
        }
    }
}

/// A name as a statement has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    pub database: Option<String>,
    pub name: String,
    /// The qualifier with its dot, where there is one.
    pub qualifier: Range<usize>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// The name, where it stands, and the words after it.
    CreateDatabase {
        name: String,
        properties: Range<usize>,
    },
    AlterDatabase {
        place: Range<usize>,
        name: String,
    },
    DropDatabase,
    Use(String),
    /// `on`: the table of a trigger.
    Create {
        thing: Thing,
        name: Name,
        on: Option<Name>,
    },
    Drop {
        thing: Thing,
        names: Vec<Name>,
    },
    /// Definitions of something that is there already: ALTER TABLE, CREATE INDEX.
    Alter {
        thing: Thing,
        name: Name,
    },
    /// ALTER TABLE ... DISABLE KEYS or ENABLE KEYS.
    Keys(Name),
    /// Changes rows otherwise than by VALUES.
    Change(Option<Name>),
    /// The value that a sequence has.
    SetValue,
    Lock,
    Unlock,
    Set,
    /// Sets whether the session writes a binary log.
    LogBin,
    /// Sets the server's executed GTIDs.
    Gtid,
    Transaction,
    /// SELECT and its like, without effect on the database.
    Query,
    /// About the server, not the database: left out, as the text says.
    LeftOut(&'static str),
}

/// One statement's meaning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    pub kind: Kind,
    /// Where `DEFINER=...` stands, and the account it names; `None` for CURRENT_USER.
    pub definer: Option<(Range<usize>, Option<String>)>,
}

/// Reads a statement. Errors with what is wrong with it.
pub fn read(sql: &[u8]) -> Result<Statement, String> {
    let mut reader = Reader { sql, tokens: Tokens::new(sql).peekable(), definer: None };
    let kind = reader.kind()?;
    Ok(Statement { kind, definer: reader.definer })
}

/// The table of an INSERT or REPLACE, and whether each of its rows is surely one more row in the table.
pub fn inserted(head: &[u8]) -> Result<(Name, bool), String> {
    let mut reader = Reader { sql: head, tokens: Tokens::new(head).peekable(), definer: None };
    let plain = reader.word("insert");
    if !plain {
        reader.word("replace");
    }
    let mut exact = plain;
    while let Some(word) = ["low_priority", "delayed", "high_priority", "ignore", "into"].iter().find(|word| reader.word(word)) {
        exact &= *word != "ignore";
    }
    Ok((reader.name()?, exact))
}

struct Reader<'a> {
    sql: &'a [u8],
    tokens: Peekable<Tokens<'a>>,
    definer: Option<(Range<usize>, Option<String>)>,
}

impl Reader<'_> {
    fn kind(&mut self) -> Result<Kind, String> {
        // Nothing but comments.
        let Some(first) = self.tokens.next() else { return Ok(Kind::Query) };
        let word = match first.what {
            What::Word => first.text(self.sql).to_ascii_lowercase(),
            What::Sign(b'(') => "select".into(),
            _ => return Err(self.refused("is no statement that a backup needs")),
        };
        match word.as_str() {
            "create" => self.create(),
            "drop" => self.dropping(),
            "alter" => self.alter(),
            "insert" | "replace" => {
                while ["low_priority", "delayed", "high_priority", "ignore", "into"].iter().any(|word| self.word(word)) {}
                let name = self.name()?;
                self.refuse_files()?;
                Ok(Kind::Change(Some(name)))
            }
            "truncate" => {
                self.word("table");
                Ok(Kind::Change(Some(self.name()?)))
            }
            "update" | "delete" => {
                while ["low_priority", "quick", "ignore", "from"].iter().any(|word| self.word(word)) {}
                let name = self.name().ok();
                self.refuse_files()?;
                Ok(Kind::Change(name))
            }
            "lock" if self.word("tables") || self.word("table") => Ok(Kind::Lock),
            "unlock" => Ok(Kind::Unlock),
            "use" => Ok(Kind::Use(self.name()?.name)),
            "set" => self.set(),
            "begin" | "commit" | "rollback" | "savepoint" | "release" => Ok(Kind::Transaction),
            "start" if self.word("transaction") => Ok(Kind::Transaction),
            "analyze" | "optimize" | "check" | "repair" => {
                while ["local", "no_write_to_binlog"].iter().any(|word| self.word(word)) {}
                if !self.word("table") && !self.word("tables") {
                    return Err(self.refused("is no statement that a backup needs"));
                }
                Ok(Kind::Alter { thing: Thing::Table, name: self.name()? })
            }
            "rename" if self.word("table") || self.word("tables") => {
                let name = self.name()?;
                if self.tokens.any(|token| token.what == What::Sign(b'.')) {
                    return Err(self.refused("names a database"));
                }
                Ok(Kind::Alter { thing: Thing::Table, name })
            }
            "select" | "do" | "show" | "with" => {
                let sets = self.sql.windows(7).any(|word| word.eq_ignore_ascii_case(b"setval("));
                self.refuse_files()?;
                Ok(if sets { Kind::SetValue } else { Kind::Query })
            }
            "flush" => Ok(Kind::LeftOut("FLUSH is about the server")),
            "change" | "start" | "stop" => Ok(Kind::LeftOut("replication is about the server")),
            word if CLIENT_COMMANDS.contains(&word) => Err(self.refused("is a command of the client, not SQL, and is never run")),
            "grant" | "revoke" => Err(self.refused("is about accounts, which are not restored")),
            "load" => Err(self.refused("reads a file")),
            _ => Err(self.refused("is no statement that a backup needs")),
        }
    }

    fn refused(&self, why: &str) -> String {
        format!("'{}' {why}", beginning(self.sql))
    }

    /// Takes this word if it is next.
    fn word(&mut self, word: &str) -> bool {
        let sql = self.sql;
        self.tokens.next_if(|token| token.is(sql, word)).is_some()
    }

    fn sign(&mut self, sign: u8) -> bool {
        self.tokens.next_if(|token| token.what == What::Sign(sign)).is_some()
    }

    fn name_token(&mut self) -> Option<Token> {
        self.tokens.next_if(|token| !matches!(token.what, What::Sign(_)))
    }

    /// A name, with or without a database.
    fn name(&mut self) -> Result<Name, String> {
        let Some(first) = self.name_token() else { return Err(self.refused("names nothing")) };
        let name = first.text(self.sql);
        if !self.sign(b'.') {
            return Ok(Name { database: None, name, qualifier: first.place.start..first.place.start });
        }
        let Some(second) = self.name_token() else { return Err(self.refused("names nothing")) };
        Ok(Name { database: Some(name), name: second.text(self.sql), qualifier: first.place.start..second.place.start })
    }

    fn conditions(&mut self) {
        while ["if", "not", "exists"].iter().any(|word| self.word(word)) {}
    }

    /// What stands between CREATE or ALTER and the word for the thing.
    fn modifiers(&mut self) {
        loop {
            if self.word("algorithm") {
                self.sign(b'=');
                self.tokens.next();
            } else if self.tokens.peek().is_some_and(|token| token.is(self.sql, "definer")) {
                self.read_definer();
            } else if self.word("sql") {
                self.tokens.next();
                self.tokens.next();
            } else if !["or", "replace", "temporary", "unique", "fulltext", "spatial", "aggregate", "online", "ignore"]
                .iter()
                .any(|word| self.word(word))
            {
                return;
            }
        }
    }

    fn read_definer(&mut self) {
        let Some(start) = self.tokens.next().map(|token| token.place.start) else { return };
        self.sign(b'=');
        let Some(user) = self.tokens.next() else { return };
        let mut end = user.place.end;
        let mut account = None;
        if user.is(self.sql, "current_user") || user.is(self.sql, "current_role") {
            if self.sign(b'(')
                && let Some(close) = self.tokens.next()
            {
                end = close.place.end;
            }
        } else if self.sign(b'@')
            && let Some(host) = self.tokens.next()
        {
            end = host.place.end;
            account = Some(format!("{}@{}", user.text(self.sql), host.text(self.sql)));
        } else {
            account = Some(format!("{}@%", user.text(self.sql)));
        }
        self.definer = Some((start..end, account));
    }

    fn thing(&mut self) -> Option<Thing> {
        let things = [
            ("table", Thing::Table),
            ("sequence", Thing::Sequence),
            ("view", Thing::View),
            ("function", Thing::Function),
            ("procedure", Thing::Procedure),
            ("package", Thing::Package),
            ("trigger", Thing::Trigger),
            ("event", Thing::Event),
        ];
        let found = things.into_iter().find(|(word, _)| self.word(word)).map(|(_, thing)| thing);
        if found == Some(Thing::Package) {
            self.word("body");
        }
        found
    }

    fn create(&mut self) -> Result<Kind, String> {
        self.modifiers();
        if self.word("database") || self.word("schema") {
            self.conditions();
            let Some(name) = self.name_token() else { return Err(self.refused("names nothing")) };
            return Ok(Kind::CreateDatabase { name: name.text(self.sql), properties: name.place.end..self.sql.len() });
        }
        if self.word("index") {
            self.conditions();
            self.name_token();
            return self.on_table();
        }
        let Some(thing) = self.thing() else { return Err(self.refused("is no statement that a backup needs")) };
        self.conditions();
        let name = self.name()?;
        let mut on = None;
        match thing {
            Thing::Function if self.word("returns") => return Err(self.refused("loads a library into the server")),
            Thing::Trigger => {
                let sql = self.sql;
                self.tokens.by_ref().find(|token| token.is(sql, "on"));
                on = Some(self.name()?);
            }
            Thing::Table => self.refuse_files()?,
            _ => {}
        }
        Ok(Kind::Create { thing, name, on })
    }

    fn on_table(&mut self) -> Result<Kind, String> {
        let sql = self.sql;
        self.tokens.by_ref().find(|token| token.is(sql, "on"));
        Ok(Kind::Alter { thing: Thing::Table, name: self.name()? })
    }

    fn dropping(&mut self) -> Result<Kind, String> {
        if self.word("database") || self.word("schema") {
            return Ok(Kind::DropDatabase);
        }
        if self.word("index") {
            return self.on_table();
        }
        self.word("temporary");
        // The plural, as some tools write it.
        let thing = if self.word("tables") { Some(Thing::Table) } else { self.thing() };
        let Some(thing) = thing else { return Err(self.refused("is no statement that a backup needs")) };
        self.conditions();
        let mut names = vec![self.name()?];
        while self.sign(b',') {
            names.push(self.name()?);
        }
        Ok(Kind::Drop { thing, names })
    }

    fn alter(&mut self) -> Result<Kind, String> {
        self.modifiers();
        if self.word("database") || self.word("schema") {
            let Some(name) = self.name_token() else { return Err(self.refused("names nothing")) };
            return Ok(Kind::AlterDatabase { name: name.text(self.sql), place: name.place });
        }
        let Some(thing) = self.thing() else { return Err(self.refused("is no statement that a backup needs")) };
        self.conditions();
        let name = self.name()?;
        if self.word("disable") || self.word("enable") {
            return Ok(Kind::Keys(name));
        }
        let (sql, mut renames) = (self.sql, false);
        for token in self.tokens.by_ref() {
            renames |= token.is(sql, "rename") || token.is(sql, "exchange");
            if renames && token.what == What::Sign(b'.') {
                return Err(format!("'{}' names a database", beginning(sql)));
            }
        }
        Ok(Kind::Alter { thing, name })
    }

    fn set(&mut self) -> Result<Kind, String> {
        let sql = self.sql;
        let words: Vec<Token> = self.tokens.by_ref().take(2000).collect();
        let text = |at: usize| words.get(at).map(|token| token.text(sql).to_ascii_lowercase()).unwrap_or_default();
        for assignment in words.split(|token| token.what == What::Sign(b',')) {
            let left = assignment.split(|token| token.what == What::Sign(b'=')).next().unwrap_or_default();
            let about = |scope: &str| left.iter().any(|token| token.is(sql, scope));
            let set = left.iter().rfind(|token| !matches!(token.what, What::Sign(_))).map(|name| name.text(sql).to_ascii_lowercase());
            match set.as_deref() {
                Some("gtid_purged" | "gtid_slave_pos") => return Ok(Kind::Gtid),
                Some("sql_log_bin") => return Ok(Kind::LogBin),
                _ => {}
            }
            if ["global", "persist", "persist_only"].iter().any(|scope| about(scope)) {
                return Err(self.refused("changes a setting of the whole server"));
            }
            if ["password", "role"].iter().any(|scope| left.first().is_some_and(|token| token.is(sql, scope))) || about("default") {
                return Err(self.refused("is about accounts, which are not restored"));
            }
            if left.first().is_some_and(|token| ["statement", "resource"].iter().any(|word| token.is(sql, word))) {
                return Err(self.refused("is no statement that a backup needs"));
            }
        }
        if ["names", "character", "charset"].contains(&text(0).as_str())
            && words.iter().any(|word| BACKSLASH_SETS.contains(&word.text(sql).to_ascii_lowercase().as_str()))
        {
            return Err(self.refused("chooses a character set in which statements cannot be told apart safely; dump with utf8mb4"));
        }
        Ok(Kind::Set)
    }

    /// Errors when what is left of the statement reads or writes a file of the server.
    fn refuse_files(&mut self) -> Result<(), String> {
        let sql = self.sql;
        match self.tokens.by_ref().find(|token| ["outfile", "dumpfile", "load_file"].iter().any(|word| token.is(sql, word))) {
            Some(_) => Err(self.refused("reads or writes a file on the server")),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(sql: &str, expect: &str) {
        let read = read(sql.as_bytes()).unwrap_or_else(|why| panic!("{why}"));
        let names = |names: &[Name]| {
            names
                .iter()
                .map(|name| format!("{}{}", name.database.as_deref().map(|d| format!("{d}.")).unwrap_or_default(), name.name))
                .collect::<Vec<_>>()
                .join(" ")
        };
        let text = match &read.kind {
            Kind::Create { thing, name, on } => format!("create {thing:?} {} {}", names(std::slice::from_ref(name)), names(on.as_slice())),
            Kind::Drop { thing, names: all } => format!("drop {thing:?} {}", names(all)),
            Kind::Alter { thing, name } => format!("alter {thing:?} {}", names(std::slice::from_ref(name))),
            Kind::Keys(name) => format!("keys {}", name.name),
            Kind::Change(name) => format!("change {}", names(name.as_slice())),
            other => format!("{other:?}"),
        };
        let definer = read.definer.map(|(place, account)| format!(" [{}: {account:?}]", &sql[place])).unwrap_or_default();
        assert_eq!(format!("{}{definer}", text.trim_end()), expect, "{sql}");
    }

    #[test]
    fn statements_of_the_dump_tools_are_understood() {
        check("CREATE TABLE `a``b` (\n `c` int)", "create Table a`b");
        check("CREATE TABLE IF NOT EXISTS `shop`.`t` (a int)", "create Table shop.t");
        check("/*!50001 CREATE VIEW `v` AS SELECT 1 AS `a`*/", "create View v");
        check(
            "/*!50001 CREATE ALGORITHM=UNDEFINED */\n/*!50013 DEFINER=`root`@`%` SQL SECURITY DEFINER */\n/*!50001 VIEW `v` AS select 1 */",
            "create View v [DEFINER=`root`@`%`: Some(\"root@%\")]",
        );
        check(
            "/*!50003 CREATE*/ /*!50017 DEFINER=`a`@`b`*/ /*!50003 TRIGGER `x` BEFORE INSERT ON `t` FOR EACH ROW SET NEW.a=1 */",
            "create Trigger x t [DEFINER=`a`@`b`: Some(\"a@b\")]",
        );
        check("CREATE DEFINER=CURRENT_USER() FUNCTION f() RETURNS int RETURN 1", "create Function f [DEFINER=CURRENT_USER(): None]");
        check(
            "/*!50106 CREATE*/ /*!50117 DEFINER=`a`@`b`*/ /*!50106 EVENT `e` ON SCHEDULE EVERY 1 DAY DO SELECT 1 */",
            "create Event e [DEFINER=`a`@`b`: Some(\"a@b\")]",
        );
        check("CREATE SEQUENCE `s` start with 1", "create Sequence s");
        check("/*!50001 DROP VIEW IF EXISTS `v`*/", "drop View v");
        check("DROP TABLE IF EXISTS `a`, b.c", "drop Table a b.c");
        check("/*!40000 ALTER TABLE `t` DISABLE KEYS */", "keys t");
        check("ALTER TABLE `t` ADD PRIMARY KEY (`id`)", "alter Table t");
        check("CREATE UNIQUE INDEX i ON t (a)", "alter Table t");
        check("LOCK TABLES `a` WRITE, `b` READ", "Lock");
        check("SET @@SESSION.SQL_LOG_BIN= 0", "LogBin");
        check("SET @@SESSION.SQL_LOG_BIN = @MYSQLDUMP_TEMP_LOG_BIN", "LogBin");
        check("SET @MYSQLDUMP_TEMP_LOG_BIN = @@SESSION.SQL_LOG_BIN", "Set");
        check("SET @@GLOBAL.GTID_PURGED=/*!80000 '+'*/ 'a:1-5'", "Gtid");
        check("SET @saved = @@global.time_zone", "Set");
        check("SELECT SETVAL(`s`, 5, 0)", "SetValue");
        check("INSERT INTO a SELECT * FROM b", "change a");
        check("CHANGE MASTER TO MASTER_LOG_FILE='x'", "LeftOut(\"replication is about the server\")");
    }

    #[test]
    fn what_no_backup_needs_is_refused() {
        for sql in [
            "system touch x",
            "source x",
            "LOAD DATA LOCAL INFILE 'x' INTO TABLE t",
            "SELECT 1 INTO OUTFILE 'x'",
            "SELECT LOAD_FILE('x')",
            "/*!50000 SELECT 1 INTO /**/ DUMPFILE 'x' */",
            "INSTALL PLUGIN a SONAME 'b'",
            "CREATE FUNCTION f RETURNS STRING SONAME 'x.so'",
            "CREATE AGGREGATE FUNCTION IF NOT EXISTS f RETURNS INTEGER SONAME 'x.so'",
            "GRANT ALL ON *.* TO x",
            "CREATE USER x",
            "DROP USER x",
            "SET GLOBAL max_connections=1",
            "SET @@global.max_connections=1",
            "SET a=1, PERSIST b=2",
            "SET PASSWORD='x'",
            "SET DEFAULT ROLE ALL TO x",
            "SET STATEMENT max_statement_time=1 FOR GRANT x",
            "SHUTDOWN",
            "KILL 1",
            "PREPARE s FROM 'x'",
            "EXECUTE IMMEDIATE 'x'",
            "CALL p()",
            "ALTER TABLE t RENAME TO other.t",
            "RENAME TABLE a TO other.b",
            "ALTER USER x",
            "SET NAMES gbk",
            "HANDLER t OPEN",
            "'x'",
            "CREATE TABLE t AS SELECT LOAD_FILE('x')",
        ] {
            assert!(read(sql.as_bytes()).is_err(), "{sql}");
        }
    }

    #[test]
    fn the_table_of_an_insert_is_read() {
        let check = |head: &str, name: &str, exact: bool| {
            let (found, is_exact) = inserted(head.as_bytes()).unwrap();
            assert_eq!((found.name.as_str(), is_exact), (name, exact), "{head}");
        };
        check("INSERT INTO `t` VALUES", "t", true);
        check("insert ignore into `a`.`t` (`x`) values", "t", false);
        check("REPLACE INTO `t` VALUES", "t", false);
    }
}
