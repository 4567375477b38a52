//! `dbsnap decrypt`: an artifact to the plain format of the engine's own tools.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use futures_util::StreamExt;
use tokio::io::AsyncWriteExt;

use super::{input, terminal::Terminal};
use crate::{
    config::Config,
    domain::{events::Progress, run::Run, stream::ByteStream},
    error::{Context, Error, Kind, Result},
    pipeline::Limits,
    services::restore::source,
};

/// Decrypt and decompress an artifact to what pg_restore, psql or sqlite3 read.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  ENCRYPTION_KEY=... dbsnap decrypt shop_manual_20251116_143022_abc123.dump.zst.enc -o shop.dump")]
pub struct Args {
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Where to write; `-` is standard output. By default the file's name without .zst.enc, in this folder.
    #[arg(long, short, value_name = "OUT")]
    output: Option<PathBuf>,
    /// Replace an existing file.
    #[arg(long)]
    force: bool,
}

pub async fn run(args: Args, config: Config) -> Result<ExitCode> {
    let keys = input::key_ring(&config).await?;
    let path = input::existing(&args.file)?;
    let plain = source::open_file(&path, keys.as_ref(), Limits::default()).await?;
    let output = args.output.unwrap_or_else(|| default_output(&path));
    let terminal = Terminal::new(false);
    let (run, _scratch) = input::surroundings(&config, terminal.clone())?;
    if output == Path::new("-") {
        let written = copy(plain, &mut tokio::io::stdout(), &run).await;
        terminal.done();
        written?;
        return Ok(ExitCode::SUCCESS);
    }
    if output.exists() && !args.force {
        return Err(Error::validation(format!("{} exists already", output.display())).hint("choose another name with -o, or pass --force"));
    }
    let written = write(plain, &output, &run).await;
    terminal.done();
    println!("{}: {} bytes", output.display(), written?);
    Ok(ExitCode::SUCCESS)
}

/// Writes beside the target and renames at the end: a file under the final name is always whole.
async fn write(plain: ByteStream, output: &Path, run: &Run) -> Result<u64> {
    let naming = || format!("writing {}", output.display());
    let folder = output.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let temporary = tempfile::Builder::new().prefix(".dbsnap-").tempfile_in(folder).context(Kind::Storage, naming)?;
    let mut file = tokio::fs::File::from_std(temporary.reopen().context(Kind::Storage, naming)?);
    let size = copy(plain, &mut file, run).await?;
    file.sync_all().await.context(Kind::Storage, naming)?;
    temporary.persist(output).context(Kind::Storage, naming)?;
    Ok(size)
}

async fn copy(mut plain: ByteStream, out: &mut (impl tokio::io::AsyncWrite + Unpin), run: &Run) -> Result<u64> {
    let naming = || "writing the plain bytes".to_owned();
    let mut size = 0;
    while let Some(piece) = run.until_cancelled(async { plain.next().await.transpose() }).await? {
        out.write_all(&piece).await.context(Kind::Storage, naming)?;
        size += piece.len() as u64;
        run.progress(&Progress { stage: "decrypting".into(), bytes: size, ..Progress::default() });
    }
    out.flush().await.context(Kind::Storage, naming)?;
    Ok(size)
}

/// The file's name without the extensions of the layers that are taken off.
fn default_output(path: &Path) -> PathBuf {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let mut plain = name.as_str();
    for layer in [".enc", ".zst", ".gz"] {
        plain = plain.strip_suffix(layer).unwrap_or(plain);
    }
    PathBuf::from(if plain == name { format!("{name}.plain") } else { plain.to_owned() })
}
