//! Python programs of this repository, each group with its own packages.

use std::{path::PathBuf, process::Command};

use anyhow::Result;

use crate::command::{execute, root};

/// Python in a virtual environment, and the programs of one folder.
pub struct Python {
    program: PathBuf,
    scripts: PathBuf,
}

impl Python {
    /// Python for the programs in `models/NAME`, with the packages in the file `requirements` there. The
    /// environment is `target/NAME-python`; packages that it already has are not installed again.
    pub fn of(name: &str, requirements: &str) -> Result<Self> {
        let scripts = root().join("models").join(name);
        let environment = root().join(format!("target/{name}-python"));
        let program = environment.join("bin/python");
        if !program.exists() {
            let venv = ["-m", "venv"];
            execute(Command::new("python3").args(venv).arg(&environment))?;
        }
        let install = [
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "-r",
        ];
        let requirements = scripts.join(requirements);
        execute(Command::new(&program).args(install).arg(requirements))?;
        Ok(Self { program, scripts })
    }

    /// A command that runs `script`, without arguments yet.
    #[must_use]
    pub fn script(&self, script: &str) -> Command {
        let mut command = Command::new(&self.program);
        command
            .arg(self.scripts.join(script))
            .env("PYTHONDONTWRITEBYTECODE", "1");
        command
    }
}
