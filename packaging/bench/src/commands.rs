//! Commands spoken into the microphone: the calls on the bus, their latency, and calls that were not asked for.
//!
//! The sentences are the nano model's held-out sets (`models/nano/README.md`); every model can be measured with them.

use std::{
    collections::BTreeMap,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    pin::pin,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use futures_util::StreamExt;
use gemmad_api::{Dict, SERVICE, Stats, from_dict};
use gemmad_testbed::{Bus, Daemon, Microphone, Model, speech};
use serde_json::Value;
use tokio::time::timeout;
use xtask::{command::root, say};
use zbus::{MatchRule, Message, MessageStream, message::Type, names::MemberName};

use crate::{figure::Figure, nano::set, setting::Bench};

/// Longest wait for the first signal about a sentence.
const UNHEARD: Duration = Duration::from_secs(3);

/// Longest wait for further signals after an answer: calls are signalled beside the answer, not before it.
const LATE: Duration = Duration::from_millis(300);

/// Longest wait for an answer, from a model that fills a small board.
const PATIENCE: Duration = Duration::from_mins(2);

/// Capacity of the queue of signals.
const SIGNALS_KEPT: NonZeroUsize = NonZeroUsize::new(1024).unwrap();

/// The sentences and the model.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Number of sentences of each set to speak in `commands`; each takes about five seconds.
    #[arg(long, value_name = "N", default_value_t = 100)]
    sentences: usize,
    /// GGUF of a text model to measure in `commands` instead of nano.
    #[arg(long, value_name = "FILE", requires = "mmproj")]
    text: Option<PathBuf>,
    /// GGUF of its projector.
    #[arg(long, value_name = "FILE", requires = "text")]
    mmproj: Option<PathBuf>,
}

impl Options {
    /// The model, and the prefix of its figures' names.
    fn model(&self) -> Result<(Model, String)> {
        let (Some(text), Some(mmproj)) = (&self.text, &self.mmproj) else {
            return Ok((Model::nano(), String::new()));
        };
        let name = text.file_stem().unwrap_or_default().to_string_lossy();
        let model = Model {
            text: std::path::absolute(text)?,
            mmproj: std::path::absolute(mmproj)?,
        };
        Ok((model, format!("{name}_")))
    }
}

/// Measures accuracy and latency of commands.
pub async fn measure(bench: &Bench, options: &Options) -> Result<Vec<Figure>> {
    let (model, prefix) = options.model()?;
    let bus = Bus::start().await?;
    let microphone = Microphone::alsa()?;
    let mut room = Room::open(bench, options, &model, &bus, &microphone).await?;
    let clean = room.speak_set(bench, "voices", options.sentences).await?;
    let noisy = room.speak_set(bench, "voices_10db", options.sentences);
    let noisy = noisy.await?;
    let other = room.speak_set(bench, "out_of_domain", options.sentences);
    let other = other.await?;
    let figure =
        |name: &str, unit, samples| Figure::new(&format!("{prefix}{name}"), unit, samples, &model);
    let mut figures = vec![
        figure("command_exact_clean", "", vec![share(&clean, Spoken::is_exact)])?
            .goal("≥ 0.95")
            .meaning("Share of held-out commands (`voices`), spoken into the microphone, of which the bus hears exactly that: names and all arguments, in order."),
        figure("command_exact_10db", "", vec![share(&noisy, Spoken::is_exact)])?
            .goal("≥ 0.90")
            .meaning("The same at 10 dB signal-to-noise (`voices_10db`)."),
        figure("command_false_action", "", vec![share(&other, Spoken::acts)])?
            .goal("≤ 0.01")
            .meaning("Share of sentences that are no commands (`out_of_domain`), spoken into the microphone, after which anything is called."),
    ];
    let stages: [(&str, Stage, &str); 5] = [
        (
            "command_ms",
            |it| it.called_ms,
            "From the end of the words to the signal `Invoked`.",
        ),
        (
            "command_end_ms",
            |it| it.ended_ms,
            "Of `command_ms`, until it is certain that the words have ended: to the signal `SpeechEnded`.",
        ),
        (
            "command_rest_ms",
            |it| Some(it.called_ms? - it.ended_ms?),
            "Of `command_ms`, what is left then: the rest of the answer, which was begun at the pause, and the bus.",
        ),
        (
            "command_first_token_ms",
            |it| it.stats.as_ref()?.speech_to_token_ms,
            "From the last sample of speech, as the daemon hears it, to the first token of the command.",
        ),
        (
            "command_decode_ms",
            |it| Some(it.stats.as_ref()?.decode_ms),
            "From there to the last.",
        ),
    ];
    let called: Vec<_> = clean.into_iter().filter(Spoken::acts).collect();
    ensure!(!called.is_empty(), "no command was understood");
    for (name, of, meaning) in stages {
        let samples: Vec<_> = called.iter().filter_map(of).collect();
        if !samples.is_empty() {
            figures.push(figure(name, "ms", samples)?.meaning(meaning));
        }
    }
    figures.push(
        figure("decoded_share", "", vec![decoded_share(&called)])?
            .goal("≤ 0.4")
            .meaning("Tokens of commands that were decoded one by one, by all of them; the others had to come and were read at once."),
    );
    Ok(figures)
}

/// A part of the time after a sentence, in ms.
type Stage = fn(&Spoken) -> Option<f64>;

/// A daemon with a microphone, and its signals on the bus.
struct Room<'a> {
    microphone: &'a Microphone,
    signals: MessageStream,
    daemon: Daemon,
}

impl<'a> Room<'a> {
    async fn open(
        bench: &Bench,
        options: &Options,
        model: &Model,
        bus: &Bus,
        microphone: &'a Microphone,
    ) -> Result<Self> {
        let setup = Daemon::setup(bus)
            .binaries(bench.binaries.clone())
            .commands(&root().join("configs/commands"))
            .set("voice", "transcript", false)
            .microphone(microphone);
        let setup = if options.text.is_some() {
            // The model was not trained on the commands, and their declarations take a few thousand tokens.
            let setup = setup.model(model).set("engine", "context", 16384);
            setup.set("commands", "declare", true)
        } else {
            setup
        };
        let mut daemon = setup.start().await?;
        daemon.until_it_listens().await?;
        let rule = MatchRule::builder().msg_type(Type::Signal).sender(SERVICE);
        let connection = daemon.connection();
        let signals = MessageStream::for_match_rule(rule.build()?, connection, Some(SIGNALS_KEPT));
        let signals = signals.await?;
        Ok(Self {
            microphone,
            signals,
            daemon,
        })
    }

    /// Speaks the first `sentences` of a set.
    async fn speak_set(
        &mut self,
        bench: &Bench,
        name: &str,
        sentences: usize,
    ) -> Result<Vec<Spoken>> {
        let evaluation = bench.run.join("evaluation");
        let mut spoken = Vec::new();
        for question in set::load(&evaluation, name, Some(sentences))? {
            let path = question.audio.as_ref().context("a sentence has no sound")?;
            let heard = self.speak(&evaluation.join(path)).await?;
            spoken.push(Spoken {
                expected: question.expected,
                ..heard
            });
            self.daemon.until_it_listens().await?;
        }
        let (exact, count) = (share(&spoken, Spoken::is_exact), spoken.len());
        let acts = share(&spoken, Spoken::acts);
        say::result(
            &format!("{name:<13}"),
            &format!("exact {exact:.3}, acts {acts:.3} of {count}"),
        );
        Ok(spoken)
    }

    /// Speaks one sentence, and follows it until all utterances in it are answered.
    async fn speak(&mut self, sound: &Path) -> Result<Spoken> {
        let samples = speech::read(sound)?;
        let words = Instant::now() + end_of_words(&samples, ABOVE_NOISE);
        let mut spoken = Spoken::default();
        let mut playing = pin!(self.microphone.play(&samples));
        let mut is_playing = true;
        loop {
            let patience = if is_playing || spoken.is_under_way() {
                PATIENCE
            } else if spoken.utterances == 0 {
                UNHEARD
            } else {
                LATE
            };
            tokio::select! {
                played = &mut playing, if is_playing => {
                    played?;
                    is_playing = false;
                }
                signal = timeout(patience, self.signals.next()) => match signal {
                    Ok(signal) => spoken.hear(&signal.context("the bus has gone")??, words)?,
                    Err(_) if spoken.is_under_way() => {
                        anyhow::bail!("{} got no answer", sound.display())
                    }
                    Err(_) => return Ok(spoken),
                },
            }
        }
    }
}

/// A sentence, and its results on the bus.
#[derive(Debug, Default)]
struct Spoken {
    /// The right answer, in the model's notation.
    expected: String,
    /// The calls in the same notation, by number.
    called: BTreeMap<u64, String>,
    /// The reply in words.
    reply: String,
    /// From the end of the words to the last call, in ms.
    called_ms: Option<f64>,
    /// From the end of the words to the end of the utterance, in ms.
    ended_ms: Option<f64>,
    stats: Option<Stats>,
    /// Number of utterances heard in it, and number of those answered.
    utterances: u32,
    answered: u32,
}

impl Spoken {
    fn is_under_way(&self) -> bool {
        self.answered < self.utterances
    }

    fn is_exact(&self) -> bool {
        let called: String = self.called.values().map(String::as_str).collect();
        self.expected
            == if called.is_empty() {
                &self.reply
            } else {
                &called
            }
            .as_str()
    }

    fn acts(&self) -> bool {
        !self.called.is_empty()
    }

    /// Records a signal.
    fn hear(&mut self, signal: &Message, words: Instant) -> Result<()> {
        let header = signal.header();
        let since = || Some(words.elapsed().as_secs_f64() * 1000.0);
        let body = signal.body();
        match header.member().map(MemberName::as_str) {
            Some("SpeechStarted") => self.utterances += 1,
            Some("SpeechEnded") => self.ended_ms = since(),
            // A command that waits for confirmation was understood too.
            Some("Invoked" | "Unconfirmed") => {
                let (id, name, arguments, _): (u64, String, String, Dict) = body.deserialize()?;
                self.called.insert(id, notation(&name, &arguments)?);
                self.called_ms = since();
            }
            Some("Reply") => {
                let (_, text, stats): (u64, String, Dict) = body.deserialize()?;
                self.answered += 1;
                self.reply = text;
                self.stats = Some(from_dict(&stats)?);
            }
            Some("Failed") => self.answered += 1,
            _ => {}
        }
        Ok(())
    }
}

/// A call in the model's notation.
fn notation(name: &str, arguments: &str) -> Result<String> {
    let arguments: BTreeMap<String, Value> = serde_json::from_str(arguments)?;
    let arguments = arguments
        .iter()
        .map(|(key, value)| format!("{key}:{}", written(value)));
    let arguments: Vec<_> = arguments.collect();
    Ok(format!(
        "<|tool_call>call:{name}{{{}}}<tool_call|>",
        arguments.join(",")
    ))
}

fn written(value: &Value) -> String {
    match value {
        Value::String(text) => format!("<|\"|>{text}<|\"|>"),
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(written).collect();
            format!("[{}]", items.join(","))
        }
        other => other.to_string(),
    }
}

/// Range below the loudest part in which a word counts as going on, in dB, for recordings that may have noise.
const ABOVE_NOISE: f32 = 20.0;

/// End of the last word in a sound: the end of the last 20 ms within `range` dB of its loudest 20 ms.
pub fn end_of_words(samples: &[f32], range: f32) -> Duration {
    const FRAME: usize = speech::RATE as usize / 50;
    let loudness = |frame: &[f32]| frame.iter().map(|it| it * it).sum::<f32>();
    let frames: Vec<_> = samples.chunks(FRAME).map(loudness).collect();
    let loudest = frames.iter().copied().fold(0.0, f32::max);
    let threshold = loudest * 10_f32.powf(-range / 10.0);
    let last = frames.iter().rposition(|frame| *frame >= threshold);
    Duration::from_millis(20) * u32::try_from(last.map_or(0, |last| last + 1)).unwrap_or(u32::MAX)
}

fn decoded_share(spoken: &[Spoken]) -> f64 {
    let stats = || spoken.iter().filter_map(|it| it.stats.as_ref());
    let all: u32 = stats().map(|it| it.output_tokens).sum();
    let forced: u32 = stats().map(|it| it.forced_tokens).sum();
    f64::from(all - forced) / f64::from(all)
}

#[expect(clippy::cast_precision_loss, reason = "some hundreds")]
fn share(spoken: &[Spoken], is_one: impl Fn(&Spoken) -> bool) -> f64 {
    spoken.iter().filter(|it| is_one(it)).count() as f64 / spoken.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_on_the_bus_is_written_as_the_model_writes_it() {
        let called = notation(
            "add_to_list",
            r#"{"count":2,"items":["milk","eggs"],"now":true}"#,
        );
        assert_eq!(
            called.unwrap(),
            "<|tool_call>call:add_to_list{count:2,items:[<|\"|>milk<|\"|>,<|\"|>eggs<|\"|>],now:true}<tool_call|>"
        );
        assert_eq!(
            notation("stop", "{}").unwrap(),
            "<|tool_call>call:stop{}<tool_call|>"
        );
    }

    #[test]
    fn words_end_where_it_was_last_loud() {
        let quiet = vec![0.001; 1600];
        let loud = vec![0.5; 3200];
        let sound = [quiet.clone(), loud, quiet].concat();
        assert_eq!(end_of_words(&sound, 20.0), Duration::from_millis(300));
        assert_eq!(end_of_words(&sound, 60.0), Duration::from_millis(400));
    }
}
