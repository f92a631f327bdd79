//! Where log lines go: to journald when systemd started us, else readable to standard error.
//!
//! Both keep the structured fields of a line (`log`'s key-values: request number, tokens,
//! milliseconds); journald gets them as fields of their own. Prompts, transcripts and answers are
//! never logged.

use log::{LevelFilter, Log, Metadata, Record};
use systemd_journal_logger::{JournalLog, connected_to_journal};

use crate::config::Level;

/// Starts logging at `level`. Call once.
///
/// # Errors
/// When journald cannot be reached although standard error leads there, or logging was started
/// before.
pub fn start(level: Level) -> anyhow::Result<()> {
    let level = LevelFilter::from(level);
    let lines: Box<dyn Log> = if connected_to_journal() {
        Box::new(JournalLog::new()?.with_syslog_identifier("gemmad".into()))
    } else {
        Box::new(
            env_logger::Builder::new()
                .filter_level(level)
                .format_target(false)
                .build(),
        )
    };
    log::set_boxed_logger(Box::new(Ours { lines, level }))?;
    log::set_max_level(level);
    Ok(())
}

/// Lets through what concerns an operator: our own lines and llama.cpp's at the configured level, of
/// libraries only warnings, and nothing of the sound decoder, whose errors are the client's and
/// reach it as such.
struct Ours {
    lines: Box<dyn Log>,
    level: LevelFilter,
}

impl Ours {
    fn most(&self, target: &str) -> LevelFilter {
        let from = |name: &str| target.starts_with(name);
        if from("gemmad") || from("llama.cpp") {
            self.level
        } else if from("symphonia") {
            LevelFilter::Off
        } else {
            self.level.min(LevelFilter::Warn)
        }
    }
}

impl Log for Ours {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= self.most(metadata.target())
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            self.lines.log(record);
        }
    }

    fn flush(&self) {
        self.lines.flush();
    }
}
