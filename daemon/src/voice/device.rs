//! Which microphone or loudspeaker: the one the configuration names, or the default; and why there is none.

use std::collections::HashSet;
use std::fmt;

use cpal::traits::{DeviceTrait, HostTrait};
use cpal::{Device, DeviceId, ErrorKind, Host, HostId, SupportedStreamConfig};

/// Most devices named in an error.
const LISTED: usize = 12;

/// What a device is for.
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

    /// Programs that show whether the sound system can do it.
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

    /// The format a device has by itself.
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
        // A sound system that does not answer has none.
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
        /// What is missing.
        kind: Kind,
        /// What the configuration says.
        wanted: String,
        /// The ids of those that are there.
        present: String,
    },
    /// Another program has it.
    #[error(
        "the {0} {1} is in use by another program; close that, or let both use PipeWire or PulseAudio"
    )]
    Busy(Kind, String),
    /// The user may not.
    #[error("the {0} {1} may not be opened by this user; add the user to the group audio")]
    Denied(Kind, String),
    /// It offers nothing that can be used.
    #[error(
        "the {0} {1} has no usable format ({2}); choose another with `device` in {section}", section = .0.section()
    )]
    Format(Kind, String, String),
    /// No sound system is there, or not the one that had the device.
    #[error("{0} does not answer; start or restart it")]
    Unreachable(String),
    /// Anything else.
    #[error("the sound system failed ({1}); see whether {programs}", programs = .0.programs())]
    System(Kind, String),
}

impl DeviceError {
    /// What cpal's error about the device of that name means to its user.
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

/// The device of that kind called `wanted` by id or name, in any sound system; or if that is empty, the
/// default one of `host`, or of the first sound system that answers.
///
/// # Errors
/// When there is none.
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
    let mut present: Vec<Device> = all(kind).collect();
    if let Some(index) = present.iter().position(|device| is_called(device, wanted)) {
        return Ok(present.swap_remove(index));
    }
    let mut names: Vec<String> = present
        .iter()
        .filter(|device| !is_monitor(device))
        .filter_map(|device| Some(device.id().ok()?.to_string()))
        .take(LISTED)
        .collect();
    if names.is_empty() {
        names.push("none".into());
    }
    Err(DeviceError::NotFound {
        kind,
        wanted: wanted.into(),
        present: names.join(", "),
    })
}

/// A device that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Present {
    /// What it is for.
    pub kind: Kind,
    /// What `device` in the configuration is set to for it: stays the same over restarts.
    pub id: String,
    /// Its name for people.
    pub name: String,
    /// Whether it is taken when the configuration names none.
    pub is_default: bool,
}

impl Present {
    /// Whether [`find`] takes it for `wanted`.
    #[must_use]
    pub fn is_wanted(&self, wanted: &str) -> bool {
        if wanted.is_empty() {
            return self.is_default;
        }
        let within_system = self.id.split_once(':').map(|(_, id)| id);
        [self.id.as_str(), self.name.as_str()].contains(&wanted) || within_system == Some(wanted)
    }
}

/// The microphones and then the loudspeakers that are there, of all sound systems. Nothing is opened for it,
/// but it may take a second.
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

/// Whether it hears what a speaker plays. `PulseAudio` makes a monitor the default input where there
/// is no microphone; the assistant would hear itself.
fn is_monitor(device: &Device) -> bool {
    device.id().is_ok_and(|id| id.id().ends_with(".monitor"))
}

fn is_called(device: &Device, wanted: &str) -> bool {
    device.id().is_ok_and(|id| id.id() == wanted) || name(device) == wanted
}

/// Its name for people.
#[must_use]
pub fn name(device: &Device) -> String {
    device
        .description()
        .map_or_else(|_| "without a name".into(), |about| about.name().to_owned())
}
