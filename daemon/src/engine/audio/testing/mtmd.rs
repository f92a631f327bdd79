//! llama.cpp's multimodal library on whole clips of sound: the reference for the streaming encoder.
//!
//! llama-cpp-2 wraps mtmd too, but not the encoder's output.

use std::ffi::CString;
use std::path::Path;
use std::ptr::NonNull;

use llama_cpp_2::model::LlamaModel;
use llama_cpp_sys_2 as sys;

use crate::engine::EngineError;
use crate::engine::llama::model::raw_model;

/// The projector file of a model, loaded: mel front-end, audio encoder, projection.
#[derive(Debug)]
pub(in crate::engine::audio) struct Projector {
    context: NonNull<sys::mtmd_context>,
    width: usize,
}

// SAFETY: an mtmd context is tied to no thread.
unsafe impl Send for Projector {}

/// The mel spectrogram of one clip, cut as the encoder wants it.
#[derive(Debug)]
struct Mel {
    chunks: NonNull<sys::mtmd_input_chunks>,
    audio: NonNull<sys::mtmd_input_chunk>,
}

impl Projector {
    /// Loads `path` for `text`, which lives longer, with these parameters.
    pub(in crate::engine::audio) fn load(
        path: &Path,
        text: &LlamaModel,
        params: sys::mtmd_context_params,
    ) -> Self {
        let name = CString::new(path.as_os_str().as_encoded_bytes()).unwrap();
        // SAFETY: the name is NUL-terminated, and the caller keeps the model.
        let context = unsafe { sys::mtmd_init_from_file(name.as_ptr(), raw_model(text), params) };
        Self {
            context: NonNull::new(context).unwrap(),
            width: usize::try_from(text.n_embd()).unwrap(),
        }
    }

    /// Computes the mel spectrogram of `samples` (16 kHz, mono, more than one).
    fn mel(&self, samples: &[f32]) -> Result<Mel, EngineError> {
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
    fn rows(&self) -> usize {
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

impl Projector {
    /// Runs the encoder: rows × width floats, row by row.
    pub(in crate::engine::audio) fn encode(
        &mut self,
        samples: &[f32],
    ) -> Result<Vec<f32>, EngineError> {
        let mel = self.mel(samples)?;
        // SAFETY: `&mut` makes this the only call that encodes; the chunk was made by this context's
        // library and lives.
        let code = unsafe { sys::mtmd_encode_chunk(self.context.as_ptr(), mel.audio.as_ptr()) };
        assert_eq!(code, 0, "mtmd_encode_chunk");
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
