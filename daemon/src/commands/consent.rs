//! Yes or no to a command that waits to be confirmed, as somebody says it.
//!
//! The words are compared, not understood: a model that is asked whether somebody agreed may find that they did.

use crate::config;

/// What somebody said to a command that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Consent {
    /// It is to be done.
    Given,
    /// It is not.
    Refused,
}

impl Consent {
    /// What `said`, a transcript, means; `None`: something else was said, or more.
    pub(super) fn of(said: &str, config: &config::Commands) -> Option<Self> {
        let said = words(said);
        let is_one_of = |list: &[String]| list.iter().any(|it| words(it) == said);
        if said.is_empty() {
            None
        } else if is_one_of(&config.no) {
            Some(Self::Refused)
        } else {
            is_one_of(&config.yes).then_some(Self::Given)
        }
    }
}

/// Its words, without case and punctuation.
fn words(text: &str) -> Vec<String> {
    let text = text.to_lowercase().replace('’', "'");
    let words = text.split(|it: char| !it.is_alphanumeric() && it != '\'');
    let words = words.filter(|word| !word.is_empty());
    words.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_words_of_the_configuration_and_nothing_beside_them_are_a_yes_or_a_no() {
        let config = config::Commands::default();
        for (said, consent) in [
            ("Yes.", Some(Consent::Given)),
            ("yes, please!", Some(Consent::Given)),
            (" Go ahead ", Some(Consent::Given)),
            ("Cancel that!", Some(Consent::Refused)),
            ("No, thanks.", Some(Consent::Refused)),
            ("Yes but not now.", None),
            ("Yesterday.", None),
            ("...", None),
            ("", None),
        ] {
            assert_eq!(Consent::of(said, &config), consent, "{said}");
        }
    }

    #[test]
    fn what_would_be_both_is_a_no_and_an_empty_list_agrees_to_nothing() {
        let config = config::Commands {
            yes: vec!["ja".into(), "?".into()],
            no: vec!["JA".into()],
            ..config::Commands::default()
        };
        assert_eq!(Consent::of("Ja.", &config), Some(Consent::Refused));
        assert_eq!(Consent::of("?", &config), None);
    }
}
