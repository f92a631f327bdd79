//! `gemmactl timers`: timers and alarms.

use std::time::Duration;

use gemmad_api::{TimerInfo, TimersProxy, from_dict};
use humantime::format_duration;

use crate::{
    args::Timers,
    bus::Way,
    failure::Failure,
    terminal::{Output, count},
};

/// Lists, sets or cancels timers.
pub async fn run(what: &Timers, way: &Way) -> Result<(), Failure> {
    let connection = way.connect().await?;
    let proxy = TimersProxy::new(&connection).await?;
    let mut output = Output::new();
    match what {
        Timers::List { json } => {
            let all = proxy.list().await?.into_iter();
            let all = all.map(|it| from_dict(&it)).collect::<Result<Vec<_>, _>>();
            let all: Vec<TimerInfo> = all.map_err(|_| Failure::Garbled("list of timers"))?;
            if *json {
                return output.json(&all).await;
            }
            for timer in &all {
                output.line(&row(timer)).await?;
            }
            Ok(())
        }
        Timers::Set { time, name } => {
            let id = proxy.set(&name.join(" "), time.as_secs_f64()).await?;
            output.line(&id.to_string()).await
        }
        Timers::Cancel { id: Some(id), .. } => Ok(proxy.cancel(*id).await?),
        Timers::Cancel { id: None, .. } => {
            let cancelled = proxy.cancel_all().await? as usize;
            let said = format!("{} cancelled", count(cancelled, "timer"));
            output.line(&said).await
        }
    }
}

fn row(timer: &TimerInfo) -> String {
    let TimerInfo {
        id,
        name,
        left_ms,
        alarm,
    } = timer;
    let left = Duration::from_secs(left_ms.div_ceil(1000));
    let kind = if *alarm { "alarm" } else { "timer" };
    let row = format!("{id:<4} {kind}  in {}  {name}", format_duration(left));
    row.trim_end().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_which_it_is_and_when_it_rings() {
        let mut timer = TimerInfo {
            id: 3,
            name: "tea".into(),
            left_ms: 90_001,
            alarm: false,
        };
        assert_eq!(row(&timer), "3    timer  in 1m 31s  tea");
        (timer.name, timer.alarm) = (String::new(), true);
        assert_eq!(row(&timer), "3    alarm  in 1m 31s");
    }
}
