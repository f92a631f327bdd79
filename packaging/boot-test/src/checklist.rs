//! Checks and their results, one line each.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use tokio::time::timeout;
use xtask::say;

/// Longest time for one check.
const LIMIT: Duration = Duration::from_mins(15);

/// The result of a check.
pub trait Finding {
    /// Details in a few words; empty if there are none.
    fn words(&self) -> &str;
}

impl Finding for () {
    fn words(&self) -> &'static str {
        ""
    }
}

impl Finding for String {
    fn words(&self) -> &str {
        self
    }
}

/// The checks so far.
#[derive(Debug, Default)]
pub struct Checklist {
    passed: usize,
    failed: Vec<String>,
}

impl Checklist {
    /// Does a check. A failure is recorded, and the other checks go on.
    pub async fn check<F: Finding>(&mut self, what: &str, check: impl Future<Output = Result<F>>) {
        // `tell` has printed and recorded the failure.
        let _ = self.tell(what, check, F::words).await;
    }

    /// Does a step that all following checks need.
    pub async fn must<T>(
        &mut self,
        what: &str,
        check: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        self.tell(what, check, |_| "").await
    }

    async fn tell<T>(
        &mut self,
        what: &str,
        check: impl Future<Output = Result<T>>,
        words: impl FnOnce(&T) -> &str,
    ) -> Result<T> {
        let begin = Instant::now();
        let found = timeout(LIMIT, check).await;
        let found = found.unwrap_or_else(|_| bail!("it took too long"));
        let took = begin.elapsed().as_secs_f64();
        match found {
            Ok(found) => {
                self.passed += 1;
                say::success(&match words(&found) {
                    "" => format!("{what} ({took:.1} s)"),
                    words => format!("{what}: {words} ({took:.1} s)"),
                });
                Ok(found)
            }
            Err(error) => {
                let error = error.context(format!("{what} ({took:.1} s)"));
                say::failure(&error);
                self.failed.push(what.into());
                Err(error)
            }
        }
    }

    /// Fails if a check has failed; the system is in the folder `root`.
    pub fn verdict(self, root: &Path) -> Result<()> {
        let Self { passed, failed } = self;
        if !failed.is_empty() {
            let all = passed + failed.len();
            bail!(
                "{} of {all} checks failed: {}; `journalctl --directory {}` shows what the system logged",
                failed.len(),
                failed.join("; "),
                root.join("var/log/journal").display()
            );
        }
        say::success(&format!("all {passed} checks passed"));
        Ok(())
    }
}

/// Polls `look` until it returns a value, for at most `patience`. For events without a notification.
pub async fn until<T>(
    what: &str,
    patience: Duration,
    mut look: impl AsyncFnMut() -> Result<Option<T>>,
) -> Result<T> {
    const PAUSE: Duration = Duration::from_millis(50);
    let begin = Instant::now();
    loop {
        if let Some(found) = look().await? {
            return Ok(found);
        }
        if begin.elapsed() > patience {
            bail!("{what} did not happen within {} s", patience.as_secs());
        }
        tokio::time::sleep(PAUSE).await;
    }
}
