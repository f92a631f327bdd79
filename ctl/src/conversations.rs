//! `gemmactl conversations`: what was said before.

use std::time::{Duration, SystemTime};

use gemmad_api::{ConversationInfo, ConversationsProxy, Message, Role, from_dict};
use zbus::Connection;

use crate::{
    args::{Conversations, InConversation},
    bus::Way,
    failure::Failure,
    terminal::{Output, count, labelled},
};

/// Name of the conversation that is begun if there is none to go on with.
const FIRST: &str = "1";

/// Lists, shows or forgets conversations.
pub async fn run(what: &Conversations, way: &Way) -> Result<(), Failure> {
    let connection = way.connect().await?;
    let proxy = ConversationsProxy::new(&connection).await?;
    let mut output = Output::new();
    match what {
        Conversations::List { json } => {
            let all = list(&proxy).await?;
            if *json {
                return output.json(&all).await;
            }
            for line in rows(&all, SystemTime::now()) {
                output.line(&line).await?;
            }
            Ok(())
        }
        Conversations::Show { name, json } => {
            let messages = proxy.read(name).await?;
            if *json {
                return output.json(&messages).await;
            }
            output.write(&text(&messages)).await
        }
        Conversations::Forget {
            name: Some(name), ..
        } => Ok(proxy.forget(name).await?),
        Conversations::Forget { name: None, .. } => {
            let forgotten = proxy.forget_all().await? as usize;
            let said = format!("{} forgotten", count(forgotten, "conversation"));
            output.line(&said).await
        }
    }
}

/// The name of the conversation that a question belongs to, if it belongs to one.
pub async fn wanted(
    conversation: &InConversation,
    connection: &Connection,
) -> Result<Option<String>, Failure> {
    if conversation.goes_on {
        return last(connection).await.map(Some);
    }
    Ok(conversation.conversation.clone())
}

/// The name of the conversation that was used last, or of the first one.
async fn last(connection: &Connection) -> Result<String, Failure> {
    let all = list(&ConversationsProxy::new(connection).await?).await?;
    let last = all.into_iter().next().map(|it| it.name);
    Ok(last.unwrap_or_else(|| FIRST.into()))
}

/// A name that no conversation has: the time, and the number of this process.
pub fn new() -> String {
    let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let now = now.replace('T', " ").replace('Z', "");
    format!("{now} {}", std::process::id())
}

/// A conversation as text for people.
pub fn text(messages: &[Message]) -> String {
    let texts = messages.iter().map(|message| match message.role {
        Role::User => labelled("> ", &message.text) + "\n",
        Role::Assistant => format!("{}\n\n", message.text.trim_end()),
    });
    texts.collect()
}

async fn list(proxy: &ConversationsProxy<'_>) -> Result<Vec<ConversationInfo>, Failure> {
    let all = proxy.list().await?.into_iter();
    let all = all.map(|it| from_dict(&it));
    all.collect::<Result<_, _>>()
        .map_err(|_| Failure::Garbled("list of conversations"))
}

fn rows(all: &[ConversationInfo], now: SystemTime) -> Vec<String> {
    let width = all.iter().map(|it| it.name.chars().count()).max();
    let width = width.unwrap_or(0);
    let rows = all.iter().map(|it| {
        let used = SystemTime::UNIX_EPOCH + Duration::from_secs(it.used.min(u64::from(u32::MAX)));
        let exchanges = usize::try_from(it.exchanges).unwrap_or(usize::MAX);
        format!(
            "{:width$}  {}, {}",
            it.name,
            count(exchanges, "question"),
            ago(now.duration_since(used).unwrap_or_default())
        )
    });
    rows.collect()
}

/// A time that has passed, in its largest unit.
fn ago(passed: Duration) -> String {
    let minutes = passed.as_secs() / 60;
    let (number, unit) = match minutes {
        0 => return "just now".into(),
        1..60 => (minutes, "minute"),
        60..1440 => (minutes / 60, "hour"),
        _ => (minutes / 1440, "day"),
    };
    let number = usize::try_from(number).unwrap_or(usize::MAX);
    format!("{} ago", count(number, unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_says_how_much_was_asked_and_when() {
        let one = |name: &str, exchanges, used| ConversationInfo {
            name: name.into(),
            exchanges,
            bytes: 10,
            used,
        };
        let now = SystemTime::UNIX_EPOCH + Duration::from_hours(24 * 3);
        let all = [
            one("garden", 1, 3600 * 72),
            one("2", 12, 3600 * 50),
            one("old", 2, 0),
        ];
        assert_eq!(
            rows(&all, now),
            [
                "garden  1 question, just now",
                "2       12 questions, 22 hours ago",
                "old     2 questions, 3 days ago"
            ]
        );
    }

    #[test]
    fn a_conversation_reads_like_a_chat() {
        let message = |role, text: &str| Message {
            role,
            text: text.into(),
        };
        let messages = [
            message(Role::User, "a\nb"),
            message(Role::Assistant, "c\n"),
            message(Role::User, "d"),
            message(Role::Assistant, "e"),
        ];
        assert_eq!(text(&messages), "> a\n  b\nc\n\n> d\ne\n\n");
    }
}
