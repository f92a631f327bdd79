//! Templates rendered here and by Python's Jinja2 as transformers sets it up: equal to the byte.
//!
//! Conversations are generated. Each is rendered twice here: as JSON, in all forms that a program may hand to a
//! template; and as a conversation of ours, whose texts are marks while the template runs.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use fastrand::Rng;
use jiff::civil::{DateTime, date};
use minijinja::value::Serde;
use serde_json::{Map, Value, json};

use super::*;
use crate::engine::ToolCall;
use crate::engine::prompt::conversation::{Content, Message, Role};
use crate::engine::prompt::jinja::Jinja;
use crate::engine::prompt::manner::{Results, System};
use crate::engine::prompt::mark::AUDIO_PLACE;

/// The templates: those of `daemon/tests/templates`, and nano's.
const NAMES: [&str; 4] = ["older", "current", "converter", "chat_template"];

/// The end of a prompt whose model shall not think.
const NO_THOUGHT: &str = "<|channel>thought\n<channel|>";

/// The moment that `render.py` takes for now.
fn now() -> DateTime {
    date(2026, 3, 7).at(8, 5, 9, 0)
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/templates")
}

fn path(name: &str) -> PathBuf {
    let folder = match name {
        "chat_template" => folder().join("../../../models/nano"),
        _ => folder(),
    };
    folder.join(name).with_extension("jinja")
}

/// Words, and what a template, a tokeniser or a JSON writer might stumble over.
const WORDS: [&str; 24] = [
    "hello",
    "the kitchen",
    "light",
    "42",
    "é ü ß",
    "ⅸ 漢字",
    "👍🏽",
    "\u{2028}",
    "\u{7f}",
    "\"quoted\"",
    "it's",
    "back\\slash",
    "<b>&amp;</b>",
    "{{ bos_token }}",
    "{% if x %}",
    "{# no #}",
    "<|turn>system",
    "<turn|>",
    "<|\"|>",
    "<|audio|>",
    "line\nbreak",
    "tab\there",
    "%s {0}",
    "None",
];

/// Thoughts, as an earlier answer may hold them: whole, empty, not closed, not opened.
const THOUGHTS: [&str; 4] = [
    "<|channel>thought\nHm.\n<channel|>",
    "<|channel>thought\n<channel|>",
    "<|channel>thought\ncut off",
    "closed<channel|>",
];

/// Draws everything.
struct Draw(Rng);

impl Draw {
    fn chance(&mut self, percent: u32) -> bool {
        self.0.u32(0..100) < percent
    }

    fn one<T: Copy>(&mut self, among: &[T]) -> T {
        among[self.0.usize(0..among.len())]
    }

    /// A text, with white space around it now and then.
    fn text(&mut self) -> String {
        let mut text = String::new();
        for _ in 0..self.0.usize(0..5) {
            text += self.one(&WORDS);
            text += self.one(&[" ", " ", "\n", ""]);
        }
        match self.0.u32(0..8) {
            0 => format!("  {text}\n"),
            1 => format!("\t{text}"),
            _ => text,
        }
    }

    fn thoughtful(&mut self) -> String {
        let (mut said, text) = (String::new(), self.text());
        if self.chance(40) {
            said += self.one(&THOUGHTS);
        }
        said + &text
    }

    fn name(&mut self) -> &'static str {
        self.one(&["get_time", "set_light", "look", "Go", "add_to_list"])
    }

    fn number(&mut self) -> Value {
        let whole = self.0.i64(-100..1000);
        // As written by people: with few digits, very small or very large.
        let exponent = self.0.i32(-30..30);
        match self.0.u32(0..6) {
            0 => json!(whole),
            1 => json!(self.0.u64(..)),
            2 => json!(0.5 * f64::from(self.0.i32(-99..99))),
            3 => json!(self.0.f64()),
            4 => format!("{whole}e{exponent}").parse::<f64>().unwrap().into(),
            _ => json!(self.one(&[0.0, -0.0, 0.1, 1e15, 1e16, 1e-4, 1e-5])),
        }
    }

    fn value(&mut self, depth: u32) -> Value {
        match self.0.u32(0..if depth < 2 { 7 } else { 5 }) {
            0 => Value::Null,
            1 => json!(self.chance(50)),
            2 => self.number(),
            3 | 4 => json!(self.text()),
            5 => (0..self.0.usize(0..4))
                .map(|_| self.value(depth + 1))
                .collect(),
            _ => Value::Object(self.map(depth + 1)),
        }
    }

    fn map(&mut self, depth: u32) -> Map<String, Value> {
        let keys = ["room", "state", "Level", "on", "zone"];
        let keys = (0..self.0.usize(0..4))
            .map(|_| self.one(&keys))
            .collect::<Vec<_>>();
        let pairs = keys.into_iter();
        pairs
            .map(|key| (key.to_owned(), self.value(depth)))
            .collect()
    }

    /// A parameter or a node of one, as a JSON Schema.
    fn schema(&mut self, depth: u32, lists_types: bool) -> Value {
        let kinds = ["string", "integer", "number", "boolean", "array", "object"];
        let kind = self.one(&kinds[..if depth < 2 { 6 } else { 4 }]);
        let mut node = json!({ "type": kind });
        if self.chance(60) {
            node["description"] = json!(self.text().trim());
        }
        if self.chance(15) {
            node["nullable"] = json!(true);
        }
        if self.chance(10) && lists_types {
            node["type"] = json!([kind, "null"]);
        }
        if self.chance(20) {
            node["default"] = self.value(2);
            node["minimum"] = self.number();
        }
        match kind {
            "string" if self.chance(40) => node["enum"] = json!(["on", "off", "Half way"]),
            "array" => node["items"] = self.schema(depth + 1, lists_types),
            "object" => {
                node["properties"] = self.properties(depth + 1, lists_types);
                if self.chance(50) {
                    node["required"] = json!(["a", "b"]);
                }
            }
            _ => {}
        }
        node
    }

    fn properties(&mut self, depth: u32, lists_types: bool) -> Value {
        let names = ["distance", "unit", "Speed", "mode", "x"];
        let names = (0..self.0.usize(0..4))
            .map(|_| self.one(&names))
            .collect::<Vec<_>>();
        let pairs = names.into_iter();
        let pairs = pairs.map(|name| (name.to_owned(), self.schema(depth, lists_types)));
        Value::Object(pairs.collect())
    }

    fn tools(&mut self, lists_types: bool) -> Vec<Value> {
        let many = if self.chance(50) {
            0
        } else {
            self.0.usize(1..4)
        };
        let tools = (0..many).map(|_| {
            json!({
                "type": "function",
                "function": {
                    "name": self.name(),
                    "description": self.text().trim(),
                    "parameters": {
                        "type": "object",
                        "properties": self.properties(0, lists_types),
                        "required": if self.chance(70) { json!(["distance"]) } else { json!([]) },
                    },
                },
            })
        });
        tools.collect()
    }
}

/// What JSON a template takes.
struct Habits {
    /// Types of parameters may be lists.
    lists_types: bool,
    /// The system text may be a list of items.
    lists_system: bool,
}

impl Habits {
    fn of(name: &str) -> Self {
        Self {
            lists_types: name != "older" && name != "chat_template",
            lists_system: name != "older",
        }
    }
}

/// JSON for a template, in all the forms that programs use.
fn context(draw: &mut Draw, habits: &Habits) -> Value {
    let mut messages = Vec::new();
    if draw.chance(40) {
        let text = draw.text();
        let role = draw.one(&["system", "system", "developer"]);
        let content = if habits.lists_system && draw.chance(20) {
            json!([{"type": "text", "text": text}])
        } else {
            json!(text)
        };
        // A template that knows no developer makes a turn of it.
        messages.push(json!({"role": role, "content": content}));
    }
    for _ in 0..draw.0.usize(0..3) {
        messages.push(person(draw));
        if draw.chance(90) {
            messages.extend(model(draw));
        }
    }
    messages.push(person(draw));
    if draw.chance(30) {
        messages.extend(model(draw));
    }
    let mut context = json!({"messages": messages, "bos_token": "<bos>", "eos_token": "<eos>"});
    let tools = draw.tools(habits.lists_types);
    context["tools"] = if tools.is_empty() {
        Value::Null
    } else {
        json!(tools)
    };
    context["add_generation_prompt"] = json!(draw.chance(80));
    if draw.chance(80) {
        context["enable_thinking"] = json!(draw.chance(40));
    }
    context
}

fn person(draw: &mut Draw) -> Value {
    if draw.chance(50) {
        return json!({"role": "user", "content": draw.text()});
    }
    let items = (0..draw.0.usize(0..4)).map(|_| match draw.0.u32(0..4) {
        0 => json!({"type": "image"}),
        1 => json!({"type": "audio"}),
        _ => json!({"type": "text", "text": draw.text()}),
    });
    json!({"role": "user", "content": items.collect::<Vec<_>>()})
}

/// Messages of the model: words, or calls with or without results, in either form, and words about them.
fn model(draw: &mut Draw) -> Vec<Value> {
    if draw.chance(50) {
        return vec![json!({"role": "assistant", "content": draw.thoughtful()})];
    }
    let mut messages = Vec::new();
    for round in 0..draw.0.usize(1..4) {
        let has_ids = draw.chance(70);
        let calls = (0..draw.0.usize(1..4)).map(|nth| {
            let arguments = draw.map(0);
            let mut call = json!({"type": "function", "function": {"name": draw.name(), "arguments": arguments}});
            if has_ids {
                call["id"] = json!(format!("{round}.{nth}"));
            }
            call
        });
        let calls: Vec<_> = calls.collect();
        let mut message = json!({"role": "assistant", "tool_calls": calls});
        if draw.chance(60) {
            message["content"] = json!(if draw.chance(20) {
                draw.thoughtful()
            } else {
                String::new()
            });
        }
        let mut results = Vec::new();
        match draw.0.u32(0..5) {
            0..3 => {
                let told = calls.iter().map(
                    |call| json!({"name": call["function"]["name"], "response": draw.value(0)}),
                );
                message["tool_responses"] = told.collect();
            }
            3 => results.extend(calls.iter().map(|call| {
                let mut result = json!({"role": "tool", "content": draw.value(0)});
                if has_ids {
                    result["tool_call_id"] = call["id"].clone();
                }
                if draw.chance(50) {
                    result["name"] = call["function"]["name"].clone();
                }
                result
            })),
            _ => {}
        }
        messages.push(message);
        messages.extend(results);
    }
    if draw.chance(40) {
        messages.push(json!({"role": "assistant", "content": draw.thoughtful()}));
    }
    messages
}

/// A turn of such a conversation.
struct Turn {
    role: Role,
    called: Vec<Vec<ToolCall>>,
    hears: bool,
    text: Option<String>,
}

/// A conversation of ours, with texts of its own.
struct Ours {
    turns: Vec<Turn>,
    tools: Vec<Value>,
    thinking: bool,
}

impl Ours {
    fn new(draw: &mut Draw) -> Self {
        let said = |role, text| Turn {
            role,
            called: Vec::new(),
            hears: false,
            text: Some(text),
        };
        let mut turns = Vec::new();
        if draw.chance(40) {
            turns.push(said(Role::System, draw.text()));
        }
        for _ in 0..draw.0.usize(0..4) {
            turns.push(said(Role::User, draw.text()));
            turns.push(if draw.chance(70) {
                said(Role::Assistant, draw.text())
            } else {
                Turn {
                    called: Self::rounds(draw),
                    // Words always follow calls.
                    ..said(Role::Assistant, format!("{}.", draw.text()))
                }
            });
        }
        let hears = draw.chance(40);
        turns.push(Turn {
            role: Role::User,
            called: Vec::new(),
            hears,
            text: (!hears || draw.chance(50)).then(|| draw.text()),
        });
        if draw.chance(40) {
            turns.push(Turn {
                role: Role::Assistant,
                called: Self::rounds(draw),
                hears: false,
                text: None,
            });
        }
        Self {
            turns,
            tools: draw.tools(false),
            thinking: draw.chance(30),
        }
    }

    fn rounds(draw: &mut Draw) -> Vec<Vec<ToolCall>> {
        let rounds = (0..draw.0.usize(1..4)).map(|_| {
            let calls = (0..draw.0.usize(1..4)).map(|_| ToolCall {
                name: draw.name().into(),
                arguments: draw.map(0).into_iter().collect(),
                result: if draw.chance(70) {
                    Ok(draw.text())
                } else {
                    Err(draw.text())
                },
            });
            calls.collect()
        });
        rounds.collect()
    }

    fn messages(&self) -> Vec<Message<'_>> {
        let turns = self.turns.iter();
        let turns = turns.map(|turn| {
            let audio = turn.hears.then_some(Content::Audio);
            let text = turn.text.as_deref().map(Content::Text);
            Message {
                role: turn.role,
                called: &turn.called,
                content: audio.into_iter().chain(text).collect(),
            }
        });
        turns.collect()
    }

    /// The same as JSON, as a program would hand it to transformers.
    fn context(&self, manner: Manner) -> Value {
        assert_eq!(manner.system, System::Message);
        let messages: Vec<_> = self.turns.iter().flat_map(|it| it.json(manner)).collect();
        let tools = (!self.tools.is_empty()).then_some(&self.tools);
        json!({
            "messages": messages, "tools": tools, "bos_token": "<bos>", "eos_token": "<eos>",
            "add_generation_prompt": true, "enable_thinking": self.thinking,
        })
    }
}

impl Turn {
    fn json(&self, manner: Manner) -> Vec<Value> {
        let role = match self.role {
            Role::System => "system",
            Role::User => "user",
            Role::Assistant => "assistant",
        };
        let text = self.text.as_deref().map(str::trim);
        if !self.called.is_empty() {
            return self.calling(text.unwrap_or(""), manner);
        }
        vec![match (self.hears, text) {
            (false, text) => json!({"role": role, "content": text}),
            (true, None) => json!({"role": role, "content": [{"type": "audio"}]}),
            (true, text) => {
                json!({"role": role, "content": [{"type": "audio"}, {"type": "text", "text": text}]})
            }
        }]
    }

    fn calling(&self, text: &str, manner: Manner) -> Vec<Value> {
        let mut messages = Vec::new();
        for (nth, calls) in self.called.iter().enumerate() {
            let tool_calls = calls.iter();
            let tool_calls = tool_calls
                .map(|it| json!({"function": {"name": it.name, "arguments": it.arguments}}));
            let mut message =
                json!({"role": "assistant", "tool_calls": tool_calls.collect::<Vec<_>>()});
            let response = |call: &ToolCall| match &call.result {
                Ok(found) => json!(found),
                Err(why) => json!({"error": why}),
            };
            let is_last = nth + 1 == self.called.len();
            if manner.results == Results::Responses {
                let told = calls
                    .iter()
                    .map(|it| json!({"name": it.name, "response": response(it)}));
                message["tool_responses"] = told.collect();
                if is_last {
                    message["content"] = json!(text);
                }
                messages.push(message);
                continue;
            }
            messages.push(message);
            messages.extend(
                calls
                    .iter()
                    .map(|it| json!({"role": "tool", "name": it.name, "content": response(it)})),
            );
            if is_last && !text.is_empty() {
                messages.push(json!({"role": "assistant", "content": text}));
            }
        }
        messages
    }
}

/// What Python makes of each case, in order; the reason where it refuses.
fn rendered_by_python(cases: &[(&str, Value)]) -> Vec<Result<String, String>> {
    let mut python = Command::new("python3")
        .arg(folder().join("render.py"))
        .args(NAMES.map(path))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("`cargo xtask setup` installs Python and Jinja2");
    let mut lines = String::new();
    for (template, context) in cases {
        let case = json!({"template": template, "context": context});
        writeln!(lines, "{case}").unwrap();
    }
    let mut input = python.stdin.take().unwrap();
    let writing = std::thread::spawn(move || input.write_all(lines.as_bytes()));
    let output = BufReader::new(python.stdout.take().unwrap());
    let answers = output.lines().map(|line| {
        let answer: Value = serde_json::from_str(&line.unwrap()).unwrap();
        match answer["prompt"].as_str() {
            Some(prompt) => Ok(prompt.to_owned()),
            None => Err(answer["refused"].as_str().unwrap().to_owned()),
        }
    });
    let answers: Vec<_> = answers.collect();
    assert!(python.wait().unwrap().success());
    writing.join().unwrap().unwrap();
    assert_eq!(answers.len(), cases.len());
    answers
}

fn joined(pieces: &[Piece]) -> String {
    let texts = pieces.iter().map(|piece| match piece {
        Piece::Template(text) | Piece::Said(text) => text.as_str(),
        Piece::Audio => AUDIO_PLACE,
    });
    texts.collect()
}

/// Compares `many` conversations for each template, from this seed on.
fn compare(many: u64, seed: u64) {
    let templates = NAMES.map(|name| {
        let source = std::fs::read_to_string(path(name)).unwrap();
        let template = Template::with_clock(&source, "<bos>".into(), "<eos>".into(), now).unwrap();
        (name, Jinja::new(&source, now).unwrap(), template)
    });
    // Few at a time, so that they need no memory to speak of.
    for first in (0..many).step_by(500) {
        let mut cases = Vec::new();
        let mut here = Vec::new();
        for nth in first..many.min(first + 500) {
            for (name, jinja, template) in &templates {
                let draw = &mut Draw(Rng::with_seed(seed + nth));
                let context = context(draw, &Habits::of(name));
                let value = minijinja::Value::from(Serde(&context));
                here.push(jinja.render(value).map_err(|error| error.to_string()));
                cases.push((*name, context));

                let ours = Ours::new(draw);
                let messages = ours.messages();
                let pieces = template.render(&Conversation {
                    messages: &messages,
                    tools: &ours.tools,
                    thinking: ours.thinking,
                });
                here.push(
                    pieces
                        .map(|it| joined(&it))
                        .map_err(|error| error.to_string()),
                );
                cases.push((*name, ours.context(template.manner)));
            }
        }
        let there = rendered_by_python(&cases);
        let mut refused = 0;
        for (nth, (here, there)) in here.iter().zip(there).enumerate() {
            let (name, context) = &cases[nth];
            // Ours, where several rounds are one turn.
            let there = match there {
                Ok(prompt) if nth % 2 == 1 => Ok(prompt.replace(
                    "<tool_response|><|turn>model\n<|tool_call>",
                    "<tool_response|><|tool_call>",
                )),
                there => there,
            };
            match (here, there) {
                (Ok(here), Ok(there)) => assert_eq!(*here, there, "{name}: {context}"),
                (Err(_), Err(_)) => refused += 1,
                (here, there) => panic!("{name}: {here:?} here, {there:?} there: {context}"),
            }
        }
        assert!(refused * 100 < cases.len(), "{refused} refused");
    }
}

#[test]
fn conversations_are_rendered_as_transformers_does() {
    compare(500, 0);
}

#[test]
#[ignore = "takes minutes; part of `cargo xtask nightly`"]
fn ten_thousand_conversations_are_rendered_as_transformers_does() {
    compare(10_000, 1_000_000);
}

#[test]
fn what_is_handed_to_the_two_generations_means_the_same_to_both() {
    let [older, current] = ["older", "current"].map(|name| {
        let source = std::fs::read_to_string(path(name)).unwrap();
        Template::with_clock(&source, "<bos>".into(), "<eos>".into(), now).unwrap()
    });
    for seed in 0..500 {
        let ours = Ours::new(&mut Draw(Rng::with_seed(seed)));
        let messages = ours.messages();
        let conversation = Conversation {
            messages: &messages,
            // The generations write lists differently.
            tools: &[],
            thinking: ours.thinking,
        };
        let [older, current] = [&older, &current].map(|template| {
            let prompt = joined(&template.render(&conversation).unwrap());
            // After results the older generation closes a channel of thought; one of them breaks a line.
            let prompt = prompt.strip_suffix(NO_THOUGHT).unwrap_or(&prompt);
            prompt.replacen("<|think|>\n", "<|think|>", 1)
        });
        // A null among arguments is "None" to the older generation; no command has such a value.
        let calls = ours.turns.iter().flat_map(|it| it.called.iter().flatten());
        let arguments = calls.map(|call| json!(call.arguments));
        if !arguments.collect::<Value>().to_string().contains("null") {
            assert_eq!(older, current);
        }
    }
}
