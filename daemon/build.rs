//! Tells a portable build where its shared libraries will be: in `lib/gemmad` beside the folder the
//! program is in.

fn main() {
    if std::env::var_os("CARGO_FEATURE_PORTABLE").is_some() {
        for programs in ["bins", "examples"] {
            println!("cargo:rustc-link-arg-{programs}=-Wl,-rpath,$ORIGIN/../lib/gemmad");
        }
        // Where a library that a library needs is looked for, too: plain llama.cpp names only the first.
        println!("cargo:rustc-link-arg-examples=-Wl,--disable-new-dtags");
    }
    println!("cargo:rerun-if-changed=build.rs");
}
