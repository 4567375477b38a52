//! A restore: the archive is read to its end and proven; collections are created, filled, counted and indexed, in this
//! order, so that an index that deletes by age touches nothing before it is counted.
//!
//! | mode | how the target changes |
//! |---|---|
//! | new | made in a database without collections, dropped again on a failure |
//! | drop | made beside the old ones and put in their places, see `replace` |
//! | clean | dropped, then made in their places |
//! | append | added to what is there |

use std::sync::Arc;

use super::{
    accounts,
    catalogue::{self, CollectionKind},
    connect::Target,
    definition::Shape,
    fill::{Filling, Work},
    input::{Input, Selection, check_database},
    replace::Replacement,
    session::Session,
};
use crate::{
    domain::{
        fields::SettingsExt,
        restore::{RestoreContent, RestoreMode, RestorePlan},
        run::Run,
    },
    engines::{RestoreOutcome, RestoreRequest},
    error::{Error, Result},
};

pub async fn restore(request: &RestoreRequest<'_>, run: &Run) -> Result<RestoreOutcome> {
    let plan = request.plan;
    check_plan(plan)?;
    let configured = Target::from_settings(request.settings)?;
    let target = match &plan.target_name {
        Some(name) => {
            check_database(name)?;
            configured.with_database(name)
        }
        None => configured,
    };
    let input = Input::read(request, run).await?;
    let mut selection = input.select(plan, &target)?;
    let session = Arc::new(Session::open(&target, plan.engine.text("writeConcern"), run).await?);
    run.info(format!("restoring into {target} ({}) what came from MongoDB {}", session.version, input.header.server_version));
    let mut outcome = RestoreOutcome { tables: Vec::new(), warnings: std::mem::take(&mut selection.warnings) };
    let filling = Filling::new(&input, &session, plan);
    match plan.mode {
        RestoreMode::New => make(&filling, &selection, &mut outcome).await?,
        RestoreMode::Drop => Replacement::new(&filling, &selection).carry_out(&mut outcome).await?,
        RestoreMode::Clean | RestoreMode::Append => change(&filling, &selection, plan, &mut outcome).await?,
    }
    accounts::restore(&filling, &selection.accounts, &mut outcome.warnings)
        .await
        .map_err(|error| told(error, &target, "the collections are restored, users and roles are not"))?;
    Ok(outcome)
}

/// Makes everything in databases that have nothing.
async fn make(filling: &Filling<'_>, selection: &Selection, outcome: &mut RestoreOutcome) -> Result<()> {
    let session = filling.session;
    for db in selection.databases() {
        if !session.names(db).await?.is_empty() {
            return Err(Error::conflict(format!("the database '{db}' exists already on {} and has collections", session.target()))
                .hint("choose another name, or the mode that replaces it"));
        }
    }
    let work: Vec<_> = selection.items.iter().map(|item| Work { item, name: item.name.clone(), exists: false }).collect();
    let mut made = Vec::new();
    let Err(error) = filling.build(&work, &mut made, outcome).await else { return Ok(()) };
    // Also after a cancel: nothing half-built may stay.
    let state = match session.clear(&made).await.as_slice() {
        [] => "what it had made was dropped again".to_owned(),
        left => still_there(left, &session.run),
    };
    Err(told(error, session.target(), &state))
}

/// Drops the collections first, or adds to them.
async fn change(filling: &Filling<'_>, selection: &Selection, plan: &RestorePlan, outcome: &mut RestoreOutcome) -> Result<()> {
    let session = filling.session;
    let target = session.target();
    let mut existing = Vec::new();
    for db in selection.databases() {
        existing.extend(session.names(db).await?);
    }
    let there = |db: &str, name: &str| existing.iter().find(|other: &&catalogue::Collection| other.db == db && other.name == name);
    let mut work = Vec::new();
    for item in &selection.items {
        let found = there(&item.db, &item.name);
        if plan.mode == RestoreMode::Clean {
            work.push(Work { item, name: item.name.clone(), exists: false });
            continue;
        }
        let fits = found.is_none_or(|found| match found.kind {
            CollectionKind::View => item.shape == Shape::View,
            CollectionKind::TimeSeries { .. } => item.shape == Shape::TimeSeries,
            CollectionKind::Collection => matches!(item.shape, Shape::Plain | Shape::Capped),
        });
        if !fits {
            return Err(Error::conflict(format!(
                "{} is of another kind in the target than in the backup; nothing was changed",
                item.label()
            ))
            .hint("choose the other collections, or the mode clean, which drops it first"));
        }
        match (found, item.shape, plan.content) {
            (None, Shape::View, RestoreContent::Data) => {}
            (None, _, RestoreContent::Data) => {
                return Err(Error::conflict(format!("{} is not there; nothing was changed", item.label()))
                    .hint("documents alone need their collections: restore all, or the schema first"));
            }
            (Some(_), Shape::View, _) => {
                outcome.warnings.push(format!("the view {} is there already and stays as it is", item.label()));
            }
            (found, _, _) => work.push(Work { item, name: item.name.clone(), exists: found.is_some() }),
        }
    }
    let changing = async {
        if plan.mode == RestoreMode::Clean {
            for item in &selection.items {
                session.drop_collection(&item.db, &item.name).await?;
            }
        }
        filling.build(&work, &mut Vec::new(), outcome).await
    };
    changing.await.map_err(|error| match plan.mode {
        RestoreMode::Clean => told(error, target, "the chosen collections were dropped, and what was restored before the error is there"),
        _ => told(error, target, "what was restored before the error is still there"),
    })
}

/// The error with the target's name before and its state after.
pub fn told(mut error: Error, target: &Target, state: &str) -> Error {
    if !error.is_cancelled() {
        error.context = format!("restoring into {target}: {}; {state}", error.context);
    }
    error
}

/// What clearing up could not drop; it is in the log too, because the error of a cancel says nothing.
pub fn still_there(left: &[(String, Error)], run: &Run) -> String {
    let names: Vec<_> = left.iter().map(|(name, _)| name.as_str()).collect();
    let why = left.first().map(|(_, error)| error.to_string()).unwrap_or_default();
    let state = format!("half-built collections are left, to be dropped by hand: {} ({why})", names.join(", "));
    run.warn(&state);
    format!("and {state}")
}

/// Refuses plans that make no sense.
fn check_plan(plan: &RestorePlan) -> Result<()> {
    match (plan.mode, plan.content) {
        (RestoreMode::New | RestoreMode::Drop | RestoreMode::Clean, RestoreContent::Data) => {
            Err(Error::validation("documents alone cannot be restored where the collections are made anew")
                .hint("use the mode append, or restore everything"))
        }
        (_, RestoreContent::Schema | RestoreContent::Data) if plan.engine.flag("usersAndRoles") => {
            Err(Error::validation("users and roles are restored only with everything else").hint("choose the content 'all'"))
        }
        _ => Ok(()),
    }
}
