//! The form of a database, made from the engine's fields.

use askama::Template;
use serde_json::{Map, Value};

use crate::{
    domain::{
        backup::BackupOptions,
        fields::Field,
        ids::{DatabaseId, StoreId},
        permissions::Actor,
    },
    engines::{self, EngineInfo},
    error::{Error, Result},
    services::{
        Ctx,
        databases::{
            DatabaseInput, DatabaseView,
            draft::{self, Draft},
        },
        stores::{self, StoreView},
    },
    web::{
        error::message,
        extract::Form,
        forms::{self, FormField, Section},
        html::Layout,
    },
};

const SETTINGS: &str = "settings.";
const OPTIONS: &str = "options.";
const DRAFT: &str = "draft";

/// Offered besides the one that is set.
const COMPRESSIONS: &[(&str, &str)] = &[
    ("zstd:1", "zstd 1 (fast, recommended)"),
    ("zstd:3", "zstd 3"),
    ("zstd:9", "zstd 9 (smaller, slower)"),
    ("zstd:19", "zstd 19 (smallest, very slow)"),
    ("gzip:6", "gzip 6"),
    ("none", "none"),
];

/// The form as the template draws it.
pub struct DatabaseForm {
    pub id: Option<DatabaseId>,
    pub name: FormField,
    pub engine: &'static EngineInfo,
    pub engines: Vec<&'static EngineInfo>,
    pub connection: Vec<FormField>,
    pub sections: Vec<Section>,
    /// What the form was filled with from a URL, sealed.
    pub draft: String,
    /// What was wrong with the URL.
    pub url_problem: Option<(String, Option<String>)>,
    pub options: Vec<FormField>,
    pub compressions: Vec<(String, String)>,
    pub compression: String,
    pub multi_thread: bool,
    pub encrypt: bool,
    pub stores: Vec<StoreView>,
    pub store_id: StoreId,
    /// What was wrong with the last try, beside the problems of single fields.
    pub problem: Option<(String, Option<String>)>,
}

#[derive(Template)]
#[template(path = "pages/databases/form.html")]
pub struct Page {
    layout: Layout,
    form: DatabaseForm,
}

impl Page {
    pub fn new(layout: Layout, form: DatabaseForm) -> Self {
        Self { layout, form }
    }
}

/// What fills the form.
struct Filled<'a> {
    id: Option<DatabaseId>,
    name: String,
    settings: Map<String, Value>,
    secrets_set: Vec<&'static str>,
    draft: String,
    options: BackupOptions,
    store_id: StoreId,
    error: Option<&'a Error>,
}

impl DatabaseForm {
    /// The form of a new database; without an engine, of the first one.
    pub async fn blank(ctx: &Ctx, actor: &Actor, engine: Option<&str>) -> Result<Self> {
        let first = engines::registry().first().map(|engine| engine.info().id).unwrap_or_default();
        let filled = Filled {
            id: None,
            name: String::new(),
            settings: Map::new(),
            secrets_set: Vec::new(),
            draft: String::new(),
            options: BackupOptions::default(),
            store_id: StoreId::LOCAL,
            error: None,
        };
        Self::draw(ctx, actor, engine.unwrap_or(first), filled).await
    }

    /// The form of a new database, filled from a connection URL.
    pub async fn drafted(ctx: &Ctx, actor: &Actor, draft: Draft) -> Result<Self> {
        let target = draft.settings.get(draft.engine.target_field).and_then(Value::as_str).unwrap_or_default();
        let filled = Filled {
            id: None,
            name: target.rsplit('/').next().unwrap_or_default().to_owned(),
            draft: if draft.secrets_set.is_empty() { String::new() } else { draft.sealed },
            settings: draft.settings,
            secrets_set: draft.secrets_set,
            options: BackupOptions::default(),
            store_id: StoreId::LOCAL,
            error: None,
        };
        Self::draw(ctx, actor, draft.engine.id, filled).await
    }

    /// The form of a stored database.
    pub async fn stored(ctx: &Ctx, actor: &Actor, database: DatabaseView) -> Result<Self> {
        let filled = Filled {
            id: Some(database.id),
            name: database.name,
            settings: database.settings,
            secrets_set: database.secrets_set,
            draft: String::new(),
            options: database.backup_options,
            store_id: database.store_id,
            error: None,
        };
        Self::draw(ctx, actor, &database.engine, filled).await
    }

    /// The form as it was sent, with what was wrong. Secrets are not sent back.
    pub async fn typed(ctx: &Ctx, actor: &Actor, form: &Form, database: Option<DatabaseView>, error: &Error) -> Result<Self> {
        let engine = engines::find(form.text("engine"))?;
        let info = engine.info();
        let draft = form.text(DRAFT);
        let secrets_set = match &database {
            Some(database) => database.secrets_set.clone(),
            None if draft.is_empty() => Vec::new(),
            None => draft::secrets_in(ctx, actor, engine, draft),
        };
        let filled = Filled {
            id: database.as_ref().map(|database| database.id),
            name: form.text("name").to_owned(),
            settings: forms::read(SETTINGS, info.connection, form),
            draft: if secrets_set.is_empty() { String::new() } else { draft.to_owned() },
            secrets_set,
            options: read_options(info, form).unwrap_or_default(),
            store_id: form.parse("store")?.unwrap_or(StoreId::LOCAL),
            error: Some(error),
        };
        Self::draw(ctx, actor, info.id, filled).await
    }

    async fn draw(ctx: &Ctx, actor: &Actor, engine: &str, filled: Filled<'_>) -> Result<Self> {
        let info = engines::find(engine)?.info();
        let problems: &[(String, String)] = filled.error.map_or(&[], |error| &error.fields);
        let of_options: Vec<(String, String)> = problems
            .iter()
            .filter_map(|(field, problem)| Some((field.strip_prefix("backupOptions.")?.to_owned(), problem.clone())))
            .collect();
        let set = filled.options.compression.to_string();
        let mut compressions: Vec<(String, String)> =
            COMPRESSIONS.iter().map(|&(value, label)| (value.to_owned(), label.to_owned())).collect();
        if compressions.iter().all(|offered| offered.0 != set) {
            compressions.push((set.clone(), set.clone()));
        }
        let mut fields = forms::draw(SETTINGS, info.connection, &filled.settings, &filled.secrets_set, problems);
        if !filled.draft.is_empty() {
            fields.iter_mut().filter(|field| !field.kept.is_empty()).for_each(|field| field.kept = "from the URL");
        }
        let (connection, sections) = forms::by_section(fields);
        let name = Field::new("name", "Name", crate::domain::fields::FieldKind::Text)
            .required()
            .help("How it is called here and in file names. Up to 100 characters.");
        let name_value = Map::from_iter([("name".to_owned(), Value::String(filled.name))]);
        Ok(Self {
            id: filled.id,
            name: forms::draw("", &[name], &name_value, &[], problems).swap_remove(0),
            engine: info,
            engines: engines::registry().iter().map(|engine| engine.info()).collect(),
            connection,
            sections,
            draft: filled.draft,
            url_problem: None,
            options: forms::draw(OPTIONS, info.dump_options, &filled.options.engine, &[], &of_options),
            compressions,
            compression: set,
            multi_thread: filled.options.multi_thread,
            encrypt: filled.options.encrypt,
            stores: stores::list(ctx, actor).await?,
            store_id: filled.store_id,
            problem: filled.error.map(|error| (message(error), error.hint.clone())),
        })
    }
}

/// The input that a sent form stands for. Errors when a value outside the engine's own fields cannot be read.
pub fn read(form: &Form) -> Result<DatabaseInput> {
    let info = engines::find(form.text("engine"))?.info();
    Ok(DatabaseInput {
        name: form.text("name").to_owned(),
        engine: info.id.to_owned(),
        url: None,
        settings: forms::read(SETTINGS, info.connection, form),
        draft: Some(form.text(DRAFT)).filter(|draft| !draft.is_empty()).map(str::to_owned),
        store_id: form.parse("store")?,
        backup_options: Some(read_options(info, form)?),
    })
}

fn read_options(info: &EngineInfo, form: &Form) -> Result<BackupOptions> {
    Ok(BackupOptions {
        compression: form.parse("compression")?.unwrap_or_default(),
        multi_thread: form.has("multiThread"),
        encrypt: form.has("encrypt"),
        engine: forms::read(OPTIONS, info.dump_options, form),
        ..BackupOptions::default()
    })
}
