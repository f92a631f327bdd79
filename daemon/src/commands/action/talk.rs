//! An action on the conversation itself: the last words are said again, all is forgotten, or the assistant's own voice gets
//! louder or quieter.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::job::Job;
use crate::commands::{Kind, Name, Need, Origin, Parameter};

/// Factor of a step of the volume: about 3 dB.
const STEP: f32 = 1.4;

/// Quietest voice that steps lead to.
const QUIETEST: f32 = 0.05;

/// What becomes of the conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OfTalk {
    /// The last words are said again.
    Repeat,
    /// All that was said is forgotten.
    Forget,
    /// The assistant speaks louder.
    Louder,
    /// It speaks more quietly.
    Quieter,
    /// It speaks at a volume of `level` percent.
    Volume,
}

impl OfTalk {
    /// Checks that there are the parameters that it needs, and no others.
    ///
    /// # Errors
    /// The first problem found.
    pub(super) fn check(self, parameters: &BTreeMap<Name, Parameter>) -> Result<(), String> {
        let is_level = |(name, it): (&Name, &Parameter)| {
            let is_percent =
                matches!(it.kind, Kind::Integer { min, max, .. } if min >= 0 && max <= 100);
            name.as_str() == "level" && is_percent && it.need != Need::Optional
        };
        match self {
            Self::Volume if parameters.len() == 1 && parameters.iter().all(is_level) => Ok(()),
            Self::Volume => Err(
                "a `talk` action that sets the volume uses one parameter, `level`: an integer within 0 and 100, required or with a default"
                    .into(),
            ),
            _ if parameters.is_empty() => Ok(()),
            _ => Err("this `talk` action uses no parameters".into()),
        }
    }

    /// Does it, and says so.
    pub(super) fn run(self, job: &Job<'_>) -> String {
        let talk = job.talk;
        match self {
            Self::Repeat => talk
                .last()
                .unwrap_or_else(|| "I have not said anything.".into()),
            Self::Forget => {
                talk.forget();
                match job.origin {
                    Origin::Text { .. } => {
                        "I have forgotten what was said aloud. `gemmactl conversations forget` forgets what was typed."
                    }
                    Origin::Voice { .. } | Origin::Daemon => "I have forgotten what we said.",
                }
                .into()
            }
            Self::Louder => set(job, (talk.volume() * STEP).max(QUIETEST)),
            Self::Quieter => {
                let volume = talk.volume();
                set(job, (volume / STEP).max(QUIETEST.min(volume)))
            }
            Self::Volume => {
                let level = job.call.arguments.get("level").and_then(Value::as_u64);
                let percent = u8::try_from(level.unwrap_or(100)).unwrap_or(100);
                set(job, f32::from(percent) / 100.0)
            }
        }
    }
}

fn set(job: &Job<'_>, volume: f32) -> String {
    let volume = volume.clamp(0.0, 1.0);
    job.talk.set_volume(volume);
    format!("My voice is at {:.0} percent.", volume * 100.0)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use serde_json::json;

    use super::super::testing::action;
    use super::*;
    use crate::commands::Call;
    use crate::commands::talk::testing::Said;
    use crate::commands::timers::Timers;
    use crate::platform::environment::Environment;

    fn run(what: OfTalk, level: u32, talk: &Said) -> String {
        let call = Call {
            name: "talk".into(),
            arguments: serde_json::from_value(json!({ "level": level })).unwrap(),
        };
        what.run(&Job {
            id: 7,
            call: &call,
            origin: &Origin::Daemon,
            environment: &Environment::of_the_system(),
            timers: &Timers::new(None),
            talk,
        })
    }

    #[test]
    fn the_voice_gets_louder_and_quieter_within_bounds() {
        let talk = Said::nothing();
        for (what, percent) in [
            (OfTalk::Louder, "70"),
            (OfTalk::Louder, "98"),
            (OfTalk::Louder, "100"),
            (OfTalk::Quieter, "71"),
            (OfTalk::Volume, "30"),
        ] {
            let told = format!("My voice is at {percent} percent.");
            assert_eq!(run(what, 30, &talk), told);
        }
        run(OfTalk::Volume, 0, &talk);
        for (what, percent) in [(OfTalk::Quieter, "0"), (OfTalk::Louder, "5")] {
            let told = format!("My voice is at {percent} percent.");
            assert_eq!(run(what, 0, &talk), told);
        }
    }

    #[test]
    fn the_last_words_are_said_again_unless_they_are_forgotten() {
        let talk = Said(Mutex::new((Some("It is noon.".into()), 1.0)));
        assert_eq!(run(OfTalk::Repeat, 0, &talk), "It is noon.");
        run(OfTalk::Forget, 0, &talk);
        assert_eq!(run(OfTalk::Repeat, 0, &talk), "I have not said anything.");
    }

    #[test]
    fn an_action_has_the_parameters_that_it_needs() {
        let refused = action("action.talk = \"volume\"").unwrap_err();
        assert!(refused.contains("`level`"), "{refused}");
        let refused = action("action.talk = \"repeat\"").unwrap_err();
        assert!(refused.contains("no parameters"), "{refused}");
    }
}
