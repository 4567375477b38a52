//! What a script holds, learnt while it passes: databases, tables with their rows, and the first thing that must not run.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::{
    lexer::Sink,
    statement::{self, Kind, Name, Thing},
};
use crate::{
    domain::artifact::TableCount,
    error::{Error, Kind as ErrorKind, Result},
};

/// Databases that belong to the server.
pub const SYSTEM: &[&str] = &["information_schema", "mysql", "ndbinfo", "performance_schema", "sys"];
/// More things than this are in no database.
const MOST: usize = 2_000_000;

/// A database that the script creates or uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Database {
    pub name: String,
    /// What stands after its name in CREATE DATABASE, such as its character set.
    pub properties: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// `None` before any database is named.
    pub database: Option<String>,
    pub name: String,
    /// `None`: the script has no CREATE for it.
    pub thing: Option<Thing>,
    pub rows: u64,
    /// False when other statements change its rows too.
    pub exact: bool,
}

/// A view, trigger, routine or event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    pub database: Option<String>,
    pub thing: Thing,
    pub name: String,
}

#[derive(Debug, Default)]
pub struct Contents {
    pub databases: Vec<Database>,
    pub tables: Vec<Table>,
    pub objects: Vec<Object>,
    /// Accounts that definitions name.
    pub definers: BTreeSet<String>,
    /// Why the script cannot be run, with the line.
    pub refusal: Option<(u64, String)>,
    /// What a restore leaves out.
    pub left_out: BTreeSet<&'static str>,
    /// True when it holds tables of the server's own.
    pub has_system: bool,
    current: Option<String>,
    by_name: HashMap<(Option<String>, String), usize>,
    views: HashSet<(Option<String>, String)>,
    others: HashSet<(Option<String>, Thing, String)>,
    /// Table of the INSERT in work, and its rows.
    inserting: Option<usize>,
    rows: u64,
    /// Rows of all tables before that INSERT.
    total: u64,
    all_inexact: bool,
}

impl Contents {
    /// Rows so far, and the table whose rows pass.
    pub fn seen(&self) -> (u64, Option<String>) {
        (self.total + self.rows, self.inserting.and_then(|at| self.tables.get(at)).map(|table| table.name.clone()))
    }

    /// Rows per table that is created or filled; the database is named where there are several.
    pub fn counts(&self) -> Vec<TableCount> {
        let several = self.databases.len() > 1;
        let base = self.tables.iter().filter(|table| table.thing != Some(Thing::Sequence));
        base.map(|table| TableCount { schema: table.database.clone().filter(|_| several), name: table.name.clone(), rows: table.rows })
            .collect()
    }

    /// True when a table has exactly the rows that its INSERTs have.
    pub fn is_exact(&self, table: &Table) -> bool {
        table.exact && !self.all_inexact
    }

    pub fn is_view(&self, database: &Option<String>, name: &str) -> bool {
        self.views.contains(&(database.clone(), name.to_owned()))
    }

    fn refuse(&mut self, line: u64, why: String) {
        self.refusal.get_or_insert((line, why));
    }

    fn in_system(&self) -> bool {
        self.current.as_deref().is_some_and(is_system)
    }

    fn add_database(&mut self, name: &str, properties: Option<String>) {
        if is_system(name) {
            self.has_system = true;
            return;
        }
        match self.databases.iter_mut().find(|database| database.name == name) {
            Some(known) => known.properties = known.properties.take().or(properties),
            None => self.databases.push(Database { name: name.to_owned(), properties }),
        }
    }

    /// The database that a name is in.
    fn home(&mut self, name: &Name) -> Option<String> {
        if let Some(database) = &name.database {
            self.add_database(database, None);
        }
        name.database.clone().or_else(|| self.current.clone())
    }

    fn table(&mut self, name: &Name) -> Result<usize> {
        let key = (self.home(name), name.name.clone());
        if let Some(at) = self.by_name.get(&key) {
            return Ok(*at);
        }
        self.check_size()?;
        self.tables.push(Table { database: key.0.clone(), name: key.1.clone(), thing: None, rows: 0, exact: true });
        self.by_name.insert(key, self.tables.len() - 1);
        Ok(self.tables.len() - 1)
    }

    fn check_size(&self) -> Result<()> {
        if self.tables.len() + self.objects.len() + self.databases.len() < MOST {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Restore, format!("the script holds more than {MOST} tables and other things")))
    }

    fn created(&mut self, thing: Thing, name: &Name) -> Result<()> {
        if matches!(thing, Thing::Table | Thing::Sequence) {
            let at = self.table(name)?;
            let table = &mut self.tables[at];
            self.total -= table.rows;
            (table.rows, table.thing) = (0, Some(thing));
            return Ok(());
        }
        let home = self.home(name);
        if thing == Thing::View {
            // A table stood in for it, as older dump programs write it.
            if let Some(at) = self.by_name.remove(&(home.clone(), name.name.clone())) {
                self.tables.remove(at);
                self.by_name.values_mut().filter(|place| **place > at).for_each(|place| *place -= 1);
            }
            self.views.insert((home.clone(), name.name.clone()));
        }
        if self.others.insert((home.clone(), thing, name.name.clone())) {
            self.check_size()?;
            self.objects.push(Object { database: home, thing, name: name.name.clone() });
        }
        Ok(())
    }
}

impl Sink for Contents {
    fn statement(&mut self, line: u64, sql: &[u8]) -> Result<()> {
        let statement = match statement::read(sql) {
            Ok(statement) => statement,
            Err(_) if self.in_system() => return Ok(()),
            Err(why) => {
                self.refuse(line, why);
                return Ok(());
            }
        };
        if let Kind::Use(name) = &statement.kind {
            self.add_database(name, None);
            self.current = Some(name.clone());
            return Ok(());
        }
        if self.in_system() {
            return Ok(());
        }
        if let Some((_, Some(account))) = statement.definer {
            self.definers.insert(account);
        }
        match statement.kind {
            Kind::CreateDatabase { name, properties } => {
                let properties = String::from_utf8_lossy(&sql[properties]).into_owned();
                self.add_database(&name, Some(properties));
            }
            Kind::Create { thing, name, .. } => self.created(thing, &name)?,
            Kind::Change(Some(name)) => {
                let at = self.table(&name)?;
                self.tables[at].exact = false;
            }
            Kind::Change(None) => self.all_inexact = true,
            Kind::Alter { name, .. } | Kind::Keys(name) => drop(self.home(&name)),
            Kind::Drop { names, .. } => names.iter().for_each(|name| drop(self.home(name))),
            Kind::LeftOut(why) => drop(self.left_out.insert(why)),
            _ => {}
        }
        Ok(())
    }

    fn insert(&mut self, line: u64, head: &[u8]) -> Result<()> {
        self.rows = 0;
        self.inserting = None;
        if self.in_system() {
            return Ok(());
        }
        match statement::inserted(head) {
            Ok((name, exact)) => {
                let at = self.table(&name)?;
                self.tables[at].exact &= exact;
                self.inserting = Some(at);
            }
            Err(why) => self.refuse(line, why),
        }
        Ok(())
    }

    fn rows(&mut self, _bytes: &[u8], rows: u64) -> Result<()> {
        self.rows = rows;
        Ok(())
    }

    fn insert_end(&mut self, rows: u64) -> Result<()> {
        if let Some(table) = self.inserting.take().and_then(|at| self.tables.get_mut(at)) {
            table.rows += rows;
            self.total += rows;
        }
        self.rows = 0;
        Ok(())
    }
}

pub fn is_system(name: &str) -> bool {
    SYSTEM.iter().any(|system| name.eq_ignore_ascii_case(system))
}
