//! The handle of timers, and the task that lets them ring.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::{Notify, broadcast};

use super::book::{Book, Rung, Timer, TimerError};
use super::moment::Moment;
use crate::platform::alarm::{Alarm, Clock};
use crate::platform::file::{self, FileProblem, shown};
use crate::platform::replace::replace;

/// Largest file that is read, in bytes.
const LARGEST: usize = 256 * 1024;

/// Events kept for a slow subscriber.
const EVENTS_KEPT: usize = 256;

/// The handle of timers. Clones lead to the same timers.
#[derive(Debug, Clone)]
pub struct Timers(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    book: Mutex<Book>,
    /// The file that keeps them; `None`: they are in memory only.
    file: Option<PathBuf>,
    /// Held while the file is written, so that the newest state is written last.
    writing: tokio::sync::Mutex<()>,
    changed: Notify,
    rung: broadcast::Sender<Rung>,
}

impl Timers {
    /// The timers that `file` keeps. Those that should have rung meanwhile ring once [`Self::ring`] runs.
    #[must_use]
    pub fn new(file: Option<PathBuf>) -> Self {
        let kept = file.as_ref().and_then(|file| match read(file) {
            Ok(book) => book,
            Err(why) => {
                log::warn!("kept timers are lost: {why}");
                None
            }
        });
        Self(Arc::new(Shared {
            book: Mutex::new(kept.unwrap_or_default()),
            file,
            writing: tokio::sync::Mutex::default(),
            changed: Notify::new(),
            rung: broadcast::channel(EVENTS_KEPT).0,
        }))
    }

    /// The timers that ring from now on.
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<Rung> {
        self.0.rung.subscribe()
    }

    /// Lets timers ring, for ever, unless the system has no timer to give: then it returns why.
    pub async fn ring(self) -> io::Error {
        let alarms = Alarm::new(Clock::Uptime).and_then(|it| Ok((it, Alarm::new(Clock::Wall)?)));
        let (uptime, wall) = match alarms {
            Ok(alarms) => alarms,
            Err(error) => return error,
        };
        loop {
            let now = Moment::now();
            let (rung, next) = {
                let mut book = self.book();
                (book.ring(&now), book.next(&now))
            };
            if !rung.is_empty() {
                self.write().await;
            }
            for rung in rung {
                log::info!(timer = rung.timer.id, missed = rung.is_missed; "a timer rings");
                // Having no subscriber is no failure.
                let _ = self.0.rung.send(rung);
            }
            let since_1970 = now.wall.duration_since(UNIX_EPOCH).unwrap_or_default();
            let set = uptime.set(next.0.map(|it| now.uptime + it));
            let set = set.and_then(|()| wall.set(next.1.map(|it| since_1970 + it)));
            if let Err(error) = set {
                return error;
            }
            tokio::select! {
                () = uptime.rings() => {}
                () = wall.rings() => {}
                () = self.0.changed.notified() => {}
            }
        }
    }

    /// Sets a timer that rings after `time`. It is kept when this returns.
    ///
    /// # Errors
    /// [`TimerError`].
    pub async fn set(&self, name: &str, time: Duration) -> Result<Timer, TimerError> {
        let timer = self.book().set(name, time, &Moment::now())?;
        self.changed().await;
        Ok(timer)
    }

    /// Sets an alarm that rings at a time of the clock. It is kept when this returns.
    ///
    /// # Errors
    /// [`TimerError`].
    pub async fn set_at(&self, name: &str, time: SystemTime) -> Result<Timer, TimerError> {
        let timer = self.book().set_at(name, time, &Moment::now())?;
        self.changed().await;
        Ok(timer)
    }

    /// Cancels a timer by its number.
    ///
    /// # Errors
    /// [`TimerError::Unknown`].
    pub async fn cancel(&self, id: u64) -> Result<Timer, TimerError> {
        let timer = self.book().cancel(id)?;
        self.changed().await;
        Ok(timer)
    }

    /// Cancels the timers that are meant; returns them.
    pub async fn cancel_those(&self, is_meant: impl Fn(&Timer) -> bool) -> Vec<Timer> {
        let cancelled = self.book().cancel_those(is_meant);
        self.changed().await;
        cancelled
    }

    /// The timers and the time left until each rings, the first to ring first.
    #[must_use]
    pub fn left(&self) -> Vec<(Timer, Duration)> {
        self.book().left(&Moment::now())
    }

    async fn changed(&self) {
        self.write().await;
        self.0.changed.notify_one();
    }

    /// Writes the timers as they are now. A failure is logged: they ring all the same, as long as the daemon runs.
    async fn write(&self) {
        let Some(file) = self.0.file.clone() else {
            return;
        };
        let _writing = self.0.writing.lock().await;
        let book = self.book().clone();
        let written = tokio::task::spawn_blocking(move || {
            let bytes = serde_json::to_vec(&book).map_err(io::Error::from);
            let written = bytes.and_then(|it| replace(&file, &it));
            written.map_err(|error| format!("{}: {error}", shown(&file)))
        });
        if let Ok(Err(why)) = written.await {
            log::warn!("timers would be lost at a restart: {why}");
        }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        // No code panics while it is locked.
        self.0.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The timers in `file`, if there is one.
fn read(file: &std::path::Path) -> Result<Option<Book>, String> {
    match file::read_text(file, LARGEST) {
        Ok(text) => serde_json::from_str::<Book>(&text)
            .map(|book| Some(book.checked(&Moment::now())))
            .map_err(|error| format!("{}: {error}", shown(file))),
        Err(FileProblem::Unreadable { .. }) if !file.exists() => Ok(None),
        Err(problem) => Err(problem.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    const SOON: Duration = Duration::from_millis(100);

    fn begin(file: Option<PathBuf>) -> (Timers, broadcast::Receiver<Rung>) {
        let timers = Timers::new(file);
        let rung = timers.events();
        tokio::spawn(timers.clone().ring());
        (timers, rung)
    }

    #[tokio::test]
    async fn a_hundred_timers_ring_once_each_on_time_over_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let file = Some(folder.path().join("timers.json"));
        let begun = Instant::now();
        let first = {
            let timers = Timers::new(file.clone());
            for number in 0..100_u32 {
                let time = SOON * 10 + Duration::from_millis(10) * number;
                timers.set(&number.to_string(), time).await.unwrap();
            }
            begun.elapsed()
        };
        let (timers, mut rung) = begin(file.clone());
        for number in 0..100_u32 {
            let rung = rung.recv().await.unwrap();
            assert_eq!(
                (rung.timer.name, rung.is_missed),
                (number.to_string(), false)
            );
            let due = SOON * 10 + Duration::from_millis(10) * number;
            let late = begun.elapsed().saturating_sub(due);
            // Each was set a little later than the first.
            assert!(late < SOON + first, "{number}: {late:?}");
        }
        assert!(timers.left().is_empty());
        assert!(Timers::new(file).left().is_empty());
    }

    #[tokio::test]
    async fn a_timer_that_was_cancelled_does_not_ring_and_an_alarm_does_at_its_time() {
        let (timers, mut rung) = begin(None);
        let cancelled = timers.set("a", SOON).await.unwrap();
        timers.set_at("b", SystemTime::now() + SOON).await.unwrap();
        assert_eq!(timers.left().len(), 2);
        timers.cancel(cancelled.id).await.unwrap();
        assert_eq!(rung.recv().await.unwrap().timer.name, "b");
        assert!(timers.left().is_empty());
    }

    #[tokio::test]
    async fn a_damaged_file_is_no_reason_to_keep_no_timers() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("timers.json");
        std::fs::write(&file, "{\"timers\":[").unwrap();
        let timers = Timers::new(Some(file.clone()));
        assert!(timers.left().is_empty());
        timers.set("a", SOON * 1000).await.unwrap();
        assert_eq!(Timers::new(Some(file)).left().len(), 1);
    }
}
