//! The model files, loaded: weights, vocabulary, template, projector.
//!
//! A loaded model never changes, so any thread may read it: requests are rendered and tokenised outside
//! the engine thread, which gets only tokens.

use std::collections::HashMap;
use std::ffi::{CString, c_void};
use std::ops::Range;
use std::path::Path;
use std::ptr::NonNull;
use std::sync::Arc;

use gemmad_text as text;
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::token::LlamaToken;
use llama_cpp_2::token_type::LlamaTokenAttr;
use llama_cpp_sys_2 as sys;

use super::backend;
use super::gguf::Header;
use super::kv_only;
use super::markers::Markers;
use super::placing::Text;
use crate::config;
use crate::engine::audio::{Encoder, Floor, Options};
use crate::engine::ggml::tensors::Device;
use crate::engine::ggml::threads::Threads;
use crate::engine::prompt::stretches::{Bounds, Seams};
use crate::engine::prompt::template::Template;
use crate::engine::{EngineError, LoadError};

/// The key of a model that was trained on single questions, with nothing beside them: `models/nano/export.py` writes it.
const BARE: &str = "gemmad.bare_questions";

/// Maximum length of a model's name, in characters.
const LONGEST_NAME: usize = 80;

/// A token id of the model's vocabulary.
pub(in crate::engine) type Token = i32;

/// A loaded model.
#[derive(Debug)]
pub(in crate::engine) struct Model {
    /// The audio encoder, or why there is none.
    encoder: Result<Arc<Encoder>, String>,
    llama: LlamaModel,
    template: Template,
    name: String,
    is_bare: bool,
    shared_kv_layers: u32,
    ends: Vec<Token>,
    barred: Vec<Token>,
    markup: Vec<Token>,
    thought: Option<(Token, Token)>,
    /// User-defined tokens that are no text.
    markers: Markers,
    /// For cutting long texts, if the vocabulary allows that.
    seams: Option<Seams>,
    calls: Vec<Token>,
}

impl Model {
    /// Loads the files `config` names, of which `text` are the headers of the text model, to compute with `threads`.
    /// `progress` is called many times with the share of the text model that is loaded, 0 to 1; when it returns false,
    /// loading ends.
    ///
    /// # Errors
    /// When a file is missing, damaged, of the wrong kind, or the two do not belong together; or
    /// `progress` ended it.
    pub(in crate::engine) fn load(
        config: &config::Model,
        text: &Text,
        threads: &Arc<Threads>,
        progress: &mut Progress<'_>,
    ) -> Result<Self, LoadError> {
        let header = &text.header;
        let name = shown_name(header.string("general.name"), &config.text);
        let source = header
            .string("tokenizer.chat_template")
            .ok_or_else(|| EngineError::Template("the file has none".into()))?
            .to_owned();
        let shared_kv_layers = kv_only::shared_layers(header);
        let llama = load_weights(config, text, progress)?;
        let encoder = load_encoder(config, &llama, threads)?;
        let vocab = llama.vocab();
        let shown = |token| String::from_utf8_lossy(&piece(&llama, token, true)).into_owned();
        let template = Template::new(&source, shown(vocab.bos()), shown(vocab.eos()))?;
        let find = |text: &str| match vocab.tokenize(text.as_bytes(), false, true).as_slice() {
            [token] => Some(token.0),
            _ => None,
        };
        let thought = find("<|channel>").zip(find("<channel|>"));
        let markers = Markers::new(&llama).map_err(|why| LoadError::Refused {
            path: config.text.clone(),
            why,
        })?;
        let is_known = header.string("tokenizer.ggml.model") == Some("gemma4");
        let seams = is_known.then(|| seams(&llama, header)).flatten();
        let calls = CALLS.into_iter().filter_map(find).collect();
        let ends = vocab.tokens().filter(|token| vocab.is_eog(*token));
        let ends: Vec<_> = ends.map(|token| token.0).collect();
        let barred = vocab.suppress_tokens().iter().map(|token| token.0);
        let mut barred: Vec<_> = barred.collect();
        barred.sort_unstable();
        barred.dedup();
        let markup = markup(&llama, &markers);
        let is_needed = |token: &Token| {
            ends.contains(token)
                || thought.is_some_and(|(open, close)| [open, close].contains(token))
        };
        let markup = markup.filter(|token| !is_needed(token)).collect();
        Ok(Self {
            encoder,
            llama,
            template,
            name,
            is_bare: header.flag(BARE),
            shared_kv_layers,
            ends,
            barred,
            markup,
            thought,
            markers,
            seams,
            calls,
        })
    }

    /// Loads the files `config` names, with weights in layouts.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(in crate::engine) fn open(
        config: &config::Model,
        threads: &Arc<Threads>,
    ) -> Result<Self, LoadError> {
        let text = Text::open(&config.text, true)?;
        Self::load(config, &text, threads, &mut |_| true)
    }

    /// The model's name as its file gives it.
    pub(in crate::engine) fn name(&self) -> &str {
        &self.name
    }

    /// Whether it understands single questions alone, with nothing beside them.
    pub(in crate::engine) fn is_bare(&self) -> bool {
        self.is_bare
    }

    /// Number of layers, the last ones, that only read the KV of earlier layers.
    pub(in crate::engine) fn shared_kv_layers(&self) -> u32 {
        self.shared_kv_layers
    }

    /// The audio encoder, if the model can hear.
    ///
    /// # Errors
    /// [`EngineError::Deaf`], with the reason.
    pub(in crate::engine) fn encoder(&self) -> Result<&Arc<Encoder>, EngineError> {
        let encoder = self.encoder.as_ref();
        encoder.map_err(|why| EngineError::Deaf(why.clone()))
    }

    /// The chat template.
    pub(in crate::engine) fn template(&self) -> &Template {
        &self.template
    }

    /// The weights, for making a context.
    pub(in crate::engine) fn llama(&self) -> &LlamaModel {
        &self.llama
    }

    /// Number of tokens in the vocabulary.
    pub(in crate::engine) fn vocabulary(&self) -> usize {
        usize::try_from(self.llama.n_vocab()).unwrap_or(0)
    }

    /// The tokens that open and close a channel (thought), if the vocabulary has them.
    pub(in crate::engine) fn thought(&self) -> Option<(Token, Token)> {
        self.thought
    }

    /// The beginning-of-sequence token, when the file wants every prompt to start with it.
    pub(in crate::engine) fn bos(&self) -> Option<Token> {
        let vocab = self.llama.vocab();
        vocab.should_add_bos().then(|| vocab.bos().0)
    }

    /// The tokens that end the model's turn: all the end tokens the file names, sorted.
    pub(in crate::engine) fn ends(&self) -> &[Token] {
        &self.ends
    }

    /// The tokens that are never to be drawn: those the file names in `tokenizer.ggml.suppress_tokens`, sorted.
    pub(in crate::engine) fn barred(&self) -> &[Token] {
        &self.barred
    }

    /// The other tokens of the protocol that no text holds, sorted: without those around a thought.
    pub(in crate::engine) fn markup(&self) -> &[Token] {
        &self.markup
    }

    /// Whether the vocabulary has the tokens that tool calls are written with.
    pub(in crate::engine) fn calls_tools(&self) -> bool {
        self.calls.len() == CALLS.len()
    }

    /// The bytes of `token` as an answer shows them: nothing for control tokens other than those of calls.
    /// A character may be spread over several tokens.
    pub(in crate::engine) fn bytes(&self, token: Token) -> Vec<u8> {
        piece(&self.llama, LlamaToken(token), self.calls.contains(&token))
    }

    /// The text of a protocol token, such as `<turn|>` or `<|tool_call>`; `None` for any other token.
    pub(in crate::engine) fn protocol(&self, token: Token) -> Option<Vec<u8>> {
        let vocab = self.llama.vocab();
        let token = LlamaToken(token);
        let text = || piece(&self.llama, token, true);
        if vocab.is_control(token) {
            return Some(text());
        }
        if !vocab.attr(token).contains(LlamaTokenAttr::UserDefined) {
            return None;
        }
        let text = text();
        let is_mark = str::from_utf8(&text).is_ok_and(|it| self.markers.contains(it));
        is_mark.then_some(text)
    }

    /// Tokens of a template's own text, control tokens included.
    pub(in crate::engine) fn tokenise_template(&self, text: &str) -> Vec<Token> {
        tokenise(&self.llama, text, true)
    }

    /// Tokens of text that was typed or said: never a control token or a token of the tool protocol.
    ///
    /// llama.cpp finds "user-defined" tokens (such as `<|tool_call>` in Gemma 4 files) in any text. The text of one that
    /// marks something is cut after its first character and tokenised in two parts.
    pub(in crate::engine) fn tokenise_said(&self, text: &str) -> Vec<Token> {
        // Nothing bounds it.
        let tokens = self.tokenise_within(text, Bounds::NONE);
        tokens.unwrap_or_default()
    }

    /// Like [`Model::tokenise_said`], within bounds that are looked at before every stretch of the text.
    ///
    /// # Errors
    /// [`EngineError::PromptTooLong`] or [`EngineError::Cancelled`], as soon as that is certain.
    pub(in crate::engine) fn tokenise_within(
        &self,
        text: &str,
        bounds: Bounds<'_>,
    ) -> Result<Vec<Token>, EngineError> {
        let seams = self.seams.as_ref();
        bounds.check(seams.map_or(0, |seams| seams.least(text)))?;
        let mut tokens = Vec::new();
        // Where the tokens of a stretch are that was there before.
        let mut known = HashMap::new();
        for part in self.markers.parts(text) {
            for stretch in self.stretches(part) {
                bounds.check(tokens.len())?;
                let start = tokens.len();
                if let Some(before) = known.get(stretch) {
                    tokens.extend_from_within(Range::clone(before));
                } else {
                    tokens.extend(tokenise(&self.llama, stretch, false));
                    known.insert(stretch, start..tokens.len());
                }
            }
        }
        Ok(tokens)
    }

    #[cfg(test)]
    pub(in crate::engine) fn parts<'a>(&'a self, text: &'a str) -> impl Iterator<Item = &'a str> {
        self.markers.parts(text)
    }

    #[cfg(test)]
    pub(in crate::engine) fn least(&self, text: &str) -> usize {
        self.seams.as_ref().map_or(0, |seams| seams.least(text))
    }

    /// `text` in stretches, or whole if the vocabulary allows no cuts.
    fn stretches<'a>(&'a self, text: &'a str) -> impl Iterator<Item = &'a str> {
        let stretches = self.seams.as_ref().map(|seams| seams.stretches(text));
        let whole = stretches.is_none().then_some(text);
        stretches.into_iter().flatten().chain(whole)
    }
}

/// The raw pointer of a model, for calls that llama-cpp-2 does not wrap.
pub(in crate::engine) fn raw_model(model: &LlamaModel) -> *mut sys::llama_model {
    // SAFETY: `LlamaModel` is `repr(transparent)` over a non-null pointer to `llama_model`
    // (llama-cpp-2 0.1.160, model.rs:26 and ptr.rs:5; the version is pinned).
    unsafe { std::mem::transmute_copy(model) }
}

/// The tokens that tool calls are written with. They are control tokens in some files, text tokens in others.
const CALLS: [&str; 3] = ["<|tool_call>", "<tool_call|>", "<|\"|>"];

/// Called with the share that is loaded, 0 to 1; returns whether to go on.
pub(in crate::engine) type Progress<'a> = dyn FnMut(f32) -> bool + 'a;

/// llama.cpp's callback for the progress of loading; `data` is a pointer to a `&mut Progress`.
unsafe extern "C" fn on_progress(share: f32, data: *mut c_void) -> bool {
    // SAFETY: `load_weights` passes this pointer and keeps what it points at for the whole call.
    let progress = unsafe { &mut *data.cast::<&mut Progress<'_>>() };
    progress(share)
}

/// Loads the audio encoder that `config` names. Without one the model still answers text; the reason is then returned.
fn load_encoder(
    config: &config::Model,
    llama: &LlamaModel,
    threads: &Arc<Threads>,
) -> Result<Result<Arc<Encoder>, String>, LoadError> {
    if config.mmproj.as_os_str().is_empty() {
        return Ok(Err("[model] mmproj names no projector".into()));
    }
    let width = usize::try_from(llama.n_embd()).unwrap_or(0);
    let options = Options {
        floor: match config.mel {
            config::Mel::Gemma => Floor::Added,
            config::Mel::LlamaCpp => Floor::Least,
        },
        precision: config.encoder_weights.into(),
        gpu: config.gpu_layers > 0,
    };
    match Encoder::load(&config.mmproj, width, threads, options) {
        Err(error @ LoadError::NoEncoder { .. }) => {
            log::warn!("the model answers what is written, and hears nothing: {error}");
            Ok(Err(error.to_string()))
        }
        loaded => loaded.map(Ok),
    }
}

/// Whether a GPU computes at least some layers.
pub(in crate::engine) fn is_on_gpu(config: &config::Model) -> bool {
    config.gpu_layers > 0 && Device::has_gpu()
}

fn load_weights(
    config: &config::Model,
    text: &Text,
    mut progress: &mut Progress<'_>,
) -> Result<LlamaModel, LoadError> {
    let path = &config.text;
    let refused = |why| LoadError::Refused {
        path: path.clone(),
        why,
    };
    let name = CString::new(path.as_os_str().as_encoded_bytes())
        .map_err(|_| refused("its name contains a NUL byte".into()))?;
    backend::take_errors();
    // SAFETY: plain default values. llama-cpp-2's `LlamaModelParams` cannot set `use_extra_bufts`.
    let mut params = unsafe { sys::llama_model_default_params() };
    params.n_gpu_layers = i32::try_from(config.gpu_layers).unwrap_or(i32::MAX);
    let overrides = text.overrides();
    // Beside a GPU, llama.cpp decides what it repacks.
    params.use_extra_bufts = config.repack;
    if !is_on_gpu(config) {
        params.use_extra_bufts = false;
        params.tensor_buft_overrides = overrides.as_ptr();
        params.lazy_mode = sys::LLAMA_LAZY_MODE_ON;
    }
    params.progress_callback = Some(on_progress);
    params.progress_callback_user_data = (&raw mut progress).cast();
    // SAFETY: the name is NUL-terminated; of ours the parameters point only at `overrides` and `progress`, which
    // outlive the call and are used by nothing else meanwhile.
    let model = unsafe { sys::llama_model_load_from_file(name.as_ptr(), params) };
    let model = NonNull::new(model).ok_or_else(|| {
        refused(format!(
            "{}; it is damaged or cut short: download it again",
            backend::take_errors()
        ))
    })?;
    // SAFETY: as for `raw_model`; the pointer is ours alone, and `LlamaModel` will free it.
    Ok(unsafe { std::mem::transmute::<NonNull<sys::llama_model>, LlamaModel>(model) })
}

fn tokenise(llama: &LlamaModel, text: &str, special: bool) -> Vec<Token> {
    let tokens = llama.vocab().tokenize(text.as_bytes(), false, special);
    tokens.into_iter().map(|token| token.0).collect()
}

fn piece(llama: &LlamaModel, token: LlamaToken, special: bool) -> Vec<u8> {
    llama.vocab().token_to_piece(token, special, None)
}

/// Control tokens, and user-defined ones that mark something, sorted.
fn markup<'a>(llama: &'a LlamaModel, markers: &'a Markers) -> impl Iterator<Item = Token> + 'a {
    let vocab = llama.vocab();
    let tokens: Vec<_> = vocab.tokens().collect();
    let markup = tokens.into_iter().filter(move |token| {
        let text = vocab.text(*token).and_then(|text| text.to_str().ok());
        vocab.is_control(*token) || text.is_some_and(|text| markers.contains(text))
    });
    markup.map(|token| token.0)
}

/// Where texts may be cut. `None` if llama.cpp strips the spaces around any of the user-defined tokens that it finds in
/// them.
fn seams(llama: &LlamaModel, header: &Header) -> Option<Seams> {
    let vocab = llama.vocab();
    let mut texts = Vec::new();
    for token in vocab.tokens() {
        let attributes = vocab.attr(token);
        if attributes.intersects(LlamaTokenAttr::LStrip | LlamaTokenAttr::RStrip) {
            return None;
        }
        let is_control = attributes.intersects(LlamaTokenAttr::Control | LlamaTokenAttr::Unknown);
        if attributes.contains(LlamaTokenAttr::UserDefined) && !is_control {
            // A token's text that is not UTF-8 occurs in no text.
            texts.extend(
                vocab
                    .text(token)
                    .and_then(|text| text.to_str().ok())
                    .map(str::to_owned),
            );
        }
    }
    let [tokens, merges] = ["tokenizer.ggml.tokens", "tokenizer.ggml.merges"].map(|list| {
        let texts = header.strings(list);
        texts.filter_map(|text| text.to_str().ok())
    });
    Seams::new(&texts, tokens, merges)
        .inspect_err(|why| log::warn!("long texts are tokenised whole, which is slow: {why}"))
        .ok()
}

/// The model's name as one line fit to be shown: `general`, or else the name of the file at `path`.
fn shown_name(general: Option<&str>, path: &Path) -> String {
    let shown = |name: &str| text::line(name, LONGEST_NAME).trim().to_owned();
    let general = general.map(shown).filter(|name| !name.is_empty());
    general.unwrap_or_else(|| shown(&path.file_stem().unwrap_or_default().to_string_lossy()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_model_is_short_and_on_one_line() {
        let path = Path::new("/models/gemma-4\n.gguf");
        let long = "a".repeat(10_000);
        let cut = format!("{}…", "a".repeat(79));
        for (general, shown) in [
            (Some("Gemma 4 E2B"), "Gemma 4 E2B"),
            (
                Some("Gemma\n[ERROR] forged\u{1b}[2J"),
                "Gemma [ERROR] forged\u{FFFD}[2J",
            ),
            (Some(long.as_str()), cut.as_str()),
            (Some(""), "gemma-4"),
            (Some(" \n\u{200B}"), "gemma-4"),
            (None, "gemma-4"),
        ] {
            assert_eq!(shown_name(general, path), shown, "{general:?}");
        }
    }

    #[test]
    fn loading_ends_when_it_is_told_to() {
        let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../models/nano"));
        let config = config::Model {
            text: folder.join("nano-f16.gguf"),
            mmproj: Path::new("").into(),
            ..config::Model::default()
        };
        backend::start();
        let threads = Threads::of(1);
        let mut told = Vec::new();
        let text = Text::open(&config.text, true).unwrap();
        let loaded = Model::load(&config, &text, &threads, &mut |share| {
            told.push(share);
            share < 0.5
        });
        assert!(loaded.is_err());
        assert!(*told.last().unwrap() >= 0.5, "{told:?}");
        assert!(told.is_sorted(), "{told:?}");
        Model::load(&config, &text, &threads, &mut |_| true).unwrap();
    }
}
