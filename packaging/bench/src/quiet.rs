//! Load of the machine by other work, which makes figures unreliable.

use std::time::Duration;

use anyhow::{Context, Result};

/// Time over which the load is observed, while no benchmark computes.
const WINDOW: Duration = Duration::from_secs(2);

/// Share of processor time that other work takes now, in percent.
pub async fn other_work() -> Result<f64> {
    let before = Times::read()?;
    tokio::time::sleep(WINDOW).await;
    let after = Times::read()?;
    let total = after.total - before.total;
    let idle = after.idle - before.idle;
    Ok(100.0 * (1.0 - idle / total.max(1.0)))
}

/// Processor time since boot, in ticks.
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
