//! Where log lines go: to journald when systemd started us, else readable to standard error.
//!
//! Both keep the structured fields of a line (`log`'s key-values: request number, tokens, milliseconds).
//! In the journal each is a field of its own, `GEMMAD_REQUEST`, `GEMMAD_TOKENS`, and a line with an
//! `event` has that event's `MESSAGE_ID` ([`super::event`]). Prompts and transcripts are logged only if
//! `[log] content` says so.

use log::kv::{Error, Key, Source, Value, VisitSource};
use log::{LevelFilter, Log, Metadata, Record};
use systemd_journal_logger::{JournalLog, connected_to_journal};

use super::event;
use crate::config::Level;

/// Starts logging at `level`. Call once.
///
/// # Errors
/// When journald cannot be reached although standard error leads there, or logging was started
/// before.
pub fn start(level: Level) -> anyhow::Result<()> {
    let lines: Box<dyn Log> = if connected_to_journal() {
        let journal = JournalLog::new()?.with_syslog_identifier("gemmad".into());
        Box::new(Journal(journal))
    } else {
        Box::new(
            env_logger::Builder::new()
                .filter_level(LevelFilter::Trace)
                .format_target(false)
                .build(),
        )
    };
    log::set_boxed_logger(Box::new(Ours(lines)))?;
    set_level(level);
    Ok(())
}

/// Logs at `level` from now on.
pub fn set_level(level: Level) {
    log::set_max_level(level.into());
}

/// Lets through what concerns an operator: our own lines and llama.cpp's at the configured level, of
/// libraries only warnings, and nothing of the sound decoder, whose errors are the client's and
/// reach it as such.
struct Ours(Box<dyn Log>);

fn most(target: &str) -> LevelFilter {
    let from = |name: &str| target.starts_with(name);
    if from("gemmad") || from("llama.cpp") {
        log::max_level()
    } else if from("symphonia") {
        LevelFilter::Off
    } else {
        log::max_level().min(LevelFilter::Warn)
    }
}

impl Log for Ours {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= most(metadata.target())
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            self.0.log(record);
        }
    }

    fn flush(&self) {
        self.0.flush();
    }
}

/// Journald, which gets our fields under our name.
struct Journal(JournalLog);

impl Log for Journal {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let fields = Fields::of(record);
        self.0.log(
            &Record::builder()
                .metadata(record.metadata().clone())
                .args(*record.args())
                .module_path(record.module_path())
                .file(record.file())
                .line(record.line())
                .key_values(&fields)
                .build(),
        );
    }

    fn flush(&self) {}
}

/// The fields of a line, as the journal has them.
#[derive(Debug, Default, PartialEq, Eq)]
struct Fields(Vec<(String, String)>);

impl Fields {
    fn of(record: &Record<'_>) -> Self {
        let mut fields = Self::default();
        // Collecting never fails.
        let _ = record.key_values().visit(&mut fields);
        let has_event = fields.0.iter().any(|(key, _)| key == "MESSAGE_ID");
        if record.level() == log::Level::Error && !has_event {
            fields.set_event("error");
        }
        fields
    }

    fn set_event(&mut self, name: &str) {
        if let Some(id) = event::id(name) {
            self.0.push(("MESSAGE_ID".into(), id.into()));
        }
        self.0.push(("GEMMAD_EVENT".into(), name.into()));
    }
}

impl<'kvs> VisitSource<'kvs> for Fields {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), Error> {
        match key.as_str() {
            "event" => self.set_event(&value.to_string()),
            key => self
                .0
                .push((format!("GEMMAD_{}", key.to_uppercase()), value.to_string())),
        }
        Ok(())
    }
}

impl Source for Fields {
    fn visit<'kvs>(&'kvs self, visitor: &mut dyn VisitSource<'kvs>) -> Result<(), Error> {
        self.0
            .iter()
            .try_for_each(|(key, value)| visitor.visit_pair(Key::from_str(key), Value::from(value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(level: log::Level, pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        let record = Record::builder().level(level).key_values(&pairs).build();
        Fields::of(&record).0
    }

    fn pair(key: &str, value: &str) -> (String, String) {
        (key.into(), value.into())
    }

    #[test]
    fn the_journal_gets_our_fields_under_our_name_and_the_event_as_its_message_id() {
        let line = [("event", "model-loaded"), ("ms", "12")];
        let id = event::id("model-loaded").unwrap();
        assert_eq!(
            fields(log::Level::Info, &line),
            [
                pair("MESSAGE_ID", id),
                pair("GEMMAD_EVENT", "model-loaded"),
                pair("GEMMAD_MS", "12"),
            ]
        );
    }

    #[test]
    fn an_error_without_an_event_of_its_own_is_the_event_error() {
        let id = event::id("error").unwrap();
        let expected = [pair("MESSAGE_ID", id), pair("GEMMAD_EVENT", "error")];
        assert_eq!(fields(log::Level::Error, &[]), expected);
        assert_eq!(fields(log::Level::Info, &[]), []);
    }
}
