//! What a newcomer touches first: the scripts, the image, the examples and the documents say only what is there.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use dbsnap::config::describe;

const SCRIPTS: &[&str] =
    &["scripts/demo", "scripts/test", "scripts/test-tools", "scripts/test-peers", "scripts/bench", "scripts/cli-docs", ".ci/run"];

#[test]
fn the_commands_that_the_readme_shows_exist_and_can_be_run() {
    let readme = read("README.md");
    let first_screen: String = readme.lines().take(40).collect::<Vec<_>>().join("\n");
    for command in ["./scripts/demo", "./scripts/test"] {
        assert!(first_screen.contains(command), "the first screen of README.md does not show {command}");
    }
    for script in SCRIPTS {
        let mode = fs::metadata(root(script)).unwrap_or_else(|cause| panic!("{script}: {cause}")).permissions().mode();
        assert_eq!(mode & 0o111, 0o111, "{script} is not executable");
        let read = Command::new("bash").arg("-n").arg(root(script)).output().expect("bash runs");
        assert!(read.status.success(), "{script}: {}", String::from_utf8_lossy(&read.stderr));
    }
}

#[test]
fn an_old_cargo_is_refused_before_anything_is_installed_or_built() {
    let folder = tempfile::tempdir().expect("a folder");
    let cargo = folder.path().join("cargo");
    fs::write(&cargo, "#!/bin/sh\necho 'cargo 1.80.1 (376290515 2024-07-16)'\n").expect("a stand-in for cargo");
    fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755)).expect("an executable");
    let path = format!("{}:/usr/bin:/bin", folder.path().display());
    for script in ["scripts/demo", "scripts/test", "scripts/bench", ".ci/run"] {
        let refused = Command::new(root(script)).env("PATH", &path).output().expect("the script runs");
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(!refused.status.success() && said.contains("cargo 1.80.1 is too old"), "{script}: {said}");
    }
}

#[test]
fn shellcheck_has_no_warning_about_the_scripts() {
    let scripts = SCRIPTS.iter().chain(&["scripts/requirements.sh"]).map(|script| root(script));
    let read = Command::new("shellcheck").arg("--severity=warning").args(scripts).output();
    let read = read.unwrap_or_else(|cause| panic!("shellcheck: {cause}: run scripts/test-tools (or apt-get install shellcheck)"));
    assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stdout));
}

#[test]
fn the_image_is_built_from_files_that_reach_the_builder() {
    let admitted: Vec<String> = read(".dockerignore").lines().filter_map(|line| line.strip_prefix('!')).map(str::to_owned).collect();
    for path in &admitted {
        assert!(root(path).exists(), ".dockerignore admits {path}, which does not exist");
    }
    // Files that the compiler reads into the program, besides the sources themselves.
    for needed in ["Cargo.toml", "Cargo.lock", "build.rs", "package.json", "package-lock.json", "src", "migrations", "static", "templates"]
    {
        assert!(admitted.iter().any(|path| path == needed), "the build needs {needed}, which .dockerignore keeps out");
    }
    for (file, included) in included_files() {
        assert!(
            admitted.iter().any(|path| included.starts_with(path)),
            "{file} includes {}, which .dockerignore keeps out",
            included.display()
        );
    }
    let dockerfile = read("Dockerfile");
    for line in dockerfile.lines().filter(|line| line.starts_with("COPY ") && !line.contains("--from=")) {
        let sources = line.split_whitespace().skip(1);
        for source in sources.clone().take(sources.count() - 1) {
            assert!(root(source).exists(), "Dockerfile copies {source}, which does not exist");
        }
    }
    assert!(!dockerfile.contains("--mount="), "the classic builder does not know RUN --mount");
}

#[test]
fn the_image_and_the_examples_set_only_variables_that_exist() {
    let known = variables();
    let is_known = |name: &str| known.contains(name) || name.strip_suffix("_FILE").is_some_and(|name| known.contains(name));

    let dockerfile = read("Dockerfile");
    let block = dockerfile.split("\nENV ").nth(1).and_then(|rest| rest.split("\nUSER").next()).expect("the image sets defaults");
    let set: Vec<_> = block.lines().filter_map(|line| line.trim().split_once('=')).map(|(name, _)| name.to_owned()).collect();
    assert!(set.contains(&"DATABASE_PATH".to_owned()), "without it the catalogue is lost with the container");
    for name in set {
        assert!(is_known(&name), "Dockerfile sets {name}, which the product does not read");
    }

    let compose = read("docker-compose.example.yml");
    let service = compose.split("\n  dbsnap:\n").nth(1).and_then(|rest| rest.split("\n  postgres:\n").next()).expect("a dbsnap service");
    let environment =
        service.split("    environment:\n").nth(1).and_then(|rest| rest.split("    secrets:").next()).expect("its environment");
    for line in environment.lines() {
        let name = line.trim().trim_start_matches("# ").split(':').next().unwrap_or_default();
        assert!(is_known(name), "docker-compose.example.yml sets '{name}', which the product does not read");
    }
}

#[test]
fn the_environment_example_lists_every_variable_with_its_default() {
    let example = read(".env.example");
    let assignments = example.lines().filter_map(|line| line.trim_start_matches("# ").split_once('='));
    let listed: Vec<_> = assignments.filter(|(name, _)| !name.contains(' ') && !name.starts_with("NAME_FILE")).collect();
    let expected: Vec<_> = describe().iter().map(|setting| (setting.name, setting.default)).collect();
    assert_eq!(listed, expected);
}

#[test]
fn links_between_the_documents_lead_somewhere() {
    let mut dead = Vec::new();
    for file in documents() {
        let folder = file.parent().expect("a folder").to_owned();
        for link in links(&fs::read_to_string(&file).expect("a readable document")) {
            let path = link.split('#').next().unwrap_or_default();
            if !path.is_empty() && !link.contains("://") && !folder.join(path).exists() {
                dead.push(format!("{}: {link}", file.display()));
            }
        }
    }
    assert!(dead.is_empty(), "dead links:\n{}", dead.join("\n"));
}

/// docs/reliability.md names a test for every fault it says is covered; the name must be that of a test.
#[test]
fn the_tests_that_the_reliability_page_names_exist() {
    let tests: BTreeSet<String> =
        ["src", "tests"].iter().flat_map(|folder| files_below(&root(folder))).flat_map(|file| functions(&file)).collect();
    let page = read("docs/reliability.md");
    let rows = page.lines().filter(|line| line.starts_with("| ") && line.ends_with('|'));
    let named: BTreeSet<String> = rows
        .filter_map(|row| row.trim_end_matches('|').rsplit('|').next())
        .flat_map(|cell| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>())
        .map(|path| path.rsplit("::").next().unwrap_or_default().to_owned())
        .collect();
    assert!(named.len() > 10, "the page names only {named:?}");
    let missing: Vec<_> = named.difference(&tests).collect();
    assert!(missing.is_empty(), "docs/reliability.md names tests that do not exist: {missing:?}");
}

#[test]
fn the_page_of_commands_is_what_the_program_prints() {
    let printed = Command::new(root("scripts/cli-docs")).arg(env!("CARGO_BIN_EXE_dbsnap")).output().expect("scripts/cli-docs runs");
    assert!(printed.status.success(), "{}", String::from_utf8_lossy(&printed.stderr));
    let same = String::from_utf8_lossy(&printed.stdout) == read("docs/cli.md");
    assert!(same, "docs/cli.md is out of date: scripts/cli-docs target/debug/dbsnap > docs/cli.md");
}

#[test]
fn the_changelog_knows_this_version() {
    let version = env!("CARGO_PKG_VERSION");
    assert!(read("CHANGELOG.md").contains(&format!("## [{version}]")), "CHANGELOG.md has no entry for {version}");
}

fn variables() -> BTreeSet<String> {
    describe().iter().map(|setting| setting.name.to_owned()).collect()
}

/// (source file, the file it includes relative to the package) of every `include_str!` and `include_bytes!` in `src`.
fn included_files() -> Vec<(String, PathBuf)> {
    let mut found = Vec::new();
    for file in files_below(&root("src")) {
        let text = fs::read_to_string(&file).expect("a readable source");
        for call in text.split("include_str!(\"").skip(1).chain(text.split("include_bytes!(\"").skip(1)) {
            let target = call.split('"').next().unwrap_or_default();
            let path = file.parent().expect("a folder").join(target);
            let path = path.canonicalize().unwrap_or_else(|cause| panic!("{}: {cause}", path.display()));
            found.push((file.display().to_string(), path.strip_prefix(root("")).expect("inside the package").to_owned()));
        }
    }
    found
}

/// Every document that people read, absolute.
fn documents() -> Vec<PathBuf> {
    let mut found: Vec<_> = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md"].iter().map(|name| root(name)).collect();
    found.extend(files_below(&root("docs")).into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "md")));
    found
}

/// The targets of `[text](target)` in a document.
fn links(text: &str) -> Vec<String> {
    text.split("](").skip(1).filter_map(|rest| rest.split(')').next()).map(str::to_owned).collect()
}

/// The names of the functions in a source file.
fn functions(file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let name = |rest: &str| rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default().to_owned();
    text.split("fn ").skip(1).map(name).collect()
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|cause| panic!("{}: {cause}", folder.display())) {
            let path = entry.expect("a readable folder").path();
            if path.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    found
}

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &str) -> String {
    fs::read_to_string(root(path)).unwrap_or_else(|cause| panic!("{path}: {cause}"))
}
