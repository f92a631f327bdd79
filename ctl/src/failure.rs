//! Why a command ended without success: its exit code, and what the user is told.

use std::process::ExitCode;

use gemmad_api::Error;
use zbus::fdo;

use crate::{bus::Bus, terminal};

/// Why a command ended without success. The exit codes are documented in `gemmactl --help`.
#[derive(Debug)]
pub enum Failure {
    /// Something went wrong, here or in the daemon.
    Failed(String),
    /// What the user gave is unusable.
    Usage(String),
    /// There is no bus to talk on.
    NoBus(zbus::Error),
    /// Nobody owns the daemon's name on the bus.
    NotRunning,
    /// The daemon, or the bus, went away in the middle.
    WentAway,
    /// The bus or the daemon does not let this user do it.
    Denied(String),
    /// The daemon refused.
    Refused(String),
    /// Somebody cancelled it in the daemon.
    Cancelled(String),
    /// SIGINT.
    Interrupted,
    /// SIGTERM.
    Terminated,
    /// Whoever read standard output has enough.
    ReaderLeft,
}

impl Failure {
    /// Tells the user, and gives the exit code.
    pub fn report(self, bus: Bus) -> ExitCode {
        if let Some(message) = self.message(bus) {
            terminal::note(&format!("gemmactl: {message}"));
        }
        ExitCode::from(self.code())
    }

    fn code(&self) -> u8 {
        match self {
            Self::ReaderLeft => 0,
            Self::Failed(_) => 1,
            Self::Usage(_) => 2,
            Self::NoBus(_) | Self::NotRunning | Self::WentAway => 3,
            Self::Denied(_) | Self::Refused(_) => 4,
            Self::Cancelled(_) | Self::Interrupted => 130,
            Self::Terminated => 143,
        }
    }

    fn message(&self, bus: Bus) -> Option<String> {
        match self {
            Self::Failed(message)
            | Self::Usage(message)
            | Self::Refused(message)
            | Self::Cancelled(message) => Some(message.clone()),
            Self::NoBus(error) => Some(no_bus(bus, error)),
            Self::NotRunning => Some(not_running(bus)),
            Self::WentAway => Some(format!(
                "the daemon went away from the {bus} before it was done. Its log says why; \
                 start it and try again"
            )),
            Self::Denied(message) => Some(denied(bus, message)),
            Self::Interrupted | Self::Terminated | Self::ReaderLeft => None,
        }
    }
}

fn no_bus(bus: Bus, error: &zbus::Error) -> String {
    let next = match bus {
        Bus::System => "Start D-Bus, or add --session if the daemon runs on the session bus",
        Bus::Session => {
            "Log in to a session, set DBUS_SESSION_BUS_ADDRESS, or leave out --session if the \
             daemon runs on the system bus"
        }
    };
    format!("cannot reach the {bus}: {error}. {next}")
}

fn not_running(bus: Bus) -> String {
    let next = match bus {
        Bus::System => {
            "Start it with `gemmad --config FILE`, or add --session if it runs on the session bus"
        }
        Bus::Session => {
            "Start it with `gemmad --session --config FILE`, or leave out --session if it runs on \
             the system bus"
        }
    };
    format!("the daemon is not running on the {bus}. {next}")
}

fn denied(bus: Bus, message: &str) -> String {
    let next = match bus {
        Bus::System => "Members of the group gemmad may; ask an administrator, then log in again",
        Bus::Session => "Use the session bus of the user who started the daemon",
    };
    format!("not allowed: {}. {next}", message.trim_end_matches('.'))
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Bus(error) => bus_failure(error),
            Error::ModelNotLoaded(message)
            | Error::InvalidArgument(message)
            | Error::InvalidAudio(message)
            | Error::PromptTooLong(message)
            | Error::NotSupported(message)
            | Error::Busy(message)
            | Error::NoMicrophone(message) => Self::Refused(message),
            Error::Cancelled(message) => Self::Cancelled(message),
            Error::Failed(message) => Self::Failed(message),
        }
    }
}

impl From<zbus::Error> for Failure {
    fn from(error: zbus::Error) -> Self {
        Error::from(error).into()
    }
}

fn bus_failure(error: zbus::Error) -> Failure {
    let error = match error {
        zbus::Error::FDO(error) => *error,
        zbus::Error::InputOutput(_) => return Failure::WentAway,
        other => return Failure::Failed(format!("the bus failed: {other}; try again")),
    };
    match error {
        fdo::Error::ServiceUnknown(_) | fdo::Error::NameHasNoOwner(_) => Failure::NotRunning,
        fdo::Error::NoReply(_) | fdo::Error::Disconnected(_) => Failure::WentAway,
        fdo::Error::AccessDenied(message) | fdo::Error::AuthFailed(message) => {
            Failure::Denied(message)
        }
        fdo::Error::InvalidArgs(message) | fdo::Error::LimitsExceeded(message) => {
            Failure::Refused(message)
        }
        fdo::Error::UnknownMethod(message)
        | fdo::Error::UnknownObject(message)
        | fdo::Error::UnknownInterface(message)
        | fdo::Error::UnknownProperty(message) => Failure::Failed(format!(
            "the daemon does not know this command ({message}). Install gemmad and gemmactl of \
             the same version"
        )),
        other => Failure::Failed(format!("the bus failed: {other}; try again")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from_bus(error: fdo::Error) -> Failure {
        zbus::Error::FDO(Box::new(error)).into()
    }

    #[test]
    fn a_name_without_owner_means_the_daemon_is_not_running() {
        let failure = from_bus(fdo::Error::ServiceUnknown("The name is unknown".into()));
        assert_eq!(failure.code(), 3);
        let message = failure.message(Bus::Session).unwrap();
        assert!(
            message.contains("not running on the session bus"),
            "{message}"
        );
        assert!(message.contains("gemmad --session --config"), "{message}");
        assert!(!not_running(Bus::System).contains("gemmad --session"));
    }

    #[test]
    fn what_the_daemon_refuses_is_told_in_its_own_words() {
        for name in [
            "Busy",
            "InvalidArgument",
            "InvalidAudio",
            "PromptTooLong",
            "NotSupported",
            "NoMicrophone",
            "ModelNotLoaded",
        ] {
            let error = Error::from_name(&format!("org.gemmad1.Error.{name}"), "Because.".into());
            let failure = Failure::from(error);
            assert_eq!(failure.code(), 4, "{name}");
            assert_eq!(failure.message(Bus::System).unwrap(), "Because.");
        }
        assert_eq!(
            from_bus(fdo::Error::InvalidArgs("unknown field".into())).code(),
            4
        );
    }

    #[test]
    fn a_user_who_is_not_allowed_is_told_whom_to_ask() {
        let failure = from_bus(fdo::Error::AccessDenied("Sender is not authorized.".into()));
        assert_eq!(failure.code(), 4);
        let message = failure.message(Bus::System).unwrap();
        assert!(
            message.starts_with("not allowed: Sender is not authorized. "),
            "{message}"
        );
        assert!(message.contains("group gemmad"), "{message}");
    }

    #[test]
    fn failed_cancelled_and_gone_have_codes_of_their_own() {
        assert_eq!(Failure::from(Error::Failed("x".into())).code(), 1);
        assert_eq!(Failure::from(Error::Cancelled("x".into())).code(), 130);
        assert_eq!(from_bus(fdo::Error::NoReply("x".into())).code(), 3);
        assert_eq!(Failure::Terminated.code(), 143);
    }

    #[test]
    fn signals_and_a_reader_who_left_are_not_talked_about() {
        for failure in [
            Failure::Interrupted,
            Failure::Terminated,
            Failure::ReaderLeft,
        ] {
            assert_eq!(failure.message(Bus::System), None);
        }
    }
}
