//! A spoken yes or no to a command that waits to be confirmed.
//!
//! The words are compared, not interpreted: a model that is asked whether the person agreed may wrongly say yes.

use crate::config;

/// Least confidence in a transcript, by the mean probability of its tokens, that is a yes. A no needs none. It is that of
/// the sound's reading of a command ([`super::evidence`]): a yes may unlock a door, and has few words to be sure by.
const YES: f64 = 0.92;

/// The reply to a command that waits to be confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Consent {
    /// Yes.
    Given,
    /// No.
    Refused,
}

impl Consent {
    /// Reads `said`, a transcript with this confidence; `None`: it is not exactly one of the configured phrases, or a yes
    /// that is not sure.
    pub(super) fn of(said: &str, confidence: f64, config: &config::Commands) -> Option<Self> {
        let said = words(said);
        let is_one_of = |list: &[String]| list.iter().any(|it| words(it) == said);
        if said.is_empty() {
            None
        } else if is_one_of(&config.no) {
            Some(Self::Refused)
        } else {
            (is_one_of(&config.yes) && confidence >= YES).then_some(Self::Given)
        }
    }
}

/// The words of `text`, without case and punctuation.
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
            assert_eq!(Consent::of(said, 0.99, &config), consent, "{said}");
        }
    }

    #[test]
    fn a_yes_that_is_not_sure_is_none_and_a_no_is_one_all_the_same() {
        let config = config::Commands::default();
        assert_eq!(Consent::of("Go ahead.", 0.8, &config), None);
        assert_eq!(Consent::of("No.", 0.8, &config), Some(Consent::Refused));
    }

    #[test]
    fn what_would_be_both_is_a_no_and_an_empty_list_agrees_to_nothing() {
        let config = config::Commands {
            yes: vec!["ja".into(), "?".into()],
            no: vec!["JA".into()],
            ..config::Commands::default()
        };
        assert_eq!(Consent::of("Ja.", 0.99, &config), Some(Consent::Refused));
        assert_eq!(Consent::of("?", 0.99, &config), None);
    }
}
