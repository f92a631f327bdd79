//! Builds the demo and what it shows. The demo itself is an example of the testbed.

use anyhow::Result;
use xtask::{
    command::{cargo, exec, execute, target},
    say, setup,
};

/// Builds the programs and becomes the demo; with `mic`, that listens to this machine's microphone until Ctrl-C.
pub fn run(mic: bool) -> Result<()> {
    setup::run()?;
    say::step("Building gemmad and gemmactl (the first time with llama.cpp, about 5 minutes)");
    // The whole workspace, as in `test`, so that the builds share everything.
    let build = ["build", "--workspace", "--bins", "--example", "demo"];
    execute(&mut cargo(build))?;
    let mut demo = std::process::Command::new(target()?.join("debug/examples/demo"));
    if mic {
        demo.arg("--mic");
    }
    exec(&mut demo)
}
