//! Which microphone: the one the configuration names, or the default; and why there is none.

use cpal::traits::{DeviceTrait, HostTrait};
use cpal::{Device, DeviceId, ErrorKind, HostId};

/// Most microphones named in an error.
const LISTED: usize = 12;

/// Why there is no microphone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CaptureError {
    /// The sound system knows no input.
    #[error("there is no microphone; connect one, or name one with `device` in [voice]")]
    Missing,
    /// The configured one is not there.
    #[error(
        "there is no microphone {wanted:?}; set `device` in [voice] to one of those that are there \
         ({present}), or to \"\" for the default"
    )]
    NotFound {
        /// What the configuration says.
        wanted: String,
        /// The ids of those that are there.
        present: String,
    },
    /// Another program has it.
    #[error(
        "the microphone {0} is in use by another program; close that, or let both use PipeWire or PulseAudio"
    )]
    Busy(String),
    /// The user may not.
    #[error("the microphone {0} may not be opened by this user; add the user to the group audio")]
    Denied(String),
    /// It offers nothing that can be used.
    #[error(
        "the microphone {0} has no usable format ({1}); choose another with `device` in [voice]"
    )]
    Format(String, String),
    /// No sound system is there, or not the one that had the microphone.
    #[error("{0} does not answer; start or restart it")]
    Unreachable(String),
    /// Anything else.
    #[error("the sound system failed ({0}); see whether `arecord` or `parecord` can record")]
    System(String),
}

impl CaptureError {
    /// What cpal's error about the microphone of that name means to its user.
    #[must_use]
    pub fn new(name: &str, error: &cpal::Error) -> Self {
        match error.kind() {
            ErrorKind::DeviceNotAvailable => Self::Missing,
            ErrorKind::DeviceBusy => Self::Busy(name.into()),
            ErrorKind::PermissionDenied => Self::Denied(name.into()),
            ErrorKind::UnsupportedConfig | ErrorKind::UnsupportedOperation => {
                Self::Format(name.into(), error.to_string())
            }
            _ => Self::System(error.to_string()),
        }
    }
}

/// The microphone called `wanted` by id or name, in any sound system; or if that is empty, the
/// default one of `host`, or of the first sound system that answers.
///
/// # Errors
/// When there is none.
pub fn find(wanted: &str, host: Option<HostId>) -> Result<Device, CaptureError> {
    let hosts = cpal::available_hosts();
    if wanted.is_empty() {
        let system = host.map_or("the sound system".into(), |host| host.name().to_owned());
        let answering = hosts
            .into_iter()
            .filter(|id| host.is_none_or(|host| host == *id))
            .find_map(|id| cpal::host_from_id(id).ok())
            .ok_or(CaptureError::Unreachable(system))?;
        return answering
            .default_input_device()
            .filter(|device| !is_monitor(device))
            .ok_or(CaptureError::Missing);
    }
    let exactly = wanted
        .parse::<DeviceId>()
        .ok()
        .and_then(|id| cpal::host_from_id(id.host()).ok()?.device_by_id(&id));
    if let Some(device) = exactly {
        return Ok(device);
    }
    let mut present: Vec<Device> = hosts
        .into_iter()
        .filter_map(|id| cpal::host_from_id(id).ok()?.input_devices().ok())
        .flatten()
        .collect();
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
    Err(CaptureError::NotFound {
        wanted: wanted.into(),
        present: names.join(", "),
    })
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
