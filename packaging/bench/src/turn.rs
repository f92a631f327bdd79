//! A spoken turn on the engine: the time from the end of speech to the answer, by the length of the speech,
//! beside llama.cpp with the whole clip; and the cost of listening meanwhile.

use std::{path::Path, process::Stdio};

use anyhow::{Context, Result, ensure};
use gemmad_api::Stats;
use gemmad_testbed::{Model, speech};
use serde::Deserialize;
use tokio::process::{Child, Command};

use crate::{
    figure::{Figure, median},
    setting::Bench,
};

/// Lengths of speech that are compared, in s: a command, a question, a story.
const LENGTHS: [u32; 3] = [2, 10, 20];

/// Number of runs per length, each 0.1 s longer than the one before: the number of rows left at the end
/// depends on that difference, not on the length.
const ROUNDS: u32 = 5;

/// Threads of both sides.
const THREADS: &str = "2";

/// Threads chosen by gemmad itself: one for each core of the process.
const BY_ITSELF: &str = "0";

/// Silence from the last sample of the utterance to the endpoint, in ms: `[voice] endpoint_ms` less the
/// 160 ms of silence that belong to the utterance.
const ENDPOINT_MS: f64 = 440.0;

/// The sentences asked on a busy machine, and repeated in long speech.
const SENTENCES: [&str; 4] = [
    "turn on the kitchen light",
    "set a timer for ten minutes",
    "what is the meaning of life the universe and everything",
    "turn off the bedroom light and stop the music",
];

/// Number of held-out commands compared piece by piece and as whole clips.
const COMPARED: usize = 200;

/// A line of the output of `spoken_turn`.
#[derive(Deserialize)]
struct Turn {
    text: String,
    #[serde(default)]
    speaking_cpu: f64,
    #[serde(default)]
    idle_cpu: f64,
    stats: Stats,
}

/// A line of the output of `llama_cpp`.
#[derive(Deserialize)]
struct Whole {
    prefill_ms: f64,
}

/// Circumstances of a spoken turn.
#[derive(Clone, Copy)]
enum Load {
    None,
    /// No load, with the encoder's matrices in 8 bits.
    EightBits,
    /// The process may use only one core.
    OneCore,
    /// Another process computes on every core.
    Busy,
}

/// Measures the figures of the streaming encoder and incremental prefill.
pub async fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let folder = std::env::temp_dir().join(format!("gemmad-turn-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let measured = measure_in(bench, &folder).await;
    std::fs::remove_dir_all(&folder)?;
    measured
}

async fn measure_in(bench: &Bench, folder: &Path) -> Result<Vec<Figure>> {
    let mut turns = Vec::new();
    let mut wholes = Vec::new();
    for seconds in LENGTHS {
        let sound = folder.join(format!("{seconds}.wav"));
        speech::write_wav(&sound, &story(seconds + 1)?)?;
        let lengths: Vec<_> = (0..ROUNDS)
            .map(|round| f64::from(seconds) + 0.1 * f64::from(round))
            .collect();
        turns.push(spoken(bench, &bench.shape, &sound, &lengths, Load::None).await?);
        speech::write_wav(&sound, &story(seconds)?)?;
        wholes.push(whole(bench, &sound).await?);
    }
    let mut figures = latencies(bench, &turns, &wholes)?;
    figures.extend(costs(bench, &turns[1])?);
    let sound = folder.join("10.wav");
    let lengths = [10.0, 10.1, 10.2, 10.3, 10.4];
    let eight_bits = spoken(bench, &bench.shape, &sound, &lengths, Load::EightBits).await?;
    figures.extend(in_eight_bits(bench, &eight_bits)?);
    let slow = spoken(bench, &bench.shape, &sound, &[10.0, 10.0], Load::OneCore).await?;
    figures.push(
        figure(bench, "one_core_real_time_factor", "", factors(&slow))?
            .meaning("`turn_real_time_factor` with one core for both threads (`taskset -c 0`)."),
    );
    figures.push(same_under_load(bench, folder).await?);
    figures.push(same_as_whole(bench).await?);
    Ok(figures)
}

fn figure(bench: &Bench, name: &str, unit: &str, samples: Vec<f64>) -> Result<Figure> {
    Figure::new(name, unit, samples, &bench.shape)
}

fn latencies(bench: &Bench, turns: &[Vec<Turn>], wholes: &[Vec<f64>]) -> Result<Vec<Figure>> {
    let firsts =
        |turns: &[Turn]| -> Vec<f64> { turns.iter().map(|it| it.stats.first_token_ms).collect() };
    let [short, middle, long] = [0, 1, 2].map(|nth| firsts(&turns[nth]));
    // A ratio of medians, because runs of different lengths are not paired.
    let ratio = |of: &[f64], by: &[f64]| vec![median(of) / median(by)];
    let mut figures = vec![
        figure(bench, "speech_to_token_10s_over_2s", "", ratio(&middle, &short))?
            .goal("≤ 1.15")
            .meaning("`turn_first_token_10s` / `turn_first_token_2s`: whether the answer to long speech begins as soon as that to short speech."),
        figure(bench, "speech_to_token_20s_over_2s", "", ratio(&long, &short))?
            .meaning("The same for 20 s of speech."),
        figure(bench, "speech_to_token_10s_over_whole_clip", "", ratio(&middle, &wholes[1]))?
            .goal("≤ 0.06")
            .meaning("`turn_first_token_10s` / `whole_clip_10s`."),
        figure(bench, "speech_to_token_20s_over_whole_clip", "", ratio(&long, &wholes[2]))?
            .goal("≤ 0.06")
            .meaning("The same for 20 s of speech."),
        figure(bench, "first_token_after_endpoint_ms", "ms", after_endpoint(&middle))?
            .goal("≈ 0")
            .meaning("How much later than the endpoint the first token comes, when the answer is begun 440 ms before it, at the pause that may be the end (`[voice] speculative`)."),
    ];
    for (nth, seconds) in LENGTHS.iter().enumerate() {
        figures.push(
            figure(bench, &format!("turn_first_token_{seconds}s"), "ms", firsts(&turns[nth]))?
                .meaning(&format!("From the push of the last sample of {seconds} s of speech, together with the question, to the first token.")),
        );
        figures.push(
            figure(bench, &format!("whole_clip_{seconds}s"), "ms", wholes[nth].clone())?
                .meaning(&format!("Plain llama.cpp (mtmd) with the same {seconds} s: from the end of speech to where the first token could be sampled.")),
        );
    }
    Ok(figures)
}

/// Delay from the endpoint to the first token of an answer that is begun at the pause before the endpoint, in ms.
fn after_endpoint(firsts: &[f64]) -> Vec<f64> {
    firsts
        .iter()
        .map(|first| (first - ENDPOINT_MS).max(0.0))
        .collect()
}

/// Figures of the parts of the time after the last sample, and of the cost of listening.
fn costs(bench: &Bench, turns: &[Turn]) -> Result<Vec<Figure>> {
    let each = |of: fn(&Turn) -> f64| -> Vec<f64> { turns.iter().map(of).collect() };
    let encode = |turn: &Turn| turn.stats.end_encode_ms.unwrap_or_default();
    let prefill = |turn: &Turn| turn.stats.end_prefill_ms.unwrap_or_default();
    let rest = turns
        .iter()
        .map(|it| it.stats.first_token_ms - encode(it) - prefill(it));
    Ok(vec![
        figure(bench, "turn_end_encode_ms", "ms", each(|it| it.stats.end_encode_ms.unwrap_or_default()))?
            .meaning("Of `turn_first_token_10s`, encoding the last rows."),
        figure(bench, "turn_end_prefill_ms", "ms", each(|it| it.stats.end_prefill_ms.unwrap_or_default()))?
            .meaning("Of `turn_first_token_10s`, batches: the last rows of sound, and the tokens that close the turn, whose last gives the first token."),
        figure(bench, "turn_end_rest_ms", "ms", rest.collect())?
            .meaning("Of `turn_first_token_10s`, the rest: waiting for a piece being computed, and sampling."),
        figure(bench, "turn_real_time_factor", "", factors(turns))?
            .goal("≤ 0.35")
            .meaning("Encoding and prefill of 10 s of speech by its length."),
        figure(bench, "speaking_cpu", "cores", each(|it| it.speaking_cpu))?
            .meaning("Processor time while somebody speaks, by time."),
        figure(bench, "idle_cpu", "cores", each(|it| it.idle_cpu))?
            .goal("≈ 0")
            .meaning("Processor time in the second after an answer, by time: whether threads that wait burn any."),
    ])
}

/// Figures with the encoder's matrices in 8 bits.
fn in_eight_bits(bench: &Bench, turns: &[Turn]) -> Result<Vec<Figure>> {
    let firsts = turns.iter().map(|it| it.stats.first_token_ms).collect();
    Ok(vec![
        figure(bench, "q8_real_time_factor", "", factors(turns))?
            .goal("≤ 0.35")
            .meaning("`turn_real_time_factor` with `[model] encoder_weights = \"q8_0\"`."),
        figure(bench, "q8_first_token_10s", "ms", firsts)?
            .meaning("`turn_first_token_10s` with `[model] encoder_weights = \"q8_0\"`."),
    ])
}

fn factors(turns: &[Turn]) -> Vec<f64> {
    let factors = turns.iter().filter_map(|turn| turn.stats.real_time_factor);
    factors.collect()
}

/// Share of equal answers of the nano model on a busy machine.
async fn same_under_load(bench: &Bench, folder: &Path) -> Result<Figure> {
    let nano = Model::nano();
    let mut same = Vec::new();
    for sentence in SENTENCES {
        let sound = folder.join("sentence.wav");
        speech::write_wav(&sound, &speech::say(sentence, "en-us")?)?;
        let quiet = spoken(bench, &nano, &sound, &[], Load::None).await?;
        for load in [Load::OneCore, Load::Busy] {
            let loaded = spoken(bench, &nano, &sound, &[], load).await?;
            let is_same = quiet[0].text == loaded[0].text
                && quiet[0].stats.audio_tokens == loaded[0].stats.audio_tokens;
            same.push(if is_same { 1.0 } else { 0.0 });
        }
    }
    let figure = Figure::new("turn_same_answer", "", same, &nano)?;
    Ok(figure.goal("1").meaning(
        "Whether a spoken turn is heard whole and answered the same on one core, and beside a process that \
         computes on every core, as on a quiet machine; 0 or 1 for each.",
    ))
}

/// Continuous speech of this length.
fn story(seconds: u32) -> Result<Vec<f32>> {
    let wanted = 16_000 * seconds as usize;
    let mut samples = Vec::new();
    for sentence in SENTENCES.iter().cycle() {
        if samples.len() >= wanted {
            break;
        }
        samples.extend(speech::say(sentence, "en-us")?);
    }
    samples.truncate(wanted);
    Ok(samples)
}

/// Measures turns at the pace of speech.
async fn spoken(
    bench: &Bench,
    model: &Model,
    sound: &Path,
    lengths: &[f64],
    load: Load,
) -> Result<Vec<Turn>> {
    let mut command = match load {
        Load::OneCore => {
            let mut command = Command::new("taskset");
            command.args(["-c", "0"]).arg(program(bench));
            command
        }
        Load::None | Load::EightBits | Load::Busy => Command::new(program(bench)),
    };
    let threads = match load {
        Load::None | Load::EightBits => THREADS,
        Load::OneCore | Load::Busy => BY_ITSELF,
    };
    hearing(&mut command, model, threads, "16");
    if matches!(load, Load::EightBits) {
        command.arg("--q8");
    }
    command.arg("--ignore-end").arg("--audio").arg(sound);
    for seconds in lengths {
        command.args(["--seconds", &seconds.to_string()]);
    }
    let _others = match load {
        Load::Busy => others()?,
        Load::None | Load::EightBits | Load::OneCore => Vec::new(),
    };
    lines(command).await
}

/// Times to the first token, in ms, and rows in the cache, of turns after `exchanges` questions and their answers.
///
/// # Errors
/// When the turns fail.
pub async fn after_history(bench: &Bench, exchanges: u32) -> Result<Vec<(f64, u32)>> {
    let sound = std::env::temp_dir().join(format!("gemmad-history-{}.wav", std::process::id()));
    speech::write_wav(&sound, &story(4)?)?;
    let mut command = Command::new(program(bench));
    hearing(&mut command, &bench.shape, THREADS, "4");
    command.args([
        "--ignore-end",
        "--history",
        &exchanges.to_string(),
        "--audio",
    ]);
    command
        .arg(&sound)
        .args(["--seconds", "3", "3.1", "3.2", "3.3", "3.4"]);
    let turns: Result<Vec<Turn>> = lines(command).await;
    std::fs::remove_file(&sound)?;
    let each = |it: Turn| (it.stats.first_token_ms, it.stats.cached_tokens);
    Ok(turns?.into_iter().map(each).collect())
}

/// Share of held-out commands with equal answers, heard piece by piece and as whole clips.
async fn same_as_whole(bench: &Bench) -> Result<Figure> {
    let nano = Model::nano();
    let evaluation = bench.run.join("evaluation/voices");
    let mut files: Vec<_> = std::fs::read_dir(&evaluation)
        .with_context(|| format!("{} holds no sound", evaluation.display()))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    files.sort();
    files.truncate(COMPARED);
    let heard = async |how| -> Result<Vec<Turn>> {
        let mut command = Command::new(program(bench));
        hearing(&mut command, &nano, THREADS, "64");
        command.args(["--pace", how, "--audio"]).args(&files);
        lines(command).await
    };
    let (pieces, whole) = (heard("at-once").await?, heard("whole").await?);
    ensure!(pieces.len() == files.len() && whole.len() == files.len());
    let same = pieces.iter().zip(&whole);
    let same = same.map(|(pieces, whole)| f64::from(u8::from(pieces.text == whole.text)));
    #[expect(clippy::cast_precision_loss, reason = "at most 200")]
    let share = same.sum::<f64>() / files.len() as f64;
    let figure = Figure::new("turn_same_as_whole", "", vec![share], &nano)?;
    Ok(figure.goal("1").meaning(
        "Share of 200 held-out commands that are answered the same when they are heard piece by piece and \
         when they are whole clips.",
    ))
}

fn program(bench: &Bench) -> std::path::PathBuf {
    bench.llama_cpp.with_file_name("spoken_turn")
}

/// Adds the arguments that all runs of `spoken_turn` share.
fn hearing(command: &mut Command, model: &Model, threads: &str, most: &str) {
    command
        .arg("--text")
        .arg(&model.text)
        .arg("--mmproj")
        .arg(&model.mmproj)
        .args(["--threads", threads, "--max-tokens", most]);
}

/// Starts a process that computes for each core; dropping them ends them.
fn others() -> Result<Vec<Child>> {
    let cores = std::thread::available_parallelism()?.get();
    let busy = || {
        let mut command = Command::new("sh");
        command
            .args(["-c", "while :; do :; done"])
            .kill_on_drop(true);
        command.spawn().context("cannot run sh")
    };
    (0..cores).map(|_| busy()).collect()
}

async fn whole(bench: &Bench, sound: &Path) -> Result<Vec<f64>> {
    let mut command = Command::new(&bench.llama_cpp);
    command
        .arg("--text")
        .arg(&bench.shape.text)
        .arg("--mmproj")
        .arg(&bench.shape.mmproj)
        .arg("--audio")
        .arg(sound)
        .args(["--threads", THREADS, "--max-tokens", "1"])
        .args(["--runs", &(ROUNDS + 1).to_string()])
        .args([
            "--prompt",
            "<bos><|turn>user\n<__media__><turn|>\n<|turn>model\n<|channel>thought\n<channel|>",
        ]);
    let runs: Vec<Whole> = lines(command).await?;
    // The first run reads the weights into memory.
    Ok(runs.iter().skip(1).map(|run| run.prefill_ms).collect())
}

/// Runs a program; returns the JSON objects that it prints.
async fn lines<T: for<'a> Deserialize<'a>>(mut command: Command) -> Result<Vec<T>> {
    let output = command.stdin(Stdio::null()).output().await;
    let output = output.context("cannot run the measured program")?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout)?;
    let lines = text.lines().map(serde_json::from_str);
    lines
        .collect::<Result<_, _>>()
        .context("it printed something else")
}
