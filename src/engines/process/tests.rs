//! Children that write, read, fail, hang and leave others behind.

use std::sync::{Arc, Mutex};

use tokio_util::sync::CancellationToken;

use super::*;
use crate::domain::{
    events::Progress,
    run::{Learned, Observer},
    stream::channel,
};

#[derive(Default)]
struct Lines(Mutex<Vec<String>>);

impl Observer for Lines {
    fn log(&self, level: LogLevel, message: &str) {
        self.0.lock().unwrap().push(format!("{level} {message}"));
    }

    fn progress(&self, _: &Progress) {}
}

fn run() -> (Run, Arc<Lines>) {
    let lines = Arc::new(Lines::default());
    (
        Run {
            cancel: CancellationToken::new(),
            observer: lines.clone(),
            scratch: std::env::temp_dir(),
            tool_dirs: Vec::new(),
            learned: Learned::default(),
            limits: Default::default(),
        },
        lines,
    )
}

fn sh(script: &str) -> Program {
    Program::new("/bin/sh").arg("-c").arg(script)
}

#[tokio::test]
async fn output_is_returned_and_the_environment_is_only_what_was_given() {
    let (run, _) = run();
    let env =
        sh("env | sort | grep -v -e ^PATH= -e ^PWD= -e ^_= -e ^SHLVL= -e ^OLDPWD=").env("PGUSER", "a b").output(4096, &run).await.unwrap();
    assert_eq!(String::from_utf8(env).unwrap(), "LC_ALL=C.UTF-8\nPGUSER=a b\nTZ=UTC\n");
    assert!(sh("head -c 5000 /dev/zero").output(4096, &run).await.is_err(), "more than the limit");
}

#[tokio::test]
async fn a_failing_child_is_an_error_with_its_last_words_and_no_secret() {
    let (run, lines) = run();
    let error = sh("echo 'x: error: hunter2 is wrong' >&2; exit 3").secret(Secret::new("hunter2")).output(10, &run).await.unwrap_err();
    assert_eq!(error.to_string(), "sh failed (exit status: 3): x: error: [redacted] is wrong");
    assert_eq!(*lines.0.lock().unwrap(), ["error x: error: [redacted] is wrong"]);
}

#[tokio::test]
async fn every_byte_is_sent_in_order() {
    let (run, _) = run();
    let mut child = sh("seq 1 200000").stdout().spawn(&run).unwrap();
    let (out, mut received) = channel();
    let reader = tokio::spawn(async move {
        let mut all = Vec::new();
        while let Some(piece) = received.recv().await {
            all.extend_from_slice(&piece);
        }
        all
    });
    let sent = child.send_to(&out, &run).await.unwrap();
    child.success(&run).await.unwrap();
    drop(out);
    let expected: String = (1..=200_000).map(|n| format!("{n}\n")).collect();
    assert_eq!((sent, reader.await.unwrap()), (expected.len() as u64, expected.into_bytes()));
}

#[tokio::test]
async fn the_beginning_can_be_read_before_the_rest() {
    let (run, _) = run();
    let mut child = sh("printf 'one\\n'; printf 'two\\nthree\\n'").stdout().spawn(&run).unwrap();
    let head = child.head(6, &run).await.unwrap();
    assert!(head.starts_with(b"one\ntw"));
    let (out, mut received) = channel();
    let sent = child.send_to(&out, &run).await.unwrap();
    drop(out);
    let mut all = head.to_vec();
    while let Some(piece) = received.recv().await {
        all.extend_from_slice(&piece);
    }
    assert_eq!((head.len() as u64 + sent, all), (14, b"one\ntwo\nthree\n".to_vec()));
}

#[tokio::test]
async fn input_is_written_until_it_ends_or_the_child_does() {
    let (run, _) = run();
    let feed = |pieces: Vec<Result<Bytes>>| {
        let (send, receive) = mpsc::channel(1);
        tokio::spawn(async move {
            for piece in pieces {
                if send.send(piece).await.is_err() {
                    return;
                }
            }
        });
        receive
    };
    let pieces = || (0..100).map(|_| Ok(Bytes::from(vec![b'x'; PIECE]))).collect::<Vec<_>>();
    let mut child = sh(&format!("test $(wc -c) = {}", 100 * PIECE)).stdin().spawn(&run).unwrap();
    child.take_from(&mut feed(pieces()), &run).await.unwrap();
    child.success(&run).await.unwrap();

    let mut child = sh("head -c 10; exit 3").stdin().spawn(&run).unwrap();
    child.take_from(&mut feed(pieces()), &run).await.unwrap();
    assert!(child.success(&run).await.is_err());

    let mut child = sh("cat").stdin().spawn(&run).unwrap();
    let mut broken = feed(vec![Ok(Bytes::from_static(b"x")), Err(Error::internal("broken"))]);
    assert_eq!(child.take_from(&mut broken, &run).await.unwrap_err().context, "broken");
    child.kill().await;

    let mut child = sh("sleep 600").stdin().stall(Duration::from_millis(300)).spawn(&run).unwrap();
    let stalled = child.take_from(&mut feed(pieces()), &run).await.unwrap_err();
    assert!(stalled.to_string().contains("took nothing"), "{stalled}");
    child.kill().await;
}

#[tokio::test]
async fn a_cancel_and_a_stall_end_the_whole_group() {
    let (run, _) = run();
    let mut child = sh("echo $$; sleep 600 & sleep 600").stdout().stall(Duration::from_millis(300)).spawn(&run).unwrap();
    let group = child.group.unwrap();
    let error = child.send_to(&channel().0, &run).await.unwrap_err();
    assert!(error.to_string().contains("wrote nothing"), "{error}");
    child.kill().await;
    gone(group).await;

    let child = sh("trap '' TERM; sleep 600 & wait").spawn(&run).unwrap();
    let group = child.group.unwrap();
    run.cancel.cancel();
    assert!(child.success(&run).await.unwrap_err().is_cancelled());
    gone(group).await;
}

/// Orphans are reaped by the init process, in its own time.
async fn gone(group: Pid) {
    let waiting = async {
        while rustix::process::test_kill_process_group(group).is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(10), waiting).await.expect("a process of the group is left");
}
