//! `org.gemmad1.Conversations`.

use std::time::UNIX_EPOCH;

use gemmad_api::{ConversationInfo, Dict, Error, Message, Role, to_dict};
use zbus::message::Header;
use zbus::{Connection, interface};

use super::clients::{Clients, Kind};
use super::refusal;
use crate::assistant::{self, Key, Summary};
use crate::engine;

/// The object.
pub(super) struct Conversations {
    pub conversations: assistant::Conversations,
    pub clients: Clients,
}

#[interface(name = "org.gemmad1.Conversations")]
impl Conversations {
    /// The caller's conversations, the one used last first.
    #[zbus(out_args("conversations"))]
    async fn list(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<Vec<Dict>, Error> {
        let user = self.user(connection, &header).await?;
        let all = self.conversations.list(user).into_iter();
        Ok(all.map(|it| to_dict(&info(it))).collect())
    }

    /// The messages of a conversation, the oldest first.
    #[zbus(out_args("messages"))]
    async fn read(
        &self,
        name: &str,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<Vec<Message>, Error> {
        let key = self.key(name, connection, &header).await?;
        let messages = self.conversations.messages(&key);
        let messages = messages.map_err(|error| refusal::conversation(&error))?;
        Ok(messages.into_iter().map(message).collect())
    }

    /// Forgets a conversation.
    async fn forget(
        &self,
        name: &str,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<(), Error> {
        let key = self.key(name, connection, &header).await?;
        let forgotten = self.conversations.forget(&key);
        forgotten.map_err(|error| refusal::conversation(&error))
    }

    /// Forgets all of the caller's conversations; returns their number.
    #[zbus(out_args("forgotten"))]
    async fn forget_all(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<u32, Error> {
        let user = self.user(connection, &header).await?;
        let forgotten = self.conversations.forget_all(user);
        Ok(u32::try_from(forgotten).unwrap_or(u32::MAX))
    }
}

impl Conversations {
    async fn key(
        &self,
        name: &str,
        connection: &Connection,
        header: &Header<'_>,
    ) -> Result<Key, Error> {
        // Measured first.
        let key = Key::new(0, name).map_err(|error| refusal::conversation(&error))?;
        let user = self.user(connection, header).await?;
        Ok(Key { user, ..key })
    }

    /// The number of the user who calls.
    async fn user(&self, connection: &Connection, header: &Header<'_>) -> Result<u32, Error> {
        let call = self.clients.hold(connection, header, Kind::Call)?;
        call.while_there(self.clients.user(connection, header))
            .await
            .map(|user| user.number)
    }
}

fn info(summary: Summary) -> ConversationInfo {
    let used = summary.used.duration_since(UNIX_EPOCH).unwrap_or_default();
    ConversationInfo {
        name: summary.name,
        exchanges: summary.exchanges as u64,
        bytes: summary.bytes as u64,
        used: used.as_secs(),
    }
}

fn message(message: engine::Message) -> Message {
    let (role, text) = match message {
        engine::Message::User(text) => (Role::User, text),
        engine::Message::Assistant { text, .. } => (Role::Assistant, text),
    };
    Message { role, text }
}
