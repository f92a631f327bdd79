//! Projector files written for tests, with features that the embedded file does not have.

use std::ffi::CString;
use std::path::Path;

use llama_cpp_sys_2 as sys;

fn name(text: &str) -> CString {
    CString::new(text).unwrap()
}

/// Writes the projector file `from` again to `to`: every weight as a float, so that no error hides behind
/// rounding, and the numbers of `scalars` beside them.
pub(in crate::engine::audio) fn as_floats(from: &Path, to: &Path, scalars: &[(String, f32)]) {
    let mut read = std::ptr::null_mut();
    let params = sys::gguf_init_params {
        no_alloc: false,
        ctx: &raw mut read,
    };
    let from = name(from.to_str().unwrap());
    let to = name(to.to_str().unwrap());
    // SAFETY: names are NUL-terminated; `read` holds all tensors of the file with their data, and
    // `write` has room for them as floats; both live until everything is written, and each is freed
    // once. Each conversion writes as many floats as the tensor it writes to has.
    unsafe {
        let source = sys::gguf_init_from_file(from.as_ptr(), params);
        assert!(!source.is_null());
        let tensors = || {
            let next = |tensor: *mut sys::ggml_tensor| (!tensor.is_null()).then_some(tensor);
            // The first tensor holds the data of all others.
            let first = next(sys::ggml_get_first_tensor(read));
            std::iter::successors(first, move |last| {
                next(sys::ggml_get_next_tensor(read, *last))
            })
            .skip(1)
        };
        let floats = tensors()
            .map(|tensor| sys::ggml_nelements(tensor))
            .sum::<i64>();
        let write = sys::ggml_init(sys::ggml_init_params {
            mem_size: usize::try_from(floats).unwrap() * 4
                + (tensors().count() + scalars.len()) * (sys::ggml_tensor_overhead() + 64),
            mem_buffer: std::ptr::null_mut(),
            no_alloc: false,
        });
        let target = sys::gguf_init_empty();
        sys::gguf_set_kv(target, source);
        for tensor in tensors() {
            let made = sys::ggml_new_tensor(write, sys::GGML_TYPE_F32, 4, (*tensor).ne.as_ptr());
            sys::ggml_set_name(made, sys::ggml_get_name(tensor));
            let (data, length) = ((*made).data.cast::<f32>(), sys::ggml_nelements(tensor));
            if (*tensor).type_ == sys::GGML_TYPE_F32 {
                let length = usize::try_from(length).unwrap();
                data.copy_from_nonoverlapping((*tensor).data.cast(), length);
            } else {
                let convert = (*sys::ggml_get_type_traits((*tensor).type_))
                    .to_float
                    .unwrap();
                convert((*tensor).data, data, length);
            }
            sys::gguf_add_tensor(target, made);
        }
        for (scalar, value) in scalars {
            let made = sys::ggml_new_tensor(write, sys::GGML_TYPE_F32, 1, [1].as_ptr());
            sys::ggml_set_name(made, name(scalar).as_ptr());
            *(*made).data.cast::<f32>() = *value;
            sys::gguf_add_tensor(target, made);
        }
        assert!(sys::gguf_write_to_file(target, to.as_ptr(), false));
        sys::gguf_free(target);
        sys::ggml_free(write);
        sys::gguf_free(source);
        sys::ggml_free(read);
    }
}

/// Writes an encoder-free projector (`gemma4ua`) for a text model of `width`, with some weights.
#[expect(clippy::cast_precision_loss)]
pub(in crate::engine::audio) fn encoder_free(to: &Path, width: u32) {
    let to = name(to.to_str().unwrap());
    let weights = 640 * width as usize;
    // SAFETY: names are NUL-terminated; the context has room for the tensor, whose data are written
    // within bounds; each thing is freed once, after the file is written.
    unsafe {
        let target = sys::gguf_init_empty();
        let text = |key: &str, value: &str| {
            sys::gguf_set_val_str(target, name(key).as_ptr(), name(value).as_ptr());
        };
        text("general.architecture", "clip");
        text("clip.audio.projector_type", "gemma4ua");
        sys::gguf_set_val_bool(target, c"clip.has_audio_encoder".as_ptr(), true);
        for (key, value) in [
            ("embedding_length", width),
            ("feed_forward_length", width),
            ("block_count", 0),
            ("attention.head_count", 1),
            ("projection_dim", width),
            ("num_mel_bins", 640),
        ] {
            let key = name(&format!("clip.audio.{key}"));
            sys::gguf_set_val_u32(target, key.as_ptr(), value);
        }
        let epsilon = c"clip.audio.attention.layer_norm_epsilon";
        sys::gguf_set_val_f32(target, epsilon.as_ptr(), 1e-6);
        let context = sys::ggml_init(sys::ggml_init_params {
            mem_size: weights * 4 + 2 * sys::ggml_tensor_overhead(),
            mem_buffer: std::ptr::null_mut(),
            no_alloc: false,
        });
        let shape = [640, i64::from(width)];
        let tensor = sys::ggml_new_tensor(context, sys::GGML_TYPE_F32, 2, shape.as_ptr());
        sys::ggml_set_name(tensor, c"mm.a.input_projection.weight".as_ptr());
        for weight in 0..weights {
            *(*tensor).data.cast::<f32>().add(weight) = (weight as f32 * 0.7).sin() * 0.04;
        }
        sys::gguf_add_tensor(target, tensor);
        assert!(sys::gguf_write_to_file(target, to.as_ptr(), false));
        sys::gguf_free(target);
        sys::ggml_free(context);
    }
}
