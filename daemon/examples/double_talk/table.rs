//! Outcomes as tables.

use crate::trial::{ECHOES, Outcome, PEOPLE, QUIET};

/// Time of a person who was not noticed, in ms, where all are to be in order.
const NEVER_MS: f64 = f64::INFINITY;

/// Edges of the times since the assistant began, in s, for which false alarms are counted.
const LEARNING: [f64; 8] = [0.0, 1.5, 2.0, 3.0, 4.0, 6.0, 10.0, 60.0];

/// Delays after the onsets, in ms, shortest first; [`NEVER_MS`] for those that were missed.
struct Delays(Vec<f64>);

impl Delays {
    fn new(delays: impl Iterator<Item = Option<f64>>) -> Self {
        let mut delays: Vec<f64> = delays.map(|delay| delay.unwrap_or(NEVER_MS)).collect();
        delays.sort_by(f64::total_cmp);
        Self(delays)
    }

    /// The delay that this share, in percent, does not exceed.
    fn percentile(&self, percent: usize) -> f64 {
        let place = (self.0.len() * percent).div_ceil(100).max(1) - 1;
        self.0.get(place).copied().unwrap_or(NEVER_MS)
    }

    #[expect(clippy::cast_precision_loss, reason = "some hundred")]
    fn missed(&self) -> f64 {
        let missed = self.0.iter().filter(|it| it.is_infinite()).count();
        100.0 * missed as f64 / self.0.len().max(1) as f64
    }

    /// Median, 95th percentile and share missed.
    fn columns(&self) -> String {
        let [median, most] = [50, 95].map(|percent| match self.percentile(percent) {
            NEVER_MS => "> 500".to_owned(),
            delay => format!("{delay:.0}"),
        });
        format!("{median:>5} | {most:>5} | {:>5.1} %", self.missed())
    }
}

/// How often a person was noticed in an hour of the assistant's voice alone, once the canceller knew the room.
#[expect(clippy::cast_precision_loss, reason = "a few")]
fn hourly(outcomes: &[Outcome]) -> f64 {
    let alone = || outcomes.iter().filter(|it| it.person_db.is_none());
    let hours = alone().map(|it| it.seconds).sum::<f64>() / 3600.0;
    let alarms = alone().map(|it| it.alarms.iter().filter(|at| **at >= it.known).count());
    alarms.sum::<usize>() as f64 / hours
}

/// The delays in the scenes that were chosen.
fn delays(outcomes: &[Outcome], is_chosen: impl Fn(&Outcome) -> bool) -> Delays {
    let chosen = outcomes.iter().filter(|it| is_chosen(it));
    Delays::new(chosen.map(|it| it.noticed_ms))
}

fn is(number: f32, other: f32) -> bool {
    (number - other).abs() < 0.5
}

/// Whether a person was there, at this level relative to the echo.
fn is_person(outcome: &Outcome, level: f32) -> bool {
    outcome.person_db.is_some_and(|it| is(it, level))
}

/// Whether the microphone has little gain.
fn is_quiet(outcome: &Outcome) -> bool {
    is(outcome.echo_db, QUIET)
}

/// What the detector and the guess made of the same scenes.
pub struct Report<'a> {
    pub detector: &'a [Outcome],
    pub guess: &'a [Outcome],
}

impl Report<'_> {
    /// Prints the delays for each condition, and the false alarms.
    pub fn print(&self) {
        self.print_delays();
        let alone = self.guess.iter().filter(|it| it.person_db.is_none());
        let minutes = alone.map(|it| it.seconds).sum::<f64>() / 60.0;
        println!(
            "\nFalse alarms in {minutes:.0} minutes with nobody there, per hour: detector {:.1}, guess {:.1}",
            hourly(self.detector),
            hourly(self.guess),
        );
        self.print_learning();
    }

    fn print_delays(&self) {
        println!(
            "From a person's onset until they are noticed, in ms, and share missed within 500 ms:\n"
        );
        println!("| scenes | detector: median | 95 % | missed | guess: median | 95 % | missed |");
        println!("|---|---|---|---|---|---|---|");
        for echo in ECHOES {
            for person in PEOPLE {
                for distorts in [false, true] {
                    let kind = if distorts { "distorted" } else { "linear" };
                    self.row(
                        &format!("person {person:+} dB, echo {echo} dB, {kind}"),
                        |it| {
                            is(it.echo_db, echo) && it.distorts == distorts && is_person(it, person)
                        },
                    );
                }
            }
        }
        for reverberation in [200.0, 400.0, 600.0] {
            let label =
                format!("person 0 dB, {reverberation} ms of reverberation, echo 0 and -10 dB");
            self.row(&label, |it| {
                is(it.reverberation_ms, reverberation) && is_person(it, 0.0) && !is_quiet(it)
            });
        }
        for person in PEOPLE {
            let label = format!("person {person:+} dB, echo 0 and -10 dB");
            self.row(&label, |it| is_person(it, person) && !is_quiet(it));
        }
    }

    fn row(&self, label: &str, is_chosen: impl Fn(&Outcome) -> bool) {
        let [detector, guess] =
            [self.detector, self.guess].map(|it| delays(it, &is_chosen).columns());
        println!("| {label} | {detector} | {guess} |");
    }

    /// Prints how the detector's false alarms change while the canceller learns the room.
    fn print_learning(&self) {
        let alone: Vec<_> = self
            .detector
            .iter()
            .filter(|it| it.person_db.is_none())
            .collect();
        println!(
            "\nThe detector's false alarms by the time since the assistant began, over {} beginnings:\n",
            alone.len()
        );
        println!("| from s | to s | false alarms |");
        println!("|---|---|---|");
        for edges in LEARNING.windows(2) {
            let [from, to] = [edges[0], edges[1]];
            let times = alone.iter().flat_map(|it| &it.alarms);
            let count = times.filter(|at| (from..to).contains(*at)).count();
            println!("| {from} | {to} | {count} |");
        }
    }
}

/// Prints the head of the table of a sweep.
pub fn print_head() {
    println!(
        "Guesses with echoes 0 and 10 dB below what is played, of persons as loud as the echo (delays in ms, share \
         missed) and 6 dB quieter (share missed); of persons as loud, in a microphone with little gain (share missed); \
         and false alarms an hour. * is shipped.\n"
    );
    println!(
        "| threshold | median | 95 % | missed | quieter: missed | quiet microphone: missed | false alarms |"
    );
    println!("|---|---|---|---|---|---|---|");
}

/// Prints the line of a sweep for a listener.
pub fn print_variant(label: &str, outcomes: &[Outcome]) {
    let as_loud = delays(outcomes, |it| is_person(it, 0.0) && !is_quiet(it));
    let quieter = delays(outcomes, |it| is_person(it, -6.0) && !is_quiet(it));
    let quiet = delays(outcomes, |it| is_person(it, 0.0) && is_quiet(it));
    println!(
        "| {label:<16} | {} | {:>5.1} % | {:>5.1} % | {:>5.1} |",
        as_loud.columns(),
        quieter.missed(),
        quiet.missed(),
        hourly(outcomes),
    );
}
