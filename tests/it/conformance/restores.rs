//! The modes of a restore, and chosen parts of a dump.

use dbsnap::domain::restore::{RestoreContent, RestoreMode, RestorePlan};

use super::{
    everywhere,
    home::{CUSTOMERS, Home},
    homes,
    operations::{Bench, plan, restore, restore_new, rows, take},
};

/// Rows of a table in what a home showed; `None` when the table is not there.
fn of<'a>(contents: &'a [(String, Vec<String>)], table: &str) -> Option<&'a [String]> {
    contents.iter().find(|(name, _)| name == table).map(|(_, rows)| rows.as_slice())
}

async fn restore_as(home: &dyn Home, from: &str, taken: &super::operations::Taken, plan: RestorePlan) {
    let bench = Bench::new(home);
    let restored = restore(home, from, taken, &plan, &bench).await;
    restored.unwrap_or_else(|error| panic!("{}: {:?}: {error}\n{}", home.label(), plan.mode, bench.watcher.log()));
}

#[tokio::test]
async fn a_replaced_database_is_the_backup_and_nothing_else() {
    for home in homes().await {
        let home = home.as_ref();
        let database = home.make("replaced").await;
        let before = home.contents(&database).await;
        let taken = take(home, &database).await;
        home.add_table(&database, "later").await;
        restore_as(home, &database, &taken, plan(home, RestoreMode::Drop, &database)).await;
        assert_eq!(home.contents(&database).await, before, "{}", home.label());
        assert_eq!(home.names(&database).await, [database.as_str()], "{}: nothing is left beside it", home.label());
    }
}

#[tokio::test]
async fn cleaning_replaces_what_the_backup_holds_and_leaves_the_rest() {
    for home in homes().await {
        let home = home.as_ref();
        let database = home.make("cleaned").await;
        let before = home.contents(&database).await;
        let taken = take(home, &database).await;
        home.add_table(&database, "later").await;
        restore_as(home, &database, &taken, plan(home, RestoreMode::Clean, &database)).await;
        let after = home.contents(&database).await;
        assert_eq!(of(&after, "later").map(<[_]>::len), Some(1), "{}", home.label());
        assert_eq!(of(&after, "customers"), of(&before, "customers"), "{}", home.label());
    }
}

#[tokio::test]
async fn chosen_tables_come_alone() {
    for home in everywhere().await {
        let home = home.as_ref();
        assert!(home.engine().info().restore_tables, "{}", home.label());
        let database = home.make("chosen").await;
        for table in home.odd_tables() {
            home.add_table(&database, table).await;
        }
        let taken = take(home, &database).await;
        let copy = format!("{database}_copy");
        let tables = vec!["customers".to_owned(), home.odd_tables()[0].to_owned()];
        let chosen = RestorePlan { tables: tables.clone(), ..plan(home, RestoreMode::New, &copy) };
        restore_as(home, &database, &taken, chosen).await;
        let contents = home.contents(&copy).await;
        let mut names: Vec<_> = contents.iter().map(|(name, _)| name.clone()).collect();
        names.sort();
        assert_eq!(names, tables, "{}", home.label());
        assert_eq!(of(&contents, "customers").map(<[_]>::len), Some(CUSTOMERS as usize), "{}", home.label());

        let missing = RestorePlan { tables: vec!["nowhere".into()], ..plan(home, RestoreMode::New, &format!("{database}_none")) };
        let error = restore(home, &database, &taken, &missing, &Bench::new(home)).await.unwrap_err();
        assert!(error.to_string().contains("nowhere"), "{}: {error}", home.label());
    }
}

#[tokio::test]
async fn definitions_and_rows_come_apart() {
    for home in homes().await {
        let home = home.as_ref();
        let database = home.make("apart").await;
        let before = home.contents(&database).await;
        let taken = take(home, &database).await;
        let copy = format!("{database}_copy");
        let of_content = |mode, content| RestorePlan { content, ..plan(home, mode, &copy) };
        restore_as(home, &database, &taken, of_content(RestoreMode::New, RestoreContent::Schema)).await;
        let empty = home.contents(&copy).await;
        assert_eq!(empty.iter().map(|(_, rows)| rows.len()).collect::<Vec<_>>(), [0, 0], "{}", home.label());
        restore_as(home, &database, &taken, of_content(RestoreMode::Append, RestoreContent::Data)).await;
        assert_eq!(home.contents(&copy).await, before, "{}", home.label());
    }
}

#[tokio::test]
async fn a_chosen_table_that_was_emptied_gets_its_rows_back() {
    for home in homes().await {
        let home = home.as_ref();
        let database = home.make("emptied").await;
        let before = home.contents(&database).await;
        let taken = take(home, &database).await;
        let copy = format!("{database}_copy");
        restore_new(home, &database, &taken, &copy).await.unwrap();
        let again = RestorePlan { tables: vec!["customers".into()], ..plan(home, RestoreMode::Clean, &copy) };
        let outcome = restore(home, &database, &taken, &again, &Bench::new(home)).await.unwrap();
        assert_eq!(rows(&outcome.tables), [("customers", CUSTOMERS)], "{}", home.label());
        assert_eq!(home.contents(&copy).await, before, "{}: no row twice", home.label());
    }
}
