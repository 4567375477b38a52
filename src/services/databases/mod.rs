//! Configured databases: add, change, remove, test.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    Ctx, audit, learned,
    notices::{expected::Clockwork, scope},
    projects,
    schedules::{self, Removal},
    secrets,
};
use crate::{
    db,
    domain::{
        backup::{BackupBrief, BackupOptions},
        database::{Database, Settings},
        fields::validate,
        filter::DatabaseFilter,
        ids::{DatabaseId, OrganizationId, ProjectId, StoreId},
        page::{Page, PageRequest},
        permissions::{Actor, Permission},
        project::{Environment, Project},
        run::Run,
        time::Moment,
    },
    engines::{self, Engine},
    error::{Error, Result},
};

pub mod draft;
mod test;

pub(super) use test::active_connections;
pub use test::{Tested, test, test_input};

/// A database as a person or a program describes it. A secret setting that is absent in an update stays as it is.
#[derive(Debug, Clone, Default, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DatabaseInput {
    pub name: String,
    /// May be left out where `url` says it.
    #[serde(default)]
    #[schema(example = "postgresql")]
    pub engine: String,
    /// The connection as a URL, such as `postgresql://user:password@host:5432/name?sslmode=verify-full`. It is taken apart into
    /// settings and not kept; what `settings` says too goes before it.
    #[serde(default)]
    #[schema(example = "postgresql://app:secret@db.internal/shop?sslmode=require")]
    pub url: Option<String>,
    /// The engine's connection fields, see `/api/engines`.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub settings: Settings,
    /// What a form was filled with from a URL, sealed, see [`draft`]: secrets that the form leaves blank are taken from it.
    #[serde(skip)]
    pub draft: Option<String>,
    /// Another project moves it there. Absent: a new database goes into the oldest project, another stays where it is.
    #[serde(default)]
    pub project_id: Option<ProjectId>,
    #[serde(default)]
    pub store_id: Option<StoreId>,
    #[serde(default)]
    pub backup_options: Option<BackupOptions>,
}

/// A database that no schedule backs up is well protected for so long after its newest good backup, milliseconds: a day.
const UNSCHEDULED_MS: i64 = 24 * 60 * 60 * 1000;

/// A database as it may be shown: without secrets.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DatabaseView {
    pub id: DatabaseId,
    pub project_id: ProjectId,
    pub project_name: String,
    /// Of its project.
    pub environment: Environment,
    pub name: String,
    pub engine: String,
    pub engine_label: &'static str,
    /// Where it is, without secrets.
    pub address: String,
    #[schema(value_type = Object)]
    pub settings: Settings,
    /// Names of the secret settings that are set.
    pub secrets_set: Vec<&'static str>,
    pub store_id: StoreId,
    pub backup_options: BackupOptions,
    pub created_at: Moment,
    pub updated_at: Moment,
    pub last_backup: Option<BackupBrief>,
    pub last_good: Option<BackupBrief>,
    /// Some schedule that is on backs it up by itself.
    pub scheduled: bool,
    /// By when the next good backup is to be there: two slots of its schedules and an hour, or a day after the newest one where
    /// none is on.
    pub expected_by: Option<Moment>,
}

pub async fn list(ctx: &Ctx, actor: &Actor, filter: &DatabaseFilter, page: PageRequest) -> Result<Page<DatabaseView>> {
    actor.require(Permission::View)?;
    let found = db::databases::list(&ctx.db, actor.organization_id, filter, page).await?;
    let ids: Vec<_> = found.items.iter().map(|database| database.id).collect();
    let mut newest = db::backups::newest_of(&ctx.db, &ids).await?;
    let projects = projects::by_id(ctx, actor.organization_id).await?;
    let clockwork = Clockwork::read(ctx, actor.organization_id).await?;
    let items: Result<_> = found.items.into_iter().map(|database| shown(database, &projects, &clockwork, &mut newest)).collect();
    Ok(Page { items: items?, page: found.page, limit: found.limit, total: found.total })
}

/// The database of this name, if there is one.
pub async fn named(ctx: &Ctx, actor: &Actor, name: &str) -> Result<Option<DatabaseId>> {
    actor.require(Permission::View)?;
    Ok(db::databases::find_by_name(&ctx.db, actor.organization_id, name).await?.map(|database| database.id))
}

pub async fn get(ctx: &Ctx, actor: &Actor, id: DatabaseId) -> Result<DatabaseView> {
    actor.require(Permission::View)?;
    view(ctx, actor, db::databases::get(&ctx.db, actor.organization_id, id).await?).await
}

/// Adds a database. Errors with every field that is not valid, and with `CONFLICT` when the name is taken.
pub async fn create(ctx: &Ctx, actor: &Actor, input: DatabaseInput) -> Result<DatabaseView> {
    actor.require(Permission::Configure)?;
    let id = DatabaseId::new();
    let checked = check(ctx, actor, input, None).await?;
    let now = ctx.now();
    let database = Database {
        id,
        project_id: checked.project_id,
        name: checked.name,
        engine: checked.engine.info().id.to_owned(),
        settings: secrets::seal(&ctx.keys.current(), &purpose(id), checked.engine.info().connection, checked.settings),
        store_id: checked.store_id,
        backup_options: checked.backup_options,
        created_at: now,
        updated_at: now,
    };
    db::databases::insert(&ctx.db, &database).await?;
    audit::record(ctx, actor, "database.create", id, json!({ "name": database.name, "engine": database.engine })).await?;
    view(ctx, actor, database).await
}

/// Changes a database. Its backups stay.
pub async fn update(ctx: &Ctx, actor: &Actor, id: DatabaseId, input: DatabaseInput) -> Result<DatabaseView> {
    actor.require(Permission::Configure)?;
    let old = db::databases::get(&ctx.db, actor.organization_id, id).await?;
    let checked = check(ctx, actor, input, Some(&old)).await?;
    let before = old.project_id;
    let database = Database {
        project_id: checked.project_id,
        name: checked.name,
        settings: secrets::seal(&ctx.keys.current(), &purpose(id), checked.engine.info().connection, checked.settings),
        store_id: checked.store_id,
        backup_options: checked.backup_options,
        updated_at: ctx.now(),
        ..old
    };
    db::databases::update(&ctx.db, &database).await?;
    audit::record(ctx, actor, "database.update", id, json!({ "name": database.name })).await?;
    if database.project_id != before {
        audit::record(ctx, actor, "database.move", id, json!({ "name": database.name, "from": before, "to": database.project_id })).await?;
    }
    view(ctx, actor, database).await
}

/// Removes a database and its schedules from the configuration. Its backups stay in the catalogue and in their stores.
/// Errors with `CONFLICT`, naming them, while schedules of other databases run after its own, unless they are to be disabled.
pub async fn delete(ctx: &Ctx, actor: &Actor, id: DatabaseId, removal: Removal) -> Result<()> {
    actor.require(Permission::Configure)?;
    let database = db::databases::get(&ctx.db, actor.organization_id, id).await?;
    let deleted = db::databases::delete(&ctx.db, actor.organization_id, id, removal.disable_dependents, ctx.now()).await;
    let let_go = deleted.map_err(|error| error.while_doing(format!("removing the database '{}'", database.name)))?;
    audit::record(ctx, actor, "database.delete", id, json!({ "name": database.name })).await?;
    scope::record_silenced(ctx, actor, &format!("the database '{}'", database.name), |rules| rules.database_ids.contains(&id)).await?;
    schedules::record_let_go(ctx, actor, &let_go).await
}

/// The connection settings with secrets in clear.
pub(super) fn open_settings(ctx: &Ctx, database: &Database) -> Result<Settings> {
    let engine = engines::find(&database.engine)?;
    secrets::open(&ctx.keys.current(), &purpose(database.id), engine.info().connection, database.settings.clone())
}

/// Where a database is, for people and without secrets.
pub(super) fn address(database: &Database) -> Result<String> {
    let engine = engines::find(&database.engine)?;
    Ok(engine.address(&secrets::public(engine.info().connection, database.settings.clone()).0))
}

/// The key of every job that reads or overwrites what is at an address: of those, one runs at a time.
pub(super) fn exclusive_key(address: &str) -> String {
    format!("target:{address}")
}

/// What is in the data directory (the catalogue, its copies, spooled and uploaded files) and in the local store are not
/// databases to back up or to restore into. Errors when a file engine's settings point there, over links too.
pub(super) fn refuse_own_files(ctx: &Ctx, engine: &dyn Engine, settings: &Settings) -> Result<()> {
    let Some(path) = settings.get("path").and_then(Value::as_str) else { return Ok(()) };
    let path = Path::new(path);
    let real = real_place(path);
    let own = [&ctx.config.data_dir, &ctx.config.backup_storage_path];
    if own.iter().any(|own| real.starts_with(real_place(own))) {
        return Err(Error::validation(format!(
            "{} belongs to DBSnap itself and cannot be a {} database here",
            path.display(),
            engine.info().label
        ))
        .hint("choose a file outside the data directory and the folder of the backups"));
    }
    Ok(())
}

/// Where a path leads: through links, and where nothing is there yet, through the nearest folder that is.
pub(super) fn real_place(path: &Path) -> PathBuf {
    /// As many links as Linux follows.
    const LINKS: usize = 40;

    let mut path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    for _ in 0..LINKS {
        match (path.canonicalize(), path.read_link()) {
            (Ok(real), _) => return real,
            (Err(_), Ok(to)) => path = path.parent().unwrap_or(Path::new("/")).join(to),
            (Err(_), Err(_)) => break,
        }
    }
    match (path.parent(), path.file_name()) {
        (Some(folder), Some(name)) => real_place(folder).join(name),
        _ => path,
    }
}

/// What [`is_name`] asks of a database's name.
pub(super) const NAME_RULE: &str = "must be 1 to 100 characters on one line";

/// True for a name that a database may have.
pub(super) fn is_name(name: &str) -> bool {
    name.trim() == name && !name.is_empty() && name.len() <= 100 && !name.chars().any(char::is_control)
}

struct Checked {
    project_id: ProjectId,
    name: String,
    engine: &'static dyn Engine,
    settings: Settings,
    store_id: StoreId,
    backup_options: BackupOptions,
}

/// Checks an input against the engine, over what is stored. Errors with every field that is not valid.
async fn check(ctx: &Ctx, actor: &Actor, input: DatabaseInput, before: Option<&Database>) -> Result<Checked> {
    let name = input.name.trim().to_owned();
    let mut problems = Vec::new();
    if !is_name(&name) {
        problems.push(("name".to_owned(), NAME_RULE.to_owned()));
    }
    let project_id = match (input.project_id, before) {
        (Some(id), _) => id,
        (None, Some(before)) => before.project_id,
        (None, None) => projects::oldest(ctx, actor.organization_id).await?,
    };
    if !projects::by_id(ctx, actor.organization_id).await?.contains_key(&project_id) {
        problems.push(("projectId".to_owned(), format!("there is no project {project_id}")));
    }
    let (engine, settings) = described(&input)?;
    if let Some(before) = before.filter(|before| before.engine != engine.info().id) {
        return Err(Error::validation(format!("the engine of '{}' cannot be changed", before.name)).hint("add a new database instead"));
    }
    let known = known_settings(ctx, actor, engine, before, input.draft.as_deref())?;
    let merged = secrets::merge(engine.info().connection, settings, &known);
    let mut backup_options = match (input.backup_options, before) {
        (Some(options), _) => options,
        (None, Some(before)) => before.backup_options.clone(),
        (None, None) => super::system::default_backup_options(ctx).await?,
    };
    match validate(engine.info().dump_options, &backup_options.engine) {
        Ok(options) => backup_options.engine = options,
        Err(error) => problems.extend(error.fields.into_iter().map(|(field, message)| (format!("backupOptions.{field}"), message))),
    }
    let settings = match merged {
        Ok(settings) => settings,
        Err(error) => {
            problems.extend(error.fields);
            return Err(Error::validation("some settings are not valid").fields(problems));
        }
    };
    if !problems.is_empty() {
        return Err(Error::validation("some settings are not valid").fields(problems));
    }
    if let Some(other) = db::databases::find_by_name(&ctx.db, actor.organization_id, &name).await?
        && before.is_none_or(|before| before.id != other.id)
    {
        return Err(Error::conflict(format!("there already is a database named '{name}'")).hint("choose another name"));
    }
    refuse_own_files(ctx, engine, &settings)?;
    let store_id = input.store_id.or(before.map(|before| before.store_id)).unwrap_or(StoreId::LOCAL);
    db::stores::get(&ctx.db, actor.organization_id, store_id).await?;
    Ok(Checked { project_id, name, engine, settings, store_id, backup_options })
}

/// The engine and the settings that an input names, by its URL, by its fields, or by both: a field that is not blank goes
/// before the URL. Not validated yet.
fn described(input: &DatabaseInput) -> Result<(&'static dyn Engine, Settings)> {
    let Some(url) = input.url.as_deref().map(str::trim).filter(|url| !url.is_empty()) else {
        return match input.engine.as_str() {
            "" => Err(Error::validation("some settings are not valid").fields(vec![("engine".into(), "is required".into())])),
            engine => Ok((engines::find(engine)?, input.settings.clone())),
        };
    };
    let wrong = |error: Error| {
        let said = vec![("url".to_owned(), error.context.clone())];
        error.fields(said)
    };
    let (engine, mut settings) = engines::from_url(url).map_err(wrong)?;
    let id = engine.info().id;
    if !input.engine.is_empty() && input.engine != id {
        return Err(wrong(Error::validation(format!("the URL is one of {id}, and the engine is {}", input.engine))));
    }
    let blank = |value: &Value| value.is_null() || value.as_str() == Some("");
    settings.extend(input.settings.iter().filter(|(_, value)| !blank(value)).map(|(name, value)| (name.clone(), value.clone())));
    Ok((engine, settings))
}

/// What is known of a connection, secrets in clear, before an input is laid over it: a stored database's settings, or those
/// of a draft.
fn known_settings(ctx: &Ctx, actor: &Actor, engine: &dyn Engine, before: Option<&Database>, draft: Option<&str>) -> Result<Settings> {
    match (before, draft) {
        (Some(before), _) if before.engine == engine.info().id => open_settings(ctx, before),
        (None, Some(draft)) => draft::open(ctx, actor, engine, draft),
        _ => Ok(Settings::new()),
    }
}

/// Keeps what a job's run learned of its database's connection.
pub(super) async fn keep_learned(ctx: &Ctx, organization: OrganizationId, id: DatabaseId, used: &Settings, run: &Run) {
    learned::keep(ctx, &Actor { organization_id: organization, ..Actor::system() }, id, used, run).await;
}

async fn view(ctx: &Ctx, actor: &Actor, database: Database) -> Result<DatabaseView> {
    let mut newest = db::backups::newest_of(&ctx.db, &[database.id]).await?;
    let clockwork = Clockwork::read(ctx, actor.organization_id).await?;
    shown(database, &projects::by_id(ctx, actor.organization_id).await?, &clockwork, &mut newest)
}

/// A database as it may be shown, with its newest backups, which are taken out of `newest`.
fn shown(
    database: Database,
    projects: &HashMap<ProjectId, Project>,
    clockwork: &Clockwork,
    newest: &mut db::backups::Newest,
) -> Result<DatabaseView> {
    let engine = engines::find(&database.engine)?;
    // They are read one after the other.
    let moving = || Error::conflict(format!("the database '{}' is just being moved into another project", database.name)).hint("try again");
    let project = projects.get(&database.project_id).ok_or_else(moving)?;
    let (last_backup, last_good) = (newest.any.remove(&database.id), newest.good.remove(&database.id));
    let newest_good = last_good.as_ref().map(|good| good.created_at);
    let due = clockwork.due(database.id, newest_good);
    let (settings, secrets_set) = secrets::public(engine.info().connection, database.settings);
    Ok(DatabaseView {
        id: database.id,
        project_id: project.id,
        project_name: project.name.clone(),
        environment: project.environment,
        name: database.name,
        engine: database.engine,
        engine_label: engine.info().label,
        address: engine.address(&settings),
        settings,
        secrets_set,
        store_id: database.store_id,
        backup_options: database.backup_options,
        created_at: database.created_at,
        updated_at: database.updated_at,
        last_backup,
        last_good,
        scheduled: due.is_some(),
        expected_by: due.or_else(|| newest_good.map(|newest| newest.plus(UNSCHEDULED_MS))),
    })
}

pub(super) fn purpose(id: DatabaseId) -> String {
    format!("database:{id}")
}

/// How many databases have a good backup as new as it is expected to be, and how many never had one.
pub(super) async fn protected(ctx: &Ctx, organization: OrganizationId) -> Result<(u64, u64)> {
    let clockwork = Clockwork::read(ctx, organization).await?;
    let newest = db::backups::newest_good(&ctx.db, organization).await?;
    let never = newest.iter().filter(|(_, newest)| newest.is_none()).count();
    let in_time = newest.iter().filter(|(id, newest)| {
        newest.is_some_and(|newest| clockwork.due(*id, Some(newest)).unwrap_or(newest.plus(UNSCHEDULED_MS)) >= ctx.now())
    });
    Ok((in_time.count() as u64, never as u64))
}
