//! The one way to start a child process: by argument list, in its own process group, with an environment of its own.
//!
//! Nothing is inherited but PATH. Secrets belong in [`Program::env`] or a file, never in an argument; those named by
//! [`Program::secret`] are masked in everything the child says. A child that is dropped is killed with its whole group.

use std::{
    collections::VecDeque,
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader},
    process::{ChildStderr, ChildStdin, ChildStdout},
    sync::mpsc,
    task::JoinHandle,
    time::timeout,
};

use self::cgroup::Cage;
use crate::{
    domain::{
        job::LogLevel,
        run::Run,
        secret::Secret,
        stream::{ByteSender, PIECE},
    },
    error::{Context, Error, Kind, Result},
};

mod cgroup;
pub mod limits;

/// How long a child may take to end after SIGTERM, before SIGKILL.
const GRACE: Duration = Duration::from_secs(3);
/// Capacity of the pipe a child writes to, bytes: fewer wake-ups than with the usual 64 KiB.
const PIPE: usize = 1024 * 1024;
/// How often a child is looked at that has yet to write.
const BEGIN_PERIOD: Duration = Duration::from_millis(5);
/// Lines of standard error kept for the error message.
const TAIL: usize = 12;
/// Longest kept part of a line of standard error, bytes.
const LINE: usize = 4096;

/// What is called with each line of standard error, secrets already masked; it says how the line is logged.
pub type Watch = Box<dyn FnMut(&str) -> LogLevel + Send>;

/// A program about to be started.
pub struct Program {
    path: PathBuf,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    secrets: Vec<Secret>,
    stdin: bool,
    stdout: bool,
    stall: Option<Duration>,
    watch: Option<Watch>,
}

impl Program {
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            args: Vec::new(),
            env: Vec::new(),
            secrets: Vec::new(),
            stdin: false,
            stdout: false,
            stall: None,
            watch: None,
        }
    }

    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    pub fn args<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Masks this text in the child's output.
    pub fn secret(mut self, secret: Secret) -> Self {
        self.secrets.push(secret);
        self
    }

    /// Pipes standard input, to be written with [`Child::take_from`]; else it is empty.
    pub fn stdin(mut self) -> Self {
        self.stdin = true;
        self
    }

    /// Pipes standard output, to be read with [`Child::send_to`] or [`Child::read_all`]; else it is discarded.
    pub fn stdout(mut self) -> Self {
        self.stdout = true;
        self
    }

    /// Ends the child when its standard output stays silent, or its standard input is not read, for this long.
    pub fn stall(mut self, after: Duration) -> Self {
        self.stall = Some(after);
        self
    }

    /// Sees each line of standard error. Without it lines are logged by the words `error:` and `warning:` in them.
    pub fn watch(mut self, watch: impl FnMut(&str) -> LogLevel + Send + 'static) -> Self {
        self.watch = Some(Box::new(watch));
        self
    }

    /// The file name, for messages.
    fn name(&self) -> String {
        self.path.file_name().unwrap_or(self.path.as_os_str()).to_string_lossy().into_owned()
    }

    /// Starts it. Its standard error goes line by line to the run's log.
    pub fn spawn(self, run: &Run) -> Result<Child> {
        run.check()?;
        let name = self.name();
        let cage = Cage::of(run).context(Kind::Internal, || format!("limiting what {name} may take"))?;
        let (program, args) = limits::wrapped(self.path.clone(), self.args, &run.limits, &cage)?;
        #[expect(clippy::disallowed_methods, reason = "this is the one place")]
        let mut command = tokio::process::Command::new(program);
        command
            .args(args)
            .env_clear()
            .env("LC_ALL", "C.UTF-8")
            .env("TZ", "UTC")
            .current_dir(&run.scratch)
            .stdin(if self.stdin { Stdio::piped() } else { Stdio::null() })
            .stdout(if self.stdout { Stdio::piped() } else { Stdio::null() })
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        if let Some(path) = std::env::var_os("PATH") {
            command.env("PATH", path);
        }
        command.envs(self.env);
        let mut inner = command.spawn().context(Kind::Internal, || format!("starting {}", self.path.display()))?;
        let stdin = inner.stdin.take();
        let stdout = inner.stdout.take();
        if let Some(pipe) = &stdout {
            // Refused beyond the user's share of pipe memory: the usual size works too, only slower.
            let _ = rustix::pipe::fcntl_setpipe_size(pipe, PIPE);
        }
        let stderr = inner.stderr.take().map(|pipe| tokio::spawn(relay(pipe, self.secrets, self.watch, run.clone())));
        let group = inner.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        Ok(Child { name, inner, group, stdin, stdout, stderr, stall: self.stall, cage })
    }

    /// Runs it to its end and returns what it wrote to standard output, at most `limit` bytes.
    pub async fn output(self, limit: usize, run: &Run) -> Result<Vec<u8>> {
        let mut child = self.stdout().spawn(run)?;
        let read = child.read_all(limit, run).await;
        match read {
            Ok(bytes) => child.success(run).await.map(|()| bytes),
            Err(error) => {
                child.kill().await;
                Err(error)
            }
        }
    }
}

/// A running child.
pub struct Child {
    name: String,
    inner: tokio::process::Child,
    /// `None` once every process of the group has been ended.
    group: Option<Pid>,
    stdin: Option<ChildStdin>,
    stdout: Option<ChildStdout>,
    stderr: Option<JoinHandle<VecDeque<String>>>,
    stall: Option<Duration>,
    /// Goes after the child, which it holds.
    cage: Cage,
}

/// How a child ended.
pub struct Ended {
    pub status: ExitStatus,
    /// The last lines of standard error.
    pub tail: Vec<String>,
}

impl Child {
    /// Sends standard output to `out` until it ends; returns the number of bytes. Whether the child ended well is
    /// for [`Child::success`] to tell. Only the child's silence counts as a stall, not a slow receiver.
    pub async fn send_to(&mut self, out: &ByteSender, run: &Run) -> Result<u64> {
        let Some(mut pipe) = self.stdout.take() else {
            return Err(Error::internal(format!("the output of {} is not piped", self.name)));
        };
        let mut sent = 0;
        loop {
            let mut piece = BytesMut::with_capacity(PIECE);
            let filled = run.until_cancelled(self.fill(&mut pipe, &mut piece)).await?;
            sent += filled as u64;
            let last = filled < PIECE;
            if filled > 0 {
                run.until_cancelled(async { Ok(out.send(piece.freeze()).await) })
                    .await?
                    .map_err(|_| Error::new(Kind::Backup, format!("the output of {} is no longer wanted", self.name)))?;
            }
            if last {
                return Ok(sent);
            }
        }
    }

    /// Waits until the child has written something to standard output, or has ended; nothing of it is read.
    pub async fn begun(&mut self, run: &Run) -> Result<()> {
        let waiting = async {
            loop {
                let waits = self.stdout.as_ref().map_or(Ok(1), rustix::io::ioctl_fionread);
                let ended = self.inner.try_wait().context(Kind::Internal, || format!("waiting for {}", self.name))?.is_some();
                if ended || waits.context(Kind::Internal, || format!("waiting for the output of {}", self.name))? > 0 {
                    return Ok(());
                }
                tokio::time::sleep(BEGIN_PERIOD).await;
            }
        };
        run.until_cancelled(waiting).await
    }

    /// The beginning of standard output: at least `least` bytes where there are so many. What follows is for
    /// [`Child::send_to`].
    pub async fn head(&mut self, least: usize, run: &Run) -> Result<Bytes> {
        let Some(mut pipe) = self.stdout.take() else {
            return Err(Error::internal(format!("the output of {} is not piped", self.name)));
        };
        let mut head = BytesMut::with_capacity(PIECE.max(least));
        let reading = async {
            while head.len() < least && self.read(&mut pipe, &mut head).await? > 0 {}
            Ok(())
        };
        let read = run.until_cancelled(reading).await;
        self.stdout = Some(pipe);
        read.map(|()| head.freeze())
    }

    /// Writes what arrives to standard input and closes it at the end. An error that arrives ends it too. A child that ends
    /// before it has read everything is no error here: why is for [`Child::success`] to tell. Only the child's slowness
    /// counts as a stall, not that of the sender.
    pub async fn take_from(&mut self, pieces: &mut mpsc::Receiver<Result<Bytes>>, run: &Run) -> Result<()> {
        let Some(mut pipe) = self.stdin.take() else {
            return Err(Error::internal(format!("the input of {} is not piped", self.name)));
        };
        while let Some(piece) = run.until_cancelled(async { Ok(pieces.recv().await) }).await? {
            let piece = piece?;
            let writing = async {
                let write = pipe.write_all(&piece);
                match self.stall {
                    None => Ok(write.await),
                    Some(limit) => timeout(limit, write).await.map_err(|_| {
                        Error::new(Kind::Restore, format!("{} took nothing for {} s and was ended", self.name, limit.as_secs()))
                            .hint("look for locks on the server, or raise the stall timeout")
                    }),
                }
            };
            match run.until_cancelled(writing).await? {
                Ok(()) => {}
                Err(cause) if cause.kind() == std::io::ErrorKind::BrokenPipe => return Ok(()),
                Err(cause) => return Err(cause).context(Kind::Internal, || format!("writing to {}", self.name)),
            }
        }
        Ok(())
    }

    /// Reads until the piece is full or the output ends; returns the bytes in it.
    async fn fill(&self, pipe: &mut ChildStdout, piece: &mut BytesMut) -> Result<usize> {
        while piece.len() < PIECE {
            let room = PIECE - piece.len();
            if self.read(&mut pipe.take(room as u64), piece).await? == 0 {
                break;
            }
        }
        Ok(piece.len())
    }

    async fn read(&self, pipe: &mut (impl AsyncRead + Unpin), piece: &mut BytesMut) -> Result<usize> {
        let read = pipe.read_buf(piece);
        let read = match self.stall {
            None => read.await,
            Some(limit) => timeout(limit, read).await.map_err(|_| {
                Error::new(Kind::Backup, format!("{} wrote nothing for {} s and was ended", self.name, limit.as_secs()))
                    .hint("look for locks on the server, or raise the stall timeout")
                    .retryable()
            })?,
        };
        read.context(Kind::Internal, || format!("reading the output of {}", self.name))
    }

    /// Reads standard output to its end. Errors when it is longer than `limit` bytes.
    pub async fn read_all(&mut self, limit: usize, run: &Run) -> Result<Vec<u8>> {
        let Some(pipe) = self.stdout.take() else {
            return Err(Error::internal(format!("the output of {} is not piped", self.name)));
        };
        let mut pipe = pipe.take(limit as u64 + 1);
        let mut bytes = BytesMut::new();
        while run.until_cancelled(self.read(&mut pipe, &mut bytes)).await? > 0 {}
        if bytes.len() > limit {
            return Err(Error::internal(format!("{} wrote more than {limit} bytes", self.name)));
        }
        Ok(bytes.into())
    }

    /// Waits for the end; on a cancel the whole group is ended first.
    pub async fn wait(mut self, run: &Run) -> Result<Ended> {
        let name = self.name.clone();
        let waited = run.until_cancelled(async { self.inner.wait().await.context(Kind::Internal, || format!("waiting for {name}")) }).await;
        match waited {
            Ok(status) => {
                // What the child may have left behind holds the pipe of standard error open.
                self.signal(Signal::KILL);
                self.group = None;
                let mut tail: Vec<String> = self.last_lines().await;
                if !status.success()
                    && let Some(limit) = self.cage.overrun()
                {
                    tail.push(format!(
                        "the system ended a process of this job because they took more than {limit} bytes of memory together"
                    ));
                }
                Ok(Ended { status, tail })
            }
            Err(error) => {
                self.kill().await;
                Err(error)
            }
        }
    }

    /// Waits for the end. Errors with the child's last words unless it exited with 0.
    pub async fn success(self, run: &Run) -> Result<()> {
        let name = self.name.clone();
        let ended = self.wait(run).await?;
        if ended.status.success() { Ok(()) } else { Err(ended.error(&name)) }
    }

    /// Ends the child and its group: SIGTERM, then SIGKILL after a grace. Returns its last words.
    pub async fn kill(mut self) -> Vec<String> {
        self.stdin = None;
        self.stdout = None;
        self.signal(Signal::TERM);
        if timeout(GRACE, self.inner.wait()).await.is_err() {
            self.signal(Signal::KILL);
            // Nothing survives SIGKILL; an error here means that it was already gone.
            let _ = self.inner.wait().await;
        }
        self.signal(Signal::KILL);
        self.group = None;
        self.last_lines().await
    }

    async fn last_lines(&mut self) -> Vec<String> {
        match self.stderr.take() {
            Some(relay) => timeout(GRACE, relay).await.ok().and_then(Result::ok).unwrap_or_default().into(),
            None => Vec::new(),
        }
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.group {
            // ESRCH: every process of the group has ended.
            let _ = kill_process_group(group, signal);
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

impl Ended {
    /// The error for an exit that was not 0.
    pub fn error(&self, name: &str) -> Error {
        let words = if self.tail.is_empty() { "it said nothing".to_owned() } else { self.tail.join("; ") };
        Error::new(Kind::Backup, format!("{name} failed ({}): {words}", self.status))
    }
}

/// Reads standard error to its end, line by line, into the log; returns the last lines.
async fn relay(pipe: ChildStderr, secrets: Vec<Secret>, mut watch: Option<Watch>, run: Run) -> VecDeque<String> {
    let mut lines = BufReader::new(pipe);
    let mut tail = VecDeque::with_capacity(TAIL);
    let mut buffer = Vec::new();
    while let Ok(read) = (&mut lines).take(LINE as u64).read_until(b'\n', &mut buffer).await
        && read > 0
    {
        let line = redact(String::from_utf8_lossy(&buffer).trim_end(), &secrets);
        buffer.clear();
        if line.is_empty() {
            continue;
        }
        let level = match &mut watch {
            Some(watch) => watch(&line),
            None => level_of(&line),
        };
        run.observer.log(level, &line);
        if level != LogLevel::Debug {
            if tail.len() == TAIL {
                tail.pop_front();
            }
            tail.push_back(line);
        }
    }
    tail
}

/// The level that the usual words of command line tools stand for.
pub fn level_of(line: &str) -> LogLevel {
    if line.contains("error:") || line.contains("fatal:") || line.contains("FATAL:") {
        LogLevel::Error
    } else if line.contains("warning:") || line.contains("WARNING:") {
        LogLevel::Warn
    } else {
        LogLevel::Info
    }
}

fn redact(line: &str, secrets: &[Secret]) -> String {
    let mut line = line.to_owned();
    for secret in secrets.iter().filter(|secret| !secret.expose().is_empty()) {
        line = line.replace(secret.expose(), "[redacted]");
    }
    line
}

/// True when `path` is a file that may be executed.
pub fn is_program(path: &Path) -> bool {
    path.is_file() && rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok()
}

/// The folders of PATH.
pub fn path_dirs() -> Vec<PathBuf> {
    std::env::var_os("PATH").as_deref().map(|path: &OsStr| std::env::split_paths(path).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
