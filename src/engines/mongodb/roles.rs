//! Users and roles, which the server keeps in its `admin` database, as mongodump's `--dumpDbUsersAndRoles` has them.

use mongodb::bson::{Document, doc};

use super::{
    archive::{AUTH_VERSION, Listing, ROLES, USERS},
    connect::Server,
    faults::{code, code_of},
    read::Query,
};
use crate::{domain::run::Run, error::Result};

/// What is listed in the archive, and where its documents come from.
pub fn sources(database: Option<&str>) -> Vec<(Listing, Query)> {
    let (db, names, filter) = match database {
        None | Some("admin") => ("admin", ["system.users", "system.roles", "system.version"], Document::new()),
        Some(database) => (database, [USERS, ROLES, AUTH_VERSION], doc! { "db": database }),
    };
    let collections = ["system.users", "system.roles", "system.version"];
    let sources = names.into_iter().zip(collections).map(|(name, collection)| {
        let listing = Listing { db: db.to_owned(), collection: name.to_owned(), metadata: String::new(), kind: String::new() };
        // The version is one of the whole server.
        let filter = if collection == "system.version" { Document::new() } else { filter.clone() };
        (listing, Query { db: "admin".into(), collection: collection.into(), filter, by_id: None, raw_data: false, at_moment: false })
    });
    sources.collect()
}

/// Errors when the account may not read users and roles, with what it lacks.
pub async fn check(server: &Server, run: &Run) -> Result<()> {
    for collection in ["system.users", "system.roles", "system.version"] {
        let asking = server.command("admin", doc! { "find": collection, "limit": 1, "singleBatch": true });
        let asking = async {
            asking.await.map_err(|cause| {
                let error = server.failed(format!("reading users and roles (admin.{collection})"), &cause);
                if code_of(&cause) == Some(code::UNAUTHORIZED) {
                    error.hint("grant the role backup on admin, or turn the option usersAndRoles off")
                } else {
                    error
                }
            })
        };
        run.until_cancelled(asking).await?;
    }
    Ok(())
}
