//! Accuracy of the shipped keywords with the daemon's own spotter, on recordings made by their recipe
//! (`models/keyword/README.md`); and the latency of a halt word while the daemon computes.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use futures_util::StreamExt;
use gemmad_api::AskOptions;
use gemmad_testbed::{Bus, Daemon, Microphone, Model, speech};
use serde::{Deserialize, de::DeserializeOwned};
use tokio::{process::Command, time::timeout};
use xtask::command::root;

use crate::{commands::end_of_words, figure::Figure, setting::Bench};

/// Seconds before and after the end of a word between which it has to be spotted.
const EARLY: f64 = 0.3;
const LATE: f64 = 0.6;

/// A line of a manifest of recordings with the word.
#[derive(Deserialize)]
struct Said {
    end: f64,
    condition: String,
}

/// A line of the output of `keyword`.
#[derive(Deserialize)]
pub(crate) struct Heard {
    /// Length of the recording.
    pub seconds: f64,
    /// Seconds at which the word was spotted.
    pub spotted: Vec<f64>,
}

/// Measures both words.
pub async fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    // In parallel, on one core each, because no times are measured.
    let (wakes, halts) = tokio::try_join!(of_word(bench, "hey_gemma"), of_word(bench, "stop"))?;
    Ok([wakes, halts].concat())
}

/// Voices that say “stop” during an answer, each twice.
const VOICES: [&str; 5] = ["en-us", "en-gb", "en-gb-scotland", "en-us+f2", "en-gb+m3"];

/// Range below the loudest part in which “stop” goes on, in dB: it ends with the release of the p, 25 to 30 dB below
/// the vowel and 100 ms after it.
const WITH_P: f32 = 35.0;

/// Longest wait for the signal.
const UNSPOTTED: Duration = Duration::from_secs(4);

/// Measures the latency of a halt word while the daemon computes.
pub async fn halting(bench: &Bench) -> Result<Vec<Figure>> {
    let bus = Bus::start().await?;
    let microphone = Microphone::alsa()?;
    let setup = Daemon::setup(&bus)
        .binaries(bench.binaries.clone())
        .model(&bench.shape)
        .microphone(&microphone)
        .keyword("stop", "halt");
    let mut daemon = setup.start().await?;
    daemon.until_it_listens().await?;
    // An answer that lasts as long as the measurement; nothing reads it.
    let options = AskOptions {
        max_tokens: Some(3000),
        min_tokens: Some(3000),
        ..AskOptions::default()
    };
    let (reader, writer) = std::io::pipe()?;
    let question = "tell me everything";
    daemon
        .manager()
        .stream(question, options, (&writer).into())
        .await?;
    drop(writer);
    let mut spotted = daemon.voice().receive_keyword().await?;
    let mut samples = Vec::new();
    for voice in VOICES.iter().chain(&VOICES) {
        let mut sound = speech::silence(1000);
        sound.extend(speech::say("stop", voice)?);
        sound.extend(speech::silence(1500));
        let end = Instant::now() + end_of_words(&sound, WITH_P);
        let (played, signal) = tokio::join!(microphone.play(&sound), async {
            let signal = timeout(UNSPOTTED, spotted.next()).await;
            signal.ok().map(|_| end.elapsed().as_secs_f64() * 1000.0)
        });
        played?;
        samples.extend(signal);
    }
    drop(reader);
    ensure!(samples.len() > VOICES.len(), "“stop” was rarely spotted");
    let count = samples.len();
    let figure = Figure::new("stop_ms", "ms", samples, &bench.shape)?
        .goal("≤ 150 ms")
        .meaning(&format!(
            "From the end of the word “stop” in the microphone, its p included, to the signal `Keyword`, while a long answer is written; {count} \
             of {} were spotted.",
            2 * VOICES.len()
        ));
    Ok(vec![figure])
}

/// Scores in a row that have to reach the threshold, as in `gemmad.toml`.
fn patience(word: &str) -> &'static str {
    match word {
        "hey_gemma" => "2",
        _ => "1",
    }
}

/// Measures one word.
async fn of_word(bench: &Bench, word: &str) -> Result<Vec<Figure>> {
    let sets = root().join("target/keyword/evaluation");
    let model = root().join(format!("models/keyword/{word}.onnx"));
    let positive = sets.join(format!("{word}.jsonl"));
    let said: Vec<Said> = lines(&std::fs::read_to_string(&positive)?)?;
    let spotted = spot(bench, word, &positive).await?;
    let negative = spot(bench, word, &sets.join("negative.jsonl")).await?;

    let late = |(said, heard): (&Said, &Heard)| {
        let mut late = heard.spotted.iter().map(|at| at - said.end);
        late.find(|late| (-EARLY..LATE).contains(late))
    };
    let lateness: Vec<_> = said.iter().zip(&spotted).map(late).collect();
    let missed = |of: &dyn Fn(&str) -> bool| {
        let chosen = said.iter().zip(&lateness);
        let chosen: Vec<_> = chosen.filter(|(it, _)| of(&it.condition)).collect();
        let missed = chosen.iter().filter(|(_, late)| late.is_none()).count();
        #[expect(clippy::cast_precision_loss, reason = "a few hundred")]
        let share = missed as f64 / chosen.len().max(1) as f64;
        vec![share]
    };
    #[expect(clippy::cast_precision_loss, reason = "a few dozen")]
    let accepts = negative.iter().map(|it| it.spotted.len()).sum::<usize>() as f64;
    let hours = negative.iter().map(|it| it.seconds).sum::<f64>() / 3600.0;
    let late = lateness.iter().filter_map(|late| Some((*late)? * 1000.0));

    let file = Model {
        text: model.clone(),
        mmproj: PathBuf::new(),
    };
    let figure =
        |name: &str, unit, samples| Figure::new(&format!("{word}_{name}"), unit, samples, &file);
    let mut rejects = figure("false_rejects", "", missed(&|_| true))?.meaning(&format!(
        "Share of {} recordings with the word, by voices it was not trained on, in which it is not spotted.",
        said.len()
    ));
    let mut accepts = figure("false_accepts", "", vec![accepts / hours])?.meaning(&format!(
        "How often an hour it is spotted in {hours:.1} hours of speech, television, noise and music without it."
    ));
    if word == "hey_gemma" {
        rejects = rejects.goal("≤ 0.05");
        accepts = accepts.goal("≤ 0.5");
    }
    let spotted = figure("spotted_ms", "ms", late.collect())?
        .meaning("From the end of the word, in the recording, until it is spotted.");
    let mut figures = vec![rejects, accepts, spotted];
    for condition in ["clean", "noise", "far", "tv"] {
        let share = missed(&|it| it == condition);
        let name = format!("false_rejects_{condition}");
        figures.push(figure(&name, "", share)?.meaning("Of these, the recordings of that kind."));
    }
    Ok(figures)
}

/// Where the daemon's spotter hears a word that comes with gemmad, in each recording of the manifest.
pub(crate) async fn spot(bench: &Bench, word: &str, manifest: &Path) -> Result<Vec<Heard>> {
    let program = bench.llama_cpp.with_file_name("keyword");
    let model = root().join(format!("models/keyword/{word}.onnx"));
    let mut command = Command::new(program);
    let command = command
        .args([&model, manifest])
        .args(["--patience", patience(word)]);
    let output = command.output();
    let output = output.await?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "keyword failed: {said}");
    lines(str::from_utf8(&output.stdout)?)
}

fn lines<T: DeserializeOwned>(text: &str) -> Result<Vec<T>> {
    let line = |line| serde_json::from_str(line).context("a line is something else");
    text.lines().map(line).collect()
}
