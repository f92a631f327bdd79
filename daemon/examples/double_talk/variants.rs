//! Variants of the thresholds: each varied, the others as shipped.

use gemmad::listen::simulation::Thresholds;

/// Thresholds, each with a label.
pub fn all() -> Vec<(String, Thresholds)> {
    let shipped = Thresholds::default();
    let with = |name: &str, value: f32, thresholds| {
        let mark = if thresholds == shipped { " *" } else { "" };
        (format!("{name} {value}{mark}"), thresholds)
    };
    let inaudible = [-68.0, -65.0, -62.0, -59.0, -56.0];
    let inaudible = inaudible.map(|inaudible| {
        let thresholds = Thresholds {
            inaudible,
            ..shipped
        };
        with("inaudible", inaudible, thresholds)
    });
    let decay = [0.5, 0.75, 1.0, 1.5, 2.0, 3.0];
    let decay = decay.map(|decay| with("decay", decay, Thresholds { decay, ..shipped }));
    let usual = [0.8, 0.85, 0.9, 0.95, 0.98];
    let usual = usual.map(|usual| with("usual", usual, Thresholds { usual, ..shipped }));
    let least_left = [-25.0, -15.0, -10.0, -5.0];
    let least_left = least_left.map(|least_left| {
        let thresholds = Thresholds {
            least_left,
            ..shipped
        };
        with("least_left", least_left, thresholds)
    });
    let noise = [2.0, 5.0, 8.0, 11.0, 14.0];
    let noise = noise.map(|noise| with("noise", noise, Thresholds { noise, ..shipped }));
    let excess = [10.0, 15.0, 17.5, 20.0, 22.5, 25.0, 30.0];
    let excess = excess.map(|excess| with("excess", excess, Thresholds { excess, ..shipped }));
    let hops = [(1, 1.0), (2, 2.0), (3, 3.0), (4, 4.0)];
    let hops = hops.map(|(hops, value)| with("hops", value, Thresholds { hops, ..shipped }));
    let speech = [0.0, 0.3, 0.5, 0.7, 0.9];
    let speech = speech.map(|speech| with("speech", speech, Thresholds { speech, ..shipped }));
    let quiet = [-60.0, -55.0, -50.0, -45.0, -40.0];
    let quiet = quiet.map(|quiet| with("quiet", quiet, Thresholds { quiet, ..shipped }));
    [
        &inaudible[..],
        &decay,
        &usual,
        &least_left,
        &noise,
        &excess,
        &hops,
        &speech,
        &quiet,
    ]
    .concat()
}
