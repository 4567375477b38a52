//! Which statements of a script a restore runs, and what it changes in them.

use std::collections::{BTreeSet, HashSet};

use super::{
    connect::ident,
    contents::{Contents, is_system},
    dialect::Dialect,
    lexer::Sink,
    statement::{self, Kind, Name, Thing},
};
use crate::{
    domain::restore::RestoreContent,
    error::{Error, Kind as ErrorKind, Result},
};

/// Bytes gathered before they are handed on.
const PIECE: usize = 256 * 1024;

/// Databases that a restore goes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Into one, from the one called `source`, or from whatever the script has.
    One { source: Option<String>, target: String },
    /// Into those that the script names.
    Named,
}

/// Which things are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Everything,
    /// What a database that is built beside another can hold: neither triggers, which would not move with their tables,
    /// nor events, which would run.
    Build,
    /// What tables do not bring along when they move.
    Programs,
}

impl Part {
    fn has(self, thing: Thing) -> bool {
        match self {
            Self::Everything => true,
            Self::Build => !matches!(thing, Thing::Trigger | Thing::Event),
            Self::Programs => !matches!(thing, Thing::Table | Thing::Sequence),
        }
    }
}

/// What is wanted of a script.
#[derive(Debug, Clone)]
pub struct Choice {
    pub content: RestoreContent,
    /// Chosen tables and views as `name` or `database.name`; empty means everything.
    pub tables: Vec<String>,
    pub scope: Scope,
    /// Nothing that was there before is dropped.
    pub append: bool,
    pub without_definers: bool,
    /// The script's transaction ids and its setting of the binary log are kept.
    pub gtid: bool,
    pub part: Part,
    pub dialect: Dialect,
}

impl Choice {
    /// True when the restore goes to where this database's things belong.
    pub fn takes_database(&self, database: &Option<String>) -> bool {
        match (&self.scope, database) {
            (Scope::One { source: Some(source), .. }, Some(database)) => source == database,
            (Scope::One { .. }, _) => true,
            (Scope::Named, Some(database)) => !is_system(database),
            (Scope::Named, None) => false,
        }
    }

    pub fn takes_table(&self, database: &Option<String>, name: &str) -> bool {
        self.takes_database(database)
            && (self.tables.is_empty()
                || self.tables.iter().any(|chosen| {
                    chosen == name
                        || database.as_ref().is_some_and(|database| {
                            chosen.strip_prefix(database.as_str()).and_then(|rest| rest.strip_prefix('.')) == Some(name)
                        })
                }))
    }

    /// Where a thing of this database of the script goes.
    pub fn target<'a>(&'a self, database: &'a Option<String>) -> Option<&'a str> {
        match &self.scope {
            Scope::One { target, .. } => Some(target),
            Scope::Named => database.as_deref(),
        }
    }
}

/// Sees a script's statements and hands on those that are wanted, each ended by a mark of our own. Line breaks are kept, so
/// that the lines a server complains of are those of the script.
pub struct Chooser<'a, F> {
    choice: &'a Choice,
    contents: &'a Contents,
    /// What ends a statement: text that no script can hold.
    mark: &'a str,
    out: Vec<u8>,
    send: F,
    /// Line at which the output is.
    line: u64,
    current: Option<String>,
    /// What the script itself made so far.
    made: HashSet<(Option<String>, String)>,
    passing: bool,
    pub warnings: BTreeSet<String>,
}

impl<'a, F: FnMut(Vec<u8>) -> Result<()>> Chooser<'a, F> {
    pub fn new(choice: &'a Choice, contents: &'a Contents, mark: &'a str, send: F) -> Self {
        Self {
            choice,
            contents,
            mark,
            out: Vec::new(),
            send,
            line: 1,
            current: None,
            made: HashSet::new(),
            passing: false,
            warnings: BTreeSet::new(),
        }
    }

    /// Runs a statement of our own.
    pub fn say(&mut self, sql: &str) -> Result<()> {
        self.put(sql.as_bytes())?;
        self.put(self.mark.as_bytes())
    }

    /// Hands on what is left.
    pub fn finish(&mut self) -> Result<BTreeSet<String>> {
        // A last statement may end in a comment.
        self.say("\n")?;
        self.hand_on()?;
        Ok(std::mem::take(&mut self.warnings))
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.line += memchr::memchr_iter(b'\n', bytes).count() as u64;
        self.out.extend_from_slice(bytes);
        if self.out.len() >= PIECE { self.hand_on() } else { Ok(()) }
    }

    fn hand_on(&mut self) -> Result<()> {
        (self.send)(std::mem::take(&mut self.out))
    }

    fn go_to(&mut self, line: u64) -> Result<()> {
        while self.line < line {
            self.put(b"\n")?;
        }
        Ok(())
    }

    fn home(&self, name: &Name) -> Option<String> {
        name.database.clone().or_else(|| self.current.clone())
    }

    fn takes(&self, thing: Thing, name: &Name, on: Option<&Name>) -> bool {
        let home = self.home(name);
        let stands_in = thing == Thing::Table && self.contents.is_view(&home, &name.name);
        if !self.choice.part.has(if stands_in { Thing::View } else { thing }) {
            return false;
        }
        match (thing, on) {
            (Thing::Table | Thing::View | Thing::Sequence, _) => self.choice.takes_table(&home, &name.name),
            (Thing::Trigger, Some(table)) => self.choice.takes_table(&self.home(table), &table.name),
            _ => self.choice.takes_database(&home) && self.choice.tables.is_empty(),
        }
    }

    /// True for a statement that is to run.
    fn wants(&self, kind: &Kind) -> bool {
        let choice = self.choice;
        let tables = choice.part != Part::Programs;
        let rows = choice.content != RestoreContent::Schema && tables;
        let definitions = choice.content != RestoreContent::Data;
        let here = choice.takes_database(&self.current);
        match kind {
            Kind::Use(_) => choice.scope == Scope::Named && here,
            Kind::CreateDatabase { .. } | Kind::DropDatabase | Kind::LeftOut(_) => false,
            Kind::AlterDatabase { name, .. } => definitions && choice.tables.is_empty() && choice.takes_database(&Some(name.clone())),
            Kind::Create { thing, name, on } => definitions && self.takes(*thing, name, on.as_ref()),
            Kind::Drop { thing, names } => {
                definitions
                    && names.iter().all(|name| {
                        self.takes(*thing, name, None) && (!choice.append || self.made.contains(&(self.home(name), name.name.clone())))
                    })
            }
            Kind::Alter { thing, name } => definitions && self.takes(*thing, name, None),
            Kind::Keys(name) => tables && self.takes(Thing::Table, name, None),
            Kind::Change(Some(name)) => rows && self.takes(Thing::Table, name, None),
            Kind::Change(None) | Kind::SetValue => rows && here && choice.tables.is_empty(),
            // They are for the speed of MyISAM, and in the way of a default that takes a sequence's next value.
            Kind::Lock | Kind::Unlock => false,
            Kind::LogBin | Kind::Gtid => choice.gtid,
            Kind::Set | Kind::Transaction => true,
            Kind::Query => here,
        }
    }

    /// Names of databases in a statement: those of the script's own one go, because the target may have another name.
    fn unqualify(&self, name: &Name, changes: &mut Vec<(std::ops::Range<usize>, String)>) -> Result<(), String> {
        let (Some(database), Scope::One { source, .. }) = (&name.database, &self.choice.scope) else { return Ok(()) };
        let own = source.as_ref().is_none_or(|source| source == database) && (self.contents.databases.len() <= 1 || source.is_some());
        if !own {
            return Err(format!("it names the database '{database}', which is not the one that is restored"));
        }
        changes.push((name.qualifier.clone(), String::new()));
        Ok(())
    }
}

impl<F: FnMut(Vec<u8>) -> Result<()>> Sink for Chooser<'_, F> {
    fn statement(&mut self, line: u64, sql: &[u8]) -> Result<()> {
        let wrong = |why: String| Error::new(ErrorKind::Restore, format!("line {line}: {why}"));
        let in_system = self.current.as_deref().is_some_and(is_system);
        let statement = match statement::read(sql) {
            Ok(statement) if in_system && !matches!(statement.kind, Kind::Use(_) | Kind::Set) => return Ok(()),
            Err(_) if in_system => return Ok(()),
            read => read.map_err(wrong)?,
        };
        if let Kind::Use(name) = &statement.kind {
            self.current = Some(name.clone());
        }
        if !self.wants(&statement.kind) || self.choice.dialect.ignores(sql) {
            return Ok(());
        }
        let mut changes = Vec::new();
        if let (Some((place, _)), true) = (&statement.definer, self.choice.without_definers) {
            changes.push((place.clone(), String::new()));
        }
        let names: Vec<&Name> = match &statement.kind {
            Kind::Create { name, on, .. } => std::iter::once(name).chain(on).collect(),
            Kind::Drop { names, .. } => names.iter().collect(),
            Kind::Alter { name, .. } | Kind::Keys(name) | Kind::Change(Some(name)) => vec![name],
            _ => Vec::new(),
        };
        for name in names {
            self.unqualify(name, &mut changes).map_err(wrong)?;
        }
        match &statement.kind {
            Kind::Create { name, .. } => drop(self.made.insert((self.home(name), name.name.clone()))),
            Kind::AlterDatabase { name, place } => {
                let database = Some(name.clone());
                if let Some(target) = self.choice.target(&database) {
                    changes.push((place.clone(), ident(target)));
                }
            }
            _ => {}
        }
        self.choice.dialect.translate(sql, &mut changes, &mut self.warnings);
        self.go_to(line)?;
        changes.sort_by_key(|(place, _)| place.start);
        let mut at = 0;
        for (place, text) in changes {
            self.put(&sql[at..place.start])?;
            self.put(text.as_bytes())?;
            at = place.end;
        }
        self.put(&sql[at..])?;
        self.put(self.mark.as_bytes())
    }

    fn insert(&mut self, line: u64, head: &[u8]) -> Result<()> {
        let wrong = |why: String| Error::new(ErrorKind::Restore, format!("line {line}: {why}"));
        self.passing = false;
        if self.choice.content == RestoreContent::Schema
            || self.choice.part == Part::Programs
            || self.current.as_deref().is_some_and(is_system)
        {
            return Ok(());
        }
        let (name, _) = statement::inserted(head).map_err(wrong)?;
        self.passing = self.takes(Thing::Table, &name, None);
        if !self.passing {
            return Ok(());
        }
        let mut changes = Vec::new();
        self.unqualify(&name, &mut changes).map_err(wrong)?;
        self.go_to(line)?;
        match changes.pop() {
            Some((place, _)) => {
                self.put(&head[..place.start])?;
                self.put(&head[place.end..])
            }
            None => self.put(head),
        }
    }

    fn rows(&mut self, bytes: &[u8], _rows: u64) -> Result<()> {
        if self.passing { self.put(bytes) } else { Ok(()) }
    }

    fn insert_end(&mut self, _rows: u64) -> Result<()> {
        if self.passing { self.put(self.mark.as_bytes()) } else { Ok(()) }
    }
}
