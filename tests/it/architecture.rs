//! The shape of the source tree: who may import whom, how files are named, how long they may grow.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Each room of `src/` and the other rooms it may import. Within its own room a file is free.
/// docs/architecture.md gives the reasons.
const ROOMS: &[(&str, &[&str])] = &[
    ("error", &[]),
    ("domain", &["error"]),
    ("snapshot", &["domain", "error"]),
    ("diff", &["snapshot", "domain", "error"]),
    ("engines", &["snapshot", "domain", "error"]),
    ("stores", &["domain", "error"]),
    ("notifiers", &["domain", "error"]),
    ("pipeline", &["domain", "error"]),
    ("auth", &["domain", "error"]),
    ("db", &["domain", "error"]),
    ("config", &["domain", "error"]),
    ("logging", &["config", "domain", "error"]),
    ("services", &["snapshot", "diff", "engines", "stores", "notifiers", "pipeline", "auth", "db", "config", "domain", "error"]),
    ("jobs", &["services", "config", "domain", "error"]),
    // The registries of engines, stores and notifiers are data: forms and validation are drawn from them.
    ("web", &["services", "engines", "stores", "notifiers", "config", "domain", "error"]),
    ("app", EVERYTHING),
    ("cli", EVERYTHING),
    ("main", EVERYTHING),
    ("lib", EVERYTHING),
];

const EVERYTHING: &[&str] = &[
    "error",
    "domain",
    "snapshot",
    "diff",
    "engines",
    "stores",
    "notifiers",
    "pipeline",
    "auth",
    "db",
    "config",
    "logging",
    "services",
    "jobs",
    "web",
    "app",
    "cli",
];

const LONGEST_FILE: usize = 600;

const VAGUE_NAMES: &[&str] = &["utils", "util", "helpers", "helper", "common", "manager", "misc"];

#[test]
fn rooms_import_only_what_the_table_allows() {
    let mut wrong = Vec::new();
    for file in rust_files("src") {
        let room = room_of(&file);
        let Some((_, allowed)) = ROOMS.iter().find(|(name, _)| *name == room) else {
            wrong.push(format!("{}: room '{room}' is not in the table: decide what it may import", file.display()));
            continue;
        };
        for (line, imported) in imports(&read(&file), module_depth(&file)) {
            if imported != room && !allowed.contains(&imported.as_str()) {
                wrong.push(format!("{}:{line}: {room} may not import {imported}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "imports in a wrong direction:\n{}", wrong.join("\n"));
}

#[test]
fn every_module_says_what_it_is_for() {
    let silent: Vec<_> = rust_files("src").into_iter().filter(|file| !read(file).starts_with("//!")).collect();
    assert!(silent.is_empty(), "these files do not begin with a //! line: {silent:?}");
}

#[test]
fn files_stay_short_and_have_telling_names() {
    let mut wrong = Vec::new();
    for file in ["src", "tests", "benches", "fuzz/fuzz_targets"].into_iter().flat_map(rust_files) {
        let lines = read(&file).lines().count();
        if lines > LONGEST_FILE {
            wrong.push(format!("{}: {lines} lines; give its second subject a file of its own", file.display()));
        }
        for part in file.with_extension("").iter().filter_map(|part| part.to_str()) {
            if VAGUE_NAMES.contains(&part) {
                wrong.push(format!("{}: '{part}' does not say what is inside", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_reader_of_imports_sees_every_form() {
    let check = |depth: usize, text: &str, expect: &[&str]| {
        let seen: BTreeSet<_> = imports(text, depth).into_iter().map(|(_, room)| room).collect();
        assert_eq!(seen, expect.iter().map(|room| (*room).to_owned()).collect(), "{text}");
    };
    check(2, "use crate::db::Db;", &["db"]);
    check(2, "use crate::{db::{self, jobs}, error::Error};\nuse crate::web as w;", &["db", "error", "web"]);
    check(2, "fn f() { crate::services::x(); let y: Vec<crate::domain::Id> = vec![]; }", &["services", "domain"]);
    check(2, "// crate::db\n/* crate::web /* nested */ crate::app */ const S: &str = \"crate::cli\";", &[]);
    check(2, "const S: &str = r#\"a \" crate::cli\"#; const C: char = '\"'; fn f<'a>(_: &'a str) { crate::jobs::go() }", &["jobs"]);
    check(1, "use super::web::router;", &["web"]);
    check(2, "use super::sibling; use super::super::web::router;", &["web"]);
    check(1, "mod tests { use super::jobs::own_child; use super::super::db; }", &["db"]);
    check(2, "macro_rules! m { () => { $crate::pipeline::seal() } }", &["pipeline"]);
}

/// The first part of every path from the crate's root, with its line number. `depth` is how many modules deep the
/// text stands below the root.
fn imports(text: &str, depth: usize) -> Vec<(usize, String)> {
    let tokens = tokens(text);
    let word = |at: usize| tokens.get(at).map_or("", |token| token.1.as_str());
    let mut found = Vec::new();
    let mut braces = 0;
    let mut inline_modules = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let mut path = None;
        match word(at) {
            "{" => braces += 1,
            "}" => {
                if inline_modules.last() == Some(&braces) {
                    inline_modules.pop();
                }
                braces -= 1;
            }
            "mod" if word(at + 2) == "{" => inline_modules.push(braces + 1),
            "crate" if word(at + 1) == "::" => path = Some(at + 2),
            "super" if word(at + 1) == "::" => {
                let start = at;
                while word(at) == "super" && word(at + 1) == "::" {
                    at += 2;
                }
                if (at - start) / 2 >= depth + inline_modules.len() {
                    path = Some(at);
                }
                at -= 1;
            }
            _ => {}
        }
        match path {
            Some(first) if word(first) == "{" => found.extend(group(&tokens, first)),
            Some(first) => found.push((tokens[first].0, word(first).to_owned())),
            None => {}
        }
        at += 1;
    }
    found
}

/// The first part of each path in the `{...}` group that opens at `open`.
fn group(tokens: &[(usize, String)], open: usize) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut depth = 0;
    for (at, (line, word)) in tokens.iter().enumerate().skip(open) {
        match word.as_str() {
            "{" => depth += 1,
            "}" => depth -= 1,
            _ if depth == 1 && matches!(tokens[at - 1].1.as_str(), "{" | ",") => found.push((*line, word.clone())),
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    found
}

/// Words, `::` and single signs with their line numbers; comments, strings and character literals are left out.
fn tokens(text: &str) -> Vec<(usize, String)> {
    let chars: Vec<char> = text.chars().collect();
    let seen = |at: usize, what: &str| what.chars().enumerate().all(|(i, c)| chars.get(at + i) == Some(&c));
    let mut found = Vec::new();
    let (mut at, mut line) = (0, 1);
    while at < chars.len() {
        let from = at;
        let c = chars[at];
        if seen(at, "//") {
            at = (at..chars.len()).find(|&i| chars[i] == '\n').unwrap_or(chars.len());
        } else if seen(at, "/*") {
            let mut depth = 0;
            loop {
                if seen(at, "/*") {
                    (depth, at) = (depth + 1, at + 2);
                } else if seen(at, "*/") {
                    (depth, at) = (depth - 1, at + 2);
                } else {
                    at += 1;
                }
                if depth == 0 || at >= chars.len() {
                    break;
                }
            }
        } else if let Some(hashes) = raw_string(&chars, at) {
            let end = format!("\"{}", "#".repeat(hashes));
            at = (at + hashes + 2..chars.len()).find(|&i| seen(i, &end)).unwrap_or(chars.len()) + end.len();
        } else if c == '"' {
            at += 1;
            while at < chars.len() && chars[at] != '"' {
                at += if chars[at] == '\\' { 2 } else { 1 };
            }
            at += 1;
        } else if c == '\'' && chars.get(at + 1) == Some(&'\\') {
            at = (at + 3..chars.len()).find(|&i| chars[i] == '\'').unwrap_or(chars.len()) + 1;
        } else if c == '\'' && chars.get(at + 2) == Some(&'\'') {
            at += 3;
        } else if c.is_alphanumeric() || c == '_' {
            at = (at..chars.len()).find(|&i| !chars[i].is_alphanumeric() && chars[i] != '_').unwrap_or(chars.len());
            found.push((line, chars[from..at].iter().collect()));
        } else if seen(at, "::") {
            found.push((line, "::".to_owned()));
            at += 2;
        } else {
            if !c.is_whitespace() {
                found.push((line, c.to_string()));
            }
            at += 1;
        }
        at = at.min(chars.len());
        line += chars[from..at].iter().filter(|&&c| c == '\n').count();
    }
    found
}

/// The number of `#` of the raw string that begins at `at`, if one does.
fn raw_string(chars: &[char], at: usize) -> Option<usize> {
    let in_a_word = at > 0 && (chars[at - 1].is_alphanumeric() && chars[at - 1] != 'b' || chars[at - 1] == '_');
    if chars[at] != 'r' || in_a_word {
        return None;
    }
    let hashes = chars[at + 1..].iter().take_while(|&&c| c == '#').count();
    (chars.get(at + 1 + hashes) == Some(&'"')).then_some(hashes)
}

/// The first folder or file name below `src/`.
fn room_of(file: &Path) -> String {
    let below = file.strip_prefix("src").expect("a file of src");
    let first = below.iter().next().expect("a name");
    Path::new(first).with_extension("").to_string_lossy().into_owned()
}

/// How many modules deep a file's text stands: `src/jobs/mod.rs` 1, `src/jobs/worker.rs` 2, `src/lib.rs` 0.
fn module_depth(file: &Path) -> usize {
    let parts = file.iter().count() - 1;
    match file.file_name().and_then(|name| name.to_str()) {
        Some("mod.rs" | "lib.rs" | "main.rs") => parts - 1,
        _ => parts,
    }
}

/// Every `.rs` file below `folder`, relative to the package, sorted.
fn rust_files(folder: &str) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut folders = vec![root.join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.expect("a readable folder").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path.strip_prefix(root).expect("below the package").to_owned());
            }
        }
    }
    found.sort();
    found
}

fn read(file: &Path) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap_or_else(|cause| panic!("{}: {cause}", file.display()))
}
