//! llama.cpp's multimodal library, as far as whole clips of sound need it.
//!
//! llama-cpp-2 wraps mtmd too, but not the encoder's output, which has to go into batches of ours.

use std::ffi::CString;
use std::path::Path;
use std::ptr::NonNull;
use std::sync::Arc;

use llama_cpp_2::model::LlamaModel;
use llama_cpp_sys_2 as sys;

use crate::engine::gguf::{Header, Kind};
use crate::engine::model::{Model, raw_model};
use crate::engine::{EngineError, LoadError, backend};

/// The projector file of a model, loaded: mel front-end, audio encoder, projection.
#[derive(Debug)]
pub(in crate::engine) struct Projector {
    context: NonNull<sys::mtmd_context>,
    width: usize,
}

// SAFETY: an mtmd context is tied to no thread.
unsafe impl Send for Projector {}
// SAFETY: through `&Projector` only `mtmd_tokenize` is called, which is thread-safe (mtmd.h:
// "mtmd_tokenize ... is thread-safe (shared ctx)"); encoding goes through the one `Encoder`.
unsafe impl Sync for Projector {}

/// The mel spectrogram of one clip, cut as the encoder wants it.
#[derive(Debug)]
pub(super) struct Mel {
    chunks: NonNull<sys::mtmd_input_chunks>,
    audio: NonNull<sys::mtmd_input_chunk>,
}

// SAFETY: the chunks are plain data that nothing changes after `mtmd_tokenize` filled them.
unsafe impl Send for Mel {}
// SAFETY: as above.
unsafe impl Sync for Mel {}

/// The right to encode with a projector; there is one for each, on the engine thread.
#[derive(Debug)]
pub(in crate::engine) struct Encoder {
    model: Arc<Model>,
}

impl Projector {
    /// Loads `path` for `text`, to compute with `threads` threads.
    ///
    /// # Errors
    /// When the file is missing, damaged, no projector, deaf, or made for another text model.
    pub(in crate::engine) fn load(
        path: &Path,
        text: &LlamaModel,
        threads: i32,
        gpu: bool,
    ) -> Result<Self, LoadError> {
        // SAFETY: plain default values.
        let mut params = unsafe { sys::mtmd_context_params_default() };
        params.use_gpu = gpu;
        params.print_timings = false;
        params.n_threads = threads;
        Self::with(path, text, params)
    }

    /// Loads `path` for `text` with these parameters.
    pub(super) fn with(
        path: &Path,
        text: &LlamaModel,
        params: sys::mtmd_context_params,
    ) -> Result<Self, LoadError> {
        let header = Header::open(path, Kind::Projector)?;
        let refused = |why| LoadError::Refused {
            path: path.into(),
            why,
        };
        let width = usize::try_from(text.n_embd())
            .map_err(|_| refused("the text model has no width".into()))?;
        if let Some(projector) = header.u32("clip.audio.projection_dim")
            && projector as usize != width
        {
            return Err(LoadError::Mismatch {
                path: path.into(),
                projector: projector as usize,
                text: width,
            });
        }
        let name = CString::new(path.as_os_str().as_encoded_bytes())
            .map_err(|_| refused("its name contains a NUL byte".into()))?;
        backend::take_errors();
        // SAFETY: the name is NUL-terminated and the model lives: `Model` drops its projector first.
        let context = unsafe { sys::mtmd_init_from_file(name.as_ptr(), raw_model(text), params) };
        let context = NonNull::new(context).ok_or_else(|| refused(backend::take_errors()))?;
        let projector = Self { context, width };
        // SAFETY: the context was just made.
        if !unsafe { sys::mtmd_support_audio(context.as_ptr()) } {
            return Err(refused("it has no audio encoder".into()));
        }
        Ok(projector)
    }

    /// Computes the mel spectrogram of `samples` (16 kHz, mono, more than one).
    pub(super) fn mel(&self, samples: &[f32]) -> Result<Mel, EngineError> {
        let failed = |why: String| EngineError::Llama {
            doing: "preparing sound",
            why,
        };
        // SAFETY: mtmd copies `samples.len()` floats from the slice; the default marker is a static
        // string; bitmap and text outlive the call; the bitmap is freed exactly once, after it.
        let (chunks, code) = unsafe {
            let bitmap = sys::mtmd_bitmap_init_from_audio(samples.len(), samples.as_ptr());
            let bitmaps = [bitmap.cast_const()];
            let marker = sys::mtmd_default_marker();
            let text = sys::mtmd_input_text {
                text: marker,
                text_len: std::ffi::CStr::from_ptr(marker).count_bytes(),
                add_special: false,
                parse_special: true,
            };
            let chunks = sys::mtmd_input_chunks_init();
            let code = sys::mtmd_tokenize(
                self.context.as_ptr(),
                chunks,
                &raw const text,
                bitmaps.as_ptr(),
                bitmaps.len(),
            );
            sys::mtmd_bitmap_free(bitmap);
            (NonNull::new(chunks), code)
        };
        let chunks = chunks.ok_or_else(|| failed("out of memory".into()))?;
        let mut mel = Mel {
            chunks,
            audio: NonNull::dangling(),
        };
        if code != 0 {
            return Err(failed(format!("mtmd_tokenize returned {code}")));
        }
        mel.audio = mel
            .find_audio()
            .ok_or_else(|| failed("mtmd made no single chunk of sound".into()))?;
        Ok(mel)
    }
}

impl Drop for Projector {
    fn drop(&mut self) {
        // SAFETY: made by `mtmd_init_from_file`, freed once.
        unsafe { sys::mtmd_free(self.context.as_ptr()) }
    }
}

impl Mel {
    /// Soft tokens the encoder will make of it.
    pub(super) fn rows(&self) -> usize {
        // SAFETY: the chunk lives in `chunks`.
        unsafe { sys::mtmd_input_chunk_get_n_tokens(self.audio.as_ptr()) }
    }

    /// The one chunk of sound between its begin and end tokens.
    fn find_audio(&self) -> Option<NonNull<sys::mtmd_input_chunk>> {
        // SAFETY: indices are below the size; the chunks belong to the list.
        let mut audio = unsafe {
            (0..sys::mtmd_input_chunks_size(self.chunks.as_ptr()))
                .map(|nth| sys::mtmd_input_chunks_get(self.chunks.as_ptr(), nth))
                .filter(|chunk| {
                    sys::mtmd_input_chunk_get_type(*chunk) == sys::MTMD_INPUT_CHUNK_TYPE_AUDIO
                })
        };
        let only = NonNull::new(audio.next()?.cast_mut());
        audio.next().is_none().then_some(only)?
    }
}

impl Drop for Mel {
    fn drop(&mut self) {
        // SAFETY: made by `mtmd_input_chunks_init`, freed once; `audio` points into it.
        unsafe { sys::mtmd_input_chunks_free(self.chunks.as_ptr()) }
    }
}

impl Encoder {
    /// The encoder of a model that can hear. Call once for each model.
    pub(in crate::engine) fn new(model: &Arc<Model>) -> Option<Self> {
        model.projector().map(|_| Self {
            model: Arc::clone(model),
        })
    }

    pub(super) fn projector(&self) -> &Projector {
        // `new` made sure of it, and a model keeps its projector.
        self.model.projector().expect("an encoder has a projector")
    }

    /// Runs the encoder: rows × width floats, row by row. Takes about 0.1 s a second of sound on
    /// two desktop cores at E2B's size.
    pub(super) fn encode(&mut self, mel: &Mel) -> Result<Vec<f32>, EngineError> {
        // SAFETY: there is one `Encoder` for each projector, and it is borrowed mutably.
        unsafe { self.projector().encode(mel) }
    }
}

impl Projector {
    /// Runs the encoder.
    ///
    /// # Safety
    /// Nobody else encodes with this projector meanwhile.
    pub(super) unsafe fn encode(&self, mel: &Mel) -> Result<Vec<f32>, EngineError> {
        // SAFETY: the caller makes this the only call that encodes; the chunk was made by this
        // context's library and lives.
        let code = unsafe { sys::mtmd_encode_chunk(self.context.as_ptr(), mel.audio.as_ptr()) };
        if code != 0 {
            return Err(EngineError::Llama {
                doing: "encoding sound",
                why: format!("mtmd_encode_chunk returned {code}"),
            });
        }
        // SAFETY: the output of the last encoding has rows × width floats (mtmd.h) and stays until
        // the next.
        let soft_tokens = unsafe {
            std::slice::from_raw_parts(
                sys::mtmd_get_output_embd(self.context.as_ptr()),
                mel.rows() * self.width,
            )
        };
        Ok(soft_tokens.to_vec())
    }
}
