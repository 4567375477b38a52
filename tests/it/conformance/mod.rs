//! What every engine must do, through the trait alone. An engine's own part is how to make a database with known rows and
//! how to look at one without the engine; everything else here runs on every engine of the registry.

use dbsnap::engines::registry;

use self::{
    home::Home,
    routes::{Reached, WAYS, Way},
};

mod bad_input;
mod crash;
mod home;
mod interrupted;
mod load;
mod mongodb;
mod mysql;
mod operations;
mod postgres;
mod restores;
mod round_trip;
mod routes;
mod snapshots;
mod sqlite;

/// One for each engine of the registry, for MySQL one for each flavour of server; and those with a server once more over
/// mutual TLS through an SSH server behind a proxy.
async fn homes() -> Vec<Box<dyn Home>> {
    over(&[Way::All]).await
}

/// The same over every way there is: for what takes little time.
async fn everywhere() -> Vec<Box<dyn Home>> {
    over(&WAYS).await
}

async fn over(ways: &[Way]) -> Vec<Box<dyn Home>> {
    let mut homes = direct().await;
    for way in ways {
        let networked = direct().await.into_iter().filter(|home| home.settings("any").contains_key("tlsMode"));
        homes.extend(networked.map(|inner| Box::new(Reached { inner, way: *way }) as Box<dyn Home>));
    }
    homes
}

/// Without anything on the way.
async fn direct() -> Vec<Box<dyn Home>> {
    let mut homes: Vec<Box<dyn Home>> = Vec::new();
    for engine in registry() {
        match engine.info().id {
            "postgresql" => homes.push(Box::new(postgres::Postgres::shared().await)),
            "mysql" => homes.extend(mysql::Mysql::shared()),
            "mongodb" => homes.push(Box::new(mongodb::Mongodb::shared())),
            "sqlite" => homes.push(Box::new(sqlite::Sqlite::new())),
            id => panic!("engine '{id}' has no home to test it in"),
        }
    }
    homes
}

#[test]
fn settings_and_options_are_named_in_camel_case_as_the_api_is() {
    for engine in registry() {
        let info = engine.info();
        for field in info.connection.iter().chain(info.dump_options).chain(info.restore_options) {
            let camel = field.name.starts_with(|c: char| c.is_ascii_lowercase()) && field.name.chars().all(|c| c.is_ascii_alphanumeric());
            assert!(camel && !field.label.is_empty(), "{}: {}", info.id, field.name);
        }
    }
}
