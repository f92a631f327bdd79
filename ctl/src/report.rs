//! Message and exit code of a failure.

use std::process::ExitCode;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::low_level::emulate_default_handler;

use crate::{args::Bus, bus::Way, failure::Failure, terminal};

impl Failure {
    /// Tells the user about the failure, and returns the exit code. After a signal it ends the process by that signal
    /// instead: a shell ends a loop only if a program in it was ended by the signal.
    pub fn report(self, way: &Way) -> ExitCode {
        if let Some(message) = self.message(way) {
            terminal::note(&format!("gemmactl: {message}"));
        }
        let signal = match self {
            Self::Interrupted => Some(SIGINT),
            Self::Terminated => Some(SIGTERM),
            _ => None,
        };
        if let Some(signal) = signal {
            // It returns only if the system has no such signal.
            let _ = emulate_default_handler(signal);
        }
        ExitCode::from(self.code())
    }

    fn code(&self) -> u8 {
        match self {
            Self::ReaderLeft => 0,
            Self::Failed(_) | Self::Garbled(_) => 1,
            Self::Usage(_) => 2,
            Self::NoBus(_) | Self::NotRunning | Self::WentAway => 3,
            Self::Denied(_) | Self::Refused(_) => 4,
            Self::NotDone => 5,
            Self::CutOff(_) => 6,
            Self::Cancelled(_) | Self::Interrupted => 130,
            Self::Terminated => 143,
            Self::Said(code) => *code,
        }
    }

    fn message(&self, way: &Way) -> Option<String> {
        match self {
            Self::Failed(message)
            | Self::Usage(message)
            | Self::Refused(message)
            | Self::CutOff(message)
            | Self::Cancelled(message) => Some(message.clone()),
            Self::Garbled(subject) => Some(format!(
                "cannot understand the daemon's {subject}. Install gemmad and gemmactl of the same version"
            )),
            Self::NoBus(error) => Some(no_bus(way.wanted, error)),
            Self::NotRunning => Some(not_running(way.wanted)),
            Self::WentAway => Some(format!(
                "the daemon went away before it was done. Its log says why: {}",
                log(way.bus())
            )),
            Self::Denied(message) => Some(denied(way.bus(), message)),
            Self::NotDone
            | Self::Interrupted
            | Self::Terminated
            | Self::ReaderLeft
            | Self::Said(_) => None,
        }
    }
}

fn no_bus(bus: Bus, error: &zbus::Error) -> String {
    match bus {
        Bus::Either => format!(
            "cannot reach the system bus: {error}. There is no session bus either. Start D-Bus, \
             or log in to a session"
        ),
        Bus::System => format!(
            "cannot reach the system bus: {error}. Start D-Bus, or leave out --system if the \
             daemon runs on the session bus"
        ),
        Bus::Session => format!(
            "cannot reach the session bus: {error}. Log in to a session, set \
             DBUS_SESSION_BUS_ADDRESS, or leave out --session if the daemon runs on the system bus"
        ),
    }
}

fn not_running(bus: Bus) -> String {
    const SYSTEM: &str = "`sudo systemctl start gemmad`";
    const SESSION: &str = "`systemctl --user start gemmad` (or run `gemmad --session`)";
    match bus {
        Bus::Either => format!(
            "the daemon is not running, neither on the system bus nor on the session bus. Start \
             the machine's with {SYSTEM}, or one of your own with {SESSION}"
        ),
        Bus::System => format!(
            "the daemon is not running on the system bus. Start it with {SYSTEM}, or leave out \
             --system if it runs on the session bus"
        ),
        Bus::Session => format!(
            "the daemon is not running on the session bus. Start it with {SESSION}, or leave out \
             --session if it runs on the system bus"
        ),
    }
}

/// The command that shows the daemon's log.
fn log(bus: Bus) -> &'static str {
    match bus {
        Bus::Either => {
            "`sudo journalctl --unit gemmad`, or `journalctl --user --unit gemmad` for one of your own"
        }
        Bus::System => "`sudo journalctl --unit gemmad`",
        Bus::Session => "`journalctl --user --unit gemmad`",
    }
}

/// The message for a call that the bus denied. On the system bus the text of the denial quotes the
/// policy and does not help a user, so it is replaced.
fn denied(bus: Bus, message: &str) -> String {
    match bus {
        Bus::Either | Bus::System => format!(
            "you may not use this machine's daemon: it is for root and members of the group \
             gemmad. Ask an administrator for `sudo adduser {} gemmad`, then log out and in again",
            user()
        ),
        Bus::Session => format!(
            "not allowed: {}. Use the session bus of the user who started the daemon",
            message.trim_end_matches('.')
        ),
    }
}

/// The user's name from the environment, or the placeholder `NAME`.
fn user() -> String {
    let name = std::env::var("USER").or_else(|_| std::env::var("LOGNAME"));
    name.unwrap_or_else(|_| "NAME".into())
}

#[cfg(test)]
mod tests {
    use gemmad_api::Error;
    use zbus::fdo;

    use super::*;

    fn from_bus(error: fdo::Error) -> Failure {
        zbus::Error::FDO(Box::new(error)).into()
    }

    #[test]
    fn a_name_without_owner_means_the_daemon_is_not_running() {
        let failure = from_bus(fdo::Error::ServiceUnknown("The name is unknown".into()));
        assert_eq!(failure.code(), 3);
        for (bus, command) in [
            (Bus::Either, "systemctl start gemmad"),
            (Bus::Either, "systemctl --user start gemmad"),
            (Bus::System, "systemctl start gemmad"),
            (Bus::Session, "systemctl --user start gemmad"),
        ] {
            let message = failure.message(&Way::new(bus)).unwrap();
            assert!(message.contains("not running"), "{message}");
            assert!(message.contains(command), "{message}");
        }
    }

    #[test]
    fn what_the_daemon_refuses_is_told_in_its_own_words() {
        for name in [
            "Busy",
            "InvalidArgument",
            "InvalidAudio",
            "InvalidSchema",
            "PromptTooLong",
            "NotSupported",
            "NoMicrophone",
            "ModelNotLoaded",
            "InvalidConfiguration",
            "NotAuthorized",
        ] {
            let error = Error::from_name(&format!("org.gemmad1.Error.{name}"), "Because.".into());
            let failure = Failure::from(error);
            assert_eq!(failure.code(), 4, "{name}");
            assert_eq!(failure.message(&Way::new(Bus::System)).unwrap(), "Because.");
        }
        assert_eq!(
            from_bus(fdo::Error::InvalidArgs("unknown field".into())).code(),
            4
        );
    }

    #[test]
    fn a_user_who_is_not_allowed_is_told_whom_to_ask() {
        // The text of dbus-daemon.
        let rejected = "Rejected send message, 1 matched rules; type=\"method_call\"";
        let failure = from_bus(fdo::Error::AccessDenied(rejected.into()));
        assert_eq!(failure.code(), 4);
        for bus in [Bus::Either, Bus::System] {
            let message = failure.message(&Way::new(bus)).unwrap();
            assert!(message.contains("group gemmad"), "{message}");
            assert!(!message.contains("matched rules"), "{message}");
        }
        let message = failure.message(&Way::new(Bus::Session)).unwrap();
        assert!(message.contains(rejected), "{message}");
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
            assert_eq!(failure.message(&Way::new(Bus::System)), None);
        }
    }
}
