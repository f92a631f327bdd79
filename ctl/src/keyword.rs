//! `gemmactl keyword train`: finds the recipe and lets Python follow it. It asks the daemon nothing.

use std::{
    env,
    io::ErrorKind,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
};

use tokio::process::Command;

use crate::{args, failure::Failure};

/// The recipe in the package.
const INSTALLED: &str = "/usr/share/gemmad/keyword";

/// The recipe's program, in the recipe's folder.
const PROGRAM: &str = "own.py";

/// Trains a keyword. The recipe writes its progress and its mistakes to standard error itself.
pub async fn train(options: &args::Train) -> Result<(), Failure> {
    let mut python = Command::new("python3");
    python
        .arg(program(options.recipe.as_deref())?)
        .arg(format!("--out={}", options.out.display()))
        .arg(format!("--clips={}", options.clips))
        .arg("--")
        .arg(options.phrase.join(" "))
        // The folder of an installed recipe is root's.
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let ended = python.status().await.map_err(|error| unstarted(&error))?;
    outcome(ended)
}

/// The recipe's program: in `chosen`, or else in the checkout this program was built in, or else in the package.
fn program(chosen: Option<&Path>) -> Result<PathBuf, Failure> {
    let places = match chosen {
        Some(folder) => vec![folder.to_owned()],
        None => places(env::current_exe().ok().as_deref()),
    };
    let programs = places.iter().map(|folder| folder.join(PROGRAM));
    programs
        .into_iter()
        .find(|path| path.is_file())
        .ok_or_else(|| {
            let places: Vec<_> = places
                .iter()
                .map(|it| it.display().to_string())
                .collect();
            Failure::Usage(format!(
                "there is no {PROGRAM} in {}. Name the folder of the recipe, models/keyword in gemmad's source, with \
                 --recipe",
                places.join(" or ")
            ))
        })
}

/// Where the recipe may be, for a program at `exe`.
fn places(exe: Option<&Path>) -> Vec<PathBuf> {
    let above = exe.into_iter().flat_map(Path::ancestors).skip(1);
    let checkout = above
        .map(|folder| folder.join("models/keyword"))
        .find(|it| it.is_dir());
    checkout.into_iter().chain([INSTALLED.into()]).collect()
}

fn unstarted(error: &std::io::Error) -> Failure {
    Failure::Failed(if error.kind() == ErrorKind::NotFound {
        "keywords are trained by Python, and there is no python3. Install it: `sudo apt install python3-venv`".into()
    } else {
        format!("cannot start python3: {error}; try again")
    })
}

/// What the end of the recipe means. It has said why it failed, unless a signal ended it.
fn outcome(ended: ExitStatus) -> Result<(), Failure> {
    match ended.code() {
        Some(0) => Ok(()),
        Some(130) => Err(Failure::Interrupted),
        Some(2) => Err(Failure::Said(2)),
        Some(_) => Err(Failure::Said(1)),
        None => Err(Failure::Failed(format!(
            "the training ended early ({ended}), which a lack of memory may be the reason for. Run the same command \
             again: it goes on from there"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_recipe_of_a_checkout_comes_before_that_of_the_package() {
        let checkout = tempfile::tempdir().unwrap();
        let recipe = checkout.path().join("models/keyword");
        std::fs::create_dir_all(&recipe).unwrap();
        let exe = checkout.path().join("target/debug/gemmactl");
        assert_eq!(places(Some(&exe)), [recipe, INSTALLED.into()]);
        assert_eq!(
            places(Some(Path::new("/usr/bin/gemmactl"))),
            [PathBuf::from(INSTALLED)]
        );
    }

    #[test]
    fn a_folder_without_the_recipe_is_named() {
        let Err(Failure::Usage(message)) = program(Some(Path::new("/nonexistent"))) else {
            panic!("there is a recipe in /nonexistent");
        };
        assert!(message.contains("no own.py in /nonexistent"), "{message}");
        assert!(message.contains("--recipe"), "{message}");
    }
}
