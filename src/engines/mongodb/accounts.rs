//! Users and roles, merged into those of the server as mongorestore does it: by way of a collection beside them.

use std::collections::BTreeSet;

use mongodb::bson::doc;

use super::{
    fill::Filling,
    input::Accounts,
    load::Place,
    replace::{Stamp, leftovers},
    tally::Tally,
};
use crate::error::Result;

const ADMIN: &str = "admin";

/// Adds users and roles that the server does not have, and changes those of the same name.
pub async fn restore(filling: &Filling<'_>, accounts: &[Accounts], warnings: &mut Vec<String>) -> Result<()> {
    if accounts.is_empty() {
        return Ok(());
    }
    let session = filling.session;
    warnings.extend(leftovers(session, ADMIN).await?);
    let stamp = Stamp::new();
    let databases: BTreeSet<_> = accounts.iter().map(|accounts| accounts.db.clone()).collect();
    for db in databases {
        let chosen: Vec<_> = accounts.iter().filter(|accounts| accounts.db == db).collect();
        let name = |accounts: &Accounts| stamp.name(accounts.at);
        let place = |accounts: &Accounts| Place {
            db: ADMIN.to_owned(),
            name: name(accounts),
            logical: None,
            label: if accounts.roles { "roles" } else { "users" }.to_owned(),
            in_order: false,
            fresh: true,
            bypass_validation: false,
            raw_data: false,
        };
        let places: Vec<_> = chosen.iter().map(|accounts| (accounts.at, place(accounts))).collect();
        let made: Vec<_> = chosen.iter().map(|accounts| (ADMIN.to_owned(), name(accounts))).collect();
        let merging = async {
            let tallies = filling.load(&places).await?;
            warnings.extend(tallies.iter().filter_map(Tally::refusals));
            let mut command = doc! { "_mergeAuthzCollections": 1, "db": db.as_deref().unwrap_or_default(), "drop": false };
            for accounts in &chosen {
                let key = if accounts.roles { "tempRolesCollection" } else { "tempUsersCollection" };
                command.insert(key, format!("{ADMIN}.{}", name(accounts)));
            }
            session.write(ADMIN, || "restoring users and roles".to_owned(), command).await
        };
        let merged = merging.await;
        for (name, error) in session.clear(&made).await {
            warnings.push(format!("{name}, which held users or roles while they were restored, is left: {error}"));
        }
        merged.map_err(|error| {
            error.hint("restoring users and roles needs the role restore on admin; or turn the option usersAndRoles off")
        })?;
    }
    Ok(())
}
