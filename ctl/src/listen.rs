//! `gemmactl listen`: spoken turns as they happen.

use std::time::Duration;

use futures_util::{Stream, StreamExt};
use gemmad_api::{Error, VoiceProxy, VoiceState};
use tokio::time::timeout;

use crate::{
    args::Listen,
    bus::Way,
    failure::Failure,
    interrupt::until_interrupted,
    notice::{Notice, notices},
    statistics::{cut, summary, whole},
    terminal::{self, Output, indented_by, labelled},
};

/// The label of an answer.
const ANSWER: &str = "answer: ";

/// Longest wait of an interrupted `listen --once` for the daemon's reply to `Stop`.
const PATIENCE: Duration = Duration::from_secs(1);

/// Shows all spoken turns until interrupted, or until the daemon goes away.
pub async fn live(options: &Listen, way: &Way) -> Result<(), Failure> {
    let voice = VoiceProxy::new(&way.connect().await?).await?;
    let mut notices = notices(&voice).await?;
    let mut output = Output::new();
    let mut growing = None;
    while let Some(notice) = notices.next().await {
        show(&notice, options, &mut output, &mut growing).await?;
        if notice == Notice::Gone {
            break;
        }
    }
    Err(Failure::WentAway)
}

/// Shows a notice. `growing` is the utterance whose answer is on the line that is not ended.
async fn show(
    notice: &Notice,
    options: &Listen,
    output: &mut Output,
    growing: &mut Option<u64>,
) -> Result<(), Failure> {
    if options.json {
        return output.json(notice).await;
    }
    let is_begun = |utterance: &u64| *growing == Some(*utterance);
    match notice {
        Notice::ReplyPiece { utterance, text } if is_begun(utterance) => {
            output.write(&indented_by(ANSWER, text)).await?;
            return Ok(());
        }
        Notice::Reply { utterance, .. } if is_begun(utterance) => {}
        Notice::ReplyPiece { text, .. } => {
            output.end_line().await?;
            output
                .write(&(ANSWER.to_owned() + &indented_by(ANSWER, text)))
                .await?;
        }
        // What comes between the pieces of an answer has a line of its own.
        Notice::Reply { text, .. } => {
            output.end_line().await?;
            output.write(&labelled(ANSWER, text)).await?;
        }
        Notice::Transcript { text, .. } => {
            output.end_line().await?;
            output.line(&labelled("heard: ", text)).await?;
        }
        Notice::State { .. } if growing.is_some() => {}
        other => {
            output.end_line().await?;
            remark(other);
        }
    }
    *growing = match notice {
        Notice::ReplyPiece { utterance, .. } => Some(*utterance),
        Notice::Reply { stats, .. } => {
            output.end_line().await?;
            if options.verbose {
                terminal::note(&summary(stats));
            }
            if let Some(message) = cut(stats) {
                terminal::note(&message);
            }
            None
        }
        Notice::Transcript { .. } | Notice::Failed { .. } => None,
        _ => *growing,
    };
    Ok(())
}

/// Writes a notice that is neither transcript nor answer to standard error.
fn remark(notice: &Notice) {
    match notice {
        Notice::SpeechStarted { .. } => terminal::note("listening ..."),
        Notice::PartialTranscript { text, .. } => {
            terminal::note(&labelled("hearing: ", text));
        }
        Notice::Keyword { word, .. } => terminal::note(&format!("keyword: {word}")),
        Notice::SpeechEnded { milliseconds, .. } => {
            terminal::note(&format!("thinking about {milliseconds} ms of speech ..."));
        }
        Notice::State {
            state: VoiceState::Speaking,
        } => terminal::note("speaking ..."),
        Notice::Failed { message, .. } => terminal::note(&format!("no answer: {message}")),
        Notice::Device { name } if name.is_empty() => terminal::note("no microphone is open"),
        Notice::Device { name } => terminal::note(&format!("microphone: {name}")),
        Notice::Problem { message } if !message.is_empty() => {
            terminal::note(&format!("problem: {message}"));
        }
        _ => {}
    }
}

/// Hears one utterance and prints its answer. When interrupted, it tells the daemon to stop listening.
pub async fn once(options: &Listen, way: &Way) -> Result<(), Failure> {
    let voice =
        until_interrupted(async { Ok(VoiceProxy::new(&way.connect().await?).await?) }).await?;
    let outcome = until_interrupted(push_to_talk(&voice, options)).await;
    if matches!(outcome, Err(Failure::Interrupted | Failure::Terminated)) {
        // The process ends, so a failure of this call no longer matters.
        let _ = timeout(PATIENCE, voice.stop()).await;
    }
    outcome
}

async fn push_to_talk(voice: &VoiceProxy<'static>, options: &Listen) -> Result<(), Failure> {
    let notices = notices(voice).await?;
    voice.listen().await?;
    let mut output = Output::new();
    let notice = answer(notices, options.json).await?;
    if options.json {
        output.json(&notice).await?;
    }
    let Notice::Reply { text, stats, .. } = notice else {
        return Ok(());
    };
    if !options.json {
        output.write(&text).await?;
        output.end_line().await?;
        if options.verbose {
            terminal::note(&summary(&stats));
        }
    }
    whole(&stats)
}

/// Waits for the answer to the first utterance that begins; other notices go to standard error.
async fn answer(
    mut notices: impl Stream<Item = Notice> + Unpin,
    quiet: bool,
) -> Result<Notice, Failure> {
    let mut ours = None;
    let mut before = VoiceState::Off;
    let mut heard = false;
    while let Some(notice) = notices.next().await {
        match &notice {
            Notice::SpeechStarted { utterance } => {
                ours.get_or_insert(*utterance);
            }
            Notice::SpeechEnded { utterance, .. } if ours == Some(*utterance) => heard = true,
            Notice::Reply { utterance, .. } if *utterance == *ours.get_or_insert(*utterance) => {
                return Ok(notice);
            }
            Notice::Failed {
                utterance,
                name,
                message,
            } if *utterance == *ours.get_or_insert(*utterance) => {
                return Err(Error::from_name(name, message.clone()).into());
            }
            Notice::State { state } => {
                // `Off` may also be the state before `Listen` takes effect, and again once the sound is
                // with the model. With a wake word, `Waiting` returns after a time without speech.
                let is_over = match state {
                    VoiceState::Off => before != VoiceState::Off,
                    VoiceState::Waiting => before == VoiceState::Listening,
                    _ => false,
                };
                if is_over && !heard {
                    return Err(unheard());
                }
                before = *state;
            }
            Notice::Gone => break,
            _ => {}
        }
        if !quiet {
            match &notice {
                Notice::Transcript { text, .. } => terminal::note(&labelled("heard: ", text)),
                other => remark(other),
            }
        }
    }
    Err(Failure::WentAway)
}

fn unheard() -> Failure {
    Failure::Cancelled(
        "nothing was heard: nobody spoke in time, listening was stopped, or the microphone was muted or went away. \
         `gemmactl status` says how it is"
            .into(),
    )
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use gemmad_api::Stats;

    use super::*;

    fn reply(utterance: u64) -> Notice {
        Notice::Reply {
            utterance,
            text: "Yes.".into(),
            stats: Stats::default(),
        }
    }

    #[test]
    fn a_notice_is_one_flat_json_line() {
        let notice = Notice::SpeechEnded {
            utterance: 3,
            milliseconds: 1200,
        };
        let line = r#"{"type":"speech_ended","utterance":3,"milliseconds":1200}"#;
        assert_eq!(serde_json::to_string(&notice).unwrap(), line);
        let gone = serde_json::to_string(&Notice::Gone).unwrap();
        assert_eq!(gone, r#"{"type":"gone"}"#);
    }

    #[tokio::test]
    async fn the_utterance_that_began_first_is_the_one_waited_for() {
        let notices = [
            Notice::SpeechStarted { utterance: 8 },
            reply(7),
            Notice::SpeechStarted { utterance: 9 },
            reply(8),
        ];
        let answer = answer(stream::iter(notices), true).await.unwrap();
        assert_eq!(answer, reply(8));
    }

    #[tokio::test]
    async fn a_daemon_that_leaves_ends_the_wait() {
        let outcome = answer(stream::iter([Notice::Gone]), true).await;
        assert!(matches!(outcome, Err(Failure::WentAway)));
    }

    #[tokio::test]
    async fn listening_that_is_stopped_before_the_end_of_speech_ends_the_wait() {
        let state = |state| Notice::State { state };
        for notices in [
            vec![
                state(VoiceState::Off),
                state(VoiceState::Waiting),
                state(VoiceState::Off),
            ],
            vec![
                state(VoiceState::Waiting),
                Notice::SpeechStarted { utterance: 1 },
                state(VoiceState::Off),
            ],
            // No speech in time: the voice waits for the wake word again.
            vec![
                state(VoiceState::Waiting),
                state(VoiceState::Listening),
                state(VoiceState::Waiting),
            ],
        ] {
            let outcome = answer(stream::iter(notices), true).await;
            assert!(matches!(outcome, Err(Failure::Cancelled(_))), "{outcome:?}");
        }
    }

    #[tokio::test]
    async fn an_answer_may_come_after_the_voice_is_off_again() {
        let notices = [
            Notice::State {
                state: VoiceState::Thinking,
            },
            Notice::SpeechStarted { utterance: 1 },
            Notice::SpeechEnded {
                utterance: 1,
                milliseconds: 900,
            },
            Notice::State {
                state: VoiceState::Off,
            },
            reply(1),
        ];
        let answer = answer(stream::iter(notices), true).await.unwrap();
        assert_eq!(answer, reply(1));
    }
}
