//! Keywords, recognised without the language model: synthesised here, played into a virtual microphone, and spotted by
//! the real daemon with its shipped keyword models.

use std::time::Duration;

use futures_util::StreamExt;
use gemmad_api::{CommandsProxy, Error, KeywordMeaning, SayOptions, VoiceState};
use gemmad_testbed::{Bus, Daemon, LOUDSPEAKER_RATE, Microphone, nano, speech};
use tokio::time::timeout;

const ROBOT: &str = include_str!("../../configs/commands/robot.toml");

/// Longest wait for any event.
const PATIENCE: Duration = Duration::from_mins(1);

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("took too long")
}

/// These texts as speech, after a second of silence, with `pause` ms of silence after each.
fn spoken(texts: &[&str], pause: u32) -> Vec<f32> {
    let mut sound = speech::silence(1000);
    for text in texts {
        sound.extend(speech::say(text, "en-us").unwrap());
        sound.extend(speech::silence(pause));
    }
    sound
}

#[tokio::test(flavor = "multi_thread")]
async fn what_follows_the_wake_word_or_an_answer_is_answered_and_nothing_else_is() {
    let bus = Bus::start().await.unwrap();
    let microphone = Microphone::alsa().unwrap();
    let setup = Daemon::setup(&bus).microphone(&microphone);
    let setup = setup
        .set("voice", "mode", "wake")
        .set("voice", "follow_up_ms", 3000);
    let daemon = setup.keyword("hey_gemma", "wake").start().await.unwrap();
    daemon.until_voice_is(VoiceState::Waiting).await.unwrap();
    let voice = daemon.voice();
    let mut woken = voice.receive_keyword().await.unwrap();
    let mut started = voice.receive_speech_started().await.unwrap();
    let mut replies = voice.receive_reply().await.unwrap();

    microphone
        .play(&spoken(&[nano::QUESTION], 1500))
        .await
        .unwrap();
    let sound = spoken(&["hey gemma", nano::QUESTION], 800);
    let (played, number) = tokio::join!(microphone.play(&sound), async {
        let signal = within(woken.next()).await.unwrap();
        let args = signal.args().unwrap();
        assert_eq!(
            (args.word.as_str(), args.meaning),
            ("hey_gemma", KeywordMeaning::Wake)
        );
        assert!(args.score >= 0.5, "{}", args.score);
        daemon.until_voice_is(VoiceState::Listening).await.unwrap();
        within(started.next())
            .await
            .unwrap()
            .args()
            .unwrap()
            .utterance
    });
    played.unwrap();
    assert_eq!(number, 1, "what was said before was no utterance");
    let reply = within(replies.next()).await.unwrap();
    assert_eq!(reply.args().unwrap().text, nano::ANSWER);

    // A follow-up needs no wake word, for some time.
    daemon.until_voice_is(VoiceState::Listening).await.unwrap();
    let sound = spoken(&[nano::QUESTION], 800);
    let (played, reply) = tokio::join!(microphone.play(&sound), within(replies.next()));
    played.unwrap();
    let reply = reply.unwrap();
    let reply = reply.args().unwrap();
    assert_eq!((reply.utterance, reply.text.as_str()), (2, nano::ANSWER));
    daemon.until_voice_is(VoiceState::Waiting).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_wake_word_interrupts_the_assistant_which_hears_what_follows() {
    let bus = Bus::start().await.unwrap();
    let (loudspeaker, microphone) = Microphone::in_a_room(0.1).unwrap();
    let setup = Daemon::setup(&bus)
        .microphone(&microphone)
        .loudspeaker(&loudspeaker);
    let setup = setup
        .set("voice", "mode", "wake")
        .set("voice", "barge_in", false)
        .set("speech", "enabled", false);
    let daemon = setup.keyword("hey_gemma", "wake").start().await.unwrap();
    daemon.until_voice_is(VoiceState::Waiting).await.unwrap();
    let mut replies = daemon.voice().receive_reply().await.unwrap();
    let long = "One two three four five six seven eight nine ten. ".repeat(8);
    let (said, ()) = tokio::join!(
        daemon.voice().say(&long, SayOptions::default()),
        within(async {
            loudspeaker.sounds(0).await;
            // While the daemon speaks, it may hear the wake word only at the second attempt.
            while daemon.voice().state().await.unwrap() != VoiceState::Listening {
                let sound = spoken(&["hey gemma"], 600);
                microphone.play(&sound).await.unwrap();
            }
        })
    );
    assert!(matches!(said, Err(Error::Cancelled(_))), "{said:?}");
    microphone
        .play(&spoken(&[nano::QUESTION], 800))
        .await
        .unwrap();
    let reply = within(replies.next()).await.unwrap();
    assert_eq!(reply.args().unwrap().text, nano::ANSWER);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_was_answered_may_interrupt_without_the_wake_word_and_a_television_may_not() {
    let bus = Bus::start().await.unwrap();
    let (loudspeaker, microphone) = Microphone::in_a_room(0.2).unwrap();
    let setup = Daemon::setup(&bus)
        .microphone(&microphone)
        .loudspeaker(&loudspeaker);
    let setup = setup
        .set("voice", "mode", "wake")
        .set("voice", "follow_up_ms", 500)
        .set("speech", "enabled", false);
    let daemon = setup.keyword("hey_gemma", "wake").start().await.unwrap();
    daemon.until_voice_is(VoiceState::Waiting).await.unwrap();
    let mut replies = daemon.voice().receive_reply().await.unwrap();
    let mut started = daemon.voice().receive_speech_started().await.unwrap();
    let sound = spoken(&["hey gemma", nano::QUESTION], 800);
    let (played, reply) = tokio::join!(microphone.play(&sound), within(replies.next()));
    played.unwrap();
    assert_eq!(reply.unwrap().args().unwrap().text, nano::ANSWER);
    within(started.next()).await.unwrap();
    daemon.until_voice_is(VoiceState::Waiting).await.unwrap();

    let long = "One two three four five six seven eight nine ten. ".repeat(20);
    let (said, ()) = tokio::join!(daemon.voice().say(&long, SayOptions::default()), async {
        let begin = within(loudspeaker.sounds(0)).await;
        within(loudspeaker.reaches(begin + 2 * LOUDSPEAKER_RATE as usize)).await;
        let television: Vec<f32> = spoken(&["what is the weather like in the mountains"], 500)
            .iter()
            .map(|sample| sample * 0.15)
            .collect();
        microphone.play(&television).await.unwrap();
        let early = timeout(Duration::ZERO, started.next()).await;
        assert!(early.is_err(), "a television interrupted it");
        microphone
            .play(&spoken(&[nano::QUESTION], 800))
            .await
            .unwrap();
    });
    assert!(matches!(said, Err(Error::Cancelled(_))), "{said:?}");
    within(started.next()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_word_that_halts_does_so_without_the_model_whatever_the_mode() {
    let bus = Bus::start().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("robot.toml"), ROBOT).unwrap();
    let microphone = Microphone::alsa().unwrap();
    let setup = Daemon::setup(&bus)
        .commands(folder.path())
        .microphone(&microphone);
    let daemon = setup.keyword("stop", "halt").start().await.unwrap();
    daemon.until_voice_is(VoiceState::Waiting).await.unwrap();
    let commands = CommandsProxy::new(daemon.connection()).await.unwrap();
    let mut invoked = commands.receive_invoked().await.unwrap();
    let mut spotted = daemon.voice().receive_keyword().await.unwrap();
    let sound = spoken(&["stop"], 1000);
    let (played, (spotted, invoked)) = tokio::join!(microphone.play(&sound), async {
        (within(spotted.next()).await, within(invoked.next()).await)
    });
    played.unwrap();
    assert_eq!(
        spotted.unwrap().args().unwrap().meaning,
        KeywordMeaning::Halt
    );
    assert_eq!(invoked.unwrap().args().unwrap().name, "stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keyword_model_that_is_not_there_is_a_problem_by_name() {
    let bus = Bus::start().await.unwrap();
    let microphone = Microphone::alsa().unwrap();
    let setup = Daemon::setup(&bus).microphone(&microphone);
    let daemon = setup.keyword("no_such_word", "halt").start().await.unwrap();
    let mut problems = daemon.voice().receive_problem_changed().await;
    let problem = within(async {
        loop {
            let problem = problems.next().await.unwrap().get().await.unwrap();
            if !problem.is_empty() {
                return problem;
            }
        }
    })
    .await;
    assert!(problem.contains("no_such_word.onnx: "), "{problem}");
}
