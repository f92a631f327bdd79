//! How busy the machine is with other work, which is what makes figures unreliable.

use std::time::Duration;

use anyhow::{Context, Result};

/// Time over which it is observed, while nothing of ours computes.
const WINDOW: Duration = Duration::from_secs(2);

/// Share of processor time, in percent, that other work takes now.
pub async fn other_work() -> Result<f64> {
    let before = Times::read()?;
    tokio::time::sleep(WINDOW).await;
    let after = Times::read()?;
    let total = after.total - before.total;
    let idle = after.idle - before.idle;
    Ok(100.0 * (1.0 - idle / total.max(1.0)))
}

/// Processor time since the start, in ticks.
struct Times {
    total: f64,
    idle: f64,
}

impl Times {
    fn read() -> Result<Self> {
        let text = std::fs::read_to_string("/proc/stat")?;
        let first = text.lines().next().context("/proc/stat is empty")?;
        let ticks = first.split_whitespace().skip(1).map(str::parse);
        let ticks: Vec<f64> = ticks.collect::<Result<_, _>>()?;
        // user, nice, system, idle, iowait, …: the fourth and fifth are idle.
        let idle = ticks.iter().skip(3).take(2).sum();
        Ok(Self {
            total: ticks.iter().take(8).sum(),
            idle,
        })
    }
}
