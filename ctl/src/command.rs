//! `gemmactl command`, a command in words; and `gemmactl halt`.

use std::cell::Cell;
use std::io::IsTerminal;
use std::time::Duration;

use futures_util::StreamExt;
use gemmad_api::{
    CommandsProxy, Invocation, InvocationStatus, InvokeOptions, Outcome, Stats, from_dict,
};
use serde::Serialize;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::time::timeout;

use crate::{
    args,
    bus::Way,
    failure::Failure,
    interrupt::until_interrupted,
    prompt, question,
    statistics::{summary, whole},
    terminal::{self, Output, indented},
};

/// Longest wait for the daemon to let go of commands.
const LETTING_GO: Duration = Duration::from_secs(1);

/// Lets the daemon carry out the text, and prints what became of its commands. When it is interrupted at the question,
/// the commands that wait are let go.
pub async fn run(options: &args::CommandText, way: &Way) -> Result<(), Failure> {
    let asked = Cell::new(None);
    let done = until_interrupted(carry_out(options, way, &asked)).await;
    if let (Err(Failure::Interrupted | Failure::Terminated), Some(id)) = (&done, asked.get()) {
        // If it fails, they are let go after a minute.
        let _ = timeout(LETTING_GO, refuse(way, id)).await;
    }
    done
}

async fn refuse(way: &Way, id: u64) -> Result<(), Failure> {
    let commands = CommandsProxy::new(&way.connect().await?).await?;
    commands.refuse(id).await?;
    Ok(())
}

async fn carry_out(
    options: &args::CommandText,
    way: &Way,
    asked: &Cell<Option<u64>>,
) -> Result<(), Failure> {
    let text = question::read(&options.text).await?;
    let commands = CommandsProxy::new(&way.connect().await?).await?;
    if options.show_prompt {
        return prompt::show(&commands.render(&text).await?, options.json).await;
    }
    let dry_run = options.dry_run.then_some(true);
    let answer = commands.invoke(&text, InvokeOptions { dry_run }).await?;
    let mut answer = Answer::new(answer)?;
    let mut output = Output::new();
    if !options.json {
        answer.show(&mut output).await?;
    }
    let mut agreed = Vec::new();
    // After a confirmed command another one may need to be confirmed.
    while let [first, ..] = &answer.waiting()[..] {
        let said = if options.yes || agreed.contains(&first.id) {
            Said::Yes
        } else {
            asked.set(Some(first.id));
            let said = ask(&commands, &answer.waiting()).await?;
            asked.set(None);
            said
        };
        let became = match said {
            Said::Yes => {
                // The question named all that wait.
                agreed.extend(answer.waiting().iter().map(|it| it.id));
                commands.confirm(first.id).await?
            }
            Said::No => commands.refuse(first.id).await?,
            Said::Nothing => break,
        };
        if !options.json {
            show(&became, &mut output).await?;
        }
        answer.settle(became);
    }
    if options.json {
        output.json(&answer).await?;
    }
    if options.verbose {
        terminal::note(&summary(&answer.stats));
    }
    answer.end()
}

/// Halts, and prints the commands that were invoked for it.
pub async fn halt(way: &Way) -> Result<(), Failure> {
    let commands = CommandsProxy::new(&way.connect().await?).await?;
    show(&commands.halt().await?, &mut Output::new()).await
}

/// The user's answer to the question whether to carry out commands.
enum Said {
    Yes,
    No,
    /// None: the daemon has dropped the commands.
    Nothing,
}

/// Asks at the terminal whether to carry out `waiting`, until the daemon drops it.
async fn ask(commands: &CommandsProxy<'_>, waiting: &[&Invocation]) -> Result<Said, Failure> {
    let names: Vec<_> = waiting
        .iter()
        .map(|it| format!("{} {}", it.name, it.arguments))
        .collect();
    let names = names.join(", then ");
    if !std::io::stdin().is_terminal() {
        terminal::note(&format!(
            "gemmactl: not done, because it must be confirmed: {names}. There is no terminal to ask at; --yes \
             confirms without asking"
        ));
        return Ok(Said::No);
    }
    let mut drops = commands.receive_dropped().await?;
    let dropped = async {
        while let Some(signal) = drops.next().await {
            let args = signal.args()?;
            if args.id == waiting[0].id {
                return Ok(args.status.as_str());
            }
        }
        Err(Failure::WentAway)
    };
    terminal::note(&format!("Do {names}? [y/N]"));
    let mut line = String::new();
    let mut keyboard = BufReader::new(tokio::io::stdin());
    tokio::select! {
        read = keyboard.read_line(&mut line) => {
            read.map_err(|error| Failure::Usage(format!("cannot read the terminal: {error}")))?;
        }
        became = dropped => {
            terminal::note(&format!("gemmactl: {}; it waits no longer", became?));
            return Ok(Said::Nothing);
        }
    }
    Ok(match line.trim() {
        "y" | "Y" | "yes" | "Yes" => Said::Yes,
        _ => Said::No,
    })
}

/// The reply to `Invoke`.
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
            stats: stats.map_err(|_| Failure::Garbled("statistics"))?,
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

    /// The commands that wait to be confirmed: the one asked about, and those behind it.
    fn waiting(&self) -> Vec<&Invocation> {
        let commands = self.commands.iter();
        let waits = |it: &&Invocation| it.status == InvocationStatus::Unconfirmed;
        commands.filter(waits).collect()
    }

    /// Updates commands with what became of them.
    fn settle(&mut self, became: Vec<Invocation>) {
        for settled in became {
            match self.commands.iter_mut().find(|it| it.id == settled.id) {
                Some(command) => *command = settled,
                None => self.commands.push(settled),
            }
        }
    }

    fn end(&self) -> Result<(), Failure> {
        let is_well = |it: &Invocation| {
            matches!(it.status, InvocationStatus::Done | InvocationStatus::DryRun)
        };
        match self.outcome {
            Outcome::Commands if self.commands.iter().all(is_well) => whole(&self.stats),
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

/// `set_light {"room":"kitchen"}`, followed by its status unless it is done, and the output of its action.
fn described(command: &Invocation) -> String {
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
    indented(&format!("{name} {arguments}{became}{said}"))
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
        command.result = "the motor is hot\nstop {}\n".into();
        assert_eq!(
            described(&command),
            "stop {} (failed): the motor is hot\n    stop {}"
        );
    }
}
