//! A backup of a part does not replace a whole database unasked.

use super::Place;
use crate::support::postgres::{programs, shared};

#[tokio::test]
async fn a_backup_of_the_schema_alone_replaces_a_database_only_when_that_is_accepted() {
    let (place, server) = (Place::new(), shared(15));
    let database = server.database("part").await;
    server.connect(&database).await.batch_execute("CREATE TABLE t (i int); INSERT INTO t VALUES (1), (2)").await.unwrap();
    let (url, bins) = (server.url(&database), programs(15));
    let run = |args: &[&str]| -> super::Said {
        place.command(args).env("ENCRYPTION_KEY", super::KEY).env("PG_BIN_DIRS", &bins).env("DBSNAP_URL", &url).output().unwrap().into()
    };
    let said = run(&["backup", "--to", "to", "--option", "schemaOnly=true", "--json"]).json();
    let manifest = said["manifestPath"].as_str().unwrap();
    let replace = ["restore", "--from", manifest, "--mode", "drop", "--end-connections", "--yes"];
    let rows = async || server.connect(&database).await.query_one("SELECT count(*) FROM t", &[]).await.unwrap().get::<_, i64>(0);

    run(&replace).failed(2, "--accept-partial");
    assert_eq!(rows().await, 2, "nothing was changed");
    run(&[&replace[..], &["--accept-partial"]].concat()).ok();
    assert_eq!(rows().await, 0);
}
