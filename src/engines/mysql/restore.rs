//! A restore: the script is read to its end and proven, then loaded into a new database, beside the old one whose place it
//! takes, or into an existing one; then the rows are counted.

use std::{collections::BTreeSet, path::PathBuf, sync::Arc};

use mysql_async::prelude::Queryable as _;

use super::{
    choose::{Choice, Part, Scope},
    connect::{Target, failed, ident, literal},
    contents::{Contents, is_system},
    count::{Counted, compare, count_rows},
    dialect::Dialect,
    inspect::{ScriptInspector, refused},
    load::Load,
    place::{Place, refuse_system, spare_name},
    plan::{Options, check_plan},
    server::Server,
    statement::Thing,
    swap::{Swap, Swapped},
    tools::{Places, Tool},
};
use crate::{
    domain::{
        artifact::{ArtifactKind, TableCount},
        restore::{RestoreContent, RestoreMode, RestorePlan},
        run::Run,
    },
    engines::{Inspector, RestoreOutcome, RestoreRequest, spool},
    error::{Error, Kind, Result},
};

pub async fn restore(request: &RestoreRequest<'_>, places: Places, run: &Run) -> Result<RestoreOutcome> {
    let plan = request.plan;
    check_plan(plan)?;
    let options = Options::of(plan);
    let mut target = Target::open(request.settings, run).await?;
    if let Some(name) = &plan.target_name {
        if name.chars().any(char::is_control) {
            return Err(Error::validation("the name of the target holds a control character").hint("write it without line breaks"));
        }
        target = target.with_database(name);
    }
    let mut connection = target.connect_to_server(run).await?;
    let server = Server::read(&mut connection, &target).await?;
    let dialect = Dialect { flavour: server.flavour, version: server.version };
    let tool = places.to_restore(server.flavour, server.version, run).await?;
    let script = run.scratch.join("restore.sql");
    let contents = read(request, &script, run).await?;
    let scope = scope(&contents, &options, plan, &target)?;
    let choice = Choice {
        content: plan.content,
        tables: plan.tables.clone(),
        scope,
        append: plan.mode == RestoreMode::Append,
        without_definers: options.without_definers,
        gtid: options.gtid,
        part: Part::Everything,
        dialect,
    };
    check_choice(&contents, &choice)?;
    let mut outcome = RestoreOutcome::default();
    outcome.warnings.extend(contents.left_out.iter().map(|why| format!("a statement was left out: {why}")));
    if contents.has_system {
        outcome.warnings.push("the server's own databases in the dump (such as mysql) were left out".into());
    }
    run.info(format!("with {tool} into {} ({server})", target.address));
    let job = Job { plan, options, target, tool, script, contents: Arc::new(contents), choice, dialect, run };
    job.carry_out(&mut outcome).await?;
    Ok(outcome)
}

/// Spools the script and proves it whole, and that it holds what the manifest says.
async fn read(request: &RestoreRequest<'_>, path: &std::path::Path, run: &Run) -> Result<Contents> {
    let parts = request.source.parts();
    if !parts.iter().any(|(part, _)| *part == ArtifactKind::Dump) {
        return Err(Error::new(Kind::Restore, "the backup holds no dump").hint("choose another backup"));
    }
    let stream = request.source.open(ArtifactKind::Dump).await?;
    let mut inspector = spool(stream, path, ScriptInspector::default(), ScriptInspector::feed, run).await?;
    let counts = inspector.finish()?;
    compare("the dump does not hold what its manifest says", request.expected, &counts)?;
    let contents = inspector.into_contents();
    match &contents.refusal {
        Some((line, why)) => Err(refused(*line, why)),
        None => Ok(contents),
    }
}

/// Where the things of the script go.
fn scope(contents: &Contents, options: &Options, plan: &RestorePlan, target: &Target) -> Result<Scope> {
    let names: Vec<&str> = contents.databases.iter().map(|database| database.name.as_str()).collect();
    let list = || names.join(", ");
    let one = |source: Option<String>| {
        let target = target.database()?.to_owned();
        refuse_system(&target)?;
        Ok(Scope::One { source, target })
    };
    match &options.from_database {
        Some(name) if names.contains(&name.as_str()) => one(Some(name.clone())),
        Some(name) if names.is_empty() => Err(Error::new(Kind::Restore, format!("the dump names no databases, so '{name}' is not in it"))
            .hint("leave the option fromDatabase empty")),
        Some(name) => Err(Error::new(Kind::Restore, format!("the dump has no database '{name}'")).hint(format!("it has {}", list()))),
        None if names.len() <= 1 => one(None),
        None if plan.target_name.is_some() => Err(Error::validation(format!("the dump holds several databases: {}", list()))
            .hint("choose one with the option fromDatabase, or leave the target's name empty to restore them all")),
        None if plan.mode == RestoreMode::Drop => Err(Error::validation("the mode drop replaces one database, and the dump holds several")
            .hint("choose one with the option fromDatabase, or use the mode new, clean or append")),
        None if contents.tables.iter().any(|table| table.database.is_none()) => {
            Err(Error::new(Kind::Restore, "the script makes tables before it names their database").hint("add a USE statement before them"))
        }
        None => Ok(Scope::Named),
    }
}

/// Errors when chosen tables are not in the script, or a name in it leads elsewhere.
fn check_choice(contents: &Contents, choice: &Choice) -> Result<()> {
    let has = |wanted: &String| {
        let alone = Choice { tables: vec![wanted.clone()], ..choice.clone() };
        let views = contents.objects.iter().filter(|object| object.thing == Thing::View).map(|view| (&view.database, &view.name));
        contents.tables.iter().map(|table| (&table.database, &table.name)).chain(views).any(|(home, name)| alone.takes_table(home, name))
    };
    let unknown: Vec<&str> = choice.tables.iter().filter(|table| !has(table)).map(String::as_str).collect();
    if unknown.is_empty() {
        return Ok(());
    }
    Err(Error::new(Kind::Restore, format!("the backup has no table {}", unknown.join(", ")))
        .hint("write it as name or database.name, as the backup lists it"))
}

/// One restore's work.
struct Job<'a> {
    plan: &'a RestorePlan,
    options: Options,
    target: Target,
    tool: Tool,
    script: PathBuf,
    contents: Arc<Contents>,
    choice: Choice,
    dialect: Dialect,
    run: &'a Run,
}

impl Job<'_> {
    async fn carry_out(&self, outcome: &mut RestoreOutcome) -> Result<()> {
        let mut place = Place::open(&self.target, self.run).await?;
        match (self.plan.mode, &self.choice.scope) {
            (RestoreMode::New, _) => self.build_new(&mut place, outcome).await,
            (RestoreMode::Drop, Scope::One { target, .. }) if place.exists(target).await? => {
                outcome.warnings.extend(place.leftovers(target).await?);
                self.replace(&mut place, target, outcome).await
            }
            (RestoreMode::Drop, _) => self.build_new(&mut place, outcome).await,
            (RestoreMode::Clean | RestoreMode::Append, _) => {
                let load = async {
                    if self.plan.end_connections {
                        for (name, _) in self.databases() {
                            place.end_sessions(&name, 0).await?;
                        }
                    }
                    if self.plan.mode == RestoreMode::Clean {
                        self.make_room(&mut place).await?;
                    } else {
                        self.warn_of_triggers(&mut place, outcome).await?;
                    }
                    self.load(&self.choice, outcome).await
                };
                load.await.map_err(|error| told(error, &self.target, self.left_behind()))
            }
        }
    }

    fn left_behind(&self) -> &'static str {
        match self.plan.mode {
            RestoreMode::Clean => "the restored objects were dropped first, and what was restored before the error is there",
            _ => "what was restored before the error is still there",
        }
    }

    /// Databases that the restore goes to, with what CREATE DATABASE says of them.
    fn databases(&self) -> Vec<(String, Option<&str>)> {
        let properties = |source: Option<&str>| {
            let mut all = self.contents.databases.iter();
            all.find(|database| source.is_none_or(|source| source == database.name)).and_then(|database| database.properties.as_deref())
        };
        match &self.choice.scope {
            Scope::One { source, target } => vec![(target.clone(), properties(source.as_deref()))],
            Scope::Named => {
                let named = self.contents.databases.iter().filter(|database| !is_system(&database.name));
                named.map(|database| (database.name.clone(), properties(Some(&database.name)))).collect()
            }
        }
    }

    /// Creates databases and loads into them. On any failure those that were created are dropped.
    async fn build_new(&self, place: &mut Place, outcome: &mut RestoreOutcome) -> Result<()> {
        let databases = self.databases();
        for (name, _) in &databases {
            if place.exists(name).await? {
                return Err(Error::conflict(format!(
                    "database '{name}' exists already on {}:{}",
                    self.target.address.host, self.target.address.port
                ))
                .hint("choose another name, or the mode that replaces it"));
            }
        }
        self.run.check()?;
        let mut created = Vec::new();
        let filling = async {
            for (name, properties) in &databases {
                self.run.info(format!("creating database '{name}'"));
                place.create(name, *properties, self.dialect, &mut outcome.warnings).await?;
                created.push(name.clone());
            }
            self.load(&self.choice, outcome).await
        };
        let Err(error) = filling.await else { return Ok(()) };
        let left = self.remove(&created).await;
        Err(told(error, &self.target, &left.unwrap_or_else(|| "the new database was dropped again".into())))
    }

    /// Builds beside the existing database and puts the tables in the place of its own.
    async fn replace(&self, place: &mut Place, name: &str, outcome: &mut RestoreOutcome) -> Result<()> {
        self.run.check()?;
        let built = spare_name(name, "new");
        let source = match &self.choice.scope {
            Scope::One { source, .. } => source.clone(),
            Scope::Named => None,
        };
        let properties = self.databases().into_iter().next().and_then(|(_, properties)| properties);
        let properties = match properties {
            Some(properties) => properties.to_owned(),
            None => self.own_properties(place, name).await?,
        };
        self.run.info(format!("creating database '{built}'"));
        place.create(&built, Some(&properties), self.dialect, &mut outcome.warnings).await?;
        let filling = async {
            let choice = Choice { scope: Scope::One { source, target: built.clone() }, part: Part::Build, ..self.choice.clone() };
            self.load(&choice, outcome).await?;
            self.run.info(format!("putting its tables in the place of those of '{name}'"));
            let swap = Swap {
                target: self.target.clone(),
                built: built.clone(),
                tool: self.tool.clone(),
                script: self.script.clone(),
                contents: self.contents.clone(),
                choice: self.choice.clone(),
                lock_timeout: self.options.lock_timeout,
                end_connections: self.plan.end_connections,
            };
            swap.carry_out(self.run).await
        };
        let error = match filling.await {
            Ok(Swapped::Done(warnings)) => {
                outcome.warnings.extend(warnings);
                return Ok(());
            }
            Ok(Swapped::Stuck(error)) => return Err(told(error, &self.target, "nothing more was changed")),
            Err(error) => error,
        };
        let left = self.remove(std::slice::from_ref(&built)).await;
        let state = left.map_or("the database is as it was".to_owned(), |left| format!("the database is as it was, {left}"));
        Err(told(error, &self.target, &state))
    }

    async fn own_properties(&self, place: &mut Place, name: &str) -> Result<String> {
        let sql = format!(
            "SELECT CONCAT(' CHARACTER SET ', default_character_set_name, ' COLLATE ', default_collation_name)
               FROM information_schema.schemata WHERE schema_name = {}",
            literal(name)
        );
        Ok(place.texts(&sql, format!("reading the collation of '{name}'")).await?.pop().unwrap_or_default())
    }

    /// Drops databases that were created, also after a cancel. Returns what could not be dropped.
    async fn remove(&self, created: &[String]) -> Option<String> {
        let run = Run { cancel: tokio_util::sync::CancellationToken::new(), ..self.run.clone() };
        let mut left = Vec::new();
        let mut cause = None;
        for name in created {
            let dropping = async { Place::open(&self.target, &run).await?.drop_database(name).await };
            if let Err(error) = dropping.await {
                left.push(format!("'{name}'"));
                cause = Some(error);
            }
        }
        cause.map(|cause| format!("and the half-built database {} is left: {}", left.join(", "), cause.context))
    }

    /// Drops what the restore brings, where it is there.
    async fn make_room(&self, place: &mut Place) -> Result<()> {
        let choice = &self.choice;
        let tables = self.contents.tables.iter().filter(|table| table.thing.is_some() && choice.takes_table(&table.database, &table.name));
        let tables = tables.map(|table| (table.thing.unwrap_or(Thing::Table), &table.database, &table.name));
        let objects = self.contents.objects.iter().filter(|object| match object.thing {
            Thing::View => choice.takes_table(&object.database, &object.name),
            _ => choice.takes_database(&object.database) && choice.tables.is_empty(),
        });
        let objects = objects.map(|object| (object.thing, &object.database, &object.name));
        let limit = self.options.lock_timeout.map_or(31_536_000, |limit| limit.as_secs().max(1));
        let sql = format!("SET SESSION foreign_key_checks = 0, lock_wait_timeout = {limit}");
        place.execute(&sql, "preparing to drop what is restored").await?;
        for (thing, database, name) in objects.chain(tables) {
            let Some(target) = choice.target(database) else { continue };
            let there = format!("SELECT 1 FROM information_schema.schemata WHERE schema_name = {}", literal(target));
            if matches!(choice.scope, Scope::Named) && place.texts(&there, "looking for databases").await?.is_empty() {
                continue;
            }
            let word = thing.word();
            let sql = format!("DROP {word} IF EXISTS {}.{}", ident(target), ident(name));
            let dropping = place.execute(&sql, format!("dropping {} '{name}' before it is restored", word.to_lowercase()));
            self.run.until_cancelled(dropping).await?;
        }
        if matches!(choice.scope, Scope::Named) {
            self.create_missing(place).await?;
        }
        Ok(())
    }

    async fn create_missing(&self, place: &mut Place) -> Result<()> {
        for (name, properties) in self.databases() {
            if !place.exists(&name).await? {
                place.create(&name, properties, self.dialect, &mut Vec::new()).await?;
            }
        }
        Ok(())
    }

    /// No statement can hold triggers back: those that are there already fire for every added row.
    async fn warn_of_triggers(&self, place: &mut Place, outcome: &mut RestoreOutcome) -> Result<()> {
        if matches!(self.choice.scope, Scope::Named) {
            self.create_missing(place).await?;
        }
        if self.plan.content == RestoreContent::Schema {
            return Ok(());
        }
        let mut found = BTreeSet::new();
        for (name, _) in self.databases() {
            let sql = format!(
                "SELECT DISTINCT event_object_table FROM information_schema.triggers WHERE trigger_schema = {} AND event_manipulation = 'INSERT'",
                literal(&name)
            );
            let tables = place.texts(&sql, "looking for triggers").await?;
            found.extend(tables.into_iter().filter(|table| self.contents.tables.iter().any(|known| known.name == *table)));
        }
        if !found.is_empty() {
            let tables: Vec<String> = found.into_iter().collect();
            outcome.warnings.push(format!("triggers fired for the rows that were added to {}", tables.join(", ")));
        }
        Ok(())
    }

    /// Runs the script and counts the rows.
    async fn load(&self, choice: &Choice, outcome: &mut RestoreOutcome) -> Result<()> {
        let load = Load {
            target: &self.target,
            tool: &self.tool,
            script: &self.script,
            contents: &self.contents,
            choice: choice.clone(),
            lenient: !self.options.stop_on_error,
            lock_timeout: self.options.lock_timeout,
            stall: self.options.stall,
        };
        let told = load.run(self.run).await?;
        outcome.warnings.extend(told.warnings);
        let lenient = !told.errors.is_empty();
        outcome.warnings.extend(told.errors);
        let mut place = Place::open(&self.target, self.run).await?;
        if !self.options.without_definers {
            outcome.warnings.extend(self.missing_definers(&mut place).await);
        }
        if !choice.tables.is_empty() && matches!(self.plan.mode, RestoreMode::New | RestoreMode::Drop) {
            self.drop_dangling_keys(&mut place, choice, outcome).await?;
        }
        if self.plan.content != RestoreContent::Schema {
            self.count(&mut place, choice, lenient, outcome).await?;
        }
        if self.options.analyze {
            self.analyze(&mut place, choice).await?;
        }
        Ok(())
    }

    /// Counts every restored table. After errors that were gone past, a difference is a warning.
    async fn count(&self, place: &mut Place, choice: &Choice, lenient: bool, outcome: &mut RestoreOutcome) -> Result<()> {
        let several = self.contents.databases.len() > 1 && choice.scope == Scope::Named;
        let mut tables = Vec::new();
        let mut expected = Vec::new();
        for table in &self.contents.tables {
            let Some(target) = choice.target(&table.database) else { continue };
            if table.thing == Some(Thing::Sequence) || !choice.takes_table(&table.database, &table.name) {
                continue;
            }
            if lenient {
                let sql = format!(
                    "SELECT 1 FROM information_schema.tables WHERE table_schema = {} AND table_name = {}",
                    literal(target),
                    literal(&table.name)
                );
                if place.texts(&sql, "looking for the restored tables").await?.is_empty() {
                    continue;
                }
            }
            let label = TableCount { schema: table.database.clone().filter(|_| several), name: table.name.clone(), rows: table.rows };
            if self.contents.is_exact(table) {
                expected.push(label.clone());
            }
            tables.push(Counted { database: target.to_owned(), label });
        }
        outcome.tables = count_rows(&self.target, &tables, self.options.jobs, self.run).await?;
        if self.plan.mode == RestoreMode::Append {
            return Ok(());
        }
        match compare("the restored database differs from the backup", &expected, &outcome.tables) {
            Err(error) if lenient => outcome.warnings.push(error.to_string()),
            compared => {
                return compared
                    .map_err(|error| error.hint("make sure nothing writes to the target during the restore, then restore again"));
            }
        }
        Ok(())
    }

    async fn analyze(&self, place: &mut Place, choice: &Choice) -> Result<()> {
        for table in self.contents.tables.iter().filter(|table| choice.takes_table(&table.database, &table.name)) {
            let Some(target) = choice.target(&table.database) else { continue };
            let sql = format!("ANALYZE TABLE {}.{}", ident(target), ident(&table.name));
            let analyzing =
                async { place.connection().query_drop(sql).await.map_err(|cause| failed(format!("analyzing {}", table.name), cause)) };
            self.run.until_cancelled(analyzing).await?;
        }
        Ok(())
    }

    /// Foreign keys of chosen tables to tables that were not restored would refuse every further row.
    async fn drop_dangling_keys(&self, place: &mut Place, choice: &Choice, outcome: &mut RestoreOutcome) -> Result<()> {
        let Scope::One { target, .. } = &choice.scope else { return Ok(()) };
        let sql = format!(
            "SELECT r.table_name, r.constraint_name, r.referenced_table_name FROM information_schema.referential_constraints r
              WHERE r.constraint_schema = {0} AND r.unique_constraint_schema = {0} AND NOT EXISTS
                    (SELECT 1 FROM information_schema.tables t WHERE t.table_schema = {0} AND t.table_name = r.referenced_table_name)",
            literal(target)
        );
        let keys: Vec<(String, String, String)> =
            place.connection().query(sql).await.map_err(|cause| failed("looking for foreign keys to what was not restored", cause))?;
        for (table, key, other) in keys {
            let sql = format!("ALTER TABLE {}.{} DROP FOREIGN KEY {}", ident(target), ident(&table), ident(&key));
            place.execute(&sql, format!("dropping the foreign key '{key}'")).await?;
            outcome.warnings.push(format!("the foreign key '{key}' of {table} is left out: it refers to {other}, which is not restored"));
        }
        Ok(())
    }

    /// Warnings for accounts that definitions name and the server does not have.
    async fn missing_definers(&self, place: &mut Place) -> Vec<String> {
        let mut warnings = Vec::new();
        for account in &self.contents.definers {
            let (user, host) = account.rsplit_once('@').unwrap_or((account, "%"));
            let sql = format!("SELECT 1 FROM mysql.user WHERE user = {} AND host = {}", literal(user), literal(host));
            match place.texts(&sql, "looking for definers").await {
                Ok(found) if found.is_empty() => warnings.push(format!(
                    "the account '{account}' that views, triggers, routines or events run as is not on this server: create it, or restore with definers set to drop"
                )),
                Ok(_) => {}
                // The account may not read the server's accounts.
                Err(error) => {
                    self.run.debug(error.to_string());
                    break;
                }
            }
        }
        warnings
    }
}

/// The error with the target's name before and its state after.
fn told(mut error: Error, target: &Target, state: &str) -> Error {
    if !error.is_cancelled() {
        error.context = format!("restoring into {}: {}; {state}", target.address, error.context);
    }
    error
}
