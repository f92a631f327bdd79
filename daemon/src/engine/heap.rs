//! The heap of the process.

/// Gives freed memory back to the system, as far as the C library can. glibc keeps what small allocations had, which after a
/// model with Gemma's vocabulary is more than 100 MB.
pub(super) fn trim() {
    #[cfg(target_env = "gnu")]
    // SAFETY: no preconditions (malloc_trim(3)).
    unsafe {
        nix::libc::malloc_trim(0);
    }
}
