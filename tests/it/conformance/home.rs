//! Where an engine's databases are, for a suite that knows no engine.

use std::path::PathBuf;

use async_trait::async_trait;
use dbsnap::{domain::database::Settings, engines::Engine};

/// Rows of the table `customers` of a database made by [`Home::make`]; its table `unsold` has none.
pub const CUSTOMERS: u64 = 9000;

/// A server or a folder.
#[async_trait]
pub trait Home: Send + Sync {
    /// For messages.
    fn label(&self) -> String;

    fn engine(&self) -> &'static dyn Engine;

    /// Validated settings of the database called so, whether it is there or not.
    fn settings(&self, database: &str) -> Settings;

    /// Folders with the engine's client programs.
    fn tool_dirs(&self) -> Vec<PathBuf> {
        Vec::new()
    }

    /// Makes a database with the tables `customers` (9000 rows) and `unsold` (none); returns its name.
    async fn make(&self, purpose: &str) -> String;

    /// Adds a table `heavy` of about `megabytes` that do not compress.
    async fn make_heavy(&self, database: &str, megabytes: u32);

    /// Adds a table of this name with the one row that is called like it.
    async fn add_table(&self, database: &str, table: &str);

    /// Names of tables that people should not choose and do.
    fn odd_tables(&self) -> Vec<&'static str> {
        vec!["sp ace", "quo\"te", "it's", "back`tick", "dot.ted", "dol$lar", "--help", "new\nline", "semi;colon", "back\\slash", "🐘 tötal"]
    }

    /// A name for a copy of the database that people should not choose and do.
    fn odd_copy(&self, database: &str) -> String {
        format!("{database} `\"' copy")
    }

    /// Every table with every row as text, both in order, seen without the engine.
    async fn contents(&self, database: &str) -> Vec<(String, Vec<String>)>;

    /// Names of the databases or files whose names begin so, in order.
    async fn names(&self, prefix: &str) -> Vec<String>;

    /// Drops the database or removes the file.
    async fn remove(&self, database: &str);

    /// What a restore plan calls the database: its name, or its path.
    fn target(&self, database: &str) -> String {
        database.to_owned()
    }

    /// What separates this home from others of its kind: a server of its own that may be killed. `None`: it has no server.
    async fn of_its_own(&self) -> Option<Box<dyn Home>> {
        None
    }

    /// kill -9 of the server of a home that [`Home::of_its_own`] made.
    fn kill(&self) {
        unreachable!("{} has no server of its own", self.label());
    }

    /// Turns settings to where TLS is spoken, by a certificate of the tests' authority for `127.0.0.1`; with `certificate`,
    /// to an account or a port that wants a client certificate whose name is `certified`.
    fn encrypt(&self, _settings: &mut Settings, _certificate: bool) {
        unreachable!("{} has no server", self.label());
    }

    /// Settings with another password; `None` where there are no accounts.
    fn wrong_password(&self, database: &str) -> Option<Settings> {
        let mut settings = self.settings(database);
        settings.contains_key("password").then(|| {
            settings.insert("password".into(), "certainly-wrong".into());
            settings
        })
    }

    /// Settings of the same server at another port; `None` where there are no ports.
    fn at_port(&self, database: &str, port: u16) -> Option<Settings> {
        let mut settings = self.settings(database);
        settings.contains_key("port").then(|| {
            settings.insert("port".into(), port.into());
            settings
        })
    }
}
