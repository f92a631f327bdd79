//! Answers a prompt with llama.cpp alone: the reference for answers and speed.
//!
//! The prompt is raw text with llama.cpp's media marker (`<__media__>`) where the sound goes. It is
//! tokenised, encoded and prefilled by mtmd and sampled greedily, all through llama-cpp-2 without code
//! of gemmad, on the same build of llama.cpp. Prints one JSON object per run:
//!
//! ```json
//! {"text":"…","tokens":[…],"gaps":[…],"prompt_rows":50,"prefill_ms":812.0,"decode_ms":1310.0}
//! ```
//!
//! With `--judge`, `gaps` are by how much the logit of each given token is less than the greatest.
//! `prefill_ms` includes encoding; `decode_ms` is from the first sampled token to the last.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Parser;
use llama_cpp_2::context::params::LlamaContextParams;
use llama_cpp_2::llama_backend::LlamaBackend;
use llama_cpp_2::llama_batch::LlamaBatch;
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::model::params::LlamaModelParams;
use llama_cpp_2::mtmd::{MtmdBitmap, MtmdContext, MtmdContextParams, MtmdInputText};
use llama_cpp_2::sampling::LlamaSampler;
use llama_cpp_2::token::LlamaToken;

#[derive(Debug, Parser)]
struct Args {
    /// The text model.
    #[arg(long)]
    text: PathBuf,
    /// Its projector; only for prompts with sound.
    #[arg(long)]
    mmproj: Option<PathBuf>,
    /// The raw prompt.
    #[arg(long)]
    prompt: String,
    /// A sound file, decoded by llama.cpp, for the prompt's media marker.
    #[arg(long)]
    audio: Option<PathBuf>,
    /// Maximum number of tokens to generate.
    #[arg(long, default_value_t = 128)]
    max_tokens: usize,
    /// Generate `max_tokens` tokens even past the end of the turn, to measure speed.
    #[arg(long)]
    ignore_end: bool,
    /// Tokens of an answer that is to be judged: they are taken instead of the likeliest.
    #[arg(long, value_delimiter = ',')]
    judge: Option<Vec<i32>>,
    /// Threads.
    #[arg(long, default_value_t = 2)]
    threads: i32,
    /// Maximum number of rows in a batch.
    #[arg(long, default_value_t = 512)]
    batch: u32,
    /// Cells of the KV cache.
    #[arg(long, default_value_t = 4096)]
    context: u32,
    /// Number of runs.
    #[arg(long, default_value_t = 1)]
    runs: usize,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    #[cfg(feature = "portable")]
    load_kernels()?;
    let mut backend = LlamaBackend::init()?;
    backend.void_logs();
    let model = LlamaModel::load_from_file(&backend, &args.text, &LlamaModelParams::default())?;
    for _ in 0..args.runs {
        run(&args, &backend, &model)?;
    }
    Ok(())
}

/// Loads the CPU kernels that suit this processor best, from the folder of the package.
#[cfg(feature = "portable")]
fn load_kernels() -> anyhow::Result<()> {
    let program = std::env::current_exe()?;
    let prefix = program.ancestors().nth(2).context("it is in no folder")?;
    llama_cpp_2::llama_backend::load_backends_from_path(&prefix.join("lib/gemmad"));
    Ok(())
}

fn run(args: &Args, backend: &LlamaBackend, model: &LlamaModel) -> anyhow::Result<()> {
    let params = LlamaContextParams::default()
        .with_n_ctx(std::num::NonZeroU32::new(args.context))
        .with_n_batch(args.batch)
        .with_n_ubatch(args.batch)
        .with_n_threads(args.threads)
        .with_n_threads_batch(args.threads);
    let mut context = model.new_context(backend, params)?;
    let (rows, prefill) = match &args.mmproj {
        Some(mmproj) => prefill_media(args, model, mmproj, &mut context)?,
        None => prefill_text(args, model, &mut context)?,
    };

    let vocab = model.vocab();
    let mut sampler = LlamaSampler::greedy();
    let mut batch = LlamaBatch::new(1, 1);
    let (mut tokens, mut bytes) = (Vec::new(), Vec::new());
    let mut gaps = Vec::new();
    let mut token = sampler.sample(&context, -1);
    let first = Instant::now();
    while tokens.len() < args.max_tokens && (args.ignore_end || !vocab.is_eog(token)) {
        if let Some(answer) = &args.judge {
            let Some(given) = answer.get(tokens.len()) else {
                break;
            };
            gaps.push(gap(context.get_logits(), *given));
            token = LlamaToken(*given);
        }
        tokens.push(token.0);
        bytes.extend(vocab.token_to_piece(token, false, None));
        batch.clear();
        let position = i32::try_from(rows + tokens.len() - 1)?;
        batch.add(token, position, &[0], true)?;
        context.decode(&mut batch)?;
        token = sampler.sample(&context, -1);
    }
    let line = serde_json::json!({
        "text": String::from_utf8_lossy(&bytes),
        "tokens": tokens,
        "gaps": gaps,
        "prompt_rows": rows,
        "prefill_ms": prefill.as_secs_f64() * 1000.0,
        "decode_ms": first.elapsed().as_secs_f64() * 1000.0,
    });
    println!("{line}");
    Ok(())
}

/// By how much the logit of `token` is less than the greatest.
fn gap(logits: &[f32], token: i32) -> f32 {
    let greatest = logits.iter().copied().fold(f32::MIN, f32::max);
    usize::try_from(token)
        .ok()
        .and_then(|token| logits.get(token))
        .map_or(f32::INFINITY, |logit| greatest - logit)
}

fn prefill_text(
    args: &Args,
    model: &LlamaModel,
    context: &mut llama_cpp_2::context::LlamaContext<'_>,
) -> anyhow::Result<(usize, Duration)> {
    let tokens = model.vocab().tokenize(args.prompt.as_bytes(), false, true);
    let mut batch = LlamaBatch::new(args.batch as usize, 1);
    let started = Instant::now();
    for (nth, chunk) in tokens.chunks(args.batch as usize).enumerate() {
        batch.clear();
        for (offset, token) in chunk.iter().enumerate() {
            let position = nth * args.batch as usize + offset;
            let last = position + 1 == tokens.len();
            batch.add(*token, i32::try_from(position)?, &[0], last)?;
        }
        context.decode(&mut batch)?;
    }
    context.synchronize();
    Ok((tokens.len(), started.elapsed()))
}

fn prefill_media(
    args: &Args,
    model: &LlamaModel,
    mmproj: &std::path::Path,
    context: &mut llama_cpp_2::context::LlamaContext<'_>,
) -> anyhow::Result<(usize, Duration)> {
    let params = MtmdContextParams {
        n_threads: args.threads,
        print_timings: false,
        ..MtmdContextParams::default()
    };
    let mmproj = mmproj
        .to_str()
        .context("the projector's path is not UTF-8")?;
    let mut mtmd = MtmdContext::init_from_file(mmproj, model, &params)?;
    let audio = args.audio.as_deref().context("a projector needs --audio")?;
    let audio = audio.to_str().context("the sound's path is not UTF-8")?;
    let bitmap = MtmdBitmap::from_file(&mtmd, audio, false)?;
    let started = Instant::now();
    let text = MtmdInputText {
        text: args.prompt.clone(),
        add_special: false,
        parse_special: true,
    };
    let chunks = mtmd.tokenize(text, &[&bitmap])?;
    let batch = i32::try_from(args.batch)?;
    let rows = chunks.eval_chunks(&mut mtmd, context, 0, 0, batch, true)?;
    context.synchronize();
    Ok((usize::try_from(rows)?, started.elapsed()))
}
