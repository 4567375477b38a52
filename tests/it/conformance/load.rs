//! How busy a database is, which a schedule may wait for.

use super::{everywhere, operations::Bench};

#[tokio::test]
async fn servers_say_how_many_connections_do_something_and_files_say_nothing() {
    for home in everywhere().await {
        let home = home.as_ref();
        let database = home.make("busy").await;
        let asked = home.engine().active_connections(&home.settings(&database), &Bench::new(home).run).await;
        let count = asked.unwrap_or_else(|error| panic!("{}: {error}", home.label()));
        match home.engine().info().id {
            "sqlite" => assert_eq!(count, None, "{}", home.label()),
            // What stands in for MongoDB may not answer; the real server does.
            "mongodb" => {}
            _ => assert!(count.is_some_and(|count| count < 1000), "{}: {count:?}", home.label()),
        }
    }
}
