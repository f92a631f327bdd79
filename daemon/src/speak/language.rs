//! Which language a voice speaks.

/// The language that `voice` speaks, such as `de`, in lower case. It is `configured` if that is the same language, or
/// if the name of the voice tells none.
///
/// Names of voices begin with the code of their language in two or three letters, alone or before a separator: `de`,
/// `en-gb-x-rp`, and `mb-de5` (eSpeak NG, MBROLA), `pt_BR-faber-medium` (Piper).
#[must_use]
pub fn of(voice: &str, configured: &str) -> String {
    let name = voice.rsplit('/').next().unwrap_or_default();
    let code = code(name.strip_prefix("mb-").unwrap_or(name));
    let is_code = (2..=3).contains(&code.len()) && code.chars().all(|it| it.is_ascii_lowercase());
    if is_code && code != self::code(configured) {
        code.into()
    } else {
        configured.to_lowercase()
    }
}

/// The code that a tag such as `en-us` begins with.
#[must_use]
pub fn code(tag: &str) -> &str {
    let end = tag.find(|it: char| !it.is_ascii_alphabetic());
    &tag[..end.unwrap_or(tag.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_voice_tells_its_language_and_else_the_configuration_does() {
        for (voice, language) in [
            ("de", "de"),
            ("en-us", "en"),
            ("en-gb-x-rp", "en"),
            ("en+f3", "en"),
            ("cmn-latn-pinyin", "cmn"),
            ("mb-de5", "de"),
            ("mb/mb-es1", "es"),
            ("pt_BR-faber-medium", "pt"),
            ("voices/de_DE-thorsten-high.onnx", "de"),
            ("fr", "fr-ca"),
            ("thorsten", "fr-ca"),
            ("F3", "fr-ca"),
            ("", "fr-ca"),
        ] {
            assert_eq!(of(voice, "fr-CA"), language, "{voice}");
        }
    }
}
