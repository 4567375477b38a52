//! What a schedule backs up as its form asks for it: which artifacts, which tables.

use askama::Template;

use super::wrong;
use crate::{
    domain::{
        artifact::ArtifactKind, backup::BackupOptions, database::Settings, fields::SettingsExt, ids::DatabaseId, permissions::Actor,
        schedule::Schedule,
    },
    engines,
    error::{Error, Kind, Result},
    services::{
        Ctx, backup,
        databases::{self, DatabaseView},
    },
    web::extract::Form,
};

/// The form's own names of the two lists, whatever the engine calls them.
const LISTS: [&str; 2] = ["includeTables", "excludeTables"];

/// Tables that are named to help, at most.
const MOST_NAMES: usize = 200;

/// What helps with the names of tables: those of the last good backup.
#[derive(Template, Default)]
#[template(path = "pages/schedules/tables.html")]
pub struct Tables {
    /// The engine, where it backs up no parts.
    whole: Option<&'static str>,
    names: Vec<String>,
    /// How many more there are.
    more: usize,
}

impl Tables {
    /// Of the chosen database, if there is one.
    pub async fn of(ctx: &Ctx, actor: &Actor, database: Option<DatabaseId>) -> Result<Self> {
        let Some(database) = database else { return Ok(Self::default()) };
        let database = databases::get(ctx, actor, database).await?;
        let info = engines::find(&database.engine)?.info();
        if info.table_lists.is_none() {
            return Ok(Self { whole: Some(info.label), ..Self::default() });
        }
        let Some(good) = database.last_good else { return Ok(Self::default()) };
        let tables = match backup::get(ctx, actor, good.id).await {
            Err(error) if error.kind == Kind::NotFound => Vec::new(),
            found => found?.tables,
        };
        let names = tables.iter().take(MOST_NAMES).map(|table| table.label()).collect();
        Ok(Self { whole: None, names, more: tables.len().saturating_sub(MOST_NAMES) })
    }
}

/// Puts the options of a stored schedule into its form; `own` is its database.
pub(super) fn fill(form: &mut Form, options: Option<&BackupOptions>, own: &DatabaseView) -> Result<()> {
    let Some(options) = options else { return Ok(()) };
    let mut put = |name: &str, value: String| form.0.push((name.to_owned(), value));
    put("artifacts", artifacts_text(&options.artifacts));
    let lists = engines::find(&own.engine)?.info().table_lists;
    let named = |options: &Settings| lists.map(|lists| lists.map(|name| options.list(name).join("\n"))).unwrap_or_default();
    let texts = named(&options.engine);
    let tables = match texts.iter().all(String::is_empty) {
        true if texts == named(&own.backup_options.engine) => "",
        true => "all",
        false => "chosen",
    };
    put("tables", tables.to_owned());
    for (name, text) in LISTS.iter().zip(texts) {
        put(name, text);
    }
    Ok(())
}

/// The options that the form stands for; `None` takes the database's own at each run. What it does not ask is as it was, or
/// as the database has it now.
pub(super) async fn read(ctx: &Ctx, actor: &Actor, form: &Form, before: Option<&Schedule>) -> Result<Option<BackupOptions>> {
    let (artifacts, tables) = (form.text("artifacts"), form.text("tables"));
    if artifacts.is_empty() && tables.is_empty() && LISTS.iter().all(|list| form.text(list).is_empty()) {
        return Ok(None);
    }
    let id = form.parse("databaseId")?.ok_or_else(|| wrong("databaseId", "choose a database"))?;
    let database = databases::get(ctx, actor, id).await.map_err(|error| match error.kind {
        Kind::NotFound => wrong("databaseId", &error.context),
        _ => error,
    })?;
    let known = before.filter(|before| before.database_id == id).and_then(|before| before.details.options.clone());
    let mut options = known.unwrap_or_else(|| database.backup_options.clone());
    options.artifacts = match artifacts {
        "" => database.backup_options.artifacts.clone(),
        chosen => chosen.split(',').map(str::parse).collect::<Result<Vec<ArtifactKind>>>()?,
    };
    if LISTS.iter().any(|list| form.has(list)) {
        read_tables(form, tables, &database, &mut options.engine)?;
    }
    Ok(Some(options))
}

fn read_tables(form: &Form, tables: &str, database: &DatabaseView, options: &mut Settings) -> Result<()> {
    let info = engines::find(&database.engine)?.info();
    let typed = LISTS.iter().find(|list| !form.text(list).is_empty());
    let problem = |text: &str| Err(wrong("options.tables", text));
    match (tables, typed, info.table_lists) {
        ("all", Some(_), _) => problem("every table is chosen, but some are named below: clear them, or choose those named below"),
        ("chosen", None, _) => problem("name below which tables to take, or which to leave out"),
        (_, Some(list), None) => {
            Err(wrong(&format!("options.{list}"), &format!("{} databases are backed up whole: clear this", info.label)))
        }
        ("" | "chosen", Some(_), Some(lists)) => {
            for (name, list) in lists.into_iter().zip(LISTS) {
                let known: Vec<String> = options.list(name).into_iter().map(str::to_owned).collect();
                let names = names(form.raw(list), known);
                options.remove(name);
                if !names.is_empty() {
                    options.insert(name.to_owned(), names.into());
                }
            }
            Ok(())
        }
        ("", None, lists) => {
            for name in lists.into_iter().flatten() {
                options.remove(name);
                options.extend(database.backup_options.engine.get(name).map(|own| (name.to_owned(), own.clone())));
            }
            Ok(())
        }
        ("all", None, lists) => {
            lists.into_iter().flatten().for_each(|name| drop(options.remove(name)));
            Ok(())
        }
        (other, ..) => Err(Error::validation(format!("'{other}' says nothing about tables"))),
    }
}

/// One name on each line. What nobody changed stays exactly as it is.
fn names(typed: &str, known: Vec<String>) -> Vec<String> {
    let typed = typed.replace("\r\n", "\n");
    if typed == known.join("\n") {
        return known;
    }
    typed.lines().map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

fn artifacts_text(artifacts: &[ArtifactKind]) -> String {
    let chosen = [ArtifactKind::Dump, ArtifactKind::Snapshot].into_iter().filter(|kind| artifacts.contains(kind));
    chosen.map(ArtifactKind::as_str).collect::<Vec<_>>().join(",")
}
