//! `org.gemmad1.Timers`.

use std::time::Duration;

use gemmad_api::{Dict, Error, TimerInfo, to_dict};
use zbus::message::Header;
use zbus::object_server::SignalEmitter;
use zbus::{Connection, interface};

use super::clients::{Clients, Kind};
use super::refusal;
use crate::commands::timers;

/// The object.
pub(super) struct Timers {
    pub timers: timers::Timers,
    pub clients: Clients,
}

#[interface(name = "org.gemmad1.Timers")]
impl Timers {
    /// The timers, the first to ring first.
    #[zbus(out_args("timers"))]
    fn list(&self) -> Vec<Dict> {
        let left = self.timers.left().into_iter();
        let told = left.map(|(timer, left)| {
            to_dict(&TimerInfo {
                id: timer.id,
                left_ms: u64::try_from(left.as_millis()).unwrap_or(u64::MAX),
                alarm: timer.is_alarm(),
                name: timer.name,
            })
        });
        told.collect()
    }

    /// Sets a timer; returns its number.
    #[zbus(out_args("id"))]
    async fn set(
        &self,
        name: &str,
        seconds: f64,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<u64, Error> {
        let time = Duration::try_from_secs_f64(seconds).ok();
        let time = time.filter(|it| !it.is_zero()).ok_or_else(|| {
            Error::InvalidArgument(format!(
                "seconds is {seconds} but must be above 0, and within 31 days"
            ))
        })?;
        let _call = self.clients.hold(connection, &header, Kind::Call)?;
        let set = self.timers.set(name, time).await;
        set.map(|it| it.id).map_err(refusal::timer)
    }

    /// Cancels a timer.
    async fn cancel(
        &self,
        id: u64,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<(), Error> {
        let _call = self.clients.hold(connection, &header, Kind::Call)?;
        let cancelled = self.timers.cancel(id).await.map(drop);
        cancelled.map_err(refusal::timer)
    }

    /// Cancels all timers; returns their number.
    #[zbus(out_args("cancelled"))]
    async fn cancel_all(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<u32, Error> {
        let _call = self.clients.hold(connection, &header, Kind::Call)?;
        let cancelled = self.timers.cancel_those(|_| true).await.len();
        Ok(u32::try_from(cancelled).unwrap_or(u32::MAX))
    }

    /// A timer rings, or should have.
    #[zbus(signal)]
    pub(super) async fn rang(
        emitter: &SignalEmitter<'_>,
        id: u64,
        name: &str,
        missed: bool,
    ) -> zbus::Result<()>;
}
