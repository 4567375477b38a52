//! The demo's own data: a small shop, the same at every run.

use std::path::Path;

use rusqlite::{Connection, params};

use crate::error::{Context, Error, Kind, Result};

const SCHEMA: &str = "
    CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT NOT NULL, email TEXT NOT NULL UNIQUE, plan TEXT NOT NULL, created_at TEXT NOT NULL);
    CREATE TABLE products (id INTEGER PRIMARY KEY, title TEXT NOT NULL, price_cents INTEGER NOT NULL CHECK (price_cents >= 0), details TEXT NOT NULL);
    CREATE TABLE orders (id INTEGER PRIMARY KEY, customer_id INTEGER NOT NULL REFERENCES customers (id), status TEXT NOT NULL, ordered_at TEXT NOT NULL);
    CREATE TABLE order_items (order_id INTEGER NOT NULL REFERENCES orders (id), product_id INTEGER NOT NULL REFERENCES products (id), quantity INTEGER NOT NULL, PRIMARY KEY (order_id, product_id)) WITHOUT ROWID;
    CREATE INDEX orders_by_customer ON orders (customer_id);
    CREATE VIEW revenue AS SELECT o.customer_id, sum(i.quantity * p.price_cents) AS cents FROM orders o JOIN order_items i ON i.order_id = o.id JOIN products p ON p.id = i.product_id GROUP BY o.customer_id;
";

const FIRST: [&str; 12] = ["Ada", "Bela", "Chen", "Dana", "Emil", "Fatou", "Goran", "Hana", "Ivo", "Jun", "Kaia", "Luis"];
const LAST: [&str; 10] = ["Moreau", "Novak", "Okafor", "Park", "Quist", "Rossi", "Sato", "Tran", "Ueda", "Vance"];
const GOODS: [&str; 8] = ["Teapot", "Notebook", "Desk lamp", "Wool scarf", "Bread knife", "Umbrella", "Atlas", "Chess set"];
const TABLES: [&str; 4] = ["customers", "products", "orders", "order_items"];

/// Makes the shop. Returns what is in it, for people. Errors when the file is there already.
pub fn create(path: &Path) -> Result<String> {
    if path.exists() {
        return Err(Error::conflict(format!("{} exists already", path.display())));
    }
    sql(path, |connection| {
        connection.execute_batch(SCHEMA)?;
        let transaction = connection.transaction()?;
        for id in 1..=240_i64 {
            let name = format!("{} {}", pick(&FIRST, id), pick(&LAST, id));
            let email = format!("{}.{id}@example.com", name.to_lowercase().replace(' ', "."));
            let plan = pick(&["free", "team", "business"], id);
            transaction.execute("INSERT INTO customers VALUES (?1, ?2, ?3, ?4, ?5)", params![id, name, email, plan, day(id)])?;
        }
        for id in 1..=80_i64 {
            let title = format!("{} no. {id}", pick(&GOODS, id));
            let details = format!(r#"{{"weight_g": {}, "tags": ["home", "gift"]}}"#, 100 + id * 7);
            transaction.execute("INSERT INTO products VALUES (?1, ?2, ?3, ?4)", params![id, title, 490 + id * 35, details])?;
        }
        for id in 1..=4000_i64 {
            let status = pick(&["paid", "sent", "delivered", "delivered"], id);
            transaction.execute("INSERT INTO orders VALUES (?1, ?2, ?3, ?4)", params![id, 1 + (id * 7) % 240, status, day(id)])?;
            for line in 0..1 + id % 4 {
                transaction.execute(
                    "INSERT INTO order_items VALUES (?1, ?2, ?3)",
                    params![id, 1 + (id * 3 + line * 11) % 80, 1 + (id + line) % 3],
                )?;
            }
        }
        transaction.commit()
    })?;
    Ok(words(&counts(path)?))
}

/// A day's work in the shop, with one accident. Returns what was done, for people.
pub fn change(path: &Path) -> Result<String> {
    sql(path, |connection| {
        let transaction = connection.transaction()?;
        for id in 241..=252_i64 {
            let name = format!("{} {}", pick(&FIRST, id), pick(&LAST, id / 2));
            let email = format!("new.{id}@example.com");
            transaction.execute("INSERT INTO customers VALUES (?1, ?2, ?3, 'free', ?4)", params![id, name, email, day(id)])?;
        }
        transaction.execute("UPDATE products SET price_cents = price_cents + 50 WHERE id % 10 = 0", [])?;
        transaction.execute("UPDATE customers SET email = 'ada@new.example' WHERE id = 12", [])?;
        transaction.execute("DELETE FROM order_items WHERE order_id IN (SELECT id FROM orders WHERE status = 'paid')", [])?;
        transaction.execute("DELETE FROM orders WHERE status = 'paid'", [])?;
        transaction.commit()
    })?;
    Ok("12 customers joined, 8 prices rose, one address changed, and someone deleted every paid order".into())
}

/// How two states differ in their counts, for people.
pub fn compare(now: &Path, then: &Path) -> Result<String> {
    let (now, then) = (counts(now)?, counts(then)?);
    let words: Vec<_> =
        TABLES.iter().zip(now.iter().zip(&then)).map(|(table, (now, then))| format!("{table} {then} (now {now})")).collect();
    Ok(format!("As it was: {}", words.join(", ")))
}

fn counts(path: &Path) -> Result<Vec<i64>> {
    sql(path, |connection| {
        TABLES.iter().map(|table| connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0))).collect()
    })
}

fn words(counts: &[i64]) -> String {
    TABLES.iter().zip(counts).map(|(table, rows)| format!("{rows} {table}")).collect::<Vec<_>>().join(", ")
}

fn sql<T>(path: &Path, work: impl FnOnce(&mut Connection) -> rusqlite::Result<T>) -> Result<T> {
    let naming = || format!("working on the demo's {}", path.display());
    let mut connection = Connection::open(path).context(Kind::Storage, naming)?;
    work(&mut connection).context(Kind::Storage, naming)
}

fn pick<'a>(from: &[&'a str], n: i64) -> &'a str {
    from[n.unsigned_abs() as usize % from.len()]
}

fn day(n: i64) -> String {
    format!("2026-{:02}-{:02} {:02}:{:02}:00", 1 + n % 10, 1 + n % 28, n % 24, n % 60)
}
