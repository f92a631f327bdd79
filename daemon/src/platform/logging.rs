//! Logging: to journald if standard error is connected to it, else in readable form to standard error.
//!
//! Both keep the structured fields of a line (`log`'s key-values: request number, tokens, milliseconds).
//! In the journal each is a field of its own, `GEMMAD_REQUEST`, `GEMMAD_TOKENS`, and a line with an
//! `event` has that event's `MESSAGE_ID` ([`super::event`]). Prompts and transcripts are logged only if
//! `[log] content` is set. Every record stays one line ([`gemmad_text`]): it quotes files, programs and libraries,
//! and a line break in a file's name could forge a record.

use gemmad_text as text;
use log::kv::{Error, Key, Source, Value, VisitSource};
use log::{LevelFilter, Log, Metadata, Record};
use systemd_journal_logger::{JournalLog, connected_to_journal};

use super::event;

/// Most characters of a line, and of a field. A longer one, such as an answer with `[log] content`, is cut.
const LONGEST_LINE: usize = 16_384;

/// Starts logging at `level`. Call once.
///
/// # Errors
/// When journald cannot be reached although standard error is connected to it, or logging was started
/// before.
pub fn start(level: LevelFilter) -> anyhow::Result<()> {
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
    log::set_max_level(level);
    Ok(())
}

/// Filters the lines for an operator. Lines of gemmad and of llama.cpp pass at the configured level, and warnings and
/// errors of other libraries. Lines of the sound decoder never pass: its errors are due to the client's input, and the
/// client gets them.
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
        if !self.enabled(record.metadata()) {
            return;
        }
        let message = record.args().to_string();
        let fields = Fields::of(record);
        self.0.log(
            &Record::builder()
                .metadata(record.metadata().clone())
                .args(format_args!("{}", text::line(&message, LONGEST_LINE)))
                .module_path(record.module_path())
                .file(record.file())
                .line(record.line())
                .key_values(&fields)
                .build(),
        );
    }

    fn flush(&self) {
        self.0.flush();
    }
}

/// The fields of a record, each one line that is fit to be displayed.
#[derive(Debug, Default, PartialEq, Eq)]
struct Fields(Vec<(String, String)>);

impl<'kvs> VisitSource<'kvs> for Fields {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), Error> {
        let value = value.to_string();
        let value = text::line(&value, LONGEST_LINE).into_owned();
        self.0.push((key.to_string(), value));
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

/// The journal, with the names of fields prefixed by `GEMMAD_`.
struct Journal(JournalLog);

impl Log for Journal {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let fields = Fields::of_journal(record);
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

impl Fields {
    /// The fields of a record.
    fn of(record: &Record<'_>) -> Self {
        let mut fields = Self::default();
        // Collecting never fails.
        let _ = record.key_values().visit(&mut fields);
        fields
    }

    /// The fields of a record as the journal has them.
    fn of_journal(record: &Record<'_>) -> Self {
        let mut fields = Self::default();
        for (key, value) in Self::of(record).0 {
            match key.as_str() {
                "event" => fields.set_event(&value),
                key => fields
                    .0
                    .push((format!("GEMMAD_{}", key.to_uppercase()), value)),
            }
        }
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

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    fn fields(level: log::Level, pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        let record = Record::builder().level(level).key_values(&pairs).build();
        Fields::of_journal(&record).0
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

    /// Lines and their fields as they are written.
    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<(String, Fields)>>>);

    impl Log for Written {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }

        fn log(&self, record: &Record<'_>) {
            let line = (record.args().to_string(), Fields::of(record));
            self.0.lock().unwrap().push(line);
        }

        fn flush(&self) {}
    }

    #[test]
    fn what_is_logged_stays_one_line_and_controls_no_terminal() {
        let written = Written::default();
        let hostile = "nano\n[ERROR] forged \u{1b}[2J\u{202E}";
        let pairs = [("model", hostile)];
        log::set_max_level(LevelFilter::Info);
        Ours(Box::new(written.clone())).log(
            &Record::builder()
                .level(log::Level::Info)
                .target("gemmad")
                .args(format_args!("{hostile}"))
                .key_values(&pairs)
                .build(),
        );
        let cleaned = "nano [ERROR] forged \u{FFFD}[2J";
        let fields = Fields(vec![pair("model", cleaned)]);
        assert_eq!(
            written.0.lock().unwrap().as_slice(),
            [(cleaned.to_owned(), fields)]
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
