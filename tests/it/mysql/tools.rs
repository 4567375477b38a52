//! Which program is taken.

use serde_json::json;

use super::{Bench, refused, run, settings};
use crate::support::mysql::{FLAVOURS, Flavour, programs, shared};

#[tokio::test]
async fn the_servers_own_program_is_found_among_all() {
    for (server, expect) in
        [(Flavour::MySql97, "mysqldump 9.7"), (Flavour::MariaDb1011, "mariadb-dump 10.11"), (Flavour::MariaDb118, "mariadb-dump 11.8")]
    {
        let mut bench = Bench::with(server);
        bench.tool_dirs = FLAVOURS.iter().rev().map(|flavour| programs(*flavour)).collect();
        let home = shared(server);
        let name = home.database("tools").await;
        run(home, &name, &["CREATE TABLE t (a INT)"]).await;
        let probe = bench.probe(&settings(home, &name)).await.unwrap();
        assert!(probe.tool.as_ref().unwrap().starts_with(expect), "{:?}", probe.tool);
        let dumped = bench.dump(home, &name, json!({})).await.unwrap();
        assert_eq!(dumped.facts.tool_version, probe.tool);
        assert!(dumped.facts.warnings.is_empty());
        assert_eq!((probe.tables, dumped.facts.tables), (1, Some(1)));
        assert!(probe.server_version.starts_with(if server.is_mariadb() { "MariaDB 1" } else { "MySQL 9.7" }), "{}", probe.server_version);
    }
}

#[tokio::test]
async fn a_missing_program_is_named_with_its_package() {
    for (flavour, package) in [(Flavour::MySql97, "install mysql-client"), (Flavour::MariaDb1011, "install mariadb-client")] {
        let server = shared(flavour);
        let name = server.database("tools").await;
        let mut bench = Bench::with(flavour);
        bench.tool_dirs = vec![bench.scratch.path().to_owned()];
        refused(bench.dump(server, &name, json!({})).await, &["no mariadb-dump or mysqldump is installed", package, "MYSQL_BIN_DIRS"]);
        let probe = bench.probe(&settings(server, &name)).await.unwrap();
        assert!(probe.tool.is_none() && probe.warnings.iter().any(|warning| warning.contains(package)), "{:?}", probe.warnings);
    }
}
