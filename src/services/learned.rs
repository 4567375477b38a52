//! Settings that an operation found out on its way, such as the key of an SSH server: they are kept with their database,
//! so that every later operation compares.

use serde_json::json;

use super::{Ctx, audit};
use crate::{
    db,
    domain::{
        database::{Database, Settings},
        fields::Field,
        ids::DatabaseId,
        permissions::Actor,
        run::Run,
    },
    engines,
};

/// Keeps what `run` learned while it used these connection settings. A setting that has got a value in the meantime stays
/// as it is, and what was found at a place that the database no longer names is not kept. A failure is logged: the
/// operation itself is not to be undone for it, and the next one learns the same again.
pub(super) async fn keep(ctx: &Ctx, actor: &Actor, id: DatabaseId, used: &Settings, run: &Run) {
    let learned = run.learned.settings();
    if learned.is_empty() {
        return;
    }
    let used = used.clone();
    let adopting = move |database: &mut Database| adopt(database, &used, learned);
    let kept = match db::databases::change(&ctx.db, actor.organization_id, id, adopting).await {
        Ok(kept) => kept,
        Err(error) => {
            tracing::warn!(database = %id, %error, "what was learned of the connection could not be kept");
            return;
        }
    };
    let Some(kept) = kept else { return };
    for (name, value) in &kept {
        run.info(format!("kept for later connections: {name} {}", value.as_str().unwrap_or_default()));
    }
    if let Err(error) = audit::record(ctx, actor, "database.learn", id, json!(kept)).await {
        tracing::warn!(database = %id, %error, "the audit trail could not be written");
    }
}

/// Puts into the database's settings what it has no value for; `None` when there is nothing to put.
fn adopt(database: &mut Database, used: &Settings, learned: Settings) -> Option<Settings> {
    let fields = engines::find(&database.engine).ok()?.info().connection;
    let empty = |field: &Field| !field.learned_from.is_empty() && !database.settings.contains_key(field.name);
    let here = |field: &Field| found_at_same_place(field, fields, used, &database.settings);
    let wanted = |name: &str| fields.iter().any(|field| field.name == name && empty(field) && here(field));
    let kept: Settings = learned.into_iter().filter(|(name, _)| wanted(name)).collect();
    database.settings.extend(kept.clone());
    (!kept.is_empty()).then_some(kept)
}

/// True when both settings name the same place for what this field learns.
pub(super) fn found_at_same_place(field: &Field, fields: &[Field], one: &Settings, other: &Settings) -> bool {
    field.learned_from.iter().all(|name| fields.iter().filter(|field| field.name == *name).all(|field| field.is_same(one, other)))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::domain::{
        backup::BackupOptions,
        ids::{ProjectId, StoreId},
        time::Moment,
    };

    fn check(stored: Value, used: Value, expect: Option<&str>) {
        let settings = |value: Value| value.as_object().unwrap().clone();
        let mut database = Database {
            id: DatabaseId::new(),
            project_id: ProjectId::DEFAULT,
            name: "shop".into(),
            engine: "postgresql".into(),
            settings: settings(stored),
            store_id: StoreId::LOCAL,
            backup_options: BackupOptions::default(),
            created_at: Moment(0),
            updated_at: Moment(0),
        };
        let before = database.settings.clone();
        let kept = adopt(&mut database, &settings(used), settings(json!({"sshHostKey": "SHA256:seen", "user": "never"})));
        match expect {
            Some(key) => {
                assert_eq!(kept.map(Value::Object), Some(json!({"sshHostKey": key})));
                assert_eq!(database.settings["sshHostKey"], key);
            }
            None => assert_eq!((kept, database.settings), (None, before)),
        }
    }

    #[test]
    fn what_was_learned_fills_an_empty_setting_of_the_same_place_and_nothing_else() {
        let bastion = json!({"sshHost": "bastion"});
        check(bastion.clone(), bastion.clone(), Some("SHA256:seen"));
        check(bastion.clone(), json!({"sshHost": "bastion", "sshPort": 22}), Some("SHA256:seen"));
        check(json!({"sshHost": "elsewhere"}), bastion.clone(), None);
        check(json!({"sshHost": "bastion", "sshPort": 23}), bastion.clone(), None);
        check(json!({"sshHost": "bastion", "sshHostKey": "SHA256:known"}), bastion, None);
    }
}
