//! A restore: the dump is read to its end and proven, then loaded into a new database, a database built beside the old one
//! and swapped in, or an existing one; then the rows are counted.

use std::sync::Arc;

use super::{
    address::Address,
    connect::{Target, failed},
    count::{compare, count_rows},
    globals,
    input::{Input, Load},
    place::{Place, spare_name},
    server::Facts,
    swap::Swap,
    tools::Places,
};
use crate::{
    domain::{
        artifact::ArtifactKind,
        fields::SettingsExt,
        restore::{RestoreContent, RestoreMode, RestorePlan},
        run::Run,
    },
    engines::{RestoreOutcome, RestoreRequest},
    error::{Error, Kind, Result},
};

pub async fn restore(request: &RestoreRequest<'_>, places: Places, run: &Run) -> Result<RestoreOutcome> {
    check_plan(request.plan)?;
    // Settings that cannot be are told before the input is read; the server is asked for afterwards.
    let address = Address::from_settings(request.settings)?;
    request.plan.target_name.as_ref().map(|name| address.with_database(name)).transpose()?;
    let input = Input::read(request, run).await?;
    let configured = Target::open(request.settings, run).await?;
    load(request, &configured, input, places, run).await.map_err(|error| configured.explain(error))
}

async fn load(request: &RestoreRequest<'_>, configured: &Target, input: Input, places: Places, run: &Run) -> Result<RestoreOutcome> {
    let plan = request.plan;
    let target = match &plan.target_name {
        Some(name) => configured.with_database(name)?,
        None => configured.clone(),
    };
    let job = Job { plan, input: &input, places, run };
    let mut outcome = RestoreOutcome::default();
    if plan.engine.flag("globals") {
        match request.source.parts().into_iter().find(|(part, _)| *part == ArtifactKind::Globals) {
            Some((part, _)) => globals::restore(configured, request.source.open(part).await?, run, &mut outcome.warnings).await?,
            None => outcome.warnings.push("the backup holds no roles and tablespaces: none were restored".into()),
        }
    }
    match plan.mode {
        RestoreMode::New | RestoreMode::Drop => {
            let place = Arc::new(Place::open(configured, &target, run).await?);
            let exists = place.exists(&target.database).await?;
            match (plan.mode, exists) {
                (RestoreMode::New, true) => {
                    return Err(Error::conflict(format!(
                        "database '{}' exists already on {}:{}",
                        target.database, target.host, target.port
                    ))
                    .hint("choose another name, or the mode that replaces it"));
                }
                (_, true) => {
                    outcome.warnings.extend(place.leftovers(&target.database).await?);
                    let beside = target.with_database(&spare_name(&target.database, "new"))?;
                    job.build(&place, &beside, &mut outcome, Some(&target)).await?;
                }
                (_, false) => job.build(&place, &target, &mut outcome, None).await?,
            }
        }
        RestoreMode::Clean | RestoreMode::Append => {
            let stays = match plan.engine.flag("singleTransaction") {
                true => "nothing was changed",
                false => "what was restored before the error is still there",
            };
            job.load(&target, &mut outcome).await.map_err(|error| told(error, &target, stays))?;
        }
    }
    Ok(outcome)
}

/// One restore's work on a database.
struct Job<'a> {
    plan: &'a RestorePlan,
    input: &'a Input,
    places: Places,
    run: &'a Run,
}

impl Job<'_> {
    /// Creates `built`, loads it, and puts it in the place of `replaced` where there is one. On any failure it is dropped.
    async fn build(&self, place: &Arc<Place>, built: &Target, outcome: &mut RestoreOutcome, replaced: Option<&Target>) -> Result<()> {
        self.run.check()?;
        self.run.info(format!("creating database '{}'", built.database));
        place.create(&built.database, &self.input.origin(), &mut outcome.warnings).await?;
        let filling = async {
            let Some(replaced) = replaced else { return self.load(built, outcome).await };
            place.mark_half_built(&built.database, &replaced.database).await?;
            self.load(built, outcome).await?;
            let end_connections = self.plan.end_connections;
            let swap = Swap::prepare(place.clone(), &built.database, &replaced.database, end_connections, self.run).await?;
            self.run.info(format!("putting it in the place of '{}'", replaced.database));
            outcome.warnings.extend(swap.carry_out().await?);
            Ok(())
        };
        let Err(error) = filling.await else { return Ok(()) };
        // Also after a cancel: nothing half-built may stay.
        let (left, target) = match (place.drop_database(&built.database).await, replaced) {
            (Ok(()), Some(replaced)) => ("the database is as it was".to_owned(), replaced),
            (Ok(()), None) => ("the new database was dropped again".to_owned(), built),
            (Err(drop), _) => (format!("and the half-built database '{}' is left: {drop}", built.database), built),
        };
        Err(told(error, target, &left))
    }

    /// Loads the input into an existing database and counts the rows.
    async fn load(&self, target: &Target, outcome: &mut RestoreOutcome) -> Result<()> {
        let client = target.connect(self.run).await?;
        let server = Facts::read(&client, target).await?;
        if self.plan.end_connections && matches!(self.plan.mode, RestoreMode::Clean | RestoreMode::Append) {
            end_others(&client, target).await?;
        }
        self.run.info(format!("restoring into {target} ({})", server.server()));
        let load = Load { target, server: server.version, plan: self.plan, places: self.places };
        let errors = self.input.load(load, &client, &mut outcome.warnings, self.run).await?;
        let lenient = !errors.is_empty();
        outcome.warnings.extend(errors);
        if self.plan.content != RestoreContent::Schema {
            self.count(target, &client, lenient, outcome).await?;
        }
        if self.plan.engine.flag("analyze") {
            let analyzing = async { client.batch_execute("ANALYZE").await.map_err(|cause| failed(format!("analyzing {target}"), &cause)) };
            self.run.until_cancelled(analyzing).await?;
        }
        Ok(())
    }

    /// Counts every restored table. After errors that were gone past, a difference is a warning.
    async fn count(&self, target: &Target, client: &tokio_postgres::Client, lenient: bool, outcome: &mut RestoreOutcome) -> Result<()> {
        let mut tables = self.input.tables(client).await?;
        if lenient {
            let mut there = Vec::new();
            for table in tables {
                let found = client
                    .query_one(
                        "SELECT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = $2)",
                        &[&table.0.as_deref().unwrap_or("public"), &table.1],
                    )
                    .await
                    .map_err(|cause| failed("looking for the restored tables", &cause))?;
                if found.get(0) {
                    there.push(table);
                }
            }
            tables = there;
        }
        let jobs = self.plan.engine.integer("jobs").and_then(|jobs| usize::try_from(jobs).ok()).unwrap_or(0);
        outcome.tables = count_rows(target, &tables, jobs.max(2), self.run).await?;
        if self.plan.mode == RestoreMode::Append {
            return Ok(());
        }
        match compare(self.input.expected(), &outcome.tables) {
            Err(error) if lenient => outcome.warnings.push(error.to_string()),
            compared => return compared,
        }
        Ok(())
    }
}

async fn end_others(client: &tokio_postgres::Client, target: &Target) -> Result<()> {
    let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
    client.query(sql, &[]).await.map(drop).map_err(|cause| failed(format!("ending the other sessions in {target}"), &cause))
}

/// The error with the target's name before and its state after.
fn told(mut error: Error, target: &Target, state: &str) -> Error {
    if !error.is_cancelled() {
        error.context = format!("restoring into {target}: {}; {state}", error.context);
    }
    error
}

/// Refuses plans that make no sense.
fn check_plan(plan: &RestorePlan) -> Result<()> {
    let wrong = |what: &str, hint: &str| Err(Error::validation(what).hint(hint));
    match (plan.mode, plan.content) {
        (RestoreMode::New | RestoreMode::Drop, RestoreContent::Data) => {
            wrong("rows alone cannot be restored into a database without tables", "use the mode append, or restore everything")
        }
        (RestoreMode::Clean, RestoreContent::Data) => {
            wrong("rows alone cannot be restored in clean mode, which drops the tables", "use the mode append, or restore everything")
        }
        (_, content) if content != RestoreContent::Data && plan.engine.flag("disableTriggers") => {
            wrong("triggers can be disabled only while rows alone are restored", "choose the content 'data', or leave triggers as they are")
        }
        _ => Ok(()),
    }
}

/// The error for a source without a dump.
pub fn no_dump() -> Error {
    Error::new(Kind::Restore, "the backup holds no dump").hint("choose another backup")
}
