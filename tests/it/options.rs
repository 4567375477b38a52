//! docs/options.md lists what each engine takes, from the same data that the forms are drawn from.

use std::{fmt::Write, fs, path::Path};

use dbsnap::{
    domain::fields::{Field, FieldKind},
    engines::{self, EngineInfo},
};

const INTRO: &str = "# Options of the engines

Connection settings go into the forms, into `settings` of `POST /api/databases`, and into the URLs of the command line. Dump options are
set per database (`backupOptions.engine`) or per backup, restore options per restore (`plan.engine`); on the command line both are
`--option NAME=VALUE`, with lists by repeating it. `GET /api/engines` answers the same as JSON.

A stored secret is never shown, and stays as it is when it is left blank, unless a setting marked * changes: those say where it is sent and how (a stronger TLS mode keeps it).

Compared with the program by a test; `UPDATE_DOCS=1 cargo test --test it options` writes it anew.
";

#[test]
fn the_page_of_options_is_what_the_engines_take() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/options.md");
    let page = engines::registry().iter().fold(INTRO.to_owned(), |page, engine| page + &section(engine.info()));
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &page).unwrap();
    }
    let same = fs::read_to_string(&path).unwrap_or_default() == page;
    assert!(same, "docs/options.md is out of date: UPDATE_DOCS=1 cargo test --test it options");
}

fn section(info: &EngineInfo) -> String {
    let words = |all: Vec<String>| all.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ");
    let mut text = format!("\n## {}\n\n", info.label);
    let schemes = words(info.schemes.iter().map(|scheme| format!("{scheme}:")).collect());
    let modes = words(info.restore_modes.iter().map(ToString::to_string).collect());
    let contents = words(info.restore_contents.iter().map(ToString::to_string).collect());
    writeln!(text, "Engine `{}`. URLs: {schemes}. Restore modes: {modes}. Restores of: {contents}.", info.id).unwrap();
    for (title, fields) in [("Connection", info.connection), ("Dump options", info.dump_options), ("Restore options", info.restore_options)]
    {
        write!(text, "\n### {title}\n\n| name | value | default | what it is |\n|---|---|---|---|\n").unwrap();
        fields.iter().for_each(|field| text.push_str(&row(field)));
    }
    text
}

fn row(field: &Field) -> String {
    let value = match field.kind {
        FieldKind::Text => "text".to_owned(),
        FieldKind::Secret => "secret text".to_owned(),
        FieldKind::SecretLines => "secret lines of text".to_owned(),
        FieldKind::Lines => "lines of text".to_owned(),
        FieldKind::Integer { min, max } => format!("{min} to {max}"),
        FieldKind::Bool => "`true` or `false`".to_owned(),
        FieldKind::Choice { of } => of.iter().map(|choice| format!("`{choice}`")).collect::<Vec<_>>().join(", "),
        FieldKind::Path => "path".to_owned(),
        FieldKind::List => "list of text".to_owned(),
    };
    let required = if field.required && field.default.is_empty() { ", required" } else { "" };
    let default = match (field.default, field.kind) {
        ("", FieldKind::Bool) => "`false`".to_owned(),
        ("", _) => String::new(),
        (default, _) => format!("`{default}`"),
    };
    let mark = if field.binds_secrets { " *" } else { "" };
    let help = if field.help.is_empty() { String::new() } else { format!(": {}", field.help) };
    format!("| `{}`{mark} | {value}{required} | {default} | {}{} |\n", field.name, field.label, help.replace('|', "\\|"))
}
