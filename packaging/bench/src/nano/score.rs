//! Scores of the answers to a set. `models/nano/README.md` defines them.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::set::Answer;

/// Beginning of a call.
const CALL: &str = "<|tool_call>";

/// Maximum number of wrong answers kept per set.
const KEPT: usize = 40;

/// The figures of one set.
#[derive(Debug, Serialize)]
pub struct Score {
    /// Name of the set.
    pub set: String,
    /// Questions asked.
    pub count: usize,
    /// Share of exact answers.
    pub exact: f64,
    /// Share of answers with a call, for sets without calls.
    pub false_action: Option<f64>,
    /// Word error rate, for sets to be transcribed.
    pub wer: Option<f64>,
    /// Share of exact answers for each voice, if the set names voices.
    pub voices: BTreeMap<String, f64>,
    /// Wrong answers by expected call, the most frequent first.
    pub confusions: Vec<Confusion>,
    /// Some wrong answers.
    wrong: Vec<Wrong>,
}

/// Wrong answers of one kind.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Confusion {
    /// The expected call, several joined with `+`, or `words`.
    pub expected: String,
    /// The call given instead, or the same one with other parameters.
    pub given: String,
    /// Number of such answers.
    pub count: usize,
}

/// A wrong answer.
#[derive(Debug, Serialize)]
struct Wrong {
    asked: String,
    expected: String,
    given: String,
}

impl Score {
    /// The score of the answers to `set`.
    pub fn of(set: &str, answers: &[Answer]) -> Self {
        let calls = answers.iter().any(|it| it.question.expected.contains(CALL));
        let acts = |answer: &Answer| answer.text.contains(CALL);
        let wrong = || answers.iter().filter(|answer| !answer.is_exact());
        Self {
            set: set.into(),
            count: answers.len(),
            exact: share(answers, Answer::is_exact),
            false_action: (!calls).then(|| share(answers, acts)),
            wer: set
                .starts_with("transcripts")
                .then(|| word_error_rate(answers.iter().map(Answer::pair))),
            voices: voices(answers),
            confusions: tally(
                wrong().map(|it| (called(&it.question.expected), called(&it.text), 1)),
            ),
            wrong: wrong().take(KEPT).map(Wrong::of).collect(),
        }
    }

    /// The score in one line.
    pub fn summary(&self) -> String {
        let more = [("false action", self.false_action), ("WER", self.wer)];
        let more = more.map(|(name, value)| {
            value.map_or_else(String::new, |value| format!(", {name} {value:.3}"))
        });
        format!("exact {:.3} of {}{}", self.exact, self.count, more.concat())
    }
}

impl Wrong {
    fn of(answer: &Answer) -> Self {
        let question = &answer.question;
        let asked = [&question.say, &question.text].map(String::as_str);
        let asked = asked.into_iter().find(|words| !words.is_empty());
        Self {
            asked: asked.unwrap_or_default().into(),
            expected: question.expected.clone(),
            given: answer.text.clone(),
        }
    }
}

/// The wrong answers of several sets, the most frequent first.
pub fn confusions<'a>(scores: impl Iterator<Item = &'a Score>) -> Vec<Confusion> {
    let all = scores.flat_map(|score| &score.confusions);
    tally(all.map(|it| (it.expected.clone(), it.given.clone(), it.count)))
}

/// Adds up equal confusions.
fn tally(pairs: impl Iterator<Item = (String, String, usize)>) -> Vec<Confusion> {
    let mut counts = BTreeMap::new();
    for (expected, given, count) in pairs {
        *counts.entry((expected, given)).or_default() += count;
    }
    let mut confusions: Vec<_> = counts
        .into_iter()
        .map(|((expected, given), count)| Confusion {
            expected,
            given,
            count,
        })
        .collect();
    confusions.sort_by_key(|it| std::cmp::Reverse(it.count));
    confusions
}

/// The calls of an answer: names joined with `+`, or `words`.
fn called(answer: &str) -> String {
    let names = answer.split("call:").skip(1).map(|rest| {
        let end = rest.find(|letter: char| !letter.is_alphanumeric() && letter != '_');
        &rest[..end.unwrap_or(rest.len())]
    });
    let names: Vec<_> = names.filter(|name| !name.is_empty()).collect();
    if names.is_empty() {
        "words".into()
    } else {
        names.join("+")
    }
}

/// Share of exact answers for each voice.
fn voices(answers: &[Answer]) -> BTreeMap<String, f64> {
    let names: BTreeSet<_> = answers
        .iter()
        .filter_map(|it| it.question.voice.as_ref())
        .collect();
    names
        .into_iter()
        .map(|name| {
            let of_it = answers
                .iter()
                .filter(|it| it.question.voice.as_ref() == Some(name));
            (name.clone(), share(of_it, Answer::is_exact))
        })
        .collect()
}

/// Word error rate: edits that turn the given texts into the expected ones, divided by the number of expected words. A
/// pair is the expected text and the given one.
pub fn word_error_rate(pairs: impl IntoIterator<Item = (String, String)>) -> f64 {
    let (mut wrong, mut all) = (0, 0);
    for (expected, given) in pairs {
        let expected = words(&expected);
        wrong += edits(&expected, &words(&given));
        all += expected.len();
    }
    ratio(wrong, all)
}

/// Lower-case words without punctuation: `.` at the end of a word is dropped, `.` and `:` in numbers are
/// kept.
fn words(text: &str) -> Vec<String> {
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || "'.:".contains(letter);
    let text = text.to_lowercase();
    let written = text.split_whitespace();
    written
        .map(|word| word.strip_suffix('.').unwrap_or(word))
        .flat_map(|word| word.split(|letter| !is_part(letter)))
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Number of words to insert, delete or replace (Levenshtein).
fn edits(expected: &[String], given: &[String]) -> usize {
    let mut row: Vec<usize> = (0..=given.len()).collect();
    for (at, word) in expected.iter().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], at + 1);
        for (to, other) in given.iter().enumerate() {
            let replaced = diagonal + usize::from(word != other);
            diagonal = row[to + 1];
            row[to + 1] = replaced.min(row[to] + 1).min(diagonal + 1);
        }
    }
    row[given.len()]
}

fn share<'a>(
    answers: impl IntoIterator<Item = &'a Answer>,
    is_one: impl Fn(&Answer) -> bool,
) -> f64 {
    let (mut some, mut all) = (0, 0);
    for answer in answers {
        some += usize::from(is_one(answer));
        all += 1;
    }
    ratio(some, all)
}

#[expect(clippy::cast_precision_loss, reason = "some hundreds")]
fn ratio(part: usize, whole: usize) -> f64 {
    part as f64 / whole as f64
}

#[cfg(test)]
mod tests {
    use super::super::set::Question;
    use super::*;

    const LIGHT: &str = "<|tool_call>call:set_light{state:<|\"|>on<|\"|>}<tool_call|>";
    const STOP: &str = "<|tool_call>call:stop{}<tool_call|>";

    fn answer(expected: &str, given: &str) -> Answer {
        let question = Question {
            say: "said".into(),
            expected: expected.into(),
            ..Question::default()
        };
        Answer {
            question,
            text: given.into(),
        }
    }

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-12
    }

    #[test]
    fn words_keep_numbers_and_times_whole_and_lose_what_only_writing_has() {
        let written = "What's 21.5 degrees at 7:30? It's nine o'clock. Stop, now.";
        let spoken = "what's 21.5 degrees at 7:30 it's nine o'clock stop now";
        assert_eq!(words(written).join(" "), spoken);
        assert_eq!(words("Wait.. so.").join(" "), "wait. so");
        assert!(words(" ?! ").is_empty());
    }

    #[test]
    fn word_errors_are_insertions_deletions_and_replacements() {
        let count = |expected, given| edits(&words(expected), &words(given));
        assert_eq!(count("turn on the light", "turn on the light"), 0);
        assert_eq!(count("turn on the light", "turn the light"), 1);
        assert_eq!(count("turn on the light", "turn on the big light"), 1);
        assert_eq!(count("turn on the light", "turn off a light"), 2);
        assert_eq!(count("", "three more words"), 3);
        assert_eq!(count("three more words", ""), 3);
        assert_eq!(count("a b c d", "d a b c"), 2);
    }

    #[test]
    fn the_word_error_rate_is_over_the_whole_set() {
        let answers = [answer("One two three.", "one two"), answer("Four?", "four")];
        let score = Score::of("transcripts", &answers);
        assert!(close(score.wer.unwrap(), 0.25), "{score:?}");
        assert!(close(score.exact, 0.0), "{score:?}");
        assert_eq!(Score::of("voices", &answers).wer, None);
    }

    #[test]
    fn an_answer_is_exact_letter_by_letter() {
        let answers = [answer(STOP, STOP), answer(STOP, &format!("{STOP} "))];
        assert!(close(Score::of("voices", &answers).exact, 0.5));
    }

    #[test]
    fn an_action_is_false_where_nothing_is_to_be_called() {
        let sorry = "Sorry, I cannot do that.";
        let answers = [answer(sorry, sorry), answer(sorry, STOP)];
        let score = Score::of("out_of_domain", &answers);
        assert!(close(score.false_action.unwrap(), 0.5), "{score:?}");
        let commands = [answer(STOP, LIGHT)];
        assert_eq!(Score::of("voices", &commands).false_action, None);
    }

    #[test]
    fn confusions_name_the_commands_and_count_wrong_answers_only() {
        let both = format!("{LIGHT}{STOP}");
        let answers = [
            answer(LIGHT, "I did not hear anything."),
            answer(STOP, LIGHT),
            answer(&both, STOP),
            answer(STOP, LIGHT),
            answer(STOP, STOP),
        ];
        let score = Score::of("voices", &answers);
        let found = score.confusions.iter();
        let found: Vec<_> = found
            .map(|it| (it.expected.as_str(), it.given.as_str(), it.count))
            .collect();
        let expected = [
            ("stop", "set_light", 2),
            ("set_light", "words", 1),
            ("set_light+stop", "stop", 1),
        ];
        assert_eq!(found, expected);
        let twice = confusions([&score, &score].into_iter());
        assert_eq!(twice[0].count, 4);
        assert_eq!(score.wrong.len(), 4);
    }

    #[test]
    fn each_voice_has_a_share_of_its_own() {
        let mut answers = [answer(STOP, STOP), answer(STOP, STOP), answer(STOP, LIGHT)];
        answers[0].question.voice = Some("a".into());
        answers[1].question.voice = Some("b".into());
        answers[2].question.voice = Some("b".into());
        let voices = Score::of("other_engine", &answers).voices;
        assert!(
            close(voices["a"], 1.0) && close(voices["b"], 0.5),
            "{voices:?}"
        );
    }
}
