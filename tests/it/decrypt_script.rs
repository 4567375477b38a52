//! docs/decrypt.py opens what dbsnap seals, so that no backup depends on dbsnap.

use std::{
    path::Path,
    process::{Command, Output},
    sync::LazyLock,
};

use dbsnap::domain::compression::Compression;
use tempfile::TempDir;

use crate::pipeline::support::{PASSPHRASE, encrypted, noise, seal_all, spec};

/// Runs before the script: hides the zstd modules when told to, and notes the peak memory.
const SITE: &str = r#"
import atexit, os, sys
if "HIDE_ZSTD" in os.environ:
    sys.modules["zstandard"] = sys.modules["compression.zstd"] = None
@atexit.register
def peak():
    status = dict(line.split(":", 1) for line in open("/proc/self/status"))
    with open(os.path.join(os.path.dirname(__file__), "peak"), "w") as file:
        file.write(status["VmHWM"].split()[0])
"#;

/// A folder with one file in it.
pub struct Case {
    folder: TempDir,
    site: TempDir,
}

impl Case {
    pub fn new(name: &str, bytes: &[u8]) -> Self {
        let case = Self { folder: TempDir::new().unwrap(), site: TempDir::new().unwrap() };
        std::fs::write(case.site.path().join("sitecustomize.py"), SITE).unwrap();
        std::fs::write(case.folder.path().join(name), bytes).unwrap();
        case
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = python();
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/decrypt.py")).args(args);
        command.current_dir(self.folder.path()).env("PYTHONPATH", self.site.path()).env("ENCRYPTION_KEY", PASSPHRASE);
        command
    }

    pub fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Expects the script to fail with this code and message, and to leave nothing.
    pub fn refused(&self, command: &mut Command, code: i32, says: &str) {
        let before = self.files();
        let output = command.output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{stderr}");
        assert!(stderr.starts_with("decrypt.py: ") && stderr.contains(says), "{stderr}");
        assert_eq!(self.files(), before, "nothing is left behind");
    }

    fn files(&self) -> Vec<String> {
        let mut names: Vec<_> =
            std::fs::read_dir(self.folder.path()).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.folder.path().join(name)).unwrap()
    }
}

/// The interpreter, once it is known to have what the script needs.
fn python() -> Command {
    static FOUND: LazyLock<String> = LazyLock::new(|| {
        let program = std::env::var("DBSNAP_TEST_PYTHON").unwrap_or_else(|_| "python3".into());
        let found = Command::new(&program).args(["-c", "import cryptography, sys; print(sys.executable)"]).output();
        match found {
            Ok(output) if output.status.success() => String::from_utf8(output.stdout).unwrap().trim().to_owned(),
            _ => panic!("{program} with the package cryptography is needed: run scripts/test, or pip install cryptography"),
        }
    });
    Command::new(&*FOUND)
}

fn succeeded(output: &Output) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
async fn the_script_decrypts_every_kind_of_file() {
    for (name, compression) in
        [("shop.dump.zst.enc", Compression::Zstd(1)), ("shop.dump.gz.enc", Compression::Gzip(6)), ("shop.dump.enc", Compression::None)]
    {
        for size in [0, 64 << 10, (128 << 10) + 1] {
            let plain = noise(size, 3);
            let (stored, _) = seal_all(&plain, 256 << 10, encrypted(compression)).await.unwrap();
            let case = Case::new(name, &stored);
            succeeded(&case.run(&[name]));
            assert!(case.read("shop.dump") == plain, "{name} of {size} bytes");
            assert_eq!(case.files(), ["shop.dump", name]);
        }
    }
}

#[tokio::test]
async fn the_script_takes_the_passphrase_from_a_file_and_writes_where_it_is_told() {
    let (stored, _) = seal_all(b"plain", 256, encrypted(Compression::Zstd(1))).await.unwrap();
    let case = Case::new("a.enc", &stored);
    std::fs::write(case.folder.path().join("key"), format!("{PASSPHRASE}\n")).unwrap();
    succeeded(&case.command(&["a.enc", "-o", "out", "--passphrase-file", "key"]).env("ENCRYPTION_KEY", "another").output().unwrap());
    assert_eq!(case.read("out"), b"plain");
    case.refused(&mut case.command(&["a.enc", "-o", "out"]), 2, "exists already");
    succeeded(&case.run(&["a.enc", "-o", "out", "--force"]));
    succeeded(&case.run(&["a.enc", "-o", "out.zst", "--keep-compressed"]));
    assert_eq!(zstd::decode_all(&case.read("out.zst")[..]).unwrap(), b"plain");
    case.refused(case.command(&["a.enc", "-o", "other"]).env_remove("ENCRYPTION_KEY"), 2, "no passphrase");
}

#[tokio::test]
async fn without_zstd_the_script_writes_the_compressed_file_and_says_how_to_go_on() {
    let (stored, _) = seal_all(b"plain", 256, encrypted(Compression::Zstd(1))).await.unwrap();
    let case = Case::new("shop.dump.zst.enc", &stored);
    let output = case.command(&["shop.dump.zst.enc"]).env("HIDE_ZSTD", "1").env("PATH", "/nonexistent").output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(4) && stderr.contains("zstd -d 'shop.dump.zst'"), "{stderr}");
    assert_eq!(case.files(), ["shop.dump.zst", "shop.dump.zst.enc"]);
    assert_eq!(zstd::decode_all(&case.read("shop.dump.zst")[..]).unwrap(), b"plain");
}

#[tokio::test]
async fn the_script_leaves_nothing_of_a_file_that_does_not_open() {
    let (stored, _) = seal_all(&noise(300_000, 4), 256 << 10, encrypted(Compression::None)).await.unwrap();
    let open = |bytes: &[u8], says: &str| {
        let case = Case::new("a.enc", bytes);
        case.refused(&mut case.command(&["a.enc"]), 1, says);
    };
    let start = 10 + usize::from(stored[9]) + 256 * usize::from(stored[8]);
    for cut in [start, start + 65_552, stored.len() - 1] {
        open(&stored[..cut], "damaged or truncated at byte");
    }
    open(&stored[..start - 1], "damaged or truncated at byte 0");
    open(&stored[..5], "not a file that DBSnap encrypted");
    open(b"", "not a file that DBSnap encrypted");
    open(&[&stored[..], b"x"].concat(), "damaged or truncated at byte");
    let mut flipped = stored.clone();
    flipped[200_000] ^= 1;
    open(&flipped, "chunk 3 is not authentic");
    let mut swapped = stored.clone();
    swapped[start..start + 2 * 65_552].rotate_left(65_552);
    open(&swapped, "chunk 0 is not authentic");
    let (plain, _) = seal_all(b"plain", 256, spec(Compression::Zstd(1), None)).await.unwrap();
    open(&plain, "not a file that DBSnap encrypted");

    let case = Case::new("a.enc", &stored);
    case.refused(case.command(&["a.enc"]).env("ENCRYPTION_KEY", "some other passphrase of length"), 3, "the passphrase given makes key");
    case.refused(&mut case.command(&["missing.enc"]), 2, "missing.enc");
}

#[tokio::test]
async fn the_memory_of_the_script_does_not_grow_with_the_file() {
    let (stored, _) = seal_all(&vec![0; 200 << 20], 1 << 20, encrypted(Compression::Zstd(1))).await.unwrap();
    let case = Case::new("zeros.zst.enc", &stored);
    succeeded(&case.run(&["zeros.zst.enc"]));
    assert_eq!(std::fs::metadata(case.folder.path().join("zeros")).unwrap().len(), 200 << 20);
    let peak: u64 = std::fs::read_to_string(case.site.path().join("peak")).unwrap().parse().unwrap();
    assert!(peak < 80 << 10, "{peak} KiB");
}
