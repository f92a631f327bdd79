//! Tells a portable build where its shared libraries will be: in `lib/gemmad` beside the folder the
//! program is in.

fn main() {
    if std::env::var_os("CARGO_FEATURE_PORTABLE").is_some() {
        println!("cargo:rustc-link-arg-bins=-Wl,-rpath,$ORIGIN/../lib/gemmad");
    }
    println!("cargo:rerun-if-changed=build.rs");
}
