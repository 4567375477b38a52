//! Gathers the settings' texts from environment, secret files and config.json, and the problems on the way.

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::settings::{Setting, describe};
use crate::error::{Error, Result};

/// Where config.json is looked for when CONFIG_PATH does not name it: the working directory, then the container's volume.
const USUAL_PLACES: [&str; 2] = ["config.json", "/data/config.json"];

pub(super) struct Reader {
    values: HashMap<&'static str, String>,
    problems: Vec<(String, String)>,
}

impl Reader {
    pub(super) fn new(vars: impl IntoIterator<Item = (String, String)>, cwd: &Path) -> Self {
        let vars: HashMap<String, String> = vars.into_iter().filter(|(_, value)| !value.is_empty()).collect();
        let mut reader = Self { values: HashMap::new(), problems: Vec::new() };
        if let Some((path, text)) = reader.config_file(vars.get("CONFIG_PATH").map(|path| cwd.join(path)), cwd) {
            reader.read_json(&path, &text);
        }
        for setting in describe() {
            if let Some(value) = reader.environment(setting, &vars, cwd) {
                reader.values.insert(setting.name, value);
            }
        }
        reader
    }

    /// The setting, or its default. After a problem the default stands in until [`Reader::finish`] reports it.
    pub(super) fn value<T>(&mut self, name: &'static str, parse: impl Fn(&str) -> Result<T, String>) -> T {
        match self.optional(name, &parse) {
            Some(value) => value,
            None => parse(of(name).default).expect("the defaults are valid, which a test proves"),
        }
    }

    /// The setting, if it is set.
    pub(super) fn optional<T>(&mut self, name: &'static str, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        match parse(self.values.get(of(name).name)?) {
            Ok(value) => Some(value),
            Err(problem) => {
                self.problem(name, problem);
                None
            }
        }
    }

    pub(super) fn finish(self) -> Result<()> {
        if self.problems.is_empty() {
            return Ok(());
        }
        Err(Error::validation("the configuration is not valid").fields(self.problems).hint("docs/configuration.md lists every setting"))
    }

    pub(super) fn problem(&mut self, name: impl Into<String>, problem: impl Into<String>) {
        self.problems.push((name.into(), problem.into()));
    }

    fn environment(&mut self, setting: &Setting, vars: &HashMap<String, String>, cwd: &Path) -> Option<String> {
        let direct = vars.get(setting.name);
        let file_variable = format!("{}_FILE", setting.name);
        let Some(path) = vars.get(&file_variable).filter(|_| setting.secret) else { return direct.cloned() };
        if direct.is_some() {
            self.problem(setting.name, format!("and {file_variable} are both set: keep one"));
            return None;
        }
        match fs::read_to_string(cwd.join(path)) {
            Ok(text) if text.trim_end_matches(['\r', '\n']).is_empty() => {
                self.problem(file_variable, format!("names {path}, which is empty"))
            }
            Ok(text) => return Some(text.trim_end_matches(['\r', '\n']).to_owned()),
            Err(cause) => self.problem(file_variable, format!("names {path}, which cannot be read: {cause}")),
        }
        None
    }

    fn config_file(&mut self, named: Option<PathBuf>, cwd: &Path) -> Option<(PathBuf, String)> {
        let is_named = named.is_some();
        let places = named.map_or_else(|| USUAL_PLACES.map(|place| cwd.join(place)).to_vec(), |path| vec![path]);
        for path in places {
            match fs::read_to_string(&path) {
                Ok(text) => return Some((path, text)),
                Err(cause) if !is_named && cause.kind() == io::ErrorKind::NotFound => {}
                Err(cause) => {
                    self.problem(
                        if is_named { "CONFIG_PATH" } else { "config.json" },
                        format!("{} cannot be read: {cause}", path.display()),
                    );
                    return None;
                }
            }
        }
        None
    }

    fn read_json(&mut self, path: &Path, text: &str) {
        let shown = path.display();
        let entries = match serde_json::from_str::<Value>(text) {
            Ok(Value::Object(entries)) => entries,
            Ok(_) => return self.problem("config.json", format!("{shown} must hold one JSON object")),
            // serde_json's messages give line and column and, for an unexpected token, no values.
            Err(cause) => return self.problem("config.json", format!("{shown} is not JSON: {cause}")),
        };
        for (key, value) in entries {
            let Some(setting) = describe().iter().find(|setting| setting.key() == key) else {
                self.problem(key, format!("in {shown} is not a known setting"));
                continue;
            };
            match as_text(&value) {
                Some(text) if text.is_empty() => {}
                Some(text) => drop(self.values.insert(setting.name, text)),
                None => self.problem(key, format!("in {shown} must be text, a number, true or false, or a list of text")),
            }
        }
    }
}

fn of(name: &'static str) -> &'static Setting {
    describe().iter().find(|setting| setting.name == name).expect("every setting that is read is in the table, which a test proves")
}

/// A JSON value as the environment would spell it; a list is `:`-separated. `null` is absent.
fn as_text(value: &Value) -> Option<String> {
    match value {
        Value::Null => Some(String::new()),
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(on) => Some(on.to_string()),
        Value::Array(items) => items.iter().map(Value::as_str).collect::<Option<Vec<_>>>().map(|items| items.join(":")),
        Value::Object(_) => None,
    }
}
