//! `gemmactl command`, something to be done, in words; and `gemmactl halt`.

use std::io::IsTerminal;

use gemmad_api::{
    CommandsProxy, Invocation, InvocationStatus, InvokeOptions, Outcome, Stats, from_dict,
};
use serde::Serialize;
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::{
    args::{self, Bus},
    bus,
    failure::Failure,
    question,
    statistics::summary,
    terminal::{self, Output},
};

/// Has it done, and prints what that was.
pub async fn run(options: &args::CommandText, bus: Bus) -> Result<(), Failure> {
    let text = question::read(&options.text).await?;
    let commands = CommandsProxy::new(&bus::connect(bus).await?).await?;
    let dry_run = options.dry_run.then_some(true);
    let answer = commands.invoke(&text, InvokeOptions { dry_run }).await?;
    let mut answer = Answer::new(answer)?;
    let mut output = Output::new();
    if !options.json {
        answer.show(&mut output).await?;
    }
    if let Some(id) = answer.unconfirmed()
        && (options.yes || is_confirmed().await?)
    {
        let confirmed = commands.confirm(id).await?;
        if !options.json {
            show(&confirmed, &mut output).await?;
        }
        answer.confirm(confirmed);
    }
    if options.json {
        output.line(&answer.json()?).await?;
    }
    if options.verbose {
        terminal::note(&summary(&answer.stats));
    }
    answer.end()
}

/// Stops everything, and prints what was invoked to that end.
pub async fn halt(bus: Bus) -> Result<(), Failure> {
    let commands = CommandsProxy::new(&bus::connect(bus).await?).await?;
    show(&commands.halt().await?, &mut Output::new()).await
}

/// Asks at the terminal; where there is none, nobody can say yes.
async fn is_confirmed() -> Result<bool, Failure> {
    if !std::io::stdin().is_terminal() {
        return Ok(false);
    }
    terminal::note("Do it? [y/N]");
    let mut line = String::new();
    let read = BufReader::new(tokio::io::stdin())
        .read_line(&mut line)
        .await;
    read.map_err(|error| Failure::Usage(format!("cannot read the terminal: {error}")))?;
    Ok(matches!(line.trim(), "y" | "Y" | "yes" | "Yes"))
}

/// What came of the words.
#[derive(Debug, Serialize)]
struct Answer {
    outcome: Outcome,
    text: String,
    commands: Vec<Invocation>,
    stats: Stats,
}

impl Answer {
    fn new(
        (outcome, text, commands, stats): (Outcome, String, Vec<Invocation>, gemmad_api::Dict),
    ) -> Result<Self, Failure> {
        let stats = from_dict(&stats);
        Ok(Self {
            outcome,
            text,
            commands,
            stats: stats.map_err(|error| {
                Failure::Failed(format!("cannot understand the statistics: {error}"))
            })?,
        })
    }

    async fn show(&self, output: &mut Output) -> Result<(), Failure> {
        match self.outcome {
            Outcome::Commands => {
                show(&self.commands, output).await?;
                match self.text.as_str() {
                    "" => Ok(()),
                    words => output.line(words).await,
                }
            }
            Outcome::Question | Outcome::Nothing => output.line(&self.text).await,
        }
    }

    /// The command that waits to be confirmed, and others with it.
    fn unconfirmed(&self) -> Option<u64> {
        let mut commands = self.commands.iter();
        let waits = commands.find(|it| it.status == InvocationStatus::Unconfirmed);
        waits.map(|it| it.id)
    }

    fn confirm(&mut self, confirmed: Vec<Invocation>) {
        self.commands
            .retain(|it| it.status != InvocationStatus::Unconfirmed);
        self.commands.extend(confirmed);
    }

    fn json(&self) -> Result<String, Failure> {
        serde_json::to_string(self)
            .map_err(|error| Failure::Failed(format!("cannot show the answer: {error}")))
    }

    fn end(&self) -> Result<(), Failure> {
        let is_well = |it: &Invocation| {
            matches!(it.status, InvocationStatus::Done | InvocationStatus::DryRun)
        };
        match self.outcome {
            Outcome::Commands if self.commands.iter().all(is_well) => Ok(()),
            _ => Err(Failure::NotDone),
        }
    }
}

async fn show(commands: &[Invocation], output: &mut Output) -> Result<(), Failure> {
    for command in commands {
        output.line(&described(command)).await?;
    }
    Ok(())
}

/// `set_light {"room":"kitchen"}`, what became of it unless it was done, and what its action said.
pub fn described(command: &Invocation) -> String {
    let Invocation {
        name,
        arguments,
        status,
        result,
        ..
    } = command;
    let became = match status {
        InvocationStatus::Done => String::new(),
        status => format!(" ({})", status.as_str()),
    };
    let said = match result.as_str() {
        "" => String::new(),
        result => format!(": {result}"),
    };
    format!("{name} {arguments}{became}{said}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_described_with_what_became_of_it() {
        let mut command = Invocation {
            id: 1,
            name: "stop".into(),
            arguments: "{}".into(),
            status: InvocationStatus::Done,
            result: String::new(),
        };
        assert_eq!(described(&command), "stop {}");
        command.status = InvocationStatus::TooSoon;
        assert_eq!(described(&command), "stop {} (too-soon)");
        command.status = InvocationStatus::Failed;
        command.result = "the motor is hot".into();
        assert_eq!(described(&command), "stop {} (failed): the motor is hot");
    }
}
