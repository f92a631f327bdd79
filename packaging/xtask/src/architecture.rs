//! The kinds of machines that gemmad is packaged for, and what Rust, GNU and Debian call them.

use anyhow::{Context, Result};
use clap::ValueEnum;

/// A kind of machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Architecture {
    /// A PC.
    Amd64,
    /// A Raspberry Pi, a Jetson.
    Arm64,
}

impl Architecture {
    /// What this machine is.
    pub fn here() -> Result<Self> {
        let all = Self::value_variants().iter().copied();
        let mut here = all.filter(|kind| kind.rust().starts_with(std::env::consts::ARCH));
        here.next().with_context(|| {
            format!(
                "gemmad is packaged on amd64 and arm64, and this machine is {}",
                std::env::consts::ARCH
            )
        })
    }

    /// Rust's name.
    pub fn rust(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64-unknown-linux-gnu",
            Self::Arm64 => "aarch64-unknown-linux-gnu",
        }
    }

    /// Debian's name.
    pub fn debian(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }

    /// The program `name` of binutils that reads files for it, by the name it has on every machine.
    pub fn tool(self, name: &str) -> String {
        // GNU's name lacks the vendor that Rust's has.
        format!("{}-{name}", self.rust().replace("-unknown", ""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tools_have_debians_names() {
        assert_eq!(Architecture::Arm64.tool("strip"), "aarch64-linux-gnu-strip");
    }

    #[test]
    fn this_machine_is_one_of_them() {
        let here = Architecture::here().unwrap();
        assert!(cfg!(target_arch = "x86_64") == (here == Architecture::Amd64));
    }
}
