//! The engine thread: it loads the model, serves, and reports how that ended.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::probe::Probe;
use super::probe::files::Files;
use super::stop::Stop;
use super::{EngineError, LoadError, Phase, Ready, prompt};
use crate::config::{self, Config};
use crate::engine::ggml::cpu::Cpu;
use crate::engine::ggml::threads::Threads;
use crate::engine::grammar::{Ahead, Grammars};
use crate::engine::llama::model::Model;
use crate::engine::schedule::scheduler::{Carried, Scheduler, Work};

/// How often the files of a model that could not be loaded are looked at.
const GLANCE: Duration = Duration::from_secs(2);

/// The state of the thread before it has a model.
pub(super) struct Host {
    pub config: Config,
    /// Runs the model's files before they are loaded.
    pub probe: Option<Probe>,
    pub phase: watch::Sender<Phase>,
    /// Compiled for every model.
    pub ahead: Ahead,
    pub carried: watch::Sender<Carried>,
    /// Set when the thread has panicked while serving.
    pub crashed: watch::Sender<bool>,
    pub stop: Stop,
}

impl Host {
    /// Waits for [`Work::Load`], loads, and serves to the end. A panic on the way is caught; waiting requests and
    /// later ones then fail with the reason.
    pub(super) fn run(self, work: &mpsc::Receiver<Work>) {
        let served = catch_unwind(AssertUnwindSafe(|| self.load_and_serve(work)));
        if served.is_ok() {
            return;
        }
        let was_ready = matches!(*self.phase.borrow(), Phase::Ready(_));
        let doing = if was_ready {
            "answering"
        } else {
            "loading the model"
        };
        log::error!(event = "engine-crashed"; "gemmad crashed while {doing}");
        let why = format!("gemmad crashed while {doing}");
        self.phase.send_replace(Phase::Failed(why));
        self.carried.send_replace(Carried::default());
        self.crashed.send_replace(was_ready);
        refuse(work, &EngineError::Crashed, None);
    }

    fn load_and_serve(&self, work: &mpsc::Receiver<Work>) {
        // Requests come only once a model is loaded, so the first message is `Load` or the end.
        if !matches!(work.recv(), Ok(Work::Load)) {
            return;
        }
        loop {
            let files = Files::of(&self.config.model);
            let started = Instant::now();
            match self.load() {
                Ok((scheduler, ready)) => {
                    log::info!(
                        event = "model-loaded", model = ready.name(), hears = ready.hears(),
                        ms = started.elapsed().as_millis(), cpu = Cpu::get().map(Cpu::features).unwrap_or_default();
                        "model loaded"
                    );
                    self.phase.send_replace(Phase::Ready(ready));
                    scheduler.run(work);
                    return self.leave();
                }
                Err(_) if self.stop.is_said() => return self.leave(),
                Err(error) => {
                    self.leave();
                    log::error!(event = "degraded"; "{error}");
                    let why = error.to_string();
                    self.phase.send_replace(Phase::Failed(why.clone()));
                    if self.refuse_until_changed(work, &files, why) {
                        return;
                    }
                    log::info!("the files of the model have changed; they are loaded again");
                }
            }
        }
    }

    /// Serves nothing until the model's files are others than `files`, and whole as far as can be seen: nothing has changed
    /// them for a while. Returns whether the thread is to end.
    fn refuse_until_changed(
        &self,
        work: &mpsc::Receiver<Work>,
        files: &Files,
        why: String,
    ) -> bool {
        let error = EngineError::ModelNotLoaded(why);
        let mut last = files.clone();
        loop {
            match refuse(work, &error, Some(GLANCE)) {
                Refused::ToTheEnd => return true,
                Refused::ForAWhile => {}
            }
            let now = Files::of(&self.config.model);
            if now == last && now != *files {
                return false;
            }
            last = now;
        }
    }

    /// The model, if there was one, did not crash the process.
    fn leave(&self) {
        if let Some(probe) = &self.probe {
            probe.leave(&self.config);
        }
    }

    fn load(&self) -> Result<(Scheduler, Ready), LoadError> {
        let config = &self.config;
        let threads = Threads::start(threads(&config.engine), self.stop.clone());
        let threads = threads.map_err(|why| EngineError::Llama {
            doing: "starting threads",
            why,
        })?;
        // A first run takes as long as loading does.
        let start = match &self.probe {
            Some(probe) if probe.run(config, &mut |share| self.loading(share / 2.0))? => 0.5,
            _ => 0.0,
        };
        let mut progress = |share| self.loading(start + (1.0 - start) * share);
        let foreseen = self.ahead.sort(&config.model.text);
        let model = Model::load(&config.model, &threads, &mut progress)?;
        let model = Arc::new(model);
        let grammars = Arc::new(Grammars::new(&model, foreseen));
        self.ahead.compile(&grammars);
        let prefix = prompt::prefix(&model, &config.answer.system.as_str().into())?;
        let carried = self.carried.clone();
        let scheduler = Scheduler::new(&model, &threads, prefix, &config.engine, carried)?;
        let capacity = scheduler.capacity();
        let ready = Ready {
            model,
            grammars,
            capacity,
        };
        Ok((scheduler, ready))
    }

    /// Publishes how much of the model is loaded, in whole percents. Returns whether to go on loading.
    fn loading(&self, share: f32) -> bool {
        // A share is 0 to 1.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let percent = (share * 100.0) as u8;
        self.phase.send_if_modified(|phase| {
            let changed = !matches!(phase, Phase::Loading(before) if *before == percent);
            *phase = Phase::Loading(percent);
            changed
        });
        !self.stop.is_said()
    }
}

/// Why requests are no longer refused.
enum Refused {
    /// The time is over.
    ForAWhile,
    /// The thread is to end.
    ToTheEnd,
}

/// Serves nothing, but stays reachable: requests fail with `error`, for this time or to the end.
fn refuse(work: &mpsc::Receiver<Work>, error: &EngineError, time: Option<Duration>) -> Refused {
    let end = time.map(|time| Instant::now() + time);
    loop {
        let received = match end {
            Some(end) => work.recv_timeout(end.saturating_duration_since(Instant::now())),
            None => work.recv().map_err(Into::into),
        };
        match received {
            Ok(Work::Beat(beat)) => drop(beat.send(())),
            Ok(Work::Stop) | Err(RecvTimeoutError::Disconnected) => return Refused::ToTheEnd,
            Err(RecvTimeoutError::Timeout) => return Refused::ForAWhile,
            Ok(work) => {
                for job in work.into_jobs() {
                    job.fail(error.clone());
                }
            }
        }
    }
}

/// Number of threads to compute with; by default one for each core, at most four. Decoding is bound by memory, so
/// more than four cores on one memory bus help little, and leave nothing for sound. More threads than cores
/// wait for each other.
fn threads(config: &config::Engine) -> i32 {
    const MOST: usize = 4;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = match config.threads.get() as usize {
        0 => cores.min(MOST),
        threads if threads > cores => {
            log::warn!(
                "[engine] threads is {threads}, but gemmad may use {cores} cores; it computes with {cores} threads"
            );
            cores
        }
        threads => threads,
    };
    i32::try_from(threads).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::requests::Requests;
    use super::*;
    use crate::config::Bounded;
    use crate::engine::schedule::places::Places;
    use crate::engine::schedule::sequence::Job;
    use crate::engine::{Answer, Engine, Event, Priority, Request};

    /// A job that the handle never sends: a prompt has at least one token.
    fn impossible_job(engine: &Engine) -> (Job, Answer) {
        let (outlet, answer) = Answer::new(1);
        let place = Places::take(&engine.places, Priority::Question).unwrap();
        let request = Request::question(&config::Answer::default(), String::new());
        let place = Arc::new(place);
        let job = Requests::job(
            &request,
            None,
            vec![],
            Priority::Question,
            place,
            (1, outlet),
        );
        (job.unwrap(), answer)
    }

    #[tokio::test]
    async fn a_fault_while_answering_is_told_to_everybody_and_to_who_restarts_the_daemon() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/nano");
        let mut config = Config::default();
        config.model.text = folder.join("nano-f16.gguf");
        config.model.mmproj = folder.join("nano-f16.mmproj.gguf");
        config.engine.threads = Bounded::new(1).unwrap();
        // All begin at once.
        config.engine.parallel = Bounded::new(16).unwrap();
        let engine = Engine::start(&config, None).unwrap();
        engine.load();
        let mut long = Request::question(&config.answer, "tell me everything".into());
        (long.min_tokens, long.max_tokens) = (2000, 2000);
        let mut running = engine.submit(long.clone()).await.unwrap();
        assert!(matches!(running.next().await, Event::Text(_)));
        let waiting: Vec<_> = [long.clone(), long.clone(), long.clone()]
            .map(|request| engine.submit(request))
            .into_iter()
            .collect();
        let mut answers = vec![running];
        for waiting in waiting {
            answers.push(waiting.await.unwrap());
        }
        let (job, answer) = impossible_job(&engine);
        answers.push(answer);
        engine.work.send(Work::Job(Box::new(job))).unwrap();

        engine.crashed().await;
        for answer in answers {
            assert_eq!(answer.text().await.unwrap_err(), EngineError::Crashed);
        }
        let refused = engine.submit(long).await.unwrap_err();
        assert!(
            matches!(refused, EngineError::ModelNotLoaded(_)),
            "{refused}"
        );
        assert!(
            matches!(&*engine.phase().borrow(), Phase::Failed(why) if why.contains("answering"))
        );
        assert_eq!(engine.health().queued, 0);
        engine.stop().await;
    }

    #[test]
    fn there_are_never_more_threads_than_cores() {
        let cores = std::thread::available_parallelism().unwrap().get();
        let config = |threads| config::Engine {
            threads: Bounded::new(threads).unwrap(),
            ..config::Engine::default()
        };
        assert_eq!(threads(&config(256)), i32::try_from(cores).unwrap());
        assert_eq!(threads(&config(1)), 1);
        assert!((1..=4).contains(&threads(&config(0))));
    }
}
