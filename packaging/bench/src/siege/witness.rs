//! Observers of the siege: clients that have to be served, each on its own thread, so that the attackers do
//! not delay them in this process; and a service manager.

use std::{
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow};
use gemmad_api::{AskOptions, CommandsProxy, Error, ManagerProxy};
use gemmad_testbed::{Bus, nano};
use tokio::time::{MissedTickBehavior, interval, sleep};
use zbus::{Connection, fdo::DBusProxy, proxy::CacheProperties};

/// Longest wait for a reply. A call that fails counts as one that took this long.
const PATIENCE: Duration = Duration::from_secs(30);

/// Interval between calls of `Halt`, and between reads of `State`.
const GLANCE: Duration = Duration::from_millis(250);

/// Interval between questions.
const QUESTION: Duration = Duration::from_secs(3);

/// Interval between measurements of the memory.
const WEIGHING: Duration = Duration::from_millis(500);

/// First and longest pause before a call that was refused as busy is repeated.
const BACK_OFF: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(3)];

/// The service manager's socket, and the times of the daemon's signs of life.
pub struct Watchdog {
    path: PathBuf,
    beats: Arc<Mutex<Vec<Instant>>>,
}

impl Watchdog {
    /// Receives signs of life at `path` from now on.
    pub fn at(path: &Path) -> Result<Self> {
        let socket = UnixDatagram::bind(path)
            .with_context(|| format!("cannot listen at {}", path.display()))?;
        let beats = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::downgrade(&beats);
        socket.set_read_timeout(Some(GLANCE))?;
        thread::spawn(move || {
            let mut message = [0; 4096];
            // Until the watchdog is dropped.
            while let Some(beats) = kept.upgrade() {
                let Ok(length) = socket.recv(&mut message) else {
                    continue;
                };
                let mut lines = message[..length].split(|byte| *byte == b'\n');
                if lines.any(|line| line == b"WATCHDOG=1") {
                    let mut beats = beats.lock().unwrap_or_else(PoisonError::into_inner);
                    beats.push(Instant::now());
                }
            }
        });
        Ok(Self {
            path: path.into(),
            beats,
        })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The longest time without a sign of life, between `begin` and now.
    pub fn longest_gap(&self, begin: Instant) -> Duration {
        let beats = self.beats.lock().unwrap_or_else(PoisonError::into_inner);
        let during = beats.iter().copied().filter(|beat| *beat > begin);
        let mut last = begin;
        let mut longest = Duration::ZERO;
        for beat in during.chain([Instant::now()]) {
            longest = longest.max(beat - last);
            last = beat;
        }
        longest
    }
}

/// Results of the questions.
#[derive(Debug, Default)]
pub struct Asked {
    right: u32,
    wrong: u32,
    busy: u32,
}

impl Asked {
    /// Share of the answers that were right.
    pub fn right(&self) -> f64 {
        share(self.right, self.right + self.wrong)
    }

    /// Share of the calls that were refused as busy.
    pub fn busy(&self) -> f64 {
        share(self.busy, self.right + self.wrong + self.busy)
    }
}

fn share(part: u32, all: u32) -> f64 {
    f64::from(part) / f64::from(all.max(1))
}

/// The observations.
pub struct Seen {
    /// 99th percentile of the time from `Halt` to its reply, in ms.
    pub halt_ms: f64,
    /// 99th percentile of the time from a read of `State` to its reply, in ms.
    pub state_ms: f64,
    /// 99th percentile of the time from a call of the bus itself to its reply, in ms. No reply of the daemon's comes
    /// sooner.
    pub bus_ms: f64,
    pub asked: Asked,
    /// Peak memory of the daemon, in MB.
    pub most_mb: f64,
}

/// All observers at work.
pub struct Patrol {
    over: Arc<AtomicBool>,
    halts: JoinHandle<Result<Vec<f64>>>,
    states: JoinHandle<Result<Vec<f64>>>,
    bus: JoinHandle<Result<Vec<f64>>>,
    asked: JoinHandle<Result<Asked>>,
    memory: JoinHandle<Result<f64>>,
}

impl Patrol {
    /// Starts the observers; the right answer to the question is `answer`.
    pub fn send(bus: &Arc<Bus>, process: u32, answer: String) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let goes_on = || {
            let over = over.clone();
            move || !over.load(Ordering::Relaxed)
        };
        Self {
            halts: client(bus, {
                let goes_on = goes_on();
                async move |bus| {
                    let commands = CommandsProxy::new(&bus).await?;
                    latencies(goes_on, async || Ok(commands.halt().await.map(drop)?)).await
                }
            }),
            states: client(bus, {
                let goes_on = goes_on();
                async move |bus| {
                    let manager = ManagerProxy::builder(&bus);
                    let manager = manager
                        .cache_properties(CacheProperties::No)
                        .build()
                        .await?;
                    latencies(goes_on, async || Ok(manager.state().await.map(drop)?)).await
                }
            }),
            bus: client(bus, {
                let goes_on = goes_on();
                async move |bus| {
                    let driver = DBusProxy::new(&bus).await?;
                    latencies(goes_on, async || Ok(driver.get_id().await.map(drop)?)).await
                }
            }),
            asked: client(bus, {
                let goes_on = goes_on();
                async move |bus| asking(&ManagerProxy::new(&bus).await?, &answer, goes_on).await
            }),
            memory: thread::spawn({
                let goes_on = goes_on();
                move || {
                    let mut most = 0.0_f64;
                    // A daemon that has ended has no memory.
                    while goes_on()
                        && let Ok(now) = memory(process)
                    {
                        most = most.max(now);
                        thread::sleep(WEIGHING);
                    }
                    Ok(most)
                }
            }),
            over,
        }
    }

    /// Stops the observers; returns their observations.
    pub fn back(self) -> Result<Seen> {
        self.over.store(true, Ordering::Relaxed);
        Ok(Seen {
            halt_ms: percentile_99(of(self.halts)?),
            state_ms: percentile_99(of(self.states)?),
            bus_ms: percentile_99(of(self.bus)?),
            asked: of(self.asked)?,
            most_mb: of(self.memory)?,
        })
    }
}

fn of<T>(thread: JoinHandle<Result<T>>) -> Result<T> {
    thread.join().map_err(|_| anyhow!("a witness broke down"))?
}

/// Starts a client with its own thread and connection.
fn client<T: Send + 'static, F: Future<Output = Result<T>>>(
    bus: &Arc<Bus>,
    work: impl FnOnce(Connection) -> F + Send + 'static,
) -> JoinHandle<Result<T>> {
    let bus = bus.clone();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async { work(bus.connect(PATIENCE).await?).await })
    })
}

/// Duration of each call, in ms.
async fn latencies(
    goes_on: impl Fn() -> bool,
    call: impl AsyncFn() -> Result<()>,
) -> Result<Vec<f64>> {
    let mut ticks = interval(GLANCE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut took = Vec::new();
    while goes_on() {
        ticks.tick().await;
        let begun = Instant::now();
        let time = match call().await {
            Ok(()) => begun.elapsed(),
            Err(_) => PATIENCE,
        };
        took.push(time.as_secs_f64() * 1000.0);
    }
    Ok(took)
}

/// Asks repeatedly, with a back-off if the daemon refuses as busy.
async fn asking(
    manager: &ManagerProxy<'_>,
    answer: &str,
    goes_on: impl Fn() -> bool,
) -> Result<Asked> {
    let mut asked = Asked::default();
    let mut back_off = BACK_OFF[0];
    while goes_on() {
        match ask(manager).await {
            Ok(text) if text == answer => asked.right += 1,
            Err(Error::Busy(_)) => {
                asked.busy += 1;
                sleep(back_off).await;
                back_off = (back_off * 2).min(BACK_OFF[1]);
                continue;
            }
            _ => asked.wrong += 1,
        }
        back_off = BACK_OFF[0];
        sleep(QUESTION).await;
    }
    Ok(asked)
}

/// The nano model's greedy answer to a command.
pub async fn ask(manager: &ManagerProxy<'_>) -> Result<String, Error> {
    let options = AskOptions {
        temperature: Some(0.0),
        ..AskOptions::default()
    };
    let (text, _) = manager.ask(nano::QUESTION, options).await?;
    Ok(text)
}

/// The same answer; asks again as long as the daemon is busy.
pub async fn ask_patiently(manager: &ManagerProxy<'_>) -> Result<String, Error> {
    loop {
        match ask(manager).await {
            Err(Error::Busy(_)) => sleep(BACK_OFF[0]).await,
            done => return done,
        }
    }
}

/// Memory of a process in MB: its proportional share of shared pages, and swapped pages.
pub fn memory(process: u32) -> Result<f64> {
    let text = std::fs::read_to_string(format!("/proc/{process}/smaps_rollup"))?;
    let kilobytes = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let number = line.and_then(|line| line.split_whitespace().next());
        anyhow::Ok(number.context("/proc has another form")?.parse::<f64>()?)
    };
    Ok((kilobytes("Pss:")? + kilobytes("SwapPss:")?) * 1024.0 / 1e6)
}

/// The 99th percentile.
fn percentile_99(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    let place = (times.len() * 99).div_ceil(100);
    times.get(place.saturating_sub(1)).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_a_hundred_may_take_longer_than_the_percentile() {
        let times: Vec<_> = (1..=200).rev().map(f64::from).collect();
        assert!((percentile_99(times) - 198.0).abs() < f64::EPSILON);
        assert!((percentile_99(vec![7.0]) - 7.0).abs() < f64::EPSILON);
    }

    #[test]
    fn the_longest_gap_includes_the_one_before_the_first_sign_and_after_the_last() {
        let folder = tempfile::tempdir().unwrap();
        let watchdog = Watchdog::at(&folder.path().join("notify")).unwrap();
        let begin = Instant::now().checked_sub(Duration::from_secs(10)).unwrap();
        let signs = [1, 2, 6, 9].map(|seconds| begin + Duration::from_secs(seconds));
        watchdog.beats.lock().unwrap().extend(signs);
        let gap = watchdog.longest_gap(begin);
        assert_eq!(gap, Duration::from_secs(4));
        assert!(watchdog.longest_gap(signs[3]) >= Duration::from_secs(1));
    }

    #[test]
    fn a_sign_of_life_is_one_line_among_others() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let watchdog = Watchdog::at(&path).unwrap();
        let begin = Instant::now();
        let daemon = UnixDatagram::unbound().unwrap();
        daemon.send_to(b"STATUS=ready\nREADY=1", &path).unwrap();
        daemon
            .send_to(b"STATUS=ready\nWATCHDOG=1\n", &path)
            .unwrap();
        while watchdog.beats.lock().unwrap().is_empty() {
            thread::yield_now();
        }
        assert_eq!(watchdog.beats.lock().unwrap().len(), 1);
        assert!(watchdog.longest_gap(begin) < PATIENCE);
    }
}
