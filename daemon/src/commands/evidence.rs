//! How certain it is that commands were meant, by two readings of the same words.

use serde_json::Value;

use super::{Call, Catalogue, Kind, Outcome, Parameter};
use crate::config::Certainty;

/// Least confidence in the sound's reading and in the transcript, by the mean probability of their tokens, with which
/// commands are carried out. Of 479 right commands 99.6 of 100 have both, of 22 utterances of people who gave none, but
/// whose two readings agree, 3 (nano; held-out voices, and the tuning split of `docs/corpus.md`).
const SOUND: f64 = 0.92;
const TRANSCRIPT: f64 = 0.85;

/// Least confidence in the sound's reading with which a person is asked whether the commands were meant. Of 12 right
/// commands whose readings differ 10 have it, of 115 utterances of people who gave none, none.
const ASKED: f64 = 0.97;

/// Two readings of an utterance: as sound, and as the text of its transcript.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Readings {
    /// Confidence in the sound's reading, 0 to 1.
    pub sound: f64,
    /// Confidence in the transcript, 0 to 1.
    pub transcript: f64,
    /// Whether both give the same commands.
    pub agree: bool,
}

/// What becomes of the commands of an utterance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// They are carried out as the catalogue says.
    CarryOut,
    /// They wait to be confirmed.
    Ask,
    /// Nothing is done.
    Nothing,
}

impl Readings {
    /// What becomes of the commands, with this setting.
    #[must_use]
    pub fn verdict(self, certainty: Certainty) -> Verdict {
        let is_sure = self.agree && self.sound >= SOUND && self.transcript >= TRANSCRIPT;
        match certainty {
            Certainty::One => Verdict::CarryOut,
            Certainty::Both | Certainty::Ask if is_sure => Verdict::CarryOut,
            Certainty::Both if self.sound < ASKED => Verdict::Nothing,
            Certainty::Both | Certainty::Ask => Verdict::Ask,
        }
    }
}

/// How certain it is that commands were meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evidence {
    /// As certain as it gets: they are carried out as the catalogue says.
    Certain,
    /// They may have been misheard: those that do not halt wait to be confirmed, whatever the catalogue says.
    Doubtful,
}

/// What is needed before the commands of an answer about speech are carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precaution {
    /// Nothing: there are none, or the last one halts and takes back those before it.
    None,
    /// A second reading of the words that gives the same commands.
    SecondReading,
    /// A yes. One of them halts, and cannot wait for a second reading; the others follow it.
    Consent,
}

impl Catalogue {
    /// What is needed before the commands of this answer are carried out.
    #[must_use]
    pub fn precaution(&self, answer: &str) -> Precaution {
        let Ok(Outcome::Commands(calls)) = self.read(answer) else {
            return Precaution::None;
        };
        match calls.iter().rposition(|call| self.halts(call)) {
            Some(last) if last + 1 == calls.len() => Precaution::None,
            Some(_) => Precaution::Consent,
            None => Precaution::SecondReading,
        }
    }

    /// Whether two answers give the same commands, with the same values. Free texts are the same if their words are;
    /// values that the catalogue lists, only if they are the same.
    #[must_use]
    pub fn agree(&self, one: &str, other: &str) -> bool {
        let (Ok(Outcome::Commands(one)), Ok(Outcome::Commands(other))) =
            (self.read(one), self.read(other))
        else {
            return false;
        };
        let mut pairs = one.iter().zip(&other);
        one.len() == other.len() && pairs.all(|(one, other)| self.is_same(one, other))
    }

    fn is_same(&self, one: &Call, other: &Call) -> bool {
        let command = self.commands.get(one.name.as_str());
        let parameter = |key: &str| command.and_then(|it| it.parameters.get(key));
        let is_free = |key: &str| parameter(key).is_some_and(is_free);
        let values = one.arguments.iter().zip(&other.arguments);
        let mut pairs = values.map(|((key, one), (other_key, other))| {
            key == other_key && (one == other || is_free(key) && is_alike(one, other))
        });
        one.name == other.name
            && one.arguments.len() == other.arguments.len()
            && pairs.all(|is_alike| is_alike)
    }
}

/// Whether a parameter takes any text, or a list of such.
fn is_free(parameter: &Parameter) -> bool {
    match &parameter.kind {
        Kind::String { .. } => true,
        Kind::List { values, .. } => values.is_empty(),
        _ => false,
    }
}

fn is_alike(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::String(one), Value::String(other)) => words(one).eq(words(other)),
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len()
                && one
                    .iter()
                    .zip(other)
                    .all(|(one, other)| is_alike(one, other))
        }
        (one, other) => one == other,
    }
}

/// What is heard of a text: its words, without case and the punctuation around them. A word with a digit keeps all of its
/// signs, which make another number of it.
fn words(text: &str) -> impl Iterator<Item = String> {
    let word = |word: &str| {
        let is_number = word.contains(char::is_numeric);
        let is_around = |it: char| {
            if is_number {
                ".,;:!?\"'()".contains(it)
            } else {
                !it.is_alphanumeric()
            }
        };
        word.trim_end_matches(is_around)
            .trim_start_matches(|it: char| !is_number && !it.is_alphanumeric())
            .to_lowercase()
    };
    let words = text.split_whitespace().map(word);
    words.filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn catalogue() -> Catalogue {
        let text = r#"
            [commands.stop]
            description = "Stop."
            halts = true
            [commands.move]
            description = "Move."
            parameters = { meters = { type = "integer", min = 1, max = 9 } }
            [commands.call]
            description = "Call someone."
            parameters = { who = { type = "string" } }
            [commands.grade]
            description = "Grade something."
            parameters = { grade = { type = "enum", values = ["C", "C#", "+1", "-1"] } }
        "#;
        Catalogue::parse(Path::new("test.toml"), text).unwrap()
    }

    fn answer(calls: &[&str]) -> String {
        let calls = calls
            .iter()
            .map(|it| format!("<|tool_call>call:{it}<tool_call|>"));
        calls.collect()
    }

    #[test]
    fn commands_need_a_second_reading_unless_the_last_one_halts() {
        let catalogue = catalogue();
        let precaution = |calls: &[&str]| catalogue.precaution(&answer(calls));
        assert_eq!(precaution(&["move{meters:2}"]), Precaution::SecondReading);
        assert_eq!(precaution(&["stop{}"]), Precaution::None);
        assert_eq!(precaution(&["move{meters:2}", "stop{}"]), Precaution::None);
        assert_eq!(
            precaution(&["stop{}", "move{meters:2}"]),
            Precaution::Consent
        );
        assert_eq!(catalogue.precaution("Hello."), Precaution::None);
    }

    #[test]
    fn commands_are_carried_out_if_the_readings_agree_and_are_sure_and_asked_about_if_the_sound_is_clear()
     {
        let verdict = |certainty, sound, transcript, agree| {
            let readings = Readings {
                sound,
                transcript,
                agree,
            };
            readings.verdict(certainty)
        };
        for (sound, transcript, agree, both, ask) in [
            (0.99, 0.9, true, Verdict::CarryOut, Verdict::CarryOut),
            (0.99, 0.5, true, Verdict::Ask, Verdict::Ask),
            (0.99, 0.9, false, Verdict::Ask, Verdict::Ask),
            (0.95, 0.9, false, Verdict::Nothing, Verdict::Ask),
            (0.8, 0.9, true, Verdict::Nothing, Verdict::Ask),
        ] {
            assert_eq!(verdict(Certainty::Both, sound, transcript, agree), both);
            assert_eq!(verdict(Certainty::Ask, sound, transcript, agree), ask);
            assert_eq!(
                verdict(Certainty::One, sound, transcript, agree),
                Verdict::CarryOut
            );
        }
    }

    #[test]
    fn readings_agree_if_names_and_values_do_whatever_the_case_of_a_text() {
        let catalogue = catalogue();
        let agree = |one: &[&str], other: &[&str]| catalogue.agree(&answer(one), &answer(other));
        assert!(agree(&["move{meters:2}"], &["move{meters:2}"]));
        assert!(!agree(&["move{meters:2}"], &["move{meters:3}"]));
        assert!(!agree(
            &["move{meters:2}"],
            &["move{meters:2}", "move{meters:2}"]
        ));
        assert!(agree(
            &[r#"call{who:<|"|>Sarah<|"|>}"#],
            &[r#"call{who:<|"|>sarah.<|"|>}"#]
        ));
        assert!(!agree(
            &[r#"call{who:<|"|>Sarah<|"|>}"#],
            &[r#"call{who:<|"|>Sara<|"|>}"#]
        ));
        let who = |it: &str| answer(&[&format!(r#"call{{who:<|"|>{it}<|"|>}}"#)]);
        for (one, other) in [
            ("1.5", "15"),
            ("-5", "5"),
            ("10:30", "1030"),
            ("no one", "noone"),
            ("1.5", "1,5"),
        ] {
            assert!(!catalogue.agree(&who(one), &who(other)), "{one} {other}");
        }
        assert!(catalogue.agree(&who("at 5."), &who("At 5")));
        assert!(catalogue.agree(&who("\"Mum\", please!"), &who("mum please")));
        let grade = |it: &str| answer(&[&format!(r#"grade{{grade:<|"|>{it}<|"|>}}"#)]);
        assert!(catalogue.agree(&grade("C#"), &grade("C#")));
        assert!(!catalogue.agree(&grade("C"), &grade("C#")));
        assert!(!catalogue.agree(&grade("+1"), &grade("-1")));
        assert!(!catalogue.agree("Hello.", "Hello."));
    }
}
