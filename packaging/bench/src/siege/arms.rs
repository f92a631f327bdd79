//! Hostile inputs: made once and shared by all attackers, so that making them costs nothing under siege.

use std::{
    fmt::Write as _,
    fs::File,
    io::{BufWriter, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

/// Size of the largest sound files, in bytes: as much as the daemon reads.
const SOUND: u32 = 64 << 20;

/// Length of a text to be spoken, in bytes: the maximum.
const SAID: usize = 64 << 10;

/// Inputs by their kind.
pub struct Arms {
    /// Questions and commands of up to 8 MiB.
    pub prompts: Vec<String>,
    /// JSON Schemas that are large, deep or slow to compile.
    pub schemas: Vec<String>,
    /// Catalogues that are large, or have a large grammar.
    pub catalogues: Vec<String>,
    /// Texts that are slow to convert for speech.
    pub speeches: Vec<String>,
    /// Sound files of 64 MiB, as small as possible on the disk.
    pub sounds: Vec<PathBuf>,
}

impl Arms {
    /// Makes all inputs, with the sound files in `folder`.
    pub fn make(folder: &Path) -> Result<Self> {
        Ok(Self {
            prompts: prompts(),
            schemas: schemas(),
            catalogues: catalogues(),
            speeches: speeches(),
            sounds: vec![
                long_wave(&folder.join("long.wav"))?,
                tags(&folder.join("tags.mp3"))?,
                zeros(&folder.join("zeros.flac"))?,
            ],
        })
    }
}

fn prompts() -> Vec<String> {
    const MIB: usize = 1 << 20;
    vec![
        "word ".repeat(MIB / 5),
        "\n".repeat(MIB),
        " ".repeat(MIB - 1),
        "q".repeat(MIB),
        "<|tool_call>call:stop{}".repeat(MIB / 23),
        "\u{202E}\u{E0041}\u{301}".repeat(MIB / 9),
        "word ".repeat(8 * MIB / 5),
    ]
}

fn schemas() -> Vec<String> {
    let values: Vec<_> = (0..200_000).map(|value| format!("\"{value}\"")).collect();
    let properties: Vec<_> = (0..20_000)
        .map(|it| format!(r#""p{it}":{{"type":"string","maxLength":{it}}}"#))
        .collect();
    let depth = 5_000;
    vec![
        format!(r#"{{"enum":[{}]}}"#, values.join(",")),
        format!(r#"{{"type":"object","properties":{{{}}}}}"#, properties.join(",")),
        format!(
            "{}{{}}{}",
            r#"{"type":"array","items":"#.repeat(depth),
            "}".repeat(depth)
        ),
        r#"{"type":"string","pattern":"^((a{1,500}){1,500}){1,500}$"}"#.into(),
        r#"{"type":"string","pattern":"^(([a-z]+)*b){1,1000}c$","minLength":100000}"#.into(),
        r#"{"type":"array","minItems":100000,"items":{"type":"integer","multipleOf":9007199254740991}}"#.into(),
        " ".repeat(8 << 20),
    ]
}

fn catalogues() -> Vec<String> {
    let head = "[commands.a]\ndescription = \"A.\"\n";
    let values: Vec<_> = (0..5_000).map(|value| format!("\"v{value}\"")).collect();
    let parameter = |text: &str| format!("{head}parameters = {{ x = {{ {text} }} }}\n");
    let examples = |default: usize, count: usize| {
        let default = "x".repeat(default);
        let examples = "{ say = \"a\", call = {} },".repeat(count);
        format!(
            "{head}examples = [{examples}]\nparameters = {{ x = {{ type = \"string\", longest = 1000000, default = \
             \"{default}\" }} }}\n"
        )
    };
    let mut commands = String::new();
    for name in 0..1_000 {
        // Writing to a string cannot fail.
        let _ = writeln!(
            commands,
            "[commands.c{name}]\ndescription = \"C.\"\nparameters = {{ x = {{ type = \"integer\", min = 0, max = 100 }}, \
             y = {{ type = \"string\" }} }}"
        );
    }
    vec![
        examples(1_000, 45_000),
        examples(100_000, 10_000),
        parameter(&format!("type = \"enum\", values = [{}]", values.join(","))),
        parameter("type = \"number\", min = 0, max = inf"),
        parameter("type = \"number\", min = 0, max = 1, step = 1e-9"),
        parameter("type = \"integer\", min = 0, max = 9007199254740991, step = 9007199254740991"),
        commands,
        "[".repeat(100_000),
    ]
}

fn speeches() -> Vec<String> {
    let of = |piece: &str| piece.repeat(SAID / piece.len());
    [
        "-", "1", "*", " ", "#", "|", "\n", "a. ", "1/", "$", "[a](b",
    ]
    .into_iter()
    .map(of)
    .collect()
}

/// 8-bit silence at an odd rate, filling the whole size; a sparse file.
fn long_wave(path: &Path) -> Result<PathBuf> {
    const RATE: u32 = 383_987;
    const DATA: u32 = SOUND - 44;
    let mut header = Vec::new();
    header.extend(b"RIFF");
    header.extend((DATA + 36).to_le_bytes());
    header.extend(b"WAVEfmt ");
    header.extend(16_u32.to_le_bytes());
    header.extend([1, 0, 1, 0]);
    header.extend(RATE.to_le_bytes());
    header.extend(RATE.to_le_bytes());
    header.extend([1, 0, 8, 0]);
    header.extend(b"data");
    header.extend(DATA.to_le_bytes());
    let file = create(path)?;
    file.write_all_at(&header, 0)?;
    file.set_len(SOUND.into())?;
    Ok(path.into())
}

/// Millions of empty ID3 tags.
fn tags(path: &Path) -> Result<PathBuf> {
    const TAG: &[u8; 20] = b"ID3\x04\x00\x00\x00\x00\x00\x0aTIT2\x00\x00\x00\x00\x00\x00";
    let mut file = BufWriter::new(create(path)?);
    for _ in 0..SOUND / 20 {
        file.write_all(TAG)?;
    }
    file.flush()?;
    Ok(path.into())
}

fn zeros(path: &Path) -> Result<PathBuf> {
    create(path)?.set_len(SOUND.into())?;
    Ok(path.into())
}

fn create(path: &Path) -> Result<File> {
    File::create(path).with_context(|| format!("cannot write {}", path.display()))
}
