//! The demonstration needs nothing but the binary.

use super::Place;

#[test]
fn the_demo_shows_each_step_and_leaves_what_it_says() {
    let place = Place::new();
    let said = place.command(&["demo", "--once", "--dir", "shown"]).output().unwrap();
    let said = super::Said::from(said).ok();
    for words in [
        "1. Made a shop",
        "2. Backed it up",
        "3. Changed it",
        "4. Backed it up again",
        "5. Verified both",
        "6. Restored the first",
        "orders 4000 (now 3000)",
    ] {
        assert!(said.out.contains(words), "'{words}' is not in: {}", said.out);
    }
    let count = |file: &str| {
        let connection = rusqlite::Connection::open(place.path("shown").join(file)).unwrap();
        connection.query_row("SELECT count(*) FROM orders", [], |row| row.get::<_, i64>(0)).unwrap()
    };
    assert_eq!((count("shop.db"), count("shop-as-it-was.db")), (3000, 4000));
    let said = place.command(&["demo", "--once", "--dir", "shown"]).output().unwrap();
    super::Said::from(said).failed(2, "shown");
}
