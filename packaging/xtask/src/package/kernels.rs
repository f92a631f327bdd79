//! Checks that the CPU backends contain the instructions for which they exist. A build without them works but
//! takes many times as long, which shows only once the package runs on a board.

use std::{path::Path, process::Command};

use anyhow::{Result, ensure};

use crate::{architecture::Architecture, command::output, say};

/// A backend, and the instructions it must have, of those that multiply matrices on its architecture.
type Kernels = (&'static str, &'static [&'static str]);

/// Instructions that add products of 8-bit numbers, on which quantised models spend their time, from slow to
/// fast. A backend must not contain those it does not list, since it is for processors without them.
const PRODUCTS: [(Architecture, &[&str], &[Kernels]); 2] = [
    (
        Architecture::Amd64,
        &["vpmaddubsw", "vpdpbusd"],
        &[
            ("x64", &[]),
            ("haswell", &["vpmaddubsw"]),
            ("alderlake", &["vpmaddubsw", "vpdpbusd"]),
            ("icelake", &["vpmaddubsw", "vpdpbusd"]),
            ("zen4", &["vpmaddubsw", "vpdpbusd"]),
        ],
    ),
    (
        Architecture::Arm64,
        &["sdot", "smmla"],
        &[
            // Cortex-A53 and A72: Raspberry Pi 3 and 4.
            ("armv8.0_1", &[]),
            ("armv8.2_1", &["sdot"]),
            // Cortex-A76 and A78AE: Raspberry Pi 5, Jetson Orin.
            ("armv8.2_2", &["sdot"]),
            ("armv8.2_3", &["sdot"]),
            ("armv8.6_1", &["sdot", "smmla"]),
            ("armv8.6_2", &["sdot", "smmla"]),
        ],
    ),
];

/// Counts the instructions in the libraries in `folder`; fails if one is missing or must not be there.
pub fn check(arch: Architecture, folder: &Path) -> Result<()> {
    let mut rows = Vec::new();
    for (_, products, backends) in PRODUCTS.iter().filter(|(kind, ..)| *kind == arch) {
        for (backend, expected) in *backends {
            let file = folder.join(format!("libggml-cpu-{backend}.so"));
            let code = output(
                Command::new(arch.tool("objdump"))
                    .args(["--disassemble", "--no-show-raw-insn"])
                    .arg(file),
            )?;
            let counts = products
                .iter()
                .map(|product| (*product, count(&code, product)));
            let counts: Vec<_> = counts.collect();
            rows.push(((*backend).to_owned(), words(&counts)));
            is_as_expected(backend, &counts, expected)?;
        }
    }
    say::results(&rows);
    Ok(())
}

/// Number of occurrences of an instruction in a disassembly.
fn count(code: &str, instruction: &str) -> usize {
    let lines = code.lines();
    let has = |line: &&str| line.split_whitespace().any(|word| word == instruction);
    lines.filter(has).count()
}

fn words(counts: &[(&str, usize)]) -> String {
    let words = counts.iter().filter(|(_, count)| *count > 0);
    let words: Vec<_> = words
        .map(|(product, count)| format!("{count} {product}"))
        .collect();
    if words.is_empty() {
        return "none of them, for the oldest processors".into();
    }
    words.join(", ")
}

fn is_as_expected(backend: &str, counts: &[(&str, usize)], expected: &[&str]) -> Result<()> {
    for (product, count) in counts {
        let (is, must_be) = (*count > 0, expected.contains(product));
        ensure!(
            is == must_be,
            "the CPU backend {backend} was compiled with {count} {product}, {}",
            if must_be {
                "without which it is slow; does the compiler know these processors?"
            } else {
                "which its processors do not know"
            }
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODE: &str = "\
0000000000012340 <ggml_vec_dot_q4_0_q8_0>:
   12340:\tsdot\tv0.4s, v1.16b, v2.16b
   12344:\tsdot\tv3.4s, v4.16b, v5.16b
   12348:\tfmla\tv0.4s, v1.4s, v2.4s
   1234c:\tb\t12340 <sdot>
";

    #[test]
    fn an_instruction_is_counted_where_it_stands_alone() {
        assert_eq!(count(CODE, "sdot"), 2);
        assert_eq!(count(CODE, "smmla"), 0);
    }

    #[test]
    fn what_is_missing_and_what_does_not_belong_are_told() {
        let counts = [("sdot", 2), ("smmla", 0)];
        assert!(is_as_expected("new", &counts, &["sdot"]).is_ok());
        let missing = is_as_expected("new", &counts, &["sdot", "smmla"]).unwrap_err();
        assert!(missing.to_string().contains("0 smmla"), "{missing}");
        let extra = is_as_expected("old", &counts, &[]).unwrap_err();
        assert!(extra.to_string().contains("2 sdot"), "{extra}");
    }
}
