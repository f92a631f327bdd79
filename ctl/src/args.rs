//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

const AFTER_HELP: &str = "\
Answers go to standard output, everything else to standard error. Standard input is read only where
`-` stands for it, or where `ask` or `say` has nothing else: a loop over lines keeps its lines.

Exit codes:
    0  done
    1  failed
    2  the command line, a named file or standard input is unusable
    3  the daemon is not running, cannot be reached, or went away
    4  the daemon refused: busy, no model, no microphone, not allowed, bad option or sound
    5  a command was not carried out, or it was none; an example was not understood
    6  an answer was cut off at the most tokens allowed; what there is of it was printed
  130  cancelled, by Ctrl-C or in the daemon
  143  cancelled by SIGTERM";

/// Ask, talk to and look after gemmad, the Gemma daemon.
#[derive(Debug, Parser)]
#[command(version, after_help = AFTER_HELP, max_term_width = 100)]
pub struct Arguments {
    /// Look for the daemon on the system bus only, the machine's
    #[arg(long, global = true, conflicts_with = "session")]
    system: bool,

    /// Look for the daemon on the session bus only, the user's
    #[arg(long, global = true)]
    session: bool,

    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

impl Arguments {
    /// The bus to look for the daemon on.
    #[must_use]
    pub fn bus(&self) -> Bus {
        match (self.system, self.session) {
            (true, _) => Bus::System,
            (_, true) => Bus::Session,
            _ => Bus::Either,
        }
    }
}

/// A message bus to look for the daemon on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bus {
    /// The machine's or else the user's: the one with the daemon.
    Either,
    /// The machine's.
    System,
    /// The user's.
    Session,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Ask a question; the answer appears as it is generated
    Ask(Ask),
    /// Talk in a conversation, one question after the other, until Ctrl-D
    Chat(Chat),
    /// List, show or forget your conversations
    Conversations {
        /// What to do with them
        #[command(subcommand)]
        what: Conversations,
    },
    /// Carry out a command in words: `gemmactl command turn on the kitchen light`
    Command(CommandText),
    /// Show, check and test the catalogue of commands
    Commands {
        /// What to do with the catalogue
        #[command(subcommand)]
        what: Catalogue,
    },
    /// Transcribe the speech in a sound file
    Transcribe(Transcribe),
    /// Show transcripts and answers of spoken turns, until Ctrl-C
    Listen(Listen),
    /// Close the microphone
    Mute,
    /// Open the microphone
    Unmute,
    /// Drop the utterance being heard, cancel spoken answers, and stop speaking
    Stop,
    /// Cancel all waiting and running commands, and invoke those that halt, at once
    Halt,
    /// Speak a text through the loudspeaker; ends when it has been played, Ctrl-C stops it
    Say(Say),
    /// List the microphones and loudspeakers, or show the microphone's level
    Devices(Devices),
    /// List, set or cancel timers
    Timers {
        /// What to do with them
        #[command(subcommand)]
        what: Timers,
    },
    /// Show the state of the daemon
    Status(Status),
    /// Make the daemon read its configuration again; for root and users whom polkit allows it
    Reload(Reload),
    /// Load the model, or give back its memory; for root and users whom polkit allows it
    Models {
        /// What to do with the model
        #[command(subcommand)]
        what: Models,
    },
    /// Make a word or phrase of your own that is spotted, on a PC
    Keyword {
        /// What to do about keywords
        #[command(subcommand)]
        what: Keyword,
    },
}

/// `gemmactl ask`.
#[derive(Debug, Args)]
#[allow(clippy::struct_excessive_bools)] // Each is an option of the command line.
pub struct Ask {
    /// The question. `-` as the last word stands for standard input, which follows the other words
    /// after a blank line. Without words and without --audio, standard input is the question
    pub text: Vec<String>,

    /// Sound file the question is about (WAV, FLAC, MP3, Ogg, M4A and more); `-` is standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["conversation", "goes_on"])]
    pub audio: Option<PathBuf>,

    /// The conversation that the question belongs to
    #[command(flatten)]
    pub conversation: InConversation,

    /// System prompt instead of the configured one
    #[arg(long, value_name = "TEXT")]
    pub system_prompt: Option<String>,

    /// Maximum number of tokens to generate
    #[arg(long, value_name = "N")]
    pub max_tokens: Option<u32>,

    /// Minimum number of tokens to generate: the model cannot end its turn before; for measurements
    #[arg(long, value_name = "N")]
    pub min_tokens: Option<u32>,

    /// Sampling temperature, 0 (always the likeliest token) to 2
    #[arg(long, value_name = "T")]
    pub temperature: Option<f64>,

    /// Sample from the K likeliest tokens only
    #[arg(long, value_name = "K")]
    pub top_k: Option<u32>,

    /// Sample from the likeliest tokens of total probability P only
    #[arg(long, value_name = "P")]
    pub top_p: Option<f64>,

    /// Seed of the sampler; the same seed gives the same answer
    #[arg(long, value_name = "N")]
    pub seed: Option<u32>,

    /// Let the model think before it answers; the thought is not shown
    #[arg(long)]
    pub think: bool,

    /// Let the model write its protocol, such as calls of tools, into the answer; for measurements
    #[arg(long, conflicts_with = "schema")]
    pub protocol: bool,

    /// File with a JSON Schema, `-` is standard input; the answer is JSON on one line that validates against it
    #[arg(long, value_name = "FILE", conflicts_with_all = ["think", "min_tokens"])]
    pub schema: Option<PathBuf>,

    /// Carry out commands that the question asks for, if commands are switched on. Without this option that is done for one
    /// line that was typed at a terminal whose answer is shown there: other text may hold the words of a stranger
    #[arg(long, conflicts_with_all = [
        "no_commands", "audio", "system_prompt", "min_tokens", "temperature", "top_k", "top_p", "seed", "think", "protocol",
        "schema",
    ])]
    pub commands: bool,

    /// Carry out no commands; answer in words
    #[arg(long)]
    pub no_commands: bool,

    /// Print the prompt that the model would read, and ask nothing. Tokens of the protocol stand in ⟦ ⟧;
    /// typed brackets of that kind have a \ before them
    #[arg(long)]
    pub show_prompt: bool,

    /// Print the daemon's events, one JSON object per line; of --show-prompt one JSON array
    #[arg(long)]
    pub json: bool,

    /// Show tokens and times on standard error afterwards
    #[arg(short, long)]
    pub verbose: bool,
}

/// The conversation that a question belongs to.
#[derive(Debug, Args)]
pub struct InConversation {
    /// Go on with your conversation of this name, or begin one
    #[arg(long, value_name = "NAME", conflicts_with = "goes_on")]
    pub conversation: Option<String>,

    /// Go on with the conversation that you used last
    #[arg(short = 'c', long = "continue", conflicts_with = "conversation")]
    pub goes_on: bool,
}

/// `gemmactl chat`.
#[derive(Debug, Args)]
pub struct Chat {
    /// The conversation; without one, a new one is begun
    #[command(flatten)]
    pub conversation: InConversation,

    /// System prompt instead of the configured one
    #[arg(long, value_name = "TEXT")]
    pub system_prompt: Option<String>,

    /// Show tokens and times on standard error after each answer
    #[arg(short, long)]
    pub verbose: bool,
}

/// `gemmactl conversations`.
#[derive(Debug, Subcommand)]
pub enum Conversations {
    /// List your conversations, the one used last first
    List {
        /// Print one JSON array
        #[arg(long)]
        json: bool,
    },
    /// Show what was said in a conversation
    Show {
        /// Its name
        name: String,

        /// Print one JSON array
        #[arg(long)]
        json: bool,
    },
    /// Forget a conversation
    Forget {
        /// Its name
        #[arg(required_unless_present = "all")]
        name: Option<String>,

        /// Forget all of yours
        #[arg(long, conflicts_with = "name")]
        all: bool,
    },
}

/// `gemmactl timers`.
#[derive(Debug, Subcommand)]
pub enum Timers {
    /// List the timers and alarms, the first to ring first
    List {
        /// Print one JSON array
        #[arg(long)]
        json: bool,
    },
    /// Set a timer, and print its number
    Set {
        /// Time until it rings, such as 90s, 10m or 1h30m
        #[arg(value_parser = humantime::parse_duration)]
        time: Duration,

        /// Its name
        name: Vec<String>,
    },
    /// Cancel a timer
    Cancel {
        /// Its number
        #[arg(required_unless_present = "all")]
        id: Option<u64>,

        /// Cancel all
        #[arg(long, conflicts_with = "id")]
        all: bool,
    },
}

/// `gemmactl command`.
#[derive(Debug, Args)]
#[allow(clippy::struct_excessive_bools)] // Each is an option of the command line.
pub struct CommandText {
    /// The command in words. `-` as the last word stands for standard input
    #[arg(required = true)]
    pub text: Vec<String>,

    /// Show what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,

    /// Confirm commands that need it without asking
    #[arg(short, long)]
    pub yes: bool,

    /// Print the prompt that the model would read, and do nothing. Tokens of the protocol stand in ⟦ ⟧;
    /// typed brackets of that kind have a \ before them
    #[arg(long)]
    pub show_prompt: bool,

    /// Print one JSON object; of --show-prompt one JSON array
    #[arg(long)]
    pub json: bool,

    /// Show tokens and times on standard error afterwards
    #[arg(short, long)]
    pub verbose: bool,
}

/// `gemmactl commands`.
#[derive(Debug, Subcommand)]
pub enum Catalogue {
    /// Show the commands in force
    List {
        /// Print one JSON array, with parameters and examples
        #[arg(long)]
        json: bool,
    },
    /// Check files of commands for mistakes
    Check {
        /// Files of commands, or folders with such files (`*.toml`)
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Give the model all examples and show which it did not understand; nothing is invoked
    Test {
        /// Test only the commands of this file, which must be in force
        file: Option<PathBuf>,

        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
}

/// `gemmactl transcribe`.
#[derive(Debug, Args)]
pub struct Transcribe {
    /// Sound file (WAV, FLAC, MP3, Ogg, M4A and more), at most 30 s; `-` is standard input
    pub file: PathBuf,

    /// Language of the speech, as an English word such as German; `auto`: whichever is spoken
    #[arg(long)]
    pub language: Option<String>,

    /// Print text and statistics as one JSON object
    #[arg(long)]
    pub json: bool,

    /// Show tokens and times on standard error afterwards
    #[arg(short, long)]
    pub verbose: bool,
}

/// `gemmactl listen`.
#[derive(Debug, Args)]
pub struct Listen {
    /// Hear one utterance now, print its answer, and end
    #[arg(long)]
    pub once: bool,

    /// Print events, one JSON object per line
    #[arg(long)]
    pub json: bool,

    /// Show tokens and times on standard error after each answer
    #[arg(short, long)]
    pub verbose: bool,
}

/// `gemmactl say`.
#[derive(Debug, Args)]
pub struct Say {
    /// The text. `-` as the last word, or no word at all, stands for standard input
    pub text: Vec<String>,

    /// Voice of the synthesiser, such as de or en-gb, instead of the configured one
    #[arg(long, value_name = "NAME")]
    pub voice: Option<String>,

    /// Volume, above 0, at most 1, instead of the configured one
    #[arg(long, value_name = "V")]
    pub volume: Option<f64>,
}

/// `gemmactl devices`.
#[derive(Debug, Args)]
pub struct Devices {
    /// Show the level of the microphone in use, until Ctrl-C
    #[arg(long)]
    pub meter: bool,

    /// Print one JSON object per line
    #[arg(long)]
    pub json: bool,
}

/// `gemmactl status`.
#[derive(Debug, Args)]
pub struct Status {
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// `gemmactl reload`.
#[derive(Debug, Args)]
pub struct Reload {
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// `gemmactl models`.
#[derive(Debug, Clone, Copy, Subcommand)]
pub enum Models {
    /// Load the configured model; ends once it is loaded
    Load,
    /// Give back the memory of the model, once what was asked of it is answered; the next request loads it again
    Unload,
}

/// `gemmactl keyword`.
#[derive(Debug, Subcommand)]
pub enum Keyword {
    /// Train a network that spots a phrase: `gemmactl keyword train hey marvin`. It writes `hey_marvin.onnx` and its card,
    /// `hey_marvin.md`. Needs espeak-ng and Python, no daemon, and about an hour; Ctrl-C stops it, and the same
    /// command goes on from there
    Train(Train),
}

/// `gemmactl keyword train`.
#[derive(Debug, Args)]
pub struct Train {
    /// One to four English words, at most 1.5 s when they are said
    #[arg(required = true)]
    pub phrase: Vec<String>,

    /// Folder to write to
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    pub out: PathBuf,

    /// Spoken clips to learn from; more take longer and make it better
    #[arg(long, value_name = "N", default_value_t = 6000, value_parser = clap::value_parser!(u32).range(1000..=100_000))]
    pub clips: u32,

    /// Folder of the recipe, `models/keyword` in gemmad's source, instead of the installed one
    #[arg(long, value_name = "FOLDER")]
    pub recipe: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn the_bus_may_be_named_before_or_after_the_command() {
        for (option, bus) in [("--session", Bus::Session), ("--system", Bus::System)] {
            for line in [
                &["gemmactl", option, "mute"][..],
                &["gemmactl", "mute", option],
                &[
                    "gemmactl",
                    "ask",
                    "Hello",
                    option,
                    "--system-prompt",
                    "Be brief.",
                ],
            ] {
                assert_eq!(Arguments::parse_from(line).bus(), bus);
            }
        }
        assert_eq!(
            Arguments::parse_from(["gemmactl", "mute"]).bus(),
            Bus::Either
        );
    }

    #[test]
    fn one_bus_is_enough() {
        let line = ["gemmactl", "--system", "--session", "mute"];
        assert!(Arguments::try_parse_from(line).is_err());
    }
}
