//! Sets up tracing: text or JSON lines on standard error. A line inside a request or a job carries its id, because
//! the web server and the workers open a span for each.

use std::io::{self, IsTerminal};

use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    fmt::{self, MakeWriter},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use crate::{
    config::LogFormat,
    error::{Error, Result},
};

/// Starts logging for the whole process. `level` is a filter such as `info` or `info,dbsnap::jobs=debug`.
/// Errors when it is none, or when logging was started before.
pub fn init(level: &str, format: LogFormat) -> Result<()> {
    let filter = filter(level)?;
    let lines = lines(format, io::stderr().is_terminal(), io::stderr);
    tracing_subscriber::registry()
        .with(lines.with_filter(filter))
        .try_init()
        .map_err(|cause| Error::internal("logging was started before").source(cause))
}

fn filter(level: &str) -> Result<EnvFilter> {
    EnvFilter::builder().parse(level).map_err(|cause| Error::validation(format!("LOG_LEVEL '{level}' cannot be read")).source(cause))
}

fn lines<W>(format: LogFormat, colours: bool, to: W) -> Box<dyn Layer<Registry> + Send + Sync>
where
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    match format {
        LogFormat::Text => fmt::layer().with_ansi(colours).with_writer(to).boxed(),
        LogFormat::Json => fmt::layer().json().flatten_event(true).with_span_list(true).with_current_span(false).with_writer(to).boxed(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn written(format: LogFormat, level: &str) -> String {
        let kept = Kept::default();
        let writer = kept.clone();
        let subscriber =
            tracing_subscriber::registry().with(lines(format, false, move || writer.clone()).with_filter(filter(level).unwrap()));
        tracing::subscriber::with_default(subscriber, || {
            let _span = tracing::info_span!("job", job_id = "0198-a").entered();
            tracing::info!(bytes = 7, "copied\nforged line");
            tracing::debug!("not asked for");
        });
        let bytes = kept.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_json_line_carries_the_job_of_its_span() {
        let text = written(LogFormat::Json, "info");
        assert_eq!(text.lines().count(), 1, "{text}");
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&line["message"], &line["bytes"]), (&"copied\nforged line".into(), &7.into()));
        assert_eq!(line["spans"][0]["job_id"], "0198-a");
    }

    #[test]
    fn a_text_line_carries_the_job_of_its_span() {
        let text = written(LogFormat::Text, "info");
        assert!(text.contains("job_id=\"0198-a\"") && text.contains("copied"), "{text}");
        assert!(!text.contains("not asked for"));
        assert!(filter("dbsnap=loud").is_err());
    }
}
