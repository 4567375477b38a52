//! Tables that were built beside a database take the place of its own, by one atomic RENAME TABLE; what does not move with
//! tables is made anew. Until everything is done the old tables are kept, and put back when something fails.

use std::{sync::Arc, time::Duration};

use mysql_async::{Conn, prelude::Queryable as _};

use super::{
    choose::{Choice, Part, Scope},
    connect::{Target, failed, ident, literal},
    contents::Contents,
    definitions::{self, Definition},
    load::{Load, Told},
    place::{Place, spare_name},
    statement::Thing,
    tools::Tool,
};
use crate::{
    domain::run::Run,
    error::{Context, Error, Kind, Result},
};

/// Pause between two rounds of ending sessions.
const LOOK: Duration = Duration::from_millis(100);

/// What is to be done.
pub struct Swap {
    /// The server, with the database that is replaced.
    pub target: Target,
    /// The database whose tables take its place.
    pub built: String,
    pub tool: Tool,
    pub script: std::path::PathBuf,
    pub contents: Arc<Contents>,
    /// What was chosen for the tables that were built.
    pub choice: Choice,
    pub lock_timeout: Option<Duration>,
    pub end_connections: bool,
}

/// How it ended.
pub enum Swapped {
    /// With warnings.
    Done(Vec<String>),
    /// It failed and could not be undone: the error says what is where, and nothing may be removed.
    Stuck(Error),
}

/// How far it got: what going back has to undo.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Nothing,
    /// Triggers and events of the old tables are being dropped.
    Dropping,
    /// The new tables are in place.
    Renamed,
}

impl Swap {
    /// Does it. Once begun it goes on to its end, also when the caller is dropped. On an error the database is as it was.
    pub async fn carry_out(self, run: &Run) -> Result<Swapped> {
        let run = Run { cancel: tokio_util::sync::CancellationToken::new(), ..run.clone() };
        let task = tokio::spawn(async move { self.run_to_its_end(&run).await });
        task.await.context(Kind::Internal, || "putting tables in others' place".to_owned())?
    }

    async fn run_to_its_end(self, run: &Run) -> Result<Swapped> {
        let name = self.target.database()?.to_owned();
        let mut connection = self.connect(run).await?;
        let mut place = Place::open(&self.target, run).await?;
        self.refuse_references(&mut place, &name).await?;
        let before = definitions::read(&mut connection).await?;
        let tables = tables_of(&mut place, &name).await?;
        let built = tables_of(&mut place, &self.built).await?;
        let properties = default_collation(&mut place, &name).await?;
        let old = spare_name(&name, "old");
        place.execute(&format!("CREATE DATABASE {}", ident(&old)), format!("creating database '{old}'")).await?;
        let mut step = Step::Nothing;
        let exchanging = async {
            keep(&mut place, &old, &before).await?;
            step = Step::Dropping;
            self.move_tables(&mut connection, &name, &old, &before, (&tables, &built), run).await?;
            step = Step::Renamed;
            definitions::drop_all(&mut connection, &before, |_| true).await?;
            if let Some(collation) = default_collation(&mut place, &self.built).await? {
                place.execute(&format!("ALTER DATABASE {} COLLATE {collation}", ident(&name)), "setting the collation").await?;
            }
            self.make_programs(&name, run).await
        };
        match exchanging.await {
            Ok(told) => {
                let mut warnings: Vec<String> = told.warnings.into_iter().chain(told.errors).collect();
                for spare in [&old, &self.built] {
                    if let Err(error) = place.drop_database(spare).await {
                        warnings.push(format!("database '{spare}' is left: {error}"));
                    }
                }
                Ok(Swapped::Done(warnings))
            }
            Err(mut error) => {
                let back = self.go_back(step, &name, &old, &before, (&tables, &built), properties.as_deref(), run).await;
                match back {
                    Ok(()) => Err(error),
                    Err(second) => {
                        let state = match step {
                            Step::Renamed => format!("its former tables are in the database '{old}'"),
                            _ => format!("its tables are in place or in the database '{old}'"),
                        };
                        error.context = format!(
                            "{}; and going back failed ({}): {state}, and the statements for the rest in the table dbsnap_definitions there",
                            error.context, second.context
                        );
                        Ok(Swapped::Stuck(error))
                    }
                }
            }
        }
    }

    async fn connect(&self, run: &Run) -> Result<Conn> {
        let mut connection = self.target.connect(run).await?;
        let limit = self.lock_timeout.map_or(31_536_000, |limit| limit.as_secs().max(1));
        let sql = format!("SET SESSION lock_wait_timeout = {limit}, foreign_key_checks = 0");
        connection.query_drop(sql).await.map_err(|cause| failed("preparing to exchange tables", cause))?;
        Ok(connection)
    }

    /// Foreign keys of other databases would follow the old tables and be lost with them.
    async fn refuse_references(&self, place: &mut Place, name: &str) -> Result<()> {
        let sql = format!(
            // KEY_COLUMN_USAGE of MySQL 9.7 fails for names with a quote under NO_BACKSLASH_ESCAPES.
            "SELECT DISTINCT CONCAT(constraint_schema, '.', table_name) FROM information_schema.referential_constraints
              WHERE unique_constraint_schema = {0} AND constraint_schema <> {0}",
            literal(name)
        );
        let others = place.texts(&sql, "looking for foreign keys of other databases").await?;
        if others.is_empty() {
            return Ok(());
        }
        Err(Error::conflict(format!("database '{name}' cannot be replaced: {} refer to its tables by foreign keys", others.join(", ")))
            .hint("restore in the mode clean, or drop those foreign keys first"))
    }

    /// Moves the old tables out and the new ones in. Everything before it can be made again.
    async fn move_tables(
        &self,
        connection: &mut Conn,
        name: &str,
        old: &str,
        before: &[Definition],
        (tables, built): (&[String], &[String]),
        run: &Run,
    ) -> Result<()> {
        let moves = moves(tables, name, old).chain(moves(built, &self.built, name)).collect::<Vec<_>>().join(", ");
        let own = u64::from(connection.id());
        let working = async {
            definitions::drop_all(connection, before, |thing| matches!(thing, Thing::Trigger | Thing::Event)).await?;
            if moves.is_empty() {
                return Ok(());
            }
            let renaming = connection.query_drop(format!("RENAME TABLE {moves}")).await;
            renaming
                .map_err(|cause| self.target.explain(failed(format!("putting the new tables in the place of those of '{name}'"), cause)))
        };
        let working = async {
            working.await.map_err(|error| {
                if !error.context.contains("(error 1205)") {
                    return error;
                }
                Error::conflict(format!("database '{name}' cannot be replaced: others use its tables"))
                    .hint("close them, or let the restore end other connections")
            })
        };
        if !self.end_connections {
            return working.await;
        }
        let mut ender = Place::open(&self.target, run).await?;
        let ending = async {
            loop {
                if let Err(error) = ender.end_sessions(name, own).await {
                    return error;
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::pin!(working);
        tokio::select! {
            biased;
            done = &mut working => done,
            refusal = ending => working.await.map_err(|error| error.hint(refusal.to_string())),
        }
    }

    /// Views, routines, triggers and events of the script.
    async fn make_programs(&self, name: &str, run: &Run) -> Result<Told> {
        let source = match &self.choice.scope {
            Scope::One { source, .. } => source.clone(),
            Scope::Named => None,
        };
        let scope = Scope::One { source, target: name.to_owned() };
        let choice = Choice { scope, part: Part::Programs, ..self.choice.clone() };
        let load = Load {
            target: &self.target,
            tool: &self.tool,
            script: &self.script,
            contents: &self.contents,
            choice,
            lenient: false,
            lock_timeout: self.lock_timeout,
            stall: None,
        };
        load.run(run).await
    }

    #[expect(clippy::too_many_arguments, reason = "all that is to be undone")]
    async fn go_back(
        &self,
        step: Step,
        name: &str,
        old: &str,
        before: &[Definition],
        (tables, built): (&[String], &[String]),
        collation: Option<&str>,
        run: &Run,
    ) -> Result<()> {
        // The old connection may be what failed.
        let mut place = Place::open(&self.target, run).await?;
        let mut connection = self.connect(run).await?;
        if step == Step::Renamed {
            let made = definitions::read(&mut connection).await?;
            definitions::drop_all(&mut connection, &made, |_| true).await?;
            let moves = moves(built, name, &self.built).chain(moves(tables, old, name)).collect::<Vec<_>>().join(", ");
            if !moves.is_empty() {
                let done = connection.query_drop(format!("RENAME TABLE {moves}")).await;
                done.map_err(|cause| failed("moving the former tables back", cause))?;
            }
            if let Some(collation) = collation {
                place.execute(&format!("ALTER DATABASE {} COLLATE {collation}", ident(name)), "setting the collation back").await?;
            }
        }
        if step >= Step::Dropping {
            definitions::make(&mut connection, before).await?;
        }
        // Nothing of the database's own may go with it.
        let left = tables_of(&mut place, old).await?;
        if left.iter().any(|table| table != KEPT) {
            return Err(Error::new(Kind::Database, format!("tables are left in '{old}'")));
        }
        place.drop_database(old).await
    }
}

/// The table in which the former definitions are kept while they are not in place.
const KEPT: &str = "dbsnap_definitions";

async fn keep(place: &mut Place, old: &str, before: &[Definition]) -> Result<()> {
    let table = format!("{}.{}", ident(old), ident(KEPT));
    let doing = format!("keeping the definitions of what is replaced in '{old}'");
    let sql = format!("CREATE TABLE {table} (position INT PRIMARY KEY, statement LONGTEXT CHARACTER SET utf8mb4 NOT NULL)");
    place.execute(&sql, doing.clone()).await?;
    for (position, sql) in before.iter().flat_map(Definition::statements).enumerate() {
        place.execute(&format!("INSERT INTO {table} VALUES ({position}, {})", literal(&sql)), doing.clone()).await?;
    }
    Ok(())
}

fn moves(tables: &[String], from: &str, to: &str) -> impl Iterator<Item = String> {
    tables.iter().map(move |table| format!("{}.{2} TO {}.{2}", ident(from), ident(to), ident(table)))
}

async fn tables_of(place: &mut Place, name: &str) -> Result<Vec<String>> {
    let sql = format!(
        "SELECT table_name FROM information_schema.tables WHERE table_schema = {} AND table_type NOT LIKE '%VIEW' AND table_type NOT LIKE '%TEMPORARY%' ORDER BY 1",
        literal(name)
    );
    place.texts(&sql, format!("listing the tables of '{name}'")).await
}

async fn default_collation(place: &mut Place, name: &str) -> Result<Option<String>> {
    let sql = format!("SELECT default_collation_name FROM information_schema.schemata WHERE schema_name = {}", literal(name));
    Ok(place.texts(&sql, format!("reading the collation of '{name}'")).await?.pop())
}
