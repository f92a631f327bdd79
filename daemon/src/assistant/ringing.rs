//! A timer that rings: a sound and a sentence, again and again, until a person does something or a minute is over.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::commands::timers::{self, Due, Rung};
use crate::config::Config;
use crate::speak::{Earcon, Speech, SpeechError, Spoken};

/// How long a timer rings, and the pause between two times.
const LONGEST: Duration = Duration::from_mins(1);
const PAUSE: Duration = Duration::from_secs(3);

/// Lets a timer ring. Dropped, it falls silent.
pub async fn ring(speech: Speech, config: Arc<Config>, rung: Rung) {
    let end = Instant::now() + LONGEST;
    let words = words(&rung);
    let mut is_told = false;
    while Instant::now() < end {
        speech.signal(&config.speech, Earcon::Timer);
        let said = async {
            let speaking = speech.answer(&config.speech, Spoken::default())?;
            speaking.push(&words);
            speaking.finish().await
        };
        match said.await {
            Err(SpeechError::Stopped) => return,
            // Others may be speaking, or the loudspeaker may come back.
            Err(error) if !is_told => {
                log::warn!(timer = rung.timer.id; "a timer rings, but is not heard: {error}");
                is_told = true;
            }
            Ok(()) | Err(_) => {}
        }
        sleep(PAUSE).await;
    }
}

fn words(rung: &Rung) -> String {
    let name = &rung.timer.name;
    match rung.timer.due {
        Due::At(time) if name.is_empty() => format!("It is {}.", timers::clock(time)),
        _ if name.is_empty() => "The timer is over.".into(),
        _ => format!("The timer {name} is over."),
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::commands::timers::Timer;

    #[test]
    fn a_timer_says_which_it_is() {
        let said = |name: &str, due| {
            words(&Rung {
                timer: Timer {
                    id: 1,
                    name: name.into(),
                    due,
                },
                is_missed: false,
            })
        };
        let after = Due::In {
            uptime: Duration::ZERO,
            boot: 1,
            by: SystemTime::UNIX_EPOCH,
        };
        assert_eq!(said("", after), "The timer is over.");
        assert_eq!(said("tea", after), "The timer tea is over.");
        assert!(said("", Due::At(SystemTime::UNIX_EPOCH)).starts_with("It is "));
    }
}
