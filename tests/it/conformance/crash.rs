//! The server is killed in the middle.

use std::sync::Arc;

use dbsnap::domain::restore::RestoreMode;

use super::{
    home::Home,
    homes,
    operations::{Bench, plan, restore, take, take_with},
};

#[tokio::test]
async fn a_server_killed_in_mid_dump_fails_the_dump() {
    for home in homes().await {
        let Some(home) = home.of_its_own().await else { continue };
        let home = home.as_ref();
        let database = home.make("killed").await;
        home.make_heavy(&database, 16).await;
        let mut alive = true;
        let seen = |bytes: usize| {
            if bytes > 1_000_000 && std::mem::take(&mut alive) {
                home.kill();
            }
        };
        let error = take_with(home, &home.settings(&database), &Bench::new(home), seen).await.err().expect("a dump without its end");
        assert!(!error.is_cancelled() && !error.to_string().is_empty(), "{}: {error}", home.label());
        let error = take_with(home, &home.settings(&database), &Bench::new(home), |_| ()).await.err().unwrap();
        assert!(error.retryable && error.hint.is_some(), "{}: a server that is away may come back: {error:?}", home.label());
    }
}

#[tokio::test]
async fn a_server_killed_in_mid_restore_fails_the_restore_and_says_where_it_stands() {
    for home in homes().await {
        let Some(home) = home.of_its_own().await else { continue };
        let home: Arc<dyn Home> = home.into();
        let database = home.make("killed").await;
        home.make_heavy(&database, 16).await;
        let taken = take(home.as_ref(), &database).await;
        let server = Arc::clone(&home);
        let bench = Bench::new(home.as_ref()).at_stage("restoring", move || server.kill());
        let copy = format!("{database}_copy");
        let error = restore(home.as_ref(), &database, &taken, &plan(home.as_ref(), RestoreMode::New, &copy), &bench).await.unwrap_err();
        let told = format!("{error}\n{}", bench.watcher.log());
        assert!(!error.is_cancelled() && told.contains(&copy), "{}: the half-built database is named: {told}", home.label());
    }
}
