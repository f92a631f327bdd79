//! Environment variables of the programs that the daemon runs.
//!
//! Programs get an explicit list of variables. The daemon's own environment also has those that the service manager
//! meant for it alone, and perhaps secrets.

use std::env;
use std::ffi::OsString;
use std::sync::Arc;

/// `PATH` of programs, if the session does not set another.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// Variables of a session that programs get if they are set: its user, its bus, its screen and its sound.
/// With these `gemmactl`, `notify-send`, `playerctl` and `paplay` work as they do in a terminal.
const SESSION: [&str; 22] = [
    "DBUS_SESSION_BUS_ADDRESS",
    "DISPLAY",
    "HOME",
    "LOGNAME",
    "PATH",
    "PIPEWIRE_REMOTE",
    "PIPEWIRE_RUNTIME_DIR",
    "PULSE_COOKIE",
    "PULSE_SERVER",
    "TZ",
    "USER",
    "WAYLAND_DISPLAY",
    "XAUTHORITY",
    "XDG_CACHE_HOME",
    "XDG_CONFIG_DIRS",
    "XDG_CONFIG_HOME",
    "XDG_CURRENT_DESKTOP",
    "XDG_DATA_DIRS",
    "XDG_DATA_HOME",
    "XDG_RUNTIME_DIR",
    "XDG_SESSION_TYPE",
    "XDG_STATE_HOME",
];

/// The variables, of which clones share one list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Environment(Arc<[(&'static str, OsString)]>);

impl Environment {
    /// For a daemon on the system bus: `PATH` and `LANG`, the same on every machine.
    #[must_use]
    pub fn of_the_system() -> Self {
        Self::choose(&[], |_| None)
    }

    /// For a daemon on the session bus: also the variables of the session.
    #[must_use]
    pub fn of_the_session() -> Self {
        Self::choose(&SESSION, |name| env::var_os(name))
    }

    /// Names and values.
    pub fn variables(&self) -> impl Iterator<Item = (&'static str, &OsString)> {
        self.0.iter().map(|(name, value)| (*name, value))
    }

    fn choose(names: &[&'static str], value: impl Fn(&str) -> Option<OsString>) -> Self {
        let always = [("PATH", PATH.into()), ("LANG", "C.UTF-8".into())];
        let chosen = names.iter().filter_map(|name| Some((*name, value(name)?)));
        // Of two variables of one name the last counts.
        Self(always.into_iter().chain(chosen).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(environment: &Environment, name: &str) -> Option<OsString> {
        let mut variables = environment.variables();
        let found = variables.by_ref().filter(|(it, _)| *it == name);
        found.last().map(|(_, value)| value.clone())
    }

    #[test]
    fn programs_get_what_is_on_the_list_and_nothing_else() {
        let own = |name: &str| match name {
            "HOME" => Some("/home/anna".into()),
            "PATH" => Some("/home/anna/bin".into()),
            "NOTIFY_SOCKET" | "SECRET" => Some("x".into()),
            _ => None,
        };
        let session = Environment::choose(&SESSION, own);
        let mut names: Vec<_> = session.variables().map(|(name, _)| name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names, ["HOME", "LANG", "PATH"]);
        assert_eq!(value(&session, "PATH"), Some("/home/anna/bin".into()));
        let system = Environment::of_the_system();
        assert_eq!(value(&system, "PATH"), Some(PATH.into()));
        assert_eq!(value(&system, "HOME"), None);
    }
}
