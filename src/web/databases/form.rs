//! The form of a database, made from the engine's fields.

use std::collections::BTreeMap;

use askama::Template;
use serde_json::{Map, Value};

use crate::{
    domain::{
        artifact::ArtifactKind,
        backup::{BackupOptions, SnapshotOptions},
        fields::Field,
        ids::{DatabaseId, ProjectId, StoreId},
        permissions::Actor,
        project::Project,
    },
    engines::{self, EngineInfo},
    error::{Error, Result},
    services::{
        Ctx,
        databases::{
            DatabaseInput, DatabaseView,
            draft::{self, Draft},
        },
        projects,
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

/// What a backup makes: value, title, explanation.
const ARTIFACTS: &[(&str, &str, &str)] = &[
    ("dump,snapshot", "Dump and snapshot", "Restored by the engine's own tools, and also browsed, compared and restored row by row."),
    ("dump", "Dump only", "Smaller and read by the engine's own tools. It cannot be browsed or compared."),
    ("snapshot", "Snapshot only", "Rows and schema in DBSnap's own format: browsed, compared, restored by DBSnap alone."),
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
    /// What a backup makes: value, title, explanation.
    pub choices: &'static [(&'static str, &'static str, &'static str)],
    pub artifacts: String,
    /// Tables of which a share of the rows is kept, one per line: `events 10%`.
    pub samples: String,
    pub samples_problem: Option<String>,
    pub compressions: Vec<(String, String)>,
    pub compression: String,
    pub multi_thread: bool,
    pub encrypt: bool,
    pub stores: Vec<StoreView>,
    pub store_id: StoreId,
    /// There is a choice when there is more than one.
    pub projects: Vec<Project>,
    pub project_id: Option<ProjectId>,
    pub project_problem: Option<String>,
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
    /// The samples as they were typed.
    samples: Option<String>,
    store_id: StoreId,
    project_id: Option<ProjectId>,
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
            samples: None,
            store_id: StoreId::LOCAL,
            project_id: None,
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
            samples: None,
            store_id: StoreId::LOCAL,
            project_id: None,
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
            samples: None,
            store_id: database.store_id,
            project_id: Some(database.project_id),
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
            samples: Some(form.raw("samples").to_owned()),
            store_id: form.parse("store")?.unwrap_or(StoreId::LOCAL),
            project_id: form.parse("project").ok().flatten(),
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
        let projects = projects::all(ctx, actor).await?;
        let oldest = projects.iter().min_by_key(|project| project.created_at).map(|project| project.id);
        let project_id = filled.project_id.or(oldest);
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
            choices: ARTIFACTS,
            artifacts: artifacts_value(&filled.options.artifacts),
            samples: filled.samples.unwrap_or_else(|| samples_text(&filled.options.snapshot)),
            samples_problem: problems.iter().find(|problem| problem.0.starts_with("snapshot.sample")).map(|problem| problem.1.clone()),
            compressions,
            compression: set,
            multi_thread: filled.options.multi_thread,
            encrypt: filled.options.encrypt,
            stores: stores::list(ctx, actor).await?,
            store_id: filled.store_id,
            projects,
            project_id,
            project_problem: problems.iter().find(|problem| problem.0 == "projectId").map(|problem| problem.1.clone()),
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
        project_id: form.parse("project")?,
        backup_options: Some(read_options(info, form)?),
    })
}

/// The artifacts that a person chooses; what goes with a dump by other options is not asked for here.
fn artifacts_value(artifacts: &[ArtifactKind]) -> String {
    let chosen = [ArtifactKind::Dump, ArtifactKind::Snapshot].into_iter().filter(|kind| artifacts.contains(kind));
    chosen.map(ArtifactKind::as_str).collect::<Vec<_>>().join(",")
}

/// What backups make, in words.
pub fn artifacts_text(artifacts: &[ArtifactKind]) -> &'static str {
    let value = artifacts_value(artifacts);
    ARTIFACTS.iter().find(|choice| choice.0 == value).map_or("Dump only", |choice| choice.1)
}

fn read_artifacts(form: &Form) -> Result<Vec<ArtifactKind>> {
    match form.text("artifacts") {
        "" => Ok(BackupOptions::default().artifacts),
        chosen => chosen.split(',').map(str::parse).collect(),
    }
}

fn samples_text(options: &SnapshotOptions) -> String {
    let line = |(pattern, share): (&String, &f64)| format!("{pattern} {}%", (share * 1_000_000.0).round() / 10_000.0);
    options.sample.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// The samples as typed: a table or pattern, then a share. Errors for a line that is not so.
fn read_samples(form: &Form) -> Result<SnapshotOptions> {
    let mut sample = BTreeMap::new();
    for line in form.raw("samples").lines().map(str::trim).filter(|line| !line.is_empty()) {
        let read = line.rsplit_once(char::is_whitespace).and_then(|(pattern, share)| {
            let percent: f64 = share.strip_suffix('%')?.parse().ok()?;
            (0.0..=100.0).contains(&percent).then(|| (pattern.trim().to_owned(), percent / 100.0))
        });
        let (pattern, share) = read.ok_or_else(|| {
            Error::validation(format!("'{line}' is no table with a share")).hint("write a table and a share on each line: `events 10%`")
        })?;
        sample.insert(pattern, share);
    }
    Ok(SnapshotOptions { sample })
}

fn read_options(info: &EngineInfo, form: &Form) -> Result<BackupOptions> {
    Ok(BackupOptions {
        compression: form.parse("compression")?.unwrap_or_default(),
        multi_thread: form.has("multiThread"),
        encrypt: form.has("encrypt"),
        artifacts: read_artifacts(form)?,
        snapshot: read_samples(form)?,
        engine: forms::read(OPTIONS, info.dump_options, form),
    })
}
