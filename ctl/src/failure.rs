//! Why a command ended without success.

use gemmad_api::Error;
use zbus::fdo;

/// Why a command ended without success. The exit codes are documented in `gemmactl --help`.
#[derive(Debug)]
pub enum Failure {
    /// Something went wrong, here or in the daemon.
    Failed(String),
    /// The named part of the daemon's reply cannot be parsed.
    Garbled(&'static str),
    /// The command line, a named file or standard input is unusable.
    Usage(String),
    /// No bus can be reached.
    NoBus(zbus::Error),
    /// The daemon's name has no owner on the bus.
    NotRunning,
    /// The daemon or the bus went away during the call.
    WentAway,
    /// The bus or the daemon denies access to this user.
    Denied(String),
    /// The daemon refused, with this message.
    Refused(String),
    /// A command was not carried out; its outcome has been shown.
    NotDone,
    /// An answer was cut off, at the maximum number of tokens or before it was valid; the part there is has been
    /// shown.
    CutOff(String),
    /// The request was cancelled in the daemon.
    Cancelled(String),
    /// SIGINT.
    Interrupted,
    /// SIGTERM.
    Terminated,
    /// The reader of standard output closed it.
    ReaderLeft,
    /// A program that did the work failed with this exit code, and has said why.
    Said(u8),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Bus(error) => bus_failure(error),
            Error::ModelNotLoaded(message)
            | Error::InvalidArgument(message)
            | Error::InvalidAudio(message)
            | Error::InvalidSchema(message)
            | Error::PromptTooLong(message)
            | Error::NotSupported(message)
            | Error::Busy(message)
            | Error::NoMicrophone(message)
            | Error::NoSpeech(message)
            | Error::InvalidConfiguration(message)
            | Error::NotAuthorized(message) => Self::Refused(message),
            Error::Cancelled(message) => Self::Cancelled(message),
            Error::Incomplete(message) => Self::CutOff(message),
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
        zbus::Error::MethodError(name, _, _) if is_not_startable(&name) => {
            return Failure::NotRunning;
        }
        other => return Failure::Failed(format!("the bus failed: {other}; try again")),
    };
    match error {
        fdo::Error::ServiceUnknown(_)
        | fdo::Error::NameHasNoOwner(_)
        | fdo::Error::TimedOut(_)
        | fdo::Error::SpawnExecFailed(_)
        | fdo::Error::SpawnChildExited(_)
        | fdo::Error::SpawnChildSignaled(_)
        | fdo::Error::SpawnFailed(_)
        | fdo::Error::SpawnServiceNotFound(_) => Failure::NotRunning,
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

/// Whether the error comes from a service manager that cannot start the daemon, such as
/// `org.freedesktop.systemd1.NoSuchUnit` for a disabled unit.
fn is_not_startable(name: &str) -> bool {
    name.starts_with("org.freedesktop.systemd1.")
}
