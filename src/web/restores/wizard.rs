//! The restore wizard: source, target, how, confirm. Each step is a plain page; what was chosen travels in the form.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::State,
    response::{Html, IntoResponse, Response},
};
use serde::Deserialize;

use crate::{
    domain::{
        artifact::TableCount,
        backup::{Backup, BackupStatus},
        filter::{BackupFilter, DatabaseFilter},
        ids::{BackupId, DatabaseId, UploadId},
        page::{Page, PageRequest},
        permissions::Permission,
        restore::{OnConflict, RestoreContent, RestoreMode, RestorePlan},
        time::Moment,
    },
    engines::{self, EngineInfo},
    error::{Error, Result},
    services::{
        Ctx, backup,
        databases::{self, DatabaseView},
        restore::{self, RestoreRequest, upload},
    },
    web::{
        error::{Failure, message, status},
        extract::{Form, Query, User},
        filters,
        forms::{self, FormField},
        html::{Layout, render},
        pager::Pager,
    },
};

const OPTIONS: &str = "options.";

/// What was chosen so far.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Chosen {
    backup: Option<BackupId>,
    upload: Option<UploadId>,
    database: Option<DatabaseId>,
}

/// Where the data comes from.
struct Source {
    backup: Option<BackupId>,
    upload: Option<UploadId>,
    label: String,
    moment: Moment,
    engine: String,
    engine_label: &'static str,
    /// The database it was made of, where it is configured here.
    database: Option<DatabaseId>,
    tables: Vec<TableCount>,
    partial: bool,
}

#[derive(Template)]
#[template(path = "pages/restores/source.html")]
struct SourceStep {
    layout: Layout,
    backups: Page<Backup>,
    pager: Pager,
}

#[derive(Template)]
#[template(path = "pages/restores/target.html")]
struct TargetStep {
    layout: Layout,
    source: Source,
    databases: Vec<DatabaseView>,
}

#[derive(Template)]
#[template(path = "pages/restores/plan.html")]
struct PlanStep {
    layout: Layout,
    source: Source,
    target: DatabaseView,
    engine: &'static EngineInfo,
    plan: RestorePlan,
    target_name: FormField,
    options: Vec<FormField>,
    problem: Option<(String, Option<String>)>,
    problems: Vec<(String, String)>,
}

#[derive(Template)]
#[template(path = "pages/restores/confirm.html")]
struct ConfirmStep {
    layout: Layout,
    source: Source,
    target: DatabaseView,
    engine: &'static EngineInfo,
    plan: RestorePlan,
    label: String,
    carried: Vec<(String, String)>,
    problem: Option<(String, Option<String>)>,
}

/// GET /restore/new: the first step that is not answered yet.
pub async fn page(
    State(ctx): State<Arc<Ctx>>,
    user: User,
    layout: Layout,
    uri: axum::http::Uri,
    Query(chosen): Query<Chosen>,
    Query(page): Query<PageRequest>,
) -> Result<Html<String>, Failure> {
    user.require(Permission::Restore)?;
    let layout = layout.titled("Restore");
    if chosen.backup.is_none() && chosen.upload.is_none() {
        let filter = BackupFilter { status: Some(BackupStatus::Completed), ..BackupFilter::default() };
        let backups = backup::list(&ctx, &user, &filter, PageRequest { limit: page.limit.min(15), ..page }).await?;
        let pager = Pager::new(&uri, &backups);
        return Ok(render(&ctx, &SourceStep { layout, backups, pager })?);
    }
    let source = source(&ctx, &user, chosen.backup, chosen.upload).await?;
    let Some(database) = chosen.database else {
        let filter = DatabaseFilter { engine: Some(source.engine.clone()), ..DatabaseFilter::default() };
        let databases = databases::list(&ctx, &user, &filter, PageRequest { page: 1, limit: 200 }).await?.items;
        return Ok(render(&ctx, &TargetStep { layout, source, databases })?);
    };
    let target = databases::get(&ctx, &user, database).await?;
    let info = engines::find(&target.engine)?.info();
    let mode = info.restore_modes.first().copied().unwrap_or(RestoreMode::New);
    let plan = RestorePlan { mode, target_name: Some(suggested_name(info, &target)), ..RestorePlan::default() };
    Ok(render(&ctx, &PlanStep::new(layout, source, target, info, plan, None))?)
}

/// POST /restore/plan: checks the plan and asks for the confirmation.
pub async fn check(State(ctx): State<Arc<Ctx>>, user: User, layout: Layout, form: Form) -> Result<Response, Failure> {
    user.require(Permission::Restore)?;
    let (source, target) = chosen(&ctx, &user, &form).await?;
    let engine = engines::find(&target.engine)?;
    let checked = match read_plan(engine.info(), &form) {
        Ok(plan) => restore::check_plan(engine, plan.clone())
            .and_then(|plan| restore::check_partial(source.partial, &plan))
            .map_err(|error| (plan, error)),
        Err(error) => Err((RestorePlan::default(), error)),
    };
    match checked {
        Ok(_) => Ok(confirm_page(&ctx, &user, layout, &form, None).await?.into_response()),
        Err((plan, error)) => {
            let step = PlanStep::new(layout.titled("Restore"), source, target, engine.info(), plan, Some(&error));
            Ok((status(&error), render(&ctx, &step)?).into_response())
        }
    }
}

/// The last step: what will happen, and the name to type.
pub async fn confirm_page(ctx: &Arc<Ctx>, user: &User, layout: Layout, form: &Form, error: Option<&Error>) -> Result<Html<String>> {
    let (source, target) = chosen(ctx, user, form).await?;
    let engine = engines::find(&target.engine)?.info();
    let plan = read_plan(engine, form)?;
    let label = restore::target_label(ctx, user, target.id, &plan).await?;
    let carried = form.0.iter().filter(|field| field.0 != "confirm").cloned().collect();
    let problem = error.map(|error| (message(error), error.hint.clone()));
    render(ctx, &ConfirmStep { layout: layout.titled("Restore"), source, target, engine, plan, label, carried, problem })
}

/// The request that the wizard's form stands for.
pub async fn read(ctx: &Ctx, user: &User, form: &Form) -> Result<RestoreRequest> {
    let database_id = form.parse("database")?.ok_or_else(|| Error::validation("no target was chosen"))?;
    let target = databases::get(ctx, user, database_id).await?;
    Ok(RestoreRequest {
        backup_id: form.parse("backup")?,
        upload_id: form.parse("upload")?,
        database_id,
        plan: read_plan(engines::find(&target.engine)?.info(), form)?,
        confirm: form.text("confirm").to_owned(),
    })
}

impl PlanStep {
    fn new(
        layout: Layout,
        source: Source,
        target: DatabaseView,
        engine: &'static EngineInfo,
        plan: RestorePlan,
        error: Option<&Error>,
    ) -> Self {
        let problems: Vec<(String, String)> = error.map(|error| error.fields.clone()).unwrap_or_default();
        let of_engine = engine.connection.iter().find(|field| field.name == engine.target_field);
        let target_name = FormField {
            name: "targetName".into(),
            label: of_engine.map_or("Target", |field| field.label).to_owned(),
            help: "Where the data goes. Leave it blank to use the connection's own.".into(),
            optional: true,
            control: "text",
            value: plan.target_name.clone().unwrap_or_default(),
            problem: problems.iter().find(|problem| problem.0 == "targetName").map(|problem| problem.1.clone()),
            ..FormField::default()
        };
        let options = forms::draw(OPTIONS, engine.restore_options, &plan.engine, &[], &problems);
        let problem = error.map(|error| (message(error), error.hint.clone()));
        Self { layout, source, target, engine, plan, target_name, options, problem, problems }
    }

    fn problem_of(&self, field: &str) -> Option<&str> {
        self.problems.iter().find(|problem| problem.0 == field).map(|problem| problem.1.as_str())
    }
}

/// What a mode does, in the words of the wizard: title and explanation.
fn mode_text(mode: &RestoreMode) -> (&'static str, &'static str) {
    match mode {
        RestoreMode::New => ("Into a new database", "Nothing that exists is touched; refused when the target is already there."),
        RestoreMode::Drop => {
            ("Replace the whole database", "Built beside it and checked, then swapped in. What the target holds now is lost.")
        }
        RestoreMode::Clean => {
            ("Replace what the backup holds", "Drops the restored tables inside the target first; everything else stays.")
        }
        RestoreMode::Append => ("Add to what is there", "Inserts into the existing tables; rows with the same key are an error."),
    }
}

fn content_text(content: &RestoreContent) -> &'static str {
    match content {
        RestoreContent::All => "Schema and data",
        RestoreContent::Schema => "Schema only",
        RestoreContent::Data => "Data only",
    }
}

async fn chosen(ctx: &Ctx, user: &User, form: &Form) -> Result<(Source, DatabaseView)> {
    let source = source(ctx, user, form.parse("backup")?, form.parse("upload")?).await?;
    let database = form.parse("database")?.ok_or_else(|| Error::validation("no target was chosen"))?;
    Ok((source, databases::get(ctx, user, database).await?))
}

async fn source(ctx: &Ctx, user: &User, backup: Option<BackupId>, upload: Option<UploadId>) -> Result<Source> {
    if let Some(id) = backup {
        let backup = backup::get(ctx, user, id).await?;
        return Ok(Source {
            backup: Some(id),
            upload: None,
            moment: crate::web::backups::moment(&backup),
            label: backup.database_name,
            engine_label: engines::find(&backup.engine)?.info().label,
            engine: backup.engine,
            database: backup.database_id,
            tables: backup.tables,
            partial: backup.partial,
        });
    }
    let id = upload.ok_or_else(|| Error::validation("no source was chosen").hint("choose a backup or upload a file"))?;
    let upload = upload::get(ctx, user.organization_id, id).await?;
    Ok(Source {
        backup: None,
        upload: Some(id),
        label: upload.label,
        moment: upload.created_at,
        engine_label: engines::find(&upload.engine)?.info().label,
        engine: upload.engine,
        database: None,
        tables: Vec::new(),
        partial: false,
    })
}

fn read_plan(engine: &EngineInfo, form: &Form) -> Result<RestorePlan> {
    Ok(RestorePlan {
        mode: form.parse("mode")?.unwrap_or(RestoreMode::New),
        content: form.parse("content")?.unwrap_or(RestoreContent::All),
        tables: form.all("table").map(str::to_owned).collect(),
        target_name: Some(form.text("targetName").to_owned()).filter(|name| !name.is_empty()),
        safety_backup: form.has("safetyBackup"),
        accept_partial: form.has("acceptPartial"),
        end_connections: form.has("endConnections"),
        source: form.parse("source")?,
        on_conflict: form.parse("onConflict")?.unwrap_or(OnConflict::Stop),
        dry_run: form.has("dryRun"),
        engine: forms::read(OPTIONS, engine.restore_options, form),
        rows: None,
    })
}

/// A name beside the target's own, so that the first choice overwrites nothing: `shop` becomes `shop_restored`,
/// `/data/shop.db` becomes `/data/shop-restored.db`.
fn suggested_name(engine: &EngineInfo, target: &DatabaseView) -> String {
    let own = target.settings.get(engine.target_field).and_then(serde_json::Value::as_str).unwrap_or(&target.name);
    match (engine.target_field, own.rsplit_once('.')) {
        ("path", Some((stem, extension))) if !extension.contains('/') => format!("{stem}-restored.{extension}"),
        ("path", _) => format!("{own}-restored"),
        _ => format!("{own}_restored"),
    }
}
