//! `gemmactl devices`: the microphones and loudspeakers the daemon could use, and the microphone's level.

use std::{fmt::Write, io::IsTerminal, time::Duration};

use gemmad_api::{DeviceInfo, DeviceKind, VoiceProxy, from_dict};
use serde_json::json;
use tokio::time::{MissedTickBehavior, interval};

use crate::{
    args::Devices,
    bus::Way,
    failure::Failure,
    terminal::{self, Output, one_line},
};

/// Interval at which the meter is read.
const GLANCE: Duration = Duration::from_millis(100);

/// Columns of the meter; 2 dB each.
const COLUMNS: usize = 30;

/// Lists the devices, or shows the meter.
pub async fn run(options: &Devices, way: &Way) -> Result<(), Failure> {
    let voice = VoiceProxy::new(&way.connect().await?).await?;
    if options.meter {
        return meter(&voice, options.json).await;
    }
    let devices = voice.devices().await?;
    let devices = devices.iter().map(from_dict::<DeviceInfo>);
    let devices: Vec<_> = devices
        .collect::<Result<_, _>>()
        .map_err(|_| Failure::Garbled("list of devices"))?;
    let mut output = Output::new();
    if options.json {
        for device in &devices {
            output.json(device).await?;
        }
        return Ok(());
    }
    for kind in [DeviceKind::Microphone, DeviceKind::Loudspeaker] {
        output.write(&listed(kind, &devices)).await?;
    }
    if std::io::stdout().is_terminal() {
        terminal::note(
            "`device` in [voice] is set to a microphone's id, in [speech] to a loudspeaker's; then `gemmactl reload`",
        );
    }
    Ok(())
}

/// The devices of one kind, a line each.
fn listed(kind: DeviceKind, devices: &[DeviceInfo]) -> String {
    let mut text = match kind {
        DeviceKind::Microphone => "microphones\n",
        DeviceKind::Loudspeaker => "loudspeakers\n",
    }
    .to_owned();
    let devices: Vec<_> = devices.iter().filter(|it| it.kind == kind).collect();
    let width = devices.iter().map(|it| it.id.chars().count()).max();
    let width = width.unwrap_or(0);
    if devices.is_empty() {
        text.push_str("  none\n");
    }
    for device in devices {
        let remarks = match (device.in_use, device.is_default) {
            (true, true) => " (in use; default)",
            (true, false) => " (in use)",
            (false, true) => " (default)",
            (false, false) => "",
        };
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "  {:width$}  {}{remarks}",
            one_line(&device.id),
            one_line(&device.name)
        );
    }
    text
}

/// Shows the microphone's level until interrupted.
async fn meter(voice: &VoiceProxy<'_>, json: bool) -> Result<(), Failure> {
    if voice.device().await?.is_empty() {
        let problem = voice.problem().await?;
        return Err(Failure::Refused(if problem.is_empty() {
            "no microphone is open: `gemmactl unmute` if it is muted, set [voice] mode if that is \"off\"; in mode \"push\" it opens \
             while `gemmactl listen --once` listens"
                .into()
        } else {
            problem
        }));
    }
    let mut output = Output::new();
    let mut ticks = interval(GLANCE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let on_screen = std::io::stdout().is_terminal() && !json;
    loop {
        ticks.tick().await;
        let level = voice.level().await?;
        let line = if json {
            json!({"level": (level * 10.0).round() / 10.0}).to_string()
        } else {
            bar(level)
        };
        if on_screen {
            output.overwrite(&line).await?;
        } else {
            output.line(&line).await?;
        }
    }
}

/// A level from -60 to 0 dB as a bar.
fn bar(level: f64) -> String {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "0 to 30"
    )]
    let filled = (level / 2.0 + 30.0).clamp(0.0, 30.0) as usize;
    format!("{level:6.1} dB  {:<COLUMNS$}", "#".repeat(filled))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_is_full_at_full_scale_and_empty_in_silence() {
        assert_eq!(bar(0.0), format!("   0.0 dB  {}", "#".repeat(30)));
        assert_eq!(bar(-96.0), format!(" -96.0 dB  {}", " ".repeat(30)));
        assert_eq!(bar(-30.0).matches('#').count(), 15);
        assert_eq!(bar(12.0).len(), bar(-200.0).len());
    }

    #[test]
    fn what_is_there_is_listed_by_kind_with_what_it_is_used_for() {
        let microphone = DeviceInfo {
            id: "alsa:hw:1".into(),
            name: "USB".into(),
            in_use: true,
            is_default: true,
            ..DeviceInfo::default()
        };
        let text = listed(DeviceKind::Microphone, std::slice::from_ref(&microphone));
        assert_eq!(text, "microphones\n  alsa:hw:1  USB (in use; default)\n");
        let text = listed(DeviceKind::Loudspeaker, &[microphone]);
        assert_eq!(text, "loudspeakers\n  none\n");
    }
}
