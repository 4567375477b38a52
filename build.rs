//! Fetches the front-end packages pinned in package.json and lays the files we serve into `static/vendor`.

use std::{env, fs, path::Path, process::Command};

/// (file inside node_modules, name under static/vendor)
const VENDORED: &[(&str, &str)] = &[("htmx.org/dist/htmx.min.js", "htmx.min.js"), ("htmx-ext-sse/dist/sse.min.js", "htmx-sse.min.js")];

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=package-lock.json");
    if env::var("PROFILE").is_ok_and(|profile| profile == "release") {
        // A release embeds the folder as it is now; a debug build reads it while it runs.
        println!("cargo:rerun-if-changed=static");
    }
    for (_, name) in VENDORED {
        println!("cargo:rerun-if-changed=static/vendor/{name}");
    }
    if !installed_as_locked() {
        npm_ci();
    }
    fs::create_dir_all("static/vendor").unwrap_or_else(|error| panic!("creating static/vendor: {error}"));
    for (source, name) in VENDORED {
        copy_if_different(&Path::new("node_modules").join(source), &Path::new("static/vendor").join(name));
    }
}

/// True when npm's own record of what it installed names the versions of package-lock.json, and the files are there.
fn installed_as_locked() -> bool {
    let versions = |path: &str| -> Option<Vec<String>> {
        let text = fs::read_to_string(path).ok()?;
        Some(text.lines().map(str::trim).filter(|line| line.starts_with("\"integrity\"")).map(str::to_owned).collect())
    };
    let installed = versions("node_modules/.package-lock.json");
    installed.is_some()
        && installed == versions("package-lock.json")
        && VENDORED.iter().all(|(source, _)| Path::new("node_modules").join(source).exists())
}

#[allow(clippy::disallowed_methods, reason = "the build runs npm; the rule is for the product")]
fn npm_ci() {
    match Command::new("npm").args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).output() {
        Ok(output) if output.status.success() => {}
        Ok(output) => panic!(
            "npm ci could not fetch the front-end packages: check that the package registry can be reached.\n{}",
            String::from_utf8_lossy(&output.stderr)
        ),
        Err(error) => {
            panic!("npm is needed to fetch the front-end packages ({error}): install Node 18 or newer, such as `apt-get install npm`")
        }
    }
}

/// Leaves an equal file alone, so that its time stamp does not set off another build.
fn copy_if_different(source: &Path, target: &Path) {
    let content = fs::read(source).unwrap_or_else(|error| panic!("reading {}: {error}", source.display()));
    if fs::read(target).ok().as_deref() != Some(content.as_slice()) {
        fs::write(target, content).unwrap_or_else(|error| panic!("writing {}: {error}", target.display()));
    }
}
