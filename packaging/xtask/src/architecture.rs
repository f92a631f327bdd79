//! The architectures that gemmad is packaged for, and their names in Rust, GNU and Debian.

use anyhow::{Context, Result};
use clap::ValueEnum;

/// An architecture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Architecture {
    /// A PC.
    Amd64,
    /// A Raspberry Pi, a Jetson.
    Arm64,
}

impl Architecture {
    /// The architecture of this machine.
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
    #[must_use]
    pub fn rust(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64-unknown-linux-gnu",
            Self::Arm64 => "aarch64-unknown-linux-gnu",
        }
    }

    /// Debian's name.
    #[must_use]
    pub fn debian(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }

    /// Name of the program `name` of binutils for this architecture, as it is called on every machine.
    #[must_use]
    pub fn tool(self, name: &str) -> String {
        // Unlike Rust's name, GNU's has no vendor.
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
