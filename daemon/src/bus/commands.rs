//! `org.gemmad1.Commands`.

use std::path::Path;
use std::time::Instant;

use gemmad_api::{
    CommandInfo, Dict, Error, InvocationStatus, InvokeOptions, Options, Outcome, Passage, Stats,
    to_dict,
};
use serde::Serialize;
use serde_json::{Value, json};
use zbus::message::Header;
use zbus::object_server::SignalEmitter;
use zbus::{Connection, interface};

use super::clients::{Clients, Kind};
use super::refusal;
use crate::commands::{
    self, Catalogue, CatalogueError, Caution, CommandError, Event, Invocation, Origin, Reading,
    Role, Source,
};
use crate::platform::work;

/// Longest name of a file, in bytes: `PATH_MAX` of Linux.
const LONGEST_NAME: usize = 4096;

/// The object.
pub(super) struct Commands {
    pub commands: commands::Commands,
    pub clients: Clients,
}

#[interface(name = "org.gemmad1.Commands")]
impl Commands {
    /// The commands in force, sorted by name.
    #[zbus(out_args("commands"))]
    fn list(&self) -> Result<Vec<Dict>, Error> {
        let force = self.commands.force();
        let force = force.ok_or_else(|| refusal::command(&CommandError::Off))?;
        Ok(listed(&force.catalogue))
    }

    /// Reads `text` as a file of the catalogue; returns its commands.
    #[zbus(out_args("commands"))]
    async fn check(
        &self,
        name: &str,
        text: &str,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<Vec<Dict>, Error> {
        let unfit = |error: CatalogueError| Error::InvalidConfiguration(error.to_string());
        if name.len() > LONGEST_NAME {
            return Err(Error::InvalidArgument(format!(
                "the name has {} bytes, but a path has at most {LONGEST_NAME}; shorten it",
                name.len()
            )));
        }
        let file = Source::new(Path::new(name), text).map_err(unfit)?;
        let call = self.clients.hold(connection, &header, Kind::Call)?;
        let check = move || Catalogue::check(file).map(|catalogue| listed(&catalogue));
        call.while_there(async {
            let checked = work::run(check).await;
            let checked = checked.map_err(|error| Error::Failed(error.to_string()))?;
            checked.map_err(unfit)
        })
        .await
    }

    /// Makes out what `text` asks for and invokes it.
    #[zbus(out_args("outcome", "text", "commands", "stats"))]
    async fn invoke(
        &self,
        text: &str,
        options: Options<InvokeOptions>,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<(Outcome, String, Vec<gemmad_api::Invocation>, Dict), Error> {
        // Taken before the first await: a halt that comes meanwhile applies to this call too.
        let arrival = self.commands.arrival(Instant::now());
        let measured = self.commands.measure(text);
        measured.map_err(|error| refusal::command(&error))?;
        let dry_run = options.read()?.dry_run.unwrap_or(false);
        let call = self.clients.hold(connection, &header, Kind::Call)?;
        call.while_there(async {
            let user = self.clients.user(connection, &header).await?.name;
            let origin = Origin::Text { user };
            let invoked = self.commands.invoke(text.into(), &origin, arrival, dry_run);
            let invoked = invoked.await;
            let (reading, stats) = invoked.map_err(|error| refusal::command(&error))?;
            let (outcome, text, commands) = match reading {
                Reading::Commands { invocations, words } => {
                    (Outcome::Commands, words, translate(invocations))
                }
                Reading::Question(text) => (Outcome::Question, text, Vec::new()),
                Reading::Words(text) => (Outcome::Nothing, text, Vec::new()),
            };
            Ok((outcome, text, commands, to_dict(&Stats::from(stats))))
        })
        .await
    }

    /// What the model would read of `text`.
    #[zbus(out_args("passages"))]
    async fn render(
        &self,
        text: &str,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<Vec<Passage>, Error> {
        let measured = self.commands.measure(text);
        measured.map_err(|error| refusal::command(&error))?;
        let call = self.clients.hold(connection, &header, Kind::Call)?;
        call.while_there(async {
            let rendered = self.commands.render(text.into()).await;
            let passages = rendered.map_err(|error| refusal::command(&error))?;
            Ok(passages.into_iter().map(Passage::from).collect())
        })
        .await
    }

    /// Invokes the command that waits under this number, and those that were said after it.
    #[zbus(out_args("commands"))]
    async fn confirm(
        &self,
        id: u64,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<Vec<gemmad_api::Invocation>, Error> {
        let call = self.clients.hold(connection, &header, Kind::Call)?;
        call.while_there(async {
            let user = self.clients.user(connection, &header).await?.name;
            let confirmed = self.commands.confirm(id, &Origin::Text { user }).await;
            let confirmed = confirmed.map_err(|error| refusal::command(&error))?;
            Ok(translate(confirmed))
        })
        .await
    }

    /// Lets go of the command that waits under this number, and of those that were said after it.
    #[zbus(out_args("commands"))]
    async fn refuse(
        &self,
        id: u64,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<Vec<gemmad_api::Invocation>, Error> {
        let user = self.clients.user(connection, &header).await?.name;
        let refused = self.commands.refuse(id, &Origin::Text { user });
        let refused = refused.map_err(|error| refusal::command(&error))?;
        Ok(translate(refused))
    }

    /// Cancels all that waits and runs, and invokes every command that halts, without the model.
    #[zbus(out_args("commands"))]
    async fn halt(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<Vec<gemmad_api::Invocation>, Error> {
        // The bus may take its time to name the caller; movement ends before that.
        self.commands.cancel_all();
        let user = self.clients.user_soon(connection, &header).await;
        Ok(translate(self.commands.halt(&Origin::Text { user })))
    }

    /// Whether there are commands.
    #[zbus(property)]
    fn enabled(&self) -> bool {
        self.commands.force().is_some()
    }

    /// This is to be done now.
    #[zbus(signal)]
    async fn invoked(
        emitter: &SignalEmitter<'_>,
        id: u64,
        name: &str,
        arguments_json: &str,
        details: Dict,
    ) -> zbus::Result<()>;

    /// This waits for `Confirm`.
    #[zbus(signal)]
    async fn unconfirmed(
        emitter: &SignalEmitter<'_>,
        id: u64,
        name: &str,
        arguments_json: &str,
        details: Dict,
    ) -> zbus::Result<()>;

    /// Its action has ended.
    #[zbus(signal)]
    async fn finished(
        emitter: &SignalEmitter<'_>,
        id: u64,
        status: InvocationStatus,
        details: Dict,
    ) -> zbus::Result<()>;

    /// It waited for `Confirm` and will not be done.
    #[zbus(signal)]
    async fn dropped(
        emitter: &SignalEmitter<'_>,
        id: u64,
        status: InvocationStatus,
        details: Dict,
    ) -> zbus::Result<()>;
}

/// Signals an event.
///
/// # Errors
/// When the bus is gone.
pub(super) async fn signal(emitter: &SignalEmitter<'_>, event: Event) -> zbus::Result<()> {
    match event {
        Event::Invoked(Invocation { id, call, .. }, origin) => {
            let details = details(origin, None);
            Commands::invoked(emitter, id, &call.name, &call.arguments_json(), details).await
        }
        Event::Unconfirmed(Invocation { id, call, .. }, origin) => {
            let details = details(origin, None);
            Commands::unconfirmed(emitter, id, &call.name, &call.arguments_json(), details).await
        }
        Event::Finished(invocation, origin) => {
            // For a client's command the result is only in the reply to `Invoke`, because it is private to that client.
            let result = matches!(origin, Origin::Voice { .. }).then_some(invocation.result);
            let details = details(origin, result);
            Commands::finished(emitter, invocation.id, invocation.status.into(), details).await
        }
        Event::Dropped(invocation, origin) => {
            let details = details(origin, None);
            Commands::dropped(emitter, invocation.id, invocation.status.into(), details).await
        }
    }
}

/// The origin and the result of a command, as the bus has them.
#[derive(Debug, Serialize)]
struct Details {
    origin: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    utterance: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<String>,
}

fn details(origin: Origin, result: Option<String>) -> Dict {
    let (origin, user, utterance) = match origin {
        Origin::Text { user } => ("text", Some(user), None),
        Origin::Voice { utterance } => ("voice", None, utterance),
        Origin::Daemon => ("daemon", None, None),
    };
    to_dict(&Details {
        origin,
        user,
        utterance,
        result,
    })
}

fn translate(invocations: Vec<Invocation>) -> Vec<gemmad_api::Invocation> {
    let invocations = invocations.into_iter();
    let translated = invocations.map(|it| gemmad_api::Invocation {
        id: it.id,
        arguments: it.call.arguments_json(),
        name: it.call.name,
        status: it.status.into(),
        result: it.result,
    });
    translated.collect()
}

fn listed(catalogue: &Catalogue) -> Vec<Dict> {
    let commands = catalogue.commands.iter();
    let listed = commands.map(|(name, command)| {
        let examples = command.examples.iter();
        let examples = examples.map(|example| match &example.call {
            Some(arguments) => json!({"say": example.say.as_str(), "arguments": arguments}),
            None => json!({"say": example.say.as_str()}),
        });
        to_dict(&CommandInfo {
            name: name.to_string(),
            description: command.description.to_string(),
            parameters: command.schema().to_string(),
            examples: examples.collect::<Value>().to_string(),
            confirm: command.is_confirmed(),
            dangerous: command.role == Role::Acts(Caution::Dangerous),
            halts: command.halts(),
        })
    });
    listed.collect()
}

#[cfg(test)]
mod tests {

    use gemmad_api::{from_dict, text};
    use proptest::prelude::*;
    use zbus::wire::serialized::Context;
    use zbus::wire::{LE, serialized_size};

    use super::*;

    /// Longest reply, in bytes. The smallest default limit of a bus is 32 times as much.
    const LONGEST_REPLY: usize = 1 << 20;

    /// Longest file, in bytes.
    const LONGEST: usize = 64 * 1024;

    fn check(name: &str, text: &str) -> Result<Catalogue, CatalogueError> {
        Catalogue::check(Source::new(Path::new(name), text)?)
    }

    fn size(listed: &Vec<Dict>) -> usize {
        serialized_size(Context::new(LE, 0), listed).unwrap().size()
    }

    /// A file of the greatest length, with `entry` repeated between `start` and `end`.
    fn filled(start: &str, entry: impl Fn(usize) -> String, end: &str) -> String {
        let mut text = start.to_owned();
        for entry in (0..256).map(entry) {
            if text.len() + entry.len() + end.len() > LONGEST {
                break;
            }
            text += &entry;
        }
        text + end
    }

    fn joined(count: usize, one: impl Fn(usize) -> String) -> String {
        (0..count).map(one).collect::<Vec<_>>().join(",")
    }

    /// Files of the greatest length, of content that grows in a listing.
    fn growing() -> [String; 5] {
        let quotes = "\"".repeat(200);
        let values = joined(256, |nth| format!("'{nth}{quotes}'"));
        let lists = joined(16, |nth| format!("p{nth}={{type='list'}}"));
        [
            filled(
                "[commands]\n",
                |nth| format!("c{nth} = {{ description = '\"' }}\n"),
                "",
            ),
            filled(
                "[commands.a]\ndescription = 'A'\nexamples = [\n",
                |nth| format!("{{ say = '{nth}{quotes}', call = {{ x = 1e15 }} }},\n"),
                "]\n[commands.a.parameters]\nx = { type = 'number', min = 0, max = 1e15 }\n",
            ),
            filled(
                "[commands.a]\ndescription = 'A'\nexamples = [\n",
                |nth| format!("{{ say = '{nth}', call = {{}} }},\n"),
                &format!(
                    "]\n[commands.a.parameters]\nx = {{ type = 'string', longest = 1000, default = '{}' }}\n",
                    "\"".repeat(1000)
                ),
            ),
            filled(
                "",
                |nth| format!("[commands.c{nth}]\ndescription = 'A'\nparameters = {{ {lists} }}\n"),
                "",
            ),
            format!(
                "[commands.a]\ndescription = 'A'\n[commands.a.parameters]\n\
                 x = {{ type = 'enum', values = [{values}] }}\n"
            ),
        ]
    }

    #[test]
    fn the_longest_listing_fits_into_a_message() {
        for text in growing() {
            let catalogue = Catalogue::parse(Path::new("home.toml"), &text).unwrap();
            // All files of a catalogue together are twice as long.
            let size = 2 * size(&listed(&catalogue));
            assert!(size < LONGEST_REPLY, "{size} bytes from {}", text.len());
        }
    }

    #[test]
    fn a_default_is_listed_once_and_not_in_every_example() {
        let default = "d".repeat(1000);
        let text = format!(
            "[commands.a]\ndescription = 'A'\nexamples = [{{ say = 'a', call = {{}} }}]\n\
             [commands.a.parameters]\n\
             x = {{ type = 'string', longest = 1000, default = '{default}' }}\n"
        );
        let catalogue = Catalogue::parse(Path::new("home.toml"), &text).unwrap();
        let command: CommandInfo = from_dict(&listed(&catalogue)[0]).unwrap();
        let examples: Value = serde_json::from_str(&command.examples).unwrap();
        assert_eq!(examples, json!([{"arguments": {}, "say": "a"}]));
        let parameters: Value = serde_json::from_str(&command.parameters).unwrap();
        assert_eq!(parameters["properties"]["x"]["default"], default);
    }

    #[test]
    fn checking_a_file_ends_whatever_is_in_it_and_says_where_it_does_not_fit() {
        let repeat = |what: &str| what.repeat(LONGEST / what.len());
        let mut texts = growing().to_vec();
        let repeated = [
            "[", "a.", "[a]\n", "[[a]]\n", "a=", "\"", "'''", "{a=", "a=[", "#", "\n", "\u{202E}",
            "a=1\n", "e\u{301}", "1", "-", "x=1e9\n",
        ];
        texts.extend(repeated.map(repeat));
        texts.push(format!("a{}=1", ".a".repeat(32_000)));
        texts.push(format!("[a{}]", ".a".repeat(32_000)));
        texts.push(format!("x={}1{}", "[".repeat(32_000), "]".repeat(32_000)));
        texts.push(format!("x={}1{}", "{a=".repeat(16_000), "}".repeat(16_000)));
        for text in texts {
            let beginning: String = text.chars().take(80).collect();
            if let Err(error) = check("home.toml", &text) {
                assert!(
                    error.to_string().contains("home.toml"),
                    "{error} for {beginning:?}"
                );
            }
        }
    }

    /// Text with characters that must not be displayed.
    fn hostile() -> impl Strategy<Value = String> {
        prop_oneof![
            "[a-z ]{1,12}",
            "[a-z<|\u{202E}\u{200B}\u{2028}\u{E0041}\u{301}\u{7}é]{1,12}",
            any::<String>(),
        ]
    }

    fn quoted(text: &str) -> String {
        toml::Value::from(text).to_string()
    }

    fn parameter() -> impl Strategy<Value = String> {
        prop_oneof![
            hostile().prop_map(|text| format!("{{ type = 'string', ask = {} }}", quoted(&text))),
            prop::collection::vec(hostile(), 0..4).prop_map(|values| {
                let values = joined(values.len(), |nth| quoted(&values[nth]));
                format!("{{ type = 'enum', values = [{values}] }}")
            }),
            (any::<f64>(), any::<f64>(), any::<f64>()).prop_map(|(min, max, step)| format!(
                "{{ type = 'number', min = {min:?}, max = {max:?}, step = {step:?} }}"
            )),
            (-9_i64..9, 0_i64..200, 1_i64..9).prop_map(|(min, span, step)| {
                let (min, max) = (min * step, min * step + span);
                format!("{{ type = 'integer', min = {min}, max = {max}, step = {step} }}")
            }),
        ]
    }

    fn command() -> impl Strategy<Value = String> {
        let parameters = prop::collection::vec(parameter(), 0..3);
        (hostile(), hostile(), parameters).prop_map(|(description, say, parameters)| {
            let parameters = joined(parameters.len(), |nth| {
                format!("p{nth} = {}", parameters[nth])
            });
            let (description, say) = (quoted(&description), quoted(&say));
            format!(
                "description = {description}\nexamples = [{{ say = {say} }}]\n\
                 parameters = {{ {parameters} }}\n"
            )
        })
    }

    /// Text that resembles a file of commands, or does not.
    fn file() -> impl Strategy<Value = String> {
        let commands = prop::collection::vec((hostile(), command()), 1..4);
        let commands = commands.prop_map(|commands| {
            let commands = commands.iter().enumerate().map(|(nth, (name, command))| {
                let name = if nth == 0 { "c".into() } else { quoted(name) };
                format!("[commands.{name}]\n{command}")
            });
            commands.collect::<String>()
        });
        prop_oneof![4 => commands, 1 => any::<String>()]
    }

    proptest! {
        #[test]
        fn a_file_is_refused_with_its_line_or_its_listing_is_bounded_and_clean(
            toml in file(),
            name in prop_oneof![Just("home.toml".to_owned()), hostile()],
        ) {
            match check(&name, &toml) {
                Ok(catalogue) => {
                    let listed = listed(&catalogue);
                    prop_assert!(size(&listed) < LONGEST_REPLY);
                    for command in listed {
                        let it: CommandInfo = from_dict(&command).unwrap();
                        for text in [it.name, it.description, it.parameters, it.examples] {
                            prop_assert_eq!(text::check(&text), Ok(()), "{:?}", text);
                        }
                    }
                }
                Err(error) => {
                    let message = error.to_string();
                    prop_assert_eq!(text::check(&message), Ok(()), "{:?}", message);
                    prop_assert!(message.len() < 4096);
                    let CatalogueError::Invalid { mistake, .. } = error else { panic!("{message}") };
                    let line = mistake.line;
                    prop_assert!(line <= toml.lines().count() + 1, "{}", message);
                    prop_assert!(message.contains(&format!(":{line}: ")), "{}", message);
                }
            }
        }
    }
}
