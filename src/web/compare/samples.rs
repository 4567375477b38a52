//! A made-up comparison with everything in it that a page may meet, hostile values included.

use crate::domain::{
    diff::*,
    ids::{BackupId, DatabaseId, DiffId, JobId},
    time::Moment,
};

/// Text that would be markup, turn the direction, or end a string.
pub const HOSTILE: &str = "<svg onload=alert(1)>\"'&\u{202e}\0";

pub fn value(text: &str) -> Option<ValueView> {
    Some(ValueView { text: Some(text.to_owned()), bytes: text.len() as u64, cut: false })
}

pub fn null() -> Option<ValueView> {
    Some(ValueView::default())
}

pub fn column(name: &str, type_name: &str, class: &str, changed: u64) -> ColumnDiff {
    ColumnDiff { name: name.into(), type_name: type_name.into(), class: class.into(), key: false, before: true, after: true, changed }
}

pub fn table(name: &str, added: u64, removed: u64, changed: u64) -> TableDiff {
    TableDiff { name: name.into(), added, removed, changed, unchanged: 4000, ..TableDiff::default() }
}

pub fn same(text: &str) -> CellView {
    CellView { changed: false, before: value(text), after: value(text), paths: Vec::new() }
}

pub fn changed(before: Option<ValueView>, after: Option<ValueView>) -> CellView {
    CellView { changed: true, before, after, paths: Vec::new() }
}

fn path(path: &str, before: Option<&str>, after: Option<&str>) -> PathChange {
    let change = match (before, after) {
        (None, _) => Change::Added,
        (_, None) => Change::Removed,
        _ => Change::Changed,
    };
    PathChange { path: path.into(), change, order: false, before: before.map(str::to_owned), after: after.map(str::to_owned) }
}

fn row(at: u64, kind: Change, key: &str, cells: Vec<CellView>) -> ChangeView {
    ChangeView { at, kind, key: vec![key.to_owned()], cells, counts: None }
}

/// The columns of `users`.
pub fn columns() -> Vec<ColumnDiff> {
    vec![
        ColumnDiff { key: true, ..column("id", "bigint", "integer", 0) },
        column("email", "varchar(200)", "text", 66),
        column("plan", "text", "text", 33),
        column("name", "text", "text", 0),
        column("profile", "jsonb", "json", 34),
        ColumnDiff { before: false, ..column("phone", "text", "text", 0) },
        column("updated_at", "timestamptz", "instant", 98),
        column(HOSTILE, "text", "text", 1),
    ]
}

/// A page of changed rows of `users`.
pub fn page() -> ChangePage {
    let gone = || CellView::default();
    let users = |at, id: &str, cells: [CellView; 7]| {
        let mut all = vec![same(id)];
        all.extend(cells);
        row(at, Change::Changed, id, all)
    };
    let moved = || changed(value("2026-11-16 14:30:22.104+00"), value("2026-11-16 15:02:59.871+00"));
    let few = CellView {
        paths: vec![path("/limits/dbs", Some("1"), Some("5"))],
        ..changed(value("{\"limits\":{\"dbs\":1}}"), value("{\"limits\":{\"dbs\":5}}"))
    };
    let many = CellView {
        paths: vec![
            path("/limits/dbs", Some("1"), Some("5")),
            path("/limits/users", None, Some("3")),
            path("/theme", Some("\"dark\""), None),
            path("/tags/0", Some("\"a\""), Some("\"b\"")),
            path(&format!("/{}", HOSTILE.replace('/', "~1")), Some(HOSTILE), None),
        ],
        ..changed(value("{}"), value("{}"))
    };
    let long = ValueView { text: Some("lorem ipsum dolor sit amet ".repeat(40)), bytes: 1_048_576, cut: true };
    let whole = |kind, at, id: &str, texts: [&str; 7]| {
        let cell = |text: &&str| match kind {
            Change::Added => changed(None, value(text)),
            _ => changed(value(text), None),
        };
        let mut cells = vec![cell(&id)];
        cells.extend(texts.iter().map(cell));
        row(at, kind, id, cells)
    };
    let changes = vec![
        users(
            0,
            "10482",
            [
                changed(value("anna@oldmail.com"), value("anna@newmail.com")),
                same("team"),
                same("Anna K."),
                same("{}"),
                gone(),
                moved(),
                same("x"),
            ],
        ),
        users(1, "10519", [same("jo@site.dev"), changed(value("free"), value("pro")), same("Jo"), few, gone(), moved(), same("x")]),
        users(
            2,
            "10733",
            [
                changed(value("m.schmid@firma.de"), value("m.schmidt@firma.de")),
                changed(value("pro"), null()),
                same("M. Schmidt"),
                many,
                gone(),
                moved(),
                same(""),
            ],
        ),
        users(
            3,
            "10734",
            [
                changed(Some(long), value("short@example.com")),
                changed(null(), value("NULL")),
                same("Größe 👩‍👧 名前"),
                same("{}"),
                gone(),
                moved(),
                changed(value(HOSTILE), value(&format!("{HOSTILE}!"))),
            ],
        ),
        whole(
            Change::Added,
            4,
            "12001",
            ["lee@startup.io", "free", "Lee", "{\"theme\":\"dark\"}", "+49 30 1234", "2026-11-16 15:02:59.871+00", ""],
        ),
        whole(Change::Added, 5, "12002", ["kim@agency.co", "free", "Kim", "{}", "", "2026-11-16 15:02:59.871+00", "x"]),
        whole(Change::Removed, 6, "9904", ["spam@bot.xyz", "free", "bot", "null", "", "2023-01-02 00:00:00+00", HOSTILE]),
    ];
    ChangePage { table: "public.users".into(), columns: columns(), changes, total: Some(115), ignored: 0, next: None }
}

fn schema() -> Vec<SchemaChange> {
    let change =
        |table: Option<&str>, object: &str, name: &str, change, text: &str, before: Option<&str>, after: Option<&str>| SchemaChange {
            table: table.map(str::to_owned),
            object: object.into(),
            name: name.into(),
            change,
            text: text.into(),
            before: before.map(str::to_owned),
            after: after.map(str::to_owned),
        };
    vec![
        change(
            Some("public.users"),
            "column",
            "email",
            Change::Changed,
            "column users.email: type varchar(80) → varchar(200)",
            Some("email varchar(80) NOT NULL"),
            Some("email varchar(200) NOT NULL"),
        ),
        change(Some("public.users"), "column", "phone", Change::Added, "column users.phone added: text", None, Some("phone text")),
        change(
            None,
            "view",
            "active_users",
            Change::Changed,
            "view active_users: its definition changed",
            Some("SELECT id, email\nFROM users\nWHERE plan <> 'free'"),
            Some("SELECT id, email, plan\nFROM users\nWHERE plan <> 'free'"),
        ),
        change(
            Some("public.orders"),
            "index",
            "orders_by_day",
            Change::Removed,
            "index orders_by_day removed",
            Some("CREATE INDEX orders_by_day ON orders (day)"),
            None,
        ),
    ]
}

/// What the made-up comparison found.
pub fn summary() -> DiffSummary {
    let users = TableDiff { columns: columns(), hidden: 3, ..table("public.users", 12, 3, 100) };
    let mut tables = vec![
        users,
        table("public.orders", 431, 2, 88),
        table("public.order_items", 1_204_511, 2, 0),
        table("public.products", 0, 1, 17),
        TableDiff { keyless: true, ..table("public.sessions", 402, 397, 0) },
        TableDiff { table: Some(Change::Added), ..table("public.coupons", 9, 0, 0) },
        TableDiff { table: Some(Change::Removed), ..table("public.legacy_things", 0, 40, 0) },
        TableDiff { renamed_from: Some("public.log".into()), sampled: Some(0.1), ..table("public.audit_log", 1, 0, 0) },
        table(&format!("public.{HOSTILE}"), 0, 0, 1),
        table("public.warehouse_replica_of_the_north_european_fulfilment_centre_orders_and_returns", 7, 0, 0),
    ];
    tables.extend((0..35).map(|i| table(&format!("public.unchanged_{i}"), 0, 0, 0)));
    let side = |kind: &str, moment| SideFacts { kind: kind.into(), moment: Some(Moment(moment)), rows: 602_255, ..SideFacts::default() };
    let provenance = Provenance {
        before: side("snapshot", 1_794_839_422_000),
        after: side("live", 1_794_841_022_000),
        tier: "fast".into(),
        notes: vec!["table sessions has no key: its rows are compared as a multiset".into()],
        leaves: 160_001,
        leaves_skipped: 159_812,
        rows: 1_204_511,
        rows_skipped: 1_190_000,
        duration_ms: 812,
    };
    DiffSummary { equal: false, tables, schema: schema(), provenance }
}

/// The made-up comparison.
pub fn diff() -> Diff {
    let database = DatabaseId::new();
    Diff {
        id: DiffId::new(),
        database_id: Some(database),
        database_name: "shop".into(),
        engine: "postgresql".into(),
        before: SideRef::BackupId(BackupId::new()),
        after: SideRef::DatabaseId(database),
        before_label: "2026-11-16 14:30:22 UTC (hourly)".into(),
        after_label: "live database".into(),
        options: DiffOptions { ignore_columns: vec!["users.last_seen".into()], ..DiffOptions::default() },
        status: DiffStatus::Completed,
        job_id: Some(JobId::new()),
        created_at: Moment(1_794_841_000_000),
        started_at: Some(Moment(1_794_841_000_000)),
        finished_at: Some(Moment(1_794_841_022_000)),
        error: None,
        report_size: 48_213,
        summary: Some(summary()),
    }
}
