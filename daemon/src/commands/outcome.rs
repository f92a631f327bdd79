//! What an answer of the model means.

use super::call::OPEN;
use super::unfit::Unfit;
use super::{Call, Catalogue, Parameter};

/// What an answer of the model means.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// Commands, in the order they were said, checked and with their defaults.
    Commands(Vec<Call>),
    /// An argument is missing: this question is asked, and nothing is done.
    Question(String),
    /// No command: the model's answer.
    Words(String),
}

impl Outcome {
    /// What `answer` means by this catalogue. If any command lacks an argument that has a question, the whole answer is
    /// that question: carrying out only a part of what was said could be wrong.
    ///
    /// # Errors
    /// When the answer is not in the protocol, or a call does not fit the catalogue.
    pub(super) fn of(catalogue: &Catalogue, answer: &str) -> Result<Self, Unfit> {
        let answer = answer.trim();
        if !answer.contains(OPEN) {
            return Ok(if catalogue.asks(answer) {
                Self::Question(answer.into())
            } else {
                Self::Words(answer.into())
            });
        }
        let calls = Call::read_all(answer)?;
        let calls: Result<Vec<_>, _> = calls.into_iter().map(|call| catalogue.fit(call)).collect();
        match calls {
            Err(Unfit::Missing { ask: Some(ask), .. }) => Ok(Self::Question(ask)),
            calls => calls.map(Self::Commands),
        }
    }
}

impl Catalogue {
    /// What an answer of the model means.
    ///
    /// # Errors
    /// When the answer is not in the protocol, or a call does not fit the catalogue; then nothing may be carried out.
    pub fn read(&self, answer: &str) -> Result<Outcome, Unfit> {
        Outcome::of(self, answer)
    }

    /// Whether `words` are the `ask` of a parameter: a model that was trained on the catalogue asks in the catalogue's
    /// words.
    fn asks(&self, words: &str) -> bool {
        let parameters = self.commands.values().flat_map(|it| it.parameters.values());
        let mut questions = parameters.filter_map(Parameter::ask);
        questions.any(|question| question.as_str() == words)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const ROBOT: &str = include_str!("../../../configs/commands/robot.toml");

    fn robot() -> Catalogue {
        Catalogue::parse(Path::new("robot.toml"), ROBOT).unwrap()
    }

    fn call(name: &str, arguments: &str) -> String {
        format!("<|tool_call>call:{name}{{{arguments}}}<tool_call|>")
    }

    #[test]
    fn several_commands_are_carried_out_in_the_order_they_were_said() {
        let answer = call(
            "move",
            "direction:<|\"|>forward<|\"|>,distance:2,unit:<|\"|>meters<|\"|>",
        ) + &call("turn", "direction:<|\"|>left<|\"|>");
        let Outcome::Commands(calls) = robot().read(&answer).unwrap() else {
            panic!()
        };
        assert_eq!(calls[0].name, "move");
        assert_eq!(
            json!(calls[1].arguments),
            json!({"direction": "left", "angle": 90})
        );
    }

    #[test]
    fn words_are_no_command_and_a_missing_parameter_is_asked_for() {
        let robot = robot();
        let read = |answer: &str| robot.read(answer).unwrap();
        assert_eq!(read(" Hello! "), Outcome::Words("Hello!".into()));
        assert_eq!(read(""), Outcome::Words(String::new()));
        assert_eq!(read("How far?"), Outcome::Question("How far?".into()));
        let answer = call("stop", "") + &call("move", "distance:2,unit:<|\"|>meters<|\"|>");
        assert_eq!(read(&answer), Outcome::Question("Which direction?".into()));
    }

    #[test]
    fn what_is_not_declared_is_refused() {
        for answer in [
            call("shutdown", ""),
            call("stop", "now:true"),
            call("turn", "direction:<|\"|>up<|\"|>"),
            call("turn", "angle:361,direction:<|\"|>left<|\"|>"),
            call("turn", "angle:<|\"|>90<|\"|>,direction:<|\"|>left<|\"|>"),
            call("go_to", ""),
            call("stop", "") + &call("shutdown", ""),
            format!("Sure! {}", call("stop", "")),
        ] {
            assert!(robot().read(&answer).is_err(), "{answer}");
        }
    }

    #[test]
    fn why_an_answer_means_nothing_does_not_tell_what_was_said() {
        let secret = "the_secret";
        for answer in [
            call(secret, ""),
            call("stop", &format!("{secret}:true")),
            call("turn", &format!("direction:<|\"|>{secret}<|\"|>")),
            format!("{secret} {}", call("stop", "")),
        ] {
            let unfit = robot().read(&answer).unwrap_err();
            assert!(!unfit.to_string().contains(secret), "{unfit}");
            assert!(unfit.about(&answer).contains(secret), "{unfit}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_written_only_declared_commands_in_range_come_out(
            name in prop_oneof!["[a-z_]{1,8}", "turn|move|stop|wait|dock"],
            arguments in prop_oneof![
                ".{0,40}",
                "(angle|direction|distance|unit|seconds):(-?[0-9]{1,5}|<\\|\"\\|>[a-z]{1,8}<\\|\"\\|>)",
                Just("angle:45,direction:<|\"|>left<|\"|>".to_owned()),
            ],
        ) {
            let robot = robot();
            if let Ok(Outcome::Commands(calls)) = robot.read(&call(&name, &arguments)) {
                for call in calls {
                    let command = &robot.commands[call.name.as_str()];
                    prop_assert_eq!(command.fit(call.arguments.clone()).unwrap(), call.arguments);
                }
            }
        }
    }
}
