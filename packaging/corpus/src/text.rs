//! Text files in packages, compressed or not.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result, ensure};

/// The text of a file; what is no UTF-8 in it is replaced. A name that ends in `.gz` is decompressed.
pub fn read(path: &Path) -> Result<String> {
    let cannot = || format!("cannot read {}", path.display());
    let is_compressed = path.extension().is_some_and(|extension| extension == "gz");
    let bytes = if is_compressed {
        let output = Command::new("gzip")
            .args(["--decompress", "--stdout"])
            .arg(path)
            .output()
            .context("cannot run gzip")?;
        ensure!(output.status.success(), cannot());
        output.stdout
    } else {
        fs::read(path).with_context(cannot)?
    };
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The words of a text with one space between them, so that line breaks do not count.
pub fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compressed_text_is_read_like_a_plain_one() {
        let folder = tempfile::tempdir().unwrap();
        let plain = folder.path().join("a.txt");
        fs::write(&plain, "one\ntwo\n").unwrap();
        assert_eq!(read(&plain).unwrap(), "one\ntwo\n");
        let status = Command::new("gzip").arg(&plain).status().unwrap();
        assert!(status.success());
        assert_eq!(
            read(&plain.with_added_extension("gz")).unwrap(),
            "one\ntwo\n"
        );
        assert!(read(&plain).is_err());
    }

    #[test]
    fn line_breaks_are_spaces() {
        assert_eq!(words(" a\n\n  b\tc "), "a b c");
    }
}
