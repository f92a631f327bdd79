//! Barge-in, and false alarms in the assistant's own voice.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use futures_util::StreamExt;
use gemmad_api::{SayOptions, VoiceState};
use gemmad_testbed::{Bus, Daemon, Echo, LOUDSPEAKER_RATE, Loudspeaker, Microphone, Model, speech};
use tokio::time::timeout;
use xtask::say;

use super::{ECHO, PATIENCE, levels, onset};
use crate::{ask::ask, figure::Figure, nano::word_error_rate, setting::Bench};

/// The interruptions: texts and voices.
const SAID: [(&str, &str); 5] = [
    ("turn on the kitchen light", "en-gb"),
    ("stop that please", "en-us+f3"),
    ("what time is it", "en-gb+m2"),
    ("no not that one", "en-us+f2"),
    ("wait a moment", "en-us+m5"),
];

/// Interruptions that nano can write down, numbers as it writes them, and their voices; and how much louder the echo is, in dB.
const WRITTEN: [(&str, &str); 5] = [
    ("turn on the kitchen light", "en-gb"),
    ("turn off the lamp in the bedroom", "en-us+f3"),
    ("what time is it", "en-gb+m2"),
    ("set a timer for 10 minutes", "en-us+f2"),
    ("lock the front door", "en-us+m5"),
];
const LOUDER: f32 = 6.0;

/// Longest wait for the transcript of an interruption.
const WRITING: Duration = Duration::from_secs(8);

/// A microphone that gets the echo a quarter of a second late, as through a sound server and a television.
const LATE: Echo = Echo {
    delay: Duration::from_millis(250),
    ..ECHO
};

/// A small loudspeaker that is too loud: its peaks are limited.
const OVERDRIVEN: Echo = Echo {
    overdrive: 3.0,
    ..ECHO
};

/// The assistant's speech.
const LONG: &str = "I have found three recipes for you. The first one is a soup of lentils and tomatoes, with a little cumin. \
                    The second takes half an hour, and needs an oven, two aubergines and some yoghurt. If you would rather \
                    have something cold, there is a salad of beans and onions that children like as well. Tomorrow it will \
                    be sunny in the morning, with rain later in the afternoon, so take an umbrella when you leave. ";

/// Length of an answer that is generated meanwhile, in tokens.
const ANSWER: u32 = 200;

/// Time from the assistant's first sound to the first interruption, and increase for each further one, so that
/// interruptions meet both words and pauses.
const BEFORE: Duration = Duration::from_secs(4);
const LATER: Duration = Duration::from_millis(270);

/// Silence after which the assistant counts as stopped.
const SILENCE: Duration = Duration::from_millis(700);

/// Measures the time from an interruption to silence.
pub async fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let all = interruptions(bench, ECHO, &SAID, 0.0, 4).await?;
    let mut delays: Vec<_> = all.iter().filter_map(|it| it.late_ms).collect();
    ensure!(!delays.is_empty(), "nothing interrupted it");
    delays.sort_by(f64::total_cmp);
    let p95 = delays[(delays.len() * 95).div_ceil(100) - 1];
    let late = interruptions(bench, LATE, &SAID, 0.0, 2).await?;
    let overdriven = interruptions(bench, OVERDRIVEN, &SAID, 0.0, 2).await?;
    let louder = interruptions(bench, ECHO, &WRITTEN, LOUDER, 2).await?;
    let model = Model::nano();
    let figure = |name: &str, of: &[Interruption], is_one: fn(&Interruption) -> bool| {
        let count = of.iter().filter(|it| is_one(it)).count();
        #[expect(clippy::cast_precision_loss, reason = "a few dozen")]
        let share = count as f64 / of.len() as f64;
        Figure::new(name, "", vec![share], &model)
    };
    let is_heard = |it: &Interruption| it.is_heard;
    Ok(vec![
        Figure::new("barge_in_ms", "ms", delays, &model)?.meaning(
            "From when somebody speaks over the assistant, as loudly as its echo, to silence at the loudspeaker, whose \
             driver holds 30 ms.",
        ),
        Figure::new("barge_in_p95_ms", "ms", vec![p95], &model)?
            .goal("≤ 200 ms")
            .meaning("The same: all but one of twenty are sooner, or as soon."),
        figure("barge_in_heard", &all, is_heard)?.meaning(&format!(
            "Share of {} who are an utterance then, and silence it for good.",
            all.len()
        )),
        figure("barge_in_heard_late", &late, is_heard)?.meaning(&format!(
            "The same of {}, with an echo that is 250 ms late.",
            late.len()
        )),
        figure("barge_in_heard_overdriven", &overdriven, is_heard)?.meaning(&format!(
            "The same of {}, with a loudspeaker that limits its peaks.",
            overdriven.len()
        )),
        figure("barge_in_transcript", &louder, |it| it.is_written)?
            .goal("≥ 0.8")
            .meaning(&format!(
                "Share of {} whose words are written down without a mistake, with an echo {LOUDER} dB louder than they are.",
                louder.len()
            )),
    ])
}

/// What became of an interruption.
struct Interruption {
    /// Time until the assistant was silent, if it stopped.
    late_ms: Option<f64>,
    /// Whether it is an utterance, and the assistant stopped for good.
    is_heard: bool,
    /// Whether its transcript is right.
    is_written: bool,
}

/// Interrupts the assistant with each of these sentences, `rounds` times, in a room with this echo, which is `decibels`
/// louder than the sentences.
async fn interruptions(
    bench: &Bench,
    echo: Echo,
    said: &[(&str, &str)],
    decibels: f32,
    rounds: usize,
) -> Result<Vec<Interruption>> {
    let room = Room::open(bench, echo).await?;
    let mut all = Vec::new();
    for (nth, (text, voice)) in said.iter().cycle().take(rounds * said.len()).enumerate() {
        let before = BEFORE + LATER * u32::try_from(nth).unwrap_or(0);
        let mut sound = as_loud_as_the_echo(&speech::say(text, voice)?);
        let gain = 10_f32.powf(-decibels / 20.0);
        for sample in &mut sound {
            *sample *= gain;
        }
        all.push(room.interrupt(text, sound, before).await?);
    }
    Ok(all)
}

/// Counts false alarms while the assistant speaks for `minutes`, and for a sixth of that while it also answers, on
/// every core.
pub async fn monologue(bench: &Bench, minutes: u64) -> Result<Vec<Figure>> {
    let quiet = Monologue::hear(bench, ECHO, Duration::from_mins(minutes), false).await?;
    let sixth = minutes.div_ceil(6);
    let a_sixth = Duration::from_mins(sixth);
    let busy = Monologue::hear(bench, ECHO, a_sixth, true).await?;
    let late = Monologue::hear(bench, LATE, a_sixth, false).await?;
    let overdriven = Monologue::hear(bench, OVERDRIVEN, a_sixth, false).await?;
    let model = Model::nano();
    Ok(vec![
        Figure::new("self_wakes", "", vec![quiet.wakes], &model)?
            .goal("= 0")
            .meaning(&format!(
                "Utterances and keywords that it hears in {minutes} minutes of its own voice, in mode `always`, with an \
                 echo 10 dB below what it plays and 300 ms of reverberation.",
            )),
        Figure::new("self_pauses", "", vec![quiet.pauses], &model)?
            .meaning("How often it pauses for half a second meanwhile, to listen whether there is somebody."),
        Figure::new("self_wakes_busy", "", vec![busy.wakes], &model)?
            .goal("= 0")
            .meaning(&format!(
                "The same in {sixth} minutes in which it writes one answer after another meanwhile, on every core.",
            )),
        Figure::new("self_pauses_busy", "", vec![busy.pauses], &model)?
            .meaning("How often it pauses then."),
        Figure::new("self_wakes_late", "", vec![late.wakes], &model)?
            .goal("= 0")
            .meaning(&format!("`self_wakes` in {sixth} minutes, with an echo that is 250 ms late.")),
        Figure::new("self_wakes_overdriven", "", vec![overdriven.wakes], &model)?
            .goal("= 0")
            .meaning(&format!(
                "`self_wakes` in {sixth} minutes, with a loudspeaker that limits its peaks."
            )),
    ])
}

/// Numbers of false alarms in the assistant's own voice: speech or keywords heard, and pauses to listen for barge-in.
struct Monologue {
    wakes: f64,
    pauses: f64,
}

impl Monologue {
    /// Lets the assistant speak for `time`, while it also answers if it `is_busy`.
    async fn hear(bench: &Bench, echo: Echo, time: Duration, is_busy: bool) -> Result<Self> {
        let room = Room::open(bench, echo).await?;
        let voice = room.daemon.voice();
        let mut started = voice.receive_speech_started().await?;
        let mut spotted = voice.receive_keyword().await?;
        let end = Instant::now() + time;
        let mut wakes = 0;
        let speaking = async {
            while Instant::now() < end {
                // `Say` fails if a false alarm interrupts it; that is counted elsewhere.
                let _ = voice.say(LONG, SayOptions::default()).await;
            }
        };
        let mut speaking = std::pin::pin!(speaking);
        let mut answering = std::pin::pin!(answer_on(&room.daemon));
        loop {
            tokio::select! {
                () = &mut speaking => break,
                failed = &mut answering, if is_busy => failed?,
                Some(_) = started.next() => {
                    wakes += 1;
                    say::warning("it heard an utterance");
                }
                Some(word) = spotted.next() => {
                    wakes += 1;
                    say::warning(&format!("it heard {:?}", word.args()?));
                }
            }
        }
        let pauses = room.daemon.log().matches("somebody seems to speak").count();
        Ok(Self {
            wakes: f64::from(wakes),
            #[expect(clippy::cast_precision_loss, reason = "a few")]
            pauses: pauses as f64,
        })
    }
}

/// Asks for one answer after another, until one fails.
async fn answer_on(daemon: &Daemon) -> Result<()> {
    loop {
        ask(daemon, LONG, ANSWER).await?;
    }
}

/// An assistant that listens all the time, beside its loudspeaker.
struct Room {
    daemon: Daemon,
    microphone: Microphone,
    loudspeaker: Loudspeaker,
    _bus: Bus,
}

impl Room {
    async fn open(bench: &Bench, echo: Echo) -> Result<Self> {
        let bus = Bus::start().await?;
        let loudspeaker = Loudspeaker::alsa()?;
        let microphone = Microphone::alsa_beside(&loudspeaker, Some(echo))?;
        let mut daemon = Daemon::setup(&bus)
            .binaries(bench.binaries.clone())
            .model(&Model::nano())
            .set("answer", "max_tokens", 4)
            .set("voice", "transcript", true)
            .set("log", "level", "debug")
            .keyword("hey_gemma", "wake")
            .keyword("stop", "halt")
            .microphone(&microphone)
            .loudspeaker(&loudspeaker)
            .set("speech", "enabled", false)
            .start()
            .await?;
        daemon.until_it_listens().await?;
        Ok(Self {
            daemon,
            microphone,
            loudspeaker,
            _bus: bus,
        })
    }

    /// Interrupts the assistant with these words, `before` after it began to speak.
    async fn interrupt(
        &self,
        text: &str,
        mut sound: Vec<f32>,
        before: Duration,
    ) -> Result<Interruption> {
        let Self {
            daemon,
            microphone,
            loudspeaker,
            ..
        } = self;
        let mut started = daemon.voice().receive_speech_started().await?;
        let mut written = daemon.voice().receive_transcript().await?;
        let onset = onset(&sound);
        sound.extend(speech::silence(1500));
        let frames = |time: Duration| {
            usize::try_from(time.as_millis()).unwrap_or(0) * LOUDSPEAKER_RATE as usize / 1000
        };
        let now = loudspeaker.now();
        let (said, outcome) =
            tokio::join!(daemon.voice().say(LONG, SayOptions::default()), async {
                let begin = loudspeaker.sounds(now).await;
                loudspeaker.reaches(begin + frames(before)).await;
                let at = loudspeaker.now() + frames(onset);
                microphone.play(&sound).await?;
                let silent = timeout(PATIENCE, loudspeaker.is_silent(begin, SILENCE)).await?;
                anyhow::Ok((at, silent))
            });
        let (at, silent) = outcome?;
        let is_stopped = said.is_err();
        let is_heard = is_stopped && timeout(SILENCE, started.next()).await.is_ok();
        let written = async { written.next().await?.args().ok().map(|it| it.text) };
        let written = if is_heard {
            timeout(WRITING, written).await.ok().flatten()
        } else {
            None
        };
        daemon.voice().stop().await?;
        daemon.until_voice_is(VoiceState::Waiting).await?;
        // 0 if the interruption fell into a pause in which the assistant was silent already.
        #[expect(clippy::cast_precision_loss, reason = "some seconds")]
        let late = silent.saturating_sub(at) as f64 * 1000.0 / f64::from(LOUDSPEAKER_RATE);
        Ok(Interruption {
            late_ms: is_stopped.then_some(late),
            is_heard,
            is_written: written.is_some_and(|it| word_error_rate([(text.to_owned(), it)]) == 0.0),
        })
    }
}

/// A voice, scaled to the level at which the microphone hears the assistant.
fn as_loud_as_the_echo(sound: &[f32]) -> Vec<f32> {
    let loudest = |sound: &[f32]| levels(sound).fold(0.0, f32::max);
    // All voices of espeak-ng are about equally loud.
    let own = speech::say("I have found three recipes for you.", "en-us");
    let own = own.map_or(loudest(sound), |own| loudest(&own));
    let gain = ECHO.gain * own / loudest(sound);
    sound.iter().map(|sample| sample * gain).collect()
}
