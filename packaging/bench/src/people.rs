//! People and music that nobody synthesised (`docs/corpus.md`): what is heard, what is taken for a command, what is lost.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context, Result, ensure};
use gemmad_testbed::Model;
use serde::Deserialize;
use serde_json::json;
use tokio::{io::AsyncWriteExt, process::Command};
use xtask::{
    command::{root, target},
    say, setup,
};

use crate::{figure::Figure, keyword, nano::word_error_rate, setting::Bench};

/// Length of an excerpt, in s: what Gemma 4 hears at a time, less the silence around it.
const EXCERPT: f64 = 25.0;

/// Most recordings of each kind.
const MOST_SPEECH: usize = 1500;
const MOST_NOISE: usize = 300;

/// Sound that is lost at the beginning, in ms, from which it counts.
const LOST_MS: u64 = 100;

/// A line of the corpus.
#[derive(Debug, Clone, Deserialize)]
struct Recording {
    path: PathBuf,
    kind: Kind,
    #[serde(default)]
    language: String,
    transcript: Option<String>,
    package: String,
    split: String,
    seconds: f64,
    rate: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Speech,
    Singing,
    Music,
    Noise,
}

/// A line of the output of `people`.
#[derive(Debug, Deserialize)]
struct Heard {
    path: PathBuf,
    utterances: u32,
    late_ms: Option<u64>,
    one: u32,
    both: u32,
    asked: u32,
    halts: u32,
    transcript: String,
}

/// A recording and what became of it.
type Pair = (Recording, Heard);

/// Measures the recordings of this split.
pub async fn measure(bench: &Bench, split: &str) -> Result<Vec<Figure>> {
    setup::sound_files()?;
    let folder = target()?.join("people").join(split);
    let wavs = excerpts(&chosen(split)?, &folder).await?;
    let heard = hear(bench, &folder, wavs.keys()).await?;
    let pairs: Vec<Pair> = wavs.values().cloned().zip(heard).collect();
    let talks = talks(&wavs, &folder).await?;
    let talks = hear(bench, &folder, talks.iter()).await?;
    let of = |kind: Kind| pairs.iter().filter(move |(it, _)| it.kind == kind);
    let mut figures = of_music(&of(Kind::Music).collect::<Vec<_>>())?;
    figures.extend(of_speech(&of(Kind::Speech).collect::<Vec<_>>())?);
    let noise: Vec<_> = of(Kind::Noise).collect();
    figures.push(of_talks(&talks)?);
    figures.extend(of_words(bench, &folder, &wavs).await?);
    figures.push(
        figure("noise_false_action", share(&noise, |it| it.both > 0))?.meaning(
            "Share of recordings of rooms, machines and signals that are taken for a command",
        ),
    );
    Ok(figures)
}

fn of_music(music: &[&Pair]) -> Result<Vec<Figure>> {
    let hours = music
        .iter()
        .map(|(it, _)| it.seconds.min(EXCERPT))
        .sum::<f64>()
        / 3600.0;
    let utterances: u32 = music.iter().map(|(_, heard)| heard.utterances).sum();
    let acted: u32 = music.iter().map(|(_, heard)| heard.both).sum();
    Ok(vec![
        figure("music_false_action", share(music, |it| it.both > 0))?
            .goal("≤ 0.01")
            .meaning(
                "Share of pieces of music of which 25 s are taken for a command, in mode `always`",
            ),
        figure("music_false_action_one", share(music, |it| it.one > 0))?
            .meaning("The same with `[commands] certainty = \"one\"`"),
        figure("music_false_actions", f64::from(acted) / hours)?
            .goal("≤ 1 an hour")
            .meaning("Commands carried out in an hour of music, in mode `always`"),
        figure("music_utterances", f64::from(utterances) / hours)?
            .meaning("Utterances heard in an hour of music, in mode `always`"),
    ])
}

fn of_speech(speech: &[&Pair]) -> Result<Vec<Figure>> {
    let heard: Vec<_> = speech
        .iter()
        .copied()
        .filter(|(_, it)| it.utterances > 0)
        .collect();
    let long: Vec<_> = speech
        .iter()
        .copied()
        .filter(|(it, _)| it.seconds >= 1.0)
        .collect();
    let is_whole = |it: &Recording| it.language.starts_with("en") && it.seconds <= EXCERPT;
    let english = speech.iter().filter(|(it, _)| is_whole(it));
    let said =
        english.filter_map(|(it, heard)| Some((it.transcript.clone()?, heard.transcript.clone())));
    Ok(vec![
        figure("people_false_action", share(speech, |it| it.both > 0))?
            .goal("≤ 0.01")
            .meaning("Share of recordings of people who say no command that are taken for one, in all languages"),
        figure("people_false_action_one", share(speech, |it| it.one > 0))?
            .meaning("The same with `[commands] certainty = \"one\"`"),
        figure("people_false_halt", share(speech, |it| it.halts > 0))?
            .meaning("Of these, the share taken for a command that halts, which waits for no second reading"),
        figure("people_asked", share(speech, |it| it.asked > 0))?
            .meaning("Share of recordings of people who say no command after which they are asked whether they meant one"),
        figure("people_missed", share(&long, |it| it.utterances == 0))?
            .meaning("Share of recordings of people, at least 1 s long, in which no utterance is heard"),
        figure("people_onset_lost", share(&heard, |it| it.late_ms >= Some(LOST_MS)))?
            .goal("≤ 0.01")
            .meaning("Share of recordings of people whose first 100 ms or more are not heard"),
        figure("nano_wer_people", word_error_rate(said))?
            .goal("≤ 0.48")
            .meaning("Word error rate of nano on English recordings of people"),
    ])
}

fn of_talks(talks: &[Heard]) -> Result<Figure> {
    let cut = talks.iter().filter(|it| it.utterances != 1).count();
    let share = f64::from(u32::try_from(cut)?) / f64::from(u32::try_from(talks.len().max(1))?);
    Ok(figure("long_talk_cut", share)?
        .goal("= 0")
        .meaning(&format!(
            "Share of {} talks of {EXCERPT} s without a pause that are not heard as one utterance",
            talks.len()
        )))
}

/// False accepts of the keywords that come with gemmad, in people and music.
async fn of_words(
    bench: &Bench,
    folder: &Path,
    wavs: &BTreeMap<PathBuf, Recording>,
) -> Result<Vec<Figure>> {
    let says = |it: &Recording, word: &str| {
        let transcript = it.transcript.as_deref().unwrap_or_default();
        transcript.to_lowercase().contains(word)
    };
    let mut figures = Vec::new();
    for (name, word, goal) in [("stop", "stop", 1.0), ("hey_gemma", "gemma", 0.3)] {
        let is_chosen =
            |(_, it): &(&PathBuf, &Recording)| it.kind != Kind::Noise && !says(it, word);
        let lines = wavs.iter().filter(is_chosen);
        let lines = lines
            .map(|(path, _)| Ok(json!({ "audio": path.file_name().context("a file")?.to_str() })));
        let lines: Result<Vec<_>> = lines.map(|it| it.map(|it| it.to_string())).collect();
        let manifest = folder.join("spoken.jsonl");
        std::fs::write(&manifest, lines?.join("\n"))?;
        let model = root().join(format!("models/keyword/{name}.onnx"));
        let heard = keyword::spot(bench, name, &manifest).await?;
        let hours = heard.iter().map(|it| it.seconds).sum::<f64>() / 3600.0;
        let spotted: usize = heard.iter().map(|it| it.spotted.len()).sum();
        let accepts = f64::from(u32::try_from(spotted)?) / hours;
        let file = Model {
            text: model,
            mmproj: PathBuf::new(),
        };
        let figure = Figure::new(
            &format!("people_{name}_false_accepts"),
            "",
            vec![accepts],
            &file,
        )?;
        figures.push(figure.goal(&format!("≤ {goal}")).meaning(&format!(
            "How often an hour `{name}` is spotted in {hours:.1} hours of people and music without it"
        )));
    }
    Ok(figures)
}

/// A figure of the nano model.
fn figure(name: &str, value: f64) -> Result<Figure> {
    Figure::new(name, "", vec![value], &Model::nano())
}

#[expect(clippy::cast_precision_loss, reason = "a few thousand")]
fn share(pairs: &[&Pair], is_one: impl Fn(&Heard) -> bool) -> f64 {
    pairs.iter().filter(|(_, heard)| is_one(heard)).count() as f64 / pairs.len().max(1) as f64
}

/// The recordings that are asked: all music, and speech and noise at regular distances in the list.
fn chosen(split: &str) -> Result<Vec<Recording>> {
    let list = target()?.join("corpus/corpus.jsonl");
    let list = std::fs::read_to_string(&list).with_context(|| {
        format!(
            "there is no {}: `cargo xtask corpus` makes it",
            list.display()
        )
    })?;
    let all: Result<Vec<Recording>, _> = list.lines().map(serde_json::from_str).collect();
    let mut kinds: BTreeMap<Kind, Vec<Recording>> = BTreeMap::new();
    for recording in all?.into_iter().filter(|it| it.split == split) {
        kinds.entry(recording.kind).or_default().push(recording);
    }
    let kinds = kinds.into_iter().map(|(kind, recordings)| {
        let most = match kind {
            Kind::Speech => MOST_SPEECH,
            Kind::Noise => MOST_NOISE,
            Kind::Singing | Kind::Music => usize::MAX,
        };
        let every = recordings.len().div_ceil(most).max(1);
        recordings.into_iter().step_by(every).collect()
    });
    Ok(kinds.collect::<Vec<Vec<_>>>().concat())
}

/// Writes an excerpt of each recording as a WAV file, from its middle if it is longer.
async fn excerpts(recordings: &[Recording], folder: &Path) -> Result<BTreeMap<PathBuf, Recording>> {
    say::step(&format!("Cutting {} recordings", recordings.len()));
    std::fs::create_dir_all(folder)?;
    let corpus = target()?.join("corpus");
    let mut wavs = BTreeMap::new();
    for (nth, recording) in recordings.iter().enumerate() {
        let wav = folder.join(format!("{nth}.wav"));
        let mut sox = Command::new("sox");
        sox.arg("-V1");
        if let Some(rate) = recording.rate {
            sox.args(["-t", "raw", "-e", "signed", "-b", "16", "-c", "1", "-r"]);
            sox.arg(rate.to_string());
        }
        sox.arg(corpus.join(&recording.path));
        sox.args(["-b", "16", "-r", "16000", "-c", "1"]).arg(&wav);
        let begin = (recording.seconds - EXCERPT).max(0.0) / 2.0;
        sox.args(["trim", &begin.to_string(), &EXCERPT.to_string()]);
        // Files that sox cannot read are few, and the same ones every time. What an earlier run has cut stays.
        if wav.exists() || sox.status().await?.success() {
            wavs.insert(wav, recording.clone());
        }
    }
    ensure!(
        wavs.len() * 10 >= recordings.len() * 9,
        "only {} of {} recordings could be read",
        wavs.len(),
        recordings.len()
    );
    Ok(wavs)
}

/// Writes talk without a pause, as long as an excerpt: the recordings of one package and language in a row, their silence
/// cut to 200 ms. Returns the WAV files.
async fn talks(wavs: &BTreeMap<PathBuf, Recording>, folder: &Path) -> Result<Vec<PathBuf>> {
    let mut by_voice: BTreeMap<_, (f64, Vec<&Path>)> = BTreeMap::new();
    for (path, recording) in wavs.iter().filter(|(_, it)| it.kind == Kind::Speech) {
        let voice = by_voice.entry((&recording.package, &recording.language));
        let (seconds, paths) = voice.or_default();
        // Half of a short recording may be silence.
        if recording.seconds >= 1.0 && *seconds < 2.0 * EXCERPT {
            *seconds += recording.seconds;
            paths.push(path);
        }
    }
    let mut talks = Vec::new();
    let long = by_voice
        .into_values()
        .filter(|(seconds, _)| *seconds >= 2.0 * EXCERPT);
    for (nth, (_, paths)) in long.enumerate() {
        let wav = folder.join(format!("talk-{nth}.wav"));
        let mut sox = Command::new("sox");
        sox.arg("-V1").args(paths).arg(&wav);
        // Silence is 30 dB below the loudest.
        sox.args(["norm", "-0.1", "silence", "-l", "1", "0.05", "3%"]);
        sox.args(["-1", "0.2", "3%"]);
        sox.args(["trim", "0", &EXCERPT.to_string()]);
        ensure!(sox.status().await?.success(), "sox failed");
        talks.push(wav);
    }
    Ok(talks)
}

/// What gemmad makes of these recordings, in their order.
async fn hear(
    bench: &Bench,
    folder: &Path,
    wavs: impl Iterator<Item = &PathBuf>,
) -> Result<Vec<Heard>> {
    let wavs: Vec<_> = wavs.collect();
    let model = Model::nano();
    let config = folder.join("gemmad.toml");
    let text = json!({
        "model": { "text": model.text, "mmproj": model.mmproj },
        "commands": {
            "enabled": true,
            "declare": false,
            "folders": [root().join("configs/commands")],
        },
    });
    std::fs::write(&config, toml::to_string(&text)?)?;
    let mut people = Command::new(bench.llama_cpp.with_file_name("people"))
        .arg("--config")
        .arg(&config)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut input = people.stdin.take().context("it has an input")?;
    let lines: Vec<_> = wavs.iter().map(|it| it.display().to_string()).collect();
    let list = lines.join("\n");
    let writing = async move { input.write_all(list.as_bytes()).await };
    let (written, output) = tokio::join!(writing, people.wait_with_output());
    written?;
    let output = output?;
    ensure!(output.status.success(), "people failed");
    let lines = str::from_utf8(&output.stdout)?.lines();
    let heard =
        lines.map(|line| serde_json::from_str(line).context("people printed something else"));
    let heard: Vec<Heard> = heard.collect::<Result<_>>()?;
    let paths = heard.iter().map(|it| &it.path);
    ensure!(paths.eq(wavs), "people heard something else");
    Ok(heard)
}
