//! Digits with pauses between them, as people read a telephone number aloud: whether they are one utterance.

use anyhow::{Result, ensure};
use futures_util::{FutureExt, StreamExt};
use gemmad_api::VoiceState;
use gemmad_testbed::{Bus, Daemon, Microphone, Model, speech};
use xtask::command::root;

use super::levels;
use crate::{figure::Figure, setting::Bench};

/// Numbers and voices.
const NUMBERS: [(&str, &str); 10] = [
    ("4 5 2 9", "en-us"),
    ("0 1 7 3", "en-gb"),
    ("8 6 6 1", "en-us+f2"),
    ("2 2 5 0", "en-gb+m3"),
    ("9 3 1 4", "en-us+m5"),
    ("7 7 0 8", "en-gb+f4"),
    ("5 9 6 2", "en-us+f3"),
    ("1 4 8 3", "en-gb-scotland"),
    ("3 0 9 5", "en-us+m1"),
    ("6 8 2 7", "en-gb+m2"),
];

/// Silence between two digits, in ms.
const GAP: u32 = 500;

/// Measures it without commands, and with the catalogues that come with gemmad.
pub async fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let model = Model::nano();
    let mut figures = Vec::new();
    for (name, with_commands) in [("digits_whole", false), ("digits_whole_commands", true)] {
        let share = whole(bench, with_commands).await?;
        let beside = if with_commands { "with" } else { "without" };
        figures.push(
            Figure::new(name, "", vec![share], &model)?
                .goal("≥ 0.9")
                .meaning(&format!(
                    "Share of {} numbers of four digits, spoken into the microphone with {GAP} ms between the digits, that \
                     are one utterance, {beside} commands.",
                    NUMBERS.len()
                )),
        );
    }
    Ok(figures)
}

async fn whole(bench: &Bench, with_commands: bool) -> Result<f64> {
    let bus = Bus::start().await?;
    let microphone = Microphone::alsa()?;
    let setup = Daemon::setup(&bus)
        .binaries(bench.binaries.clone())
        .model(&Model::nano())
        .microphone(&microphone);
    let setup = if with_commands {
        setup.commands(&root().join("configs/commands"))
    } else {
        setup
    };
    let mut daemon = setup.start().await?;
    daemon.until_it_listens().await?;
    let mut started = daemon.voice().receive_speech_started().await?;
    let mut whole = 0_u32;
    for (digits, voice) in NUMBERS {
        microphone.play(&spoken(digits, voice)?).await?;
        daemon.until_voice_is(VoiceState::Waiting).await?;
        let utterances = std::iter::from_fn(|| started.next().now_or_never().flatten()).count();
        whole += u32::from(utterances == 1);
    }
    Ok(f64::from(whole) / f64::from(u32::try_from(NUMBERS.len())?))
}

/// Digits with silence between them, and 2.5 s behind them.
fn spoken(digits: &str, voice: &str) -> Result<Vec<f32>> {
    let mut sound = speech::silence(500);
    for digit in digits.split(' ') {
        sound.extend(trimmed(&speech::say(digit, voice)?)?);
        sound.extend(speech::silence(GAP));
    }
    sound.extend(speech::silence(2000));
    Ok(sound)
}

/// A sound without what is more than 35 dB below its loudest 10 ms, before and behind it.
fn trimmed(sound: &[f32]) -> Result<&[f32]> {
    let levels: Vec<_> = levels(sound).collect();
    let audible = levels.iter().copied().fold(0.0, f32::max) * 0.018;
    let is_audible = |level: &f32| *level >= audible;
    let first = levels.iter().position(is_audible).unwrap_or(0);
    let last = levels.iter().rposition(is_audible).unwrap_or(0);
    ensure!(last > first, "a digit was not spoken");
    let piece = speech::RATE as usize / 100;
    Ok(&sound[first * piece..((last + 1) * piece).min(sound.len())])
}
