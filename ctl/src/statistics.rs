//! Statistics of an answer, as one line for people.

use gemmad_api::{Finish, Stats};

use crate::{failure::Failure, terminal::count};

/// Tokens, times and speed of an answer.
pub fn summary(stats: &Stats) -> String {
    let prompt = with_details(
        stats.prompt_tokens,
        &[
            (stats.cached_tokens, "cached"),
            (stats.audio_tokens, "sound"),
        ],
    );
    let answer = with_details(
        stats.output_tokens,
        &[
            (stats.thought_tokens, "thought"),
            (stats.forced_tokens, "forced"),
        ],
    );
    let mut parts = vec![
        format!("{prompt} prompt + {answer} answer tokens"),
        format!("first token after {:.0} ms", stats.first_token_ms),
    ];
    if let Some(latency) = stats.speech_to_token_ms {
        parts.push(format!("{latency:.0} ms after the end of speech"));
    }
    if let Some(factor) = stats.real_time_factor {
        parts.push(format!("heard at {factor:.2} of real time"));
    }
    if let Some(speed) = speed(stats) {
        parts.push(format!("{speed:.1} tok/s"));
    }
    parts.push(format!("{:.0} ms in all", stats.total_ms));
    parts.join(", ")
}

/// Message if only a part of a sound file was heard.
pub fn missing(stats: &Stats) -> Option<String> {
    let heard = stats.sound_ms.unwrap_or_default() / 1000.0;
    stats.cut_short.then(|| {
        format!("gemmactl: the sound file is cut short or damaged; {heard:.1} s of it were heard")
    })
}

/// Message if the conversation had grown too long for the question.
pub fn forgotten(stats: &Stats) -> Option<String> {
    (stats.forgotten > 0).then(|| {
        format!(
            "the conversation has grown too long: its oldest {} forgotten",
            match stats.forgotten {
                1 => "question is".into(),
                several => format!("{several} questions are"),
            }
        )
    })
}

/// Message if the answer was cut off.
pub fn cut(stats: &Stats) -> Option<String> {
    (stats.finish == Finish::Length).then(|| {
        format!(
            "the answer was cut off after {}, the most allowed. `gemmactl ask --max-tokens` and `max_tokens` in \
             [answer] allow more",
            count(stats.output_tokens as usize, "token")
        )
    })
}

/// Checks that the answer was not cut off.
///
/// # Errors
/// [`Failure::CutOff`] if it was.
pub fn whole(stats: &Stats) -> Result<(), Failure> {
    cut(stats).map_or(Ok(()), |message| Err(Failure::CutOff(message)))
}

fn with_details(count: u32, details: &[(u32, &str)]) -> String {
    let details: Vec<String> = details
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    if details.is_empty() {
        count.to_string()
    } else {
        format!("{count} ({})", details.join(", "))
    }
}

/// Decoding speed, in tokens per second, measured from the first token.
fn speed(stats: &Stats) -> Option<f64> {
    let steps = stats
        .output_tokens
        .checked_sub(1)
        .filter(|steps| *steps > 0)?;
    (stats.decode_ms > 0.0).then(|| f64::from(steps) * 1000.0 / stats.decode_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_names_tokens_times_and_speed() {
        let stats = Stats {
            prompt_tokens: 64,
            cached_tokens: 14,
            audio_tokens: 50,
            output_tokens: 21,
            first_token_ms: 35.4,
            decode_ms: 500.0,
            total_ms: 535.4,
            speech_to_token_ms: Some(812.0),
            real_time_factor: Some(0.314),
            ..Stats::default()
        };
        assert_eq!(
            summary(&stats),
            "64 (14 cached, 50 sound) prompt + 21 answer tokens, first token after 35 ms, \
             812 ms after the end of speech, heard at 0.31 of real time, 40.0 tok/s, 535 ms in all"
        );
    }

    #[test]
    fn what_was_heard_of_a_file_that_is_cut_short_is_told_in_seconds() {
        let mut stats = Stats {
            sound_ms: Some(3240.0),
            ..Stats::default()
        };
        assert_eq!(missing(&stats), None);
        stats.cut_short = true;
        let expected = "gemmactl: the sound file is cut short or damaged; 3.2 s of it were heard";
        assert_eq!(missing(&stats).as_deref(), Some(expected));
    }

    #[test]
    fn one_token_has_no_speed() {
        let stats = Stats {
            output_tokens: 1,
            ..Stats::default()
        };
        assert_eq!(
            summary(&stats),
            "0 prompt + 1 answer tokens, first token after 0 ms, 0 ms in all"
        );
    }

    #[test]
    fn an_answer_that_ends_at_the_most_tokens_is_not_whole() {
        let stats = |finish| Stats {
            output_tokens: 1,
            finish,
            ..Stats::default()
        };
        assert_eq!(cut(&stats(Finish::Stop)), None);
        let message = cut(&stats(Finish::Length)).unwrap();
        assert!(message.contains("after 1 token, the most"), "{message}");
    }
}
