//! Choice of a microphone or loudspeaker: the configured one or the default, or the reason why there is none.

use std::collections::HashSet;
use std::fmt;

use cpal::traits::{DeviceTrait, HostTrait};
use cpal::{Device, DeviceId, ErrorKind, Host, HostId, SupportedStreamConfig};

use crate::config;

/// Most devices named in an error.
const LISTED: usize = 12;

/// The device the configuration asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Its id or name; empty: the sound system's default.
    pub device: String,
    /// The channel that must be there, counted from 1; 0: any.
    pub channel: u16,
}

impl From<String> for Wanted {
    fn from(device: String) -> Self {
        Self { device, channel: 0 }
    }
}

impl From<&config::Voice> for Wanted {
    fn from(voice: &config::Voice) -> Self {
        Self {
            device: voice.device.clone(),
            // The configuration allows at most 64.
            channel: u16::try_from(voice.channel.get()).unwrap_or(u16::MAX),
        }
    }
}

/// The direction of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Sound comes in.
    Microphone,
    /// Sound goes out.
    Loudspeaker,
}

impl Kind {
    /// The section of the configuration that names it.
    fn section(self) -> &'static str {
        match self {
            Self::Microphone => "[voice]",
            Self::Loudspeaker => "[speech]",
        }
    }

    /// Programs that show whether the sound system itself can record or play.
    fn programs(self) -> &'static str {
        match self {
            Self::Microphone => "`arecord` or `parecord` can record",
            Self::Loudspeaker => "`aplay` or `paplay` can play",
        }
    }

    /// What it does with sound, in the past tense.
    #[must_use]
    pub fn moves(self) -> &'static str {
        match self {
            Self::Microphone => "gave",
            Self::Loudspeaker => "took",
        }
    }

    fn default_of(self, host: &Host) -> Option<Device> {
        match self {
            Self::Microphone => host
                .default_input_device()
                .filter(|device| !is_monitor(device)),
            Self::Loudspeaker => host.default_output_device(),
        }
    }

    /// The default format of a device.
    ///
    /// # Errors
    /// Those of cpal.
    pub fn format_of(self, device: &Device) -> Result<SupportedStreamConfig, cpal::Error> {
        match self {
            Self::Microphone => device.default_input_config(),
            Self::Loudspeaker => device.default_output_config(),
        }
    }

    fn all_of(self, host: &Host) -> Vec<Device> {
        let all: Result<Vec<_>, _> = match self {
            Self::Microphone => host.input_devices().map(Iterator::collect),
            Self::Loudspeaker => host.output_devices().map(Iterator::collect),
        };
        // A sound system that does not answer has no devices.
        all.unwrap_or_default()
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Microphone => "microphone",
            Self::Loudspeaker => "loudspeaker",
        })
    }
}

/// Why there is no device of that kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeviceError {
    /// The sound system knows none.
    #[error("there is no {0}; connect one, or name one with `device` in {section}", section = .0.section())]
    Missing(Kind),
    /// The configured one is not there.
    #[error(
        "there is no {kind} {wanted:?}; set `device` in {section} to one of those that are there ({present}), or \
         to \"\" for the default", section = .kind.section()
    )]
    NotFound {
        /// The kind of device.
        kind: Kind,
        /// Value of `device` in the configuration.
        wanted: String,
        /// The ids of the devices that are present.
        present: String,
    },
    /// Another program has it.
    #[error(
        "the {0} {1} is in use by another program; close that, or let both use PipeWire or PulseAudio"
    )]
    Busy(Kind, String),
    /// This user lacks the permission to open it.
    #[error("the {0} {1} may not be opened by this user; add the user to the group audio")]
    Denied(Kind, String),
    /// It offers no usable format.
    #[error(
        "the {0} {1} has no usable format ({2}); choose another with `device` in {section}", section = .0.section()
    )]
    Format(Kind, String, String),
    /// It has fewer channels than the configuration wants.
    #[error(
        "the {kind} {name} has {has} and `channel` in {section} is {wanted}; set that to 0, or to one it has",
        has = plural(*.has), section = .kind.section()
    )]
    Channel {
        /// The kind of device.
        kind: Kind,
        /// Its name.
        name: String,
        /// Its channels.
        has: u16,
        /// The channel that is wanted, counted from 1.
        wanted: u16,
    },
    /// No sound system is there, or not the one that had the device.
    #[error("{0} does not answer; start or restart it")]
    Unreachable(String),
    /// Anything else.
    #[error("the sound system failed ({1}); see whether {programs}", programs = .0.programs())]
    System(Kind, String),
}

fn plural(channels: u16) -> String {
    match channels {
        1 => "1 channel".into(),
        channels => format!("{channels} channels"),
    }
}

impl DeviceError {
    /// Translates cpal's error about the device called `name`.
    #[must_use]
    pub fn new(kind: Kind, name: &str, error: &cpal::Error) -> Self {
        match error.kind() {
            ErrorKind::DeviceNotAvailable => Self::Missing(kind),
            ErrorKind::DeviceBusy => Self::Busy(kind, name.into()),
            ErrorKind::PermissionDenied => Self::Denied(kind, name.into()),
            ErrorKind::UnsupportedConfig | ErrorKind::UnsupportedOperation => {
                Self::Format(kind, name.into(), error.to_string())
            }
            _ => Self::System(kind, error.to_string()),
        }
    }
}

/// Finds the device of that kind whose id or name is `wanted`, in any sound system. An empty `wanted` means the default
/// device of `host`, or of the first sound system that answers.
///
/// # Errors
/// When there is no such device, or no sound system answers.
pub fn find(kind: Kind, wanted: &str, host: Option<HostId>) -> Result<Device, DeviceError> {
    let hosts = cpal::available_hosts();
    if wanted.is_empty() {
        let system = host.map_or("the sound system".into(), |host| host.name().to_owned());
        let answering = hosts
            .into_iter()
            .filter(|id| host.is_none_or(|host| host == *id))
            .find_map(|id| cpal::host_from_id(id).ok())
            .ok_or(DeviceError::Unreachable(system))?;
        return kind
            .default_of(&answering)
            .ok_or(DeviceError::Missing(kind));
    }
    let exactly = wanted
        .parse::<DeviceId>()
        .ok()
        .and_then(|id| cpal::host_from_id(id.host()).ok()?.device_by_id(&id));
    if let Some(device) = exactly {
        return Ok(device);
    }
    let (mut devices, known): (Vec<_>, Vec<_>) = all(kind)
        .filter_map(|device| {
            let known = (device.id().ok()?.to_string(), name(&device));
            Some((device, known))
        })
        .unzip();
    let called = called(&known, wanted);
    let Some(first) = called.first() else {
        let ids = known.into_iter().map(|(id, _)| id);
        return Err(DeviceError::NotFound {
            kind,
            wanted: wanted.into(),
            present: listed(ids.filter(|id| !is_monitor_id(id)).collect()),
        });
    };
    if called.len() > 1 {
        let ids = called.iter().map(|index| known[*index].0.as_str());
        let ids: Vec<_> = ids.collect();
        log::warn!(
            "{} {kind}s have the name {wanted:?}; using {}. Set `device` in {} to the id of one: {}",
            called.len(),
            ids[0],
            kind.section(),
            ids.join(" or ")
        );
    }
    Ok(devices.swap_remove(*first))
}

/// Whether a device of this id and name is meant.
type Rule<'a> = &'a dyn Fn(&str, &str) -> bool;

/// Indices of the devices, given by id and name, that `wanted` means; [`find`] takes the first. The first rule that
/// matches any device decides: the full id, the id without its sound system (as that system's programs write it), the
/// name.
fn called(known: &[(String, String)], wanted: &str) -> Vec<usize> {
    let in_full = written_in_full(wanted);
    let is_id = |id: &str| id == wanted || Some(id) == in_full.as_deref();
    let rules: [Rule; 3] = [
        &|id, _| id == wanted,
        &|id, _| id.split_once(':').is_some_and(|(_, id)| is_id(id)),
        &|_, name| name == wanted,
    ];
    let follow = |is_called: Rule| -> Vec<usize> {
        let these = known.iter().enumerate();
        let these = these.filter(|(_, (id, name))| is_called(id, name));
        these.map(|(index, _)| index).collect()
    };
    let followed = rules.into_iter().map(follow);
    followed
        .into_iter()
        .find(|these| !these.is_empty())
        .unwrap_or_default()
}

/// Spells out the short form of a device's id that ALSA's programs take: `hw:1,0` and `hw:1` are `hw:CARD=1,DEV=0`.
fn written_in_full(wanted: &str) -> Option<String> {
    let (plugin, place) = wanted.split_once(':')?;
    let (card, device) = place.split_once(',').unwrap_or((place, "0"));
    (!place.contains('=')).then(|| format!("{plugin}:CARD={card},DEV={device}"))
}

/// The devices an error names, at most [`LISTED`].
fn listed(mut ids: Vec<String>) -> String {
    let more = ids.len().saturating_sub(LISTED);
    ids.truncate(LISTED);
    match (ids.is_empty(), more) {
        (true, _) => "none".into(),
        (false, 0) => ids.join(", "),
        (false, more) => format!(
            "{}, and {more} more, which `gemmactl devices` lists",
            ids.join(", ")
        ),
    }
}

/// A device that is present.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Present {
    /// Its kind.
    pub kind: Kind,
    /// Value of `device` in the configuration that selects it; stable over restarts.
    pub id: String,
    /// Its name for people.
    pub name: String,
    /// Whether it is taken when the configuration names none.
    pub is_default: bool,
}

/// The device among those present that [`find`] takes for `wanted`.
#[must_use]
pub fn chosen<'a>(present: &'a [Present], kind: Kind, wanted: &str) -> Option<&'a Present> {
    let mut these = present.iter().filter(|device| device.kind == kind);
    if wanted.is_empty() {
        return these.find(|device| device.is_default);
    }
    let these: Vec<_> = these.collect();
    let known: Vec<_> = these
        .iter()
        .map(|device| (device.id.clone(), device.name.clone()))
        .collect();
    let first = *called(&known, wanted).first()?;
    Some(these[first])
}

/// Lists the microphones, then the loudspeakers, of all sound systems. Opens no device, but may take a second.
#[must_use]
pub fn present() -> Vec<Present> {
    [Kind::Microphone, Kind::Loudspeaker]
        .into_iter()
        .flat_map(present_of)
        .collect()
}

fn present_of(kind: Kind) -> Vec<Present> {
    let chosen = find(kind, "", None).ok();
    let chosen = chosen.and_then(|device| device.id().ok());
    // A sound system may name a device twice.
    let mut known = HashSet::new();
    let devices = all(kind).filter(|device| kind == Kind::Loudspeaker || !is_monitor(device));
    let present = devices.filter_map(|device| {
        let id = device.id().ok()?;
        known.insert(id.to_string()).then(|| Present {
            kind,
            name: name(&device),
            is_default: chosen.as_ref() == Some(&id),
            id: id.to_string(),
        })
    });
    present.collect()
}

/// All devices of that kind, of all sound systems that answer.
fn all(kind: Kind) -> impl Iterator<Item = Device> {
    cpal::available_hosts()
        .into_iter()
        .filter_map(|id| cpal::host_from_id(id).ok())
        .flat_map(move |host| kind.all_of(&host))
}

/// Whether the device records what a loudspeaker plays. `PulseAudio` makes such a monitor the default input where there
/// is no microphone, and the assistant would hear itself.
fn is_monitor(device: &Device) -> bool {
    device.id().is_ok_and(|id| is_monitor_id(id.id()))
}

fn is_monitor_id(id: &str) -> bool {
    id.ends_with(".monitor")
}

/// Its name for people.
#[must_use]
pub fn name(device: &Device) -> String {
    device
        .description()
        .map_or_else(|_| "without a name".into(), |about| about.name().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(id: &str, name: &str) -> Present {
        Present {
            kind: Kind::Microphone,
            id: id.into(),
            name: name.into(),
            is_default: false,
        }
    }

    #[test]
    fn an_error_lists_twelve_devices_and_says_how_many_more_there_are() {
        let ids = |count: usize| (1..=count).map(|it| format!("alsa:hw:{it}")).collect();
        assert_eq!(listed(Vec::new()), "none");
        assert_eq!(listed(ids(2)), "alsa:hw:1, alsa:hw:2");
        assert!(listed(ids(12)).ends_with("alsa:hw:12"));
        assert!(
            listed(ids(21)).ends_with("alsa:hw:12, and 9 more, which `gemmactl devices` lists")
        );
    }

    #[test]
    fn of_two_devices_of_one_name_the_first_alone_is_in_use_and_ids_tell_them_apart() {
        let present = [
            device("alsa:hw:CARD=1,DEV=0", "USB Audio"),
            device("alsa:hw:CARD=2,DEV=0", "USB Audio"),
            device("pulseaudio:usb", "hw:CARD=2,DEV=0"),
        ];
        let chosen = |wanted| chosen(&present, Kind::Microphone, wanted).map(|it| it.id.as_str());
        assert_eq!(chosen("USB Audio"), Some("alsa:hw:CARD=1,DEV=0"));
        assert_eq!(chosen("alsa:hw:CARD=2,DEV=0"), Some("alsa:hw:CARD=2,DEV=0"));
        assert_eq!(chosen("hw:CARD=2,DEV=0"), Some("alsa:hw:CARD=2,DEV=0"));
        assert_eq!(chosen("usb"), Some("pulseaudio:usb"));
        assert_eq!(chosen("USB"), None);
        assert_eq!(chosen(""), None);
        let known = present.map(|it| (it.id, it.name));
        assert_eq!(called(&known, "USB Audio"), [0, 1]);
    }

    #[test]
    fn a_device_may_be_written_as_alsas_programs_take_it() {
        let known = [("alsa:hw:CARD=1,DEV=0".into(), "USB Audio".into())];
        for wanted in ["hw:1", "hw:1,0", "hw:CARD=1,DEV=0"] {
            assert_eq!(called(&known, wanted), [0], "{wanted}");
        }
        for wanted in ["hw:2", "hw:1,1", "plughw:1", "hw:", ""] {
            assert_eq!(called(&known, wanted), [0; 0], "{wanted}");
        }
    }

    #[test]
    fn a_channel_that_a_device_lacks_is_named_with_what_it_has() {
        let lacking = |has| DeviceError::Channel {
            kind: Kind::Microphone,
            name: "USB Audio".into(),
            has,
            wanted: 3,
        };
        assert_eq!(
            lacking(2).to_string(),
            "the microphone USB Audio has 2 channels and `channel` in [voice] is 3; set that to 0, or to one it has"
        );
        assert!(lacking(1).to_string().contains("has 1 channel and"));
    }
}
