//! Checks of gemmactl's output.

use anyhow::{Result, ensure};
use gemmad_testbed::nano::ANSWER;

/// Checks that gemmactl printed the answer to the command.
pub fn is_answer(printed: &str) -> Result<()> {
    let answer = printed.trim();
    ensure!(answer == ANSWER, "the answer is `{answer}`");
    Ok(())
}

/// Checks that `gemmactl status` printed the state `ready`.
pub fn is_ready(status: &str) -> Result<()> {
    ensure!(status.starts_with("state       ready\n"), "{status}");
    Ok(())
}
