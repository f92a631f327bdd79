//! `--show-prompt`: the prompt that the model would read.

use gemmad_api::{Passage, PassageKind};

use crate::{
    failure::Failure,
    terminal::{self, Output},
};

/// Prints a prompt, and its number of tokens on standard error.
pub async fn show(passages: &[Passage], json: bool) -> Result<(), Failure> {
    let mut output = Output::new();
    if json {
        return output.json(&passages).await;
    }
    for passage in passages {
        output.write(&shown(passage)).await?;
    }
    output.end_line().await?;
    let tokens: u32 = passages.iter().map(|it| it.tokens).sum();
    terminal::note(&format!("{tokens} prompt tokens"));
    Ok(())
}

fn shown(passage: &Passage) -> String {
    let Passage { kind, text, tokens } = passage;
    match kind {
        // Else text could be taken for a token.
        PassageKind::Text => text.replace('⟦', "\\⟦").replace('⟧', "\\⟧"),
        PassageKind::Control => format!("⟦{text}⟧"),
        PassageKind::Sound => format!("⟦{tokens} tokens of sound⟧"),
    }
}
