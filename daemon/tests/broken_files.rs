//! Model files on which llama.cpp ends its process: the daemon lives on and says why.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use gemmad_api::{AskOptions, Error, ManagerState};
use gemmad_testbed::{Binaries, Bus, Daemon, Model};
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::time::timeout;

/// Files that are broken at random places. Of each the first bytes are, which say what the rest is.
const RANDOM: u64 = 300;

/// Most of the time in which a broken file is found out.
const MOST: Duration = Duration::from_secs(5);

/// Breaks files.
type Break = fn(&mut Files);

/// A copy of the nano model to be broken.
struct Files {
    folder: TempDir,
    text: Vec<u8>,
    mmproj: Vec<u8>,
}

impl Files {
    fn new() -> Self {
        let nano = Model::nano();
        Self {
            folder: tempfile::tempdir().unwrap(),
            text: std::fs::read(nano.text).unwrap(),
            mmproj: std::fs::read(nano.mmproj).unwrap(),
        }
    }

    /// The files as they are now, written.
    fn written(&self) -> Model {
        let write = |name: &str, bytes: &[u8]| -> PathBuf {
            let path = self.folder.path().join(name);
            // Not written over: the daemon knows a file by its inode.
            std::fs::remove_file(&path).ok();
            std::fs::write(&path, bytes).unwrap();
            path
        };
        Model {
            text: write("text.gguf", &self.text),
            mmproj: write("mmproj.gguf", &self.mmproj),
        }
    }
}

/// Where `name` ends in `bytes`.
fn after(bytes: &[u8], name: &str) -> usize {
    // Names are preceded by their length, so no other that ends alike is found.
    let length = u64::try_from(name.len()).unwrap().to_le_bytes();
    let sought = [&length[..], name.as_bytes()].concat();
    let found = bytes.windows(sought.len()).position(|it| it == sought);
    found.unwrap_or_else(|| panic!("no {name}")) + sought.len()
}

/// Sets the number under `key`, which has four bytes.
fn set(bytes: &mut [u8], key: &str, value: u32) {
    let at = after(bytes, key) + 4;
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

/// Gives the tensor `name` another type.
fn retype(bytes: &mut [u8], name: &str, kind: u32) {
    let at = after(bytes, name);
    let dimensions = u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    let at = at + 4 + 8 * dimensions as usize;
    bytes[at..at + 4].copy_from_slice(&kind.to_le_bytes());
}

/// A daemon with these files. It has to become degraded, or ready if they `load`; and to answer either way, and to end
/// in order.
async fn survives(bus: &Bus, model: &Model, cache: &Path, loads: bool, what: &str) -> String {
    let state = if loads {
        ManagerState::Ready
    } else {
        ManagerState::Degraded
    };
    let setup = Daemon::setup(bus).model(model).until(state);
    let daemon = setup.env("XDG_CACHE_HOME", cache).start().await;
    let daemon = daemon.unwrap_or_else(|error| panic!("{what}: {error}"));
    let manager = daemon.manager();
    let problem = manager.problem().await.unwrap();
    let options = AskOptions {
        max_tokens: Some(3),
        ..AskOptions::default()
    };
    let answer = manager.ask("hello", options).await;
    if !loads {
        let Err(Error::ModelNotLoaded(why)) = answer else {
            panic!("{what}: {answer:?}");
        };
        assert!(why.contains(&problem), "{what}: {why}");
    }
    assert!(daemon.stop().await.unwrap().success(), "{what}");
    problem
}

#[tokio::test]
async fn a_file_that_crashes_llama_cpp_degrades_the_daemon_which_lives_on() {
    let bus = Bus::start().await.unwrap();
    let cases: [(&str, Break); 6] = [
        ("a bias of another type", |it| {
            // GGML_TYPE_I32: it has as many bytes.
            retype(&mut it.mmproj, "a.pre_encode.out.bias", 26);
        }),
        ("an end that is no token", |it| {
            set(&mut it.text, "tokenizer.ggml.eos_token_id", u32::MAX - 7);
        }),
        ("no layers", |it| set(&mut it.text, "gemma4.block_count", 0)),
        ("too many layers", |it| {
            set(&mut it.text, "gemma4.block_count", 1 << 31);
        }),
        ("an encoder of too many layers", |it| {
            set(&mut it.mmproj, "clip.audio.block_count", 1 << 31);
        }),
        ("a context beyond all memory", |it| {
            set(&mut it.text, "gemma4.context_length", 0);
        }),
    ];
    for (what, damage) in cases {
        let mut files = Files::new();
        damage(&mut files);
        let model = files.written();
        let cache = tempfile::tempdir().unwrap();
        // The second start remembers the first.
        for _ in 0..2 {
            let problem = survives(&bus, &model, cache.path(), false, what).await;
            assert!(problem.contains("gguf"), "{what}: {problem}");
        }
    }
}

#[tokio::test]
async fn a_model_that_is_mended_is_loaded_without_a_restart() {
    let bus = Bus::start().await.unwrap();
    let mut files = Files::new();
    let whole = std::mem::take(&mut files.text);
    files.text = whole[..whole.len() / 2].to_vec();
    let setup = Daemon::setup(&bus).model(&files.written());
    let daemon = setup.until(ManagerState::Degraded).start().await.unwrap();
    let mut states = daemon.manager().receive_state_changed().await;
    files.text = whole;
    files.written();
    let ready =
        async { while states.next().await.unwrap().get().await.unwrap() != ManagerState::Ready {} };
    timeout(Duration::from_secs(30), ready).await.unwrap();
    assert_eq!(daemon.manager().problem().await.unwrap(), "");
    daemon
        .manager()
        .ask("hello", AskOptions::default())
        .await
        .unwrap();
    assert!(daemon.stop().await.unwrap().success());
}

#[tokio::test]
async fn a_file_that_is_cut_short_while_in_use_ends_the_daemon_with_the_reason_once() {
    let bus = Bus::start().await.unwrap();
    let cache = tempfile::tempdir().unwrap();
    let model = Files::new();
    let files = model.written();
    let setup = || {
        Daemon::setup(&bus)
            .model(&files)
            .env("XDG_CACHE_HOME", cache.path())
    };
    let mut daemon = setup().start().await.unwrap();
    let file = std::fs::File::options().write(true).open(&files.text);
    file.unwrap().set_len(4096).unwrap();
    let lost = daemon.manager().ask("hello", AskOptions::default()).await;
    assert!(lost.is_err(), "{lost:?}");
    let status = daemon.wait().await.unwrap();
    assert_eq!(status.signal(), Some(Signal::BUS.as_raw()));
    assert!(daemon.log().contains("cut short"), "{}", daemon.log());

    let daemon = setup().until(ManagerState::Degraded).start().await.unwrap();
    let problem = daemon.manager().problem().await.unwrap();
    assert!(problem.contains("text.gguf"), "{problem}");
    assert!(daemon.stop().await.unwrap().success());
}

#[tokio::test]
async fn whole_files_are_run_first_only_once() {
    let bus = Bus::start().await.unwrap();
    let cache = tempfile::tempdir().unwrap();
    let model = Files::new();
    let files = model.written();
    for is_first in [true, false] {
        let setup = Daemon::setup(&bus).model(&files);
        let setup = setup.env("XDG_CACHE_HOME", cache.path());
        let daemon = setup.start().await.unwrap();
        let ran = daemon.log().contains("passed its first run");
        assert_eq!(ran, is_first, "{}", daemon.log());
        assert!(daemon.stop().await.unwrap().success());
    }
}

/// Breaks some bytes of what says what the rest is, or cuts the file short.
fn damage(bytes: &mut Vec<u8>, random: &mut fastrand::Rng) {
    let header = 80_000.min(bytes.len());
    match random.u8(0..8) {
        0 => bytes.truncate(random.usize(..bytes.len())),
        1 => {
            // Not a number, in every format of weights.
            let at = random.usize(header..bytes.len());
            let end = bytes.len().min(at + 4096);
            bytes[at..end].fill(0xFF);
        }
        _ => {
            // Most keys stand at the beginning, and the tensors at the end of the header.
            let at = match random.u8(0..3) {
                0 => random.usize(..2000),
                1 => random.usize(60_000..header),
                _ => random.usize(..header),
            };
            let value = [0, 1, 0x7F, 0x80, 0xFF, random.u8(..)][random.usize(..6)];
            let end = at + [1, 4, 8][random.usize(..3)];
            bytes[at..end].fill(value);
        }
    }
}

/// Whether `gemmad --probe` finds nothing wrong with these files, and how long it took to say so.
fn passes(gemmad: &Path, config: &Path, model: &Model) -> (bool, Duration) {
    let started = Instant::now();
    let output = std::process::Command::new(gemmad)
        .arg("--probe")
        .arg(&model.text)
        .arg("--mmproj")
        .arg(&model.mmproj)
        .arg("--config")
        .arg(config)
        .env("GGML_NO_BACKTRACE", "1")
        .output()
        .unwrap();
    (output.status.success(), started.elapsed())
}

#[tokio::test]
#[ignore = "a minute"]
async fn files_broken_at_random_never_end_the_daemon() {
    let bus = Bus::start().await.unwrap();
    let gemmad = Binaries::of_this_build().unwrap().path("gemmad").unwrap();
    let config = tempfile::NamedTempFile::new().unwrap();
    let (mut found, mut slowest) = (0, Duration::ZERO);
    for seed in 0..RANDOM {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut files = Files::new();
        if random.u8(0..4) == 0 {
            damage(&mut files.mmproj, &mut random);
        } else {
            damage(&mut files.text, &mut random);
        }
        let model = files.written();
        let (loads, time) = passes(&gemmad, config.path(), &model);
        slowest = slowest.max(time);
        found += u64::from(!loads);
        let cache = files.folder.path().join("cache");
        survives(&bus, &model, &cache, loads, &format!("seed {seed}")).await;
    }
    println!("{found} of {RANDOM} files were found out, the slowest in {slowest:?}");
    assert!(found > RANDOM / 4);
    assert!(slowest < MOST, "{slowest:?}");
}
