//! Conversations on disk, so that they outlast a restart: a file each, in a folder for each user, that only the daemon reads.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::conversation::{Conversation, Held, Key};
use crate::platform::file::{self, shown};
use crate::platform::replace::{UNFINISHED, replace};

/// Largest file that is read, in bytes. JSON escapes make a conversation longer.
const LARGEST: usize = 8 << 20;

/// Most files that are read.
const MOST: usize = 4096;

/// How files end.
const FINISHED: &str = "json";

/// Where conversations are kept. Clones lead to the same place.
#[derive(Debug, Clone)]
pub struct Shelf(Option<Place>);

#[derive(Debug, Clone)]
struct Place {
    folder: PathBuf,
    orders: mpsc::Sender<Order>,
}

/// What the thread that writes does, in order.
#[derive(Debug)]
enum Order {
    Write(Key, Kept),
    Remove(Key),
    Clear,
    /// Everything before has been done.
    Tell(oneshot::Sender<()>),
}

/// A conversation as its file has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Kept {
    name: String,
    /// Seconds since 1970.
    used: u64,
    exchanges: Conversation,
}

impl Shelf {
    /// No shelf: conversations are in memory only.
    #[must_use]
    pub fn none() -> Self {
        Self(None)
    }

    /// The shelf in `folder`, which is made when something is written.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub fn in_folder(folder: PathBuf) -> io::Result<Self> {
        let (orders, received) = mpsc::channel();
        let place = Place {
            folder: folder.clone(),
            orders,
        };
        thread::Builder::new()
            .name("conversations".into())
            .spawn(move || {
                for order in received {
                    obey(&folder, order);
                }
            })?;
        Ok(Self(Some(place)))
    }

    /// All conversations. A file that cannot be read is left out, and the log says so.
    pub(super) fn read(&self) -> BTreeMap<Key, Held> {
        let Some(place) = &self.0 else {
            return BTreeMap::new();
        };
        let users = entries(&place.folder).into_iter().filter_map(|path| {
            let user = path.file_name()?.to_str()?.parse().ok()?;
            Some((user, path))
        });
        let files = users.flat_map(|(user, folder)| {
            let files = entries(&folder).into_iter();
            files.map(move |path| (user, path))
        });
        let (finished, unfinished): (Vec<_>, Vec<_>) =
            files.partition(|(_, path)| path.extension().is_some_and(|it| it == FINISHED));
        for (_, path) in unfinished {
            // A crash left it.
            let _ = fs::remove_file(path);
        }
        let finished = finished.into_iter().take(MOST);
        let read = finished.filter_map(|(user, path)| match read(user, &path) {
            Ok(one) => Some(one),
            Err(why) => {
                log::warn!("a kept conversation is left out: {why}");
                None
            }
        });
        read.collect()
    }

    /// Deletes everything, in turn with what is being written.
    pub(super) fn clear(&self) {
        self.order(Order::Clear);
    }

    pub(super) fn write(&self, key: Key, held: &Held) {
        let used = held.used.duration_since(UNIX_EPOCH).unwrap_or_default();
        let kept = Kept {
            name: key.name.clone(),
            used: used.as_secs(),
            exchanges: held.conversation.clone(),
        };
        self.order(Order::Write(key, kept));
    }

    pub(super) fn remove(&self, key: Key) {
        self.order(Order::Remove(key));
    }

    /// Waits until everything is written.
    pub(super) async fn written(&self) {
        let (told, done) = oneshot::channel();
        self.order(Order::Tell(told));
        // Without a shelf nothing is to be written.
        let _ = done.await;
    }

    fn order(&self, order: Order) {
        if let Some(place) = &self.0 {
            // The thread ends with the last shelf.
            let _ = place.orders.send(order);
        }
    }
}

fn obey(folder: &Path, order: Order) {
    let done = match order {
        Order::Write(key, kept) => write(folder, &key, &kept),
        Order::Remove(key) => remove(&path(folder, &key)),
        Order::Clear => {
            clear(folder);
            Ok(())
        }
        Order::Tell(told) => {
            // Who waited may have left.
            let _ = told.send(());
            Ok(())
        }
    };
    if let Err(error) = done {
        log::warn!("{}: a conversation is not kept: {error}", shown(folder));
    }
}

/// Deletes what lies in `folder`.
pub fn clear(folder: &Path) {
    match fs::remove_dir_all(folder) {
        Ok(()) => log::info!(
            "kept conversations are deleted, because [conversation] keep is false: {}",
            shown(folder)
        ),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => log::warn!("{}: kept conversations stay: {error}", shown(folder)),
    }
}

/// The file of a conversation. Its name is in hexadecimal digits, so it can be any text.
fn path(folder: &Path, key: &Key) -> PathBuf {
    let name = key.name.bytes().fold(String::new(), |mut name, byte| {
        // Writing to a string never fails.
        let _ = write!(name, "{byte:02x}");
        name
    });
    folder
        .join(key.user.to_string())
        .join(name)
        .with_extension(FINISHED)
}

fn write(folder: &Path, key: &Key, kept: &Kept) -> io::Result<()> {
    replace(&path(folder, key), &serde_json::to_vec(kept)?)
}

fn remove(path: &Path) -> io::Result<()> {
    // What a crash left of writing it.
    let _ = fs::remove_file(path.with_extension(UNFINISHED));
    match fs::remove_file(path) {
        // It was never written.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

fn read(user: u32, path: &Path) -> Result<(Key, Held), String> {
    let text = file::read_text(path, LARGEST).map_err(|error| error.to_string())?;
    let damaged = |why: &dyn std::fmt::Display| format!("{}: {why}", shown(path));
    let kept: Kept = serde_json::from_str(&text).map_err(|error| damaged(&error))?;
    let key = Key::new(user, &kept.name).map_err(|error| damaged(&error))?;
    let time = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(kept.used));
    let held = Held {
        conversation: kept.exchanges,
        used: time.ok_or_else(|| damaged(&"its time is none"))?,
        reading: None,
    };
    Ok((key, held))
}

/// The paths in a folder; none if it cannot be read.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<_> = entries.map(|it| it.path()).collect();
    paths.sort();
    paths
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::assistant::conversation::Exchange;
    use crate::assistant::conversations::Conversations;
    use crate::config;

    fn kept() -> config::Conversation {
        config::Conversation {
            keep: true,
            ..config::Conversation::default()
        }
    }

    fn shelf(folder: &Path) -> Shelf {
        Shelf::in_folder(folder.join("conversations")).unwrap()
    }

    async fn ask(conversations: &Conversations, key: &Key, asked: &str) {
        let begun = conversations.begin(key.clone(), &kept(), SystemTime::now());
        let exchange = Exchange::in_words(asked.into(), "yes".into(), 3);
        begun.unwrap().end(exchange, SystemTime::now(), |_| None);
        conversations.stop().await;
    }

    fn questions(folder: &Path, key: &Key) -> Vec<String> {
        let conversations = Conversations::start(shelf(folder));
        let messages = conversations.messages(key).unwrap_or_default();
        let asked = messages.iter().step_by(2);
        asked.map(|it| it.text().to_owned()).collect()
    }

    #[tokio::test]
    async fn conversations_outlast_a_restart_and_are_readable_by_the_daemon_alone() {
        let folder = tempfile::tempdir().unwrap();
        let key = Key::new(7, "../Über alles").unwrap();
        let conversations = Conversations::start(shelf(folder.path()));
        ask(&conversations, &key, "one").await;
        ask(&conversations, &key, "two").await;
        assert_eq!(questions(folder.path(), &key), ["one", "two"]);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let users = folder.path().join("conversations");
        let [user] = entries(&users).try_into().unwrap();
        let [file] = entries(&user).try_into().unwrap();
        assert_eq!(
            [mode(&users), mode(&user), mode(&file)],
            [0o700, 0o700, 0o600]
        );

        conversations.forget(&key).unwrap();
        conversations.stop().await;
        assert!(!file.exists());
    }

    #[tokio::test]
    async fn a_crash_at_any_byte_of_writing_loses_nothing_that_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let key = Key::new(7, "a").unwrap();
        let conversations = Conversations::start(shelf(folder.path()));
        ask(&conversations, &key, "one").await;
        let file = path(&folder.path().join("conversations"), &key);
        let before = fs::read(&file).unwrap();
        ask(&conversations, &key, "two").await;
        let after = fs::read(&file).unwrap();
        fs::write(&file, &before).unwrap();
        for written in 0..=after.len() {
            fs::write(file.with_extension(UNFINISHED), &after[..written]).unwrap();
            assert_eq!(questions(folder.path(), &key), ["one"], "{written} bytes");
        }
        // What is left of it does no harm to the next.
        ask(&conversations, &key, "three").await;
        assert_eq!(questions(folder.path(), &key), ["one", "two", "three"]);
    }

    #[tokio::test]
    async fn files_that_are_no_conversations_are_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let key = Key::new(7, "a").unwrap();
        let conversations = Conversations::start(shelf(folder.path()));
        ask(&conversations, &key, "one").await;
        let own = folder.path().join("conversations/7");
        for (name, text) in [
            ("cut.json", "{\"name\":\"b\",\"used\":1,"),
            ("foreign.json", "[1,2,3]"),
            ("name.json", "{\"name\":\"\",\"used\":1,\"exchanges\":[]}"),
            (
                "late.json",
                "{\"name\":\"c\",\"used\":18446744073709551615,\"exchanges\":[]}",
            ),
        ] {
            fs::write(own.join(name), text).unwrap();
        }
        fs::create_dir(own.join("folder.json")).unwrap();
        fs::create_dir(folder.path().join("conversations/nobody")).unwrap();
        let read = Conversations::start(shelf(folder.path()));
        assert_eq!(read.list(7).len(), 1);
        assert_eq!(questions(folder.path(), &key), ["one"]);
    }

    #[tokio::test]
    async fn what_is_not_to_be_kept_is_not_written_and_what_was_kept_goes() {
        let folder = tempfile::tempdir().unwrap();
        let key = Key::new(7, "a").unwrap();
        let conversations = Conversations::start(shelf(folder.path()));
        let limits = config::Conversation::default();
        let begun = conversations.begin(key.clone(), &limits, SystemTime::now());
        let exchange = Exchange::in_words("one".into(), "yes".into(), 3);
        begun.unwrap().end(exchange, SystemTime::now(), |_| None);
        conversations.stop().await;
        assert!(questions(folder.path(), &key).is_empty());
        ask(&conversations, &key, "two").await;
        clear(&folder.path().join("conversations"));
        assert!(questions(folder.path(), &key).is_empty());
    }
}
