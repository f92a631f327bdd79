//! The llama.cpp library of this process: started once, its log forwarded to ours.
//!
//! llama.cpp reports why it refuses a file only in its log, so the last error lines are kept for
//! [`take_errors`].

use std::ffi::{CStr, c_char, c_void};
use std::sync::{Mutex, OnceLock, PoisonError};

use super::bus_error;
use llama_cpp_2::llama_backend::LlamaBackend;
use llama_cpp_sys_2 as sys;

/// Error lines kept for [`take_errors`]. The first lines of a failure say most.
const KEPT_LINES: usize = 4;

static ERRORS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Starts llama.cpp, once for the process.
pub(in crate::engine) fn start() -> &'static LlamaBackend {
    static BACKEND: OnceLock<LlamaBackend> = OnceLock::new();
    BACKEND.get_or_init(|| {
        // SAFETY: the callback is a plain function that lives as long as the process and needs no
        // user data.
        unsafe {
            sys::llama_log_set(Some(forward), std::ptr::null_mut());
            sys::mtmd_log_set(Some(forward), std::ptr::null_mut());
            sys::ggml_set_abort_callback(Some(tell_end));
        }
        if let Err(error) = bus_error::tell() {
            log::warn!("a model file that is cut short will end gemmad without a word: {error}");
        }
        #[cfg(feature = "portable")]
        llama_cpp_2::llama_backend::load_backends_from_path(&libraries());
        // `init` fails only when called twice, which `OnceLock` rules out.
        LlamaBackend::init().expect("llama.cpp is started once")
    })
}

/// The folder of ggml's backends in a portable build: `lib/gemmad` beside the folder of the program, where a
/// package puts them, or else the folder they were built in.
#[cfg(feature = "portable")]
fn libraries() -> std::path::PathBuf {
    let program = std::env::current_exe().unwrap_or_default();
    let prefix = program.ancestors().nth(2).map(std::path::Path::to_owned);
    let installed = prefix.unwrap_or_default().join("lib/gemmad");
    match sys::BACKENDS_DIR {
        Some(built) if !installed.is_dir() => built.into(),
        _ => installed,
    }
}

/// Tells why ggml aborts the process. Without this callback it would start a debugger, too.
unsafe extern "C" fn tell_end(why: *const c_char) {
    // SAFETY: ggml passes a NUL-terminated string that lives through the call.
    let why = unsafe { CStr::from_ptr(why) }.to_string_lossy();
    if log::max_level() == log::LevelFilter::Off {
        eprintln!("{why}");
    } else {
        log::error!(target: "llama.cpp", "{why}");
    }
}

/// Forgets and returns llama.cpp's last error lines, joined; empty when there were none.
pub(in crate::engine) fn take_errors() -> String {
    let lines = std::mem::take(&mut *ERRORS.lock().unwrap_or_else(PoisonError::into_inner));
    lines.join("; ")
}

/// llama.cpp's log callback. Continuations of lines (level `CONT`) carry only progress dots and table rows,
/// and are dropped.
unsafe extern "C" fn forward(level: sys::ggml_log_level, text: *const c_char, _: *mut c_void) {
    // SAFETY: llama.cpp passes a NUL-terminated string that lives through the call.
    let text = unsafe { CStr::from_ptr(text) }.to_string_lossy();
    let text = text.trim_end();
    if text.is_empty() {
        return;
    }
    match level {
        sys::GGML_LOG_LEVEL_ERROR => {
            log::error!(target: "llama.cpp", "{text}");
            let mut lines = ERRORS.lock().unwrap_or_else(PoisonError::into_inner);
            if lines.len() < KEPT_LINES {
                // The line may quote the model file, which may hold any characters.
                lines.push(gemmad_text::line(text, 300).into_owned());
            }
        }
        sys::GGML_LOG_LEVEL_WARN => log::debug!(target: "llama.cpp", "{text}"),
        sys::GGML_LOG_LEVEL_INFO => log::trace!(target: "llama.cpp", "{text}"),
        _ => {}
    }
}
