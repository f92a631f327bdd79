//! Where log lines go: to journald when systemd started us, else readable to standard error.
//!
//! Both keep the structured fields of a line (`log`'s key-values: request number, tokens,
//! milliseconds); journald gets them as fields of their own. Prompts, transcripts and answers are
//! never logged.

use systemd_journal_logger::{JournalLog, connected_to_journal};

use crate::config::Level;

/// Starts logging at `level`. Call once.
///
/// # Errors
/// When journald cannot be reached although standard error leads there, or logging was started
/// before.
pub fn start(level: Level) -> anyhow::Result<()> {
    let level = log::LevelFilter::from(level);
    if connected_to_journal() {
        JournalLog::new()?
            .with_syslog_identifier("gemmad".into())
            .install()?;
        log::set_max_level(level);
    } else {
        env_logger::Builder::new()
            .filter_level(level)
            .format_target(false)
            .try_init()?;
    }
    Ok(())
}
