//! Commands that were said together, carried out one after the other.
//!
//! The next begins when the action of the one before has ended, and none does after one that failed. What was
//! decided about them when they were entered ([`super::ledger`]) stays so.

use std::sync::Arc;

use gemmad_api::InvocationStatus;
use tokio::sync::watch;

use super::action::Job;
use super::{Command, Commands, Event, Force, Invocation, Origin};

/// What they have in common.
pub(super) struct Batch {
    pub commands: Commands,
    pub force: Arc<Force>,
    pub origin: Origin,
    /// Has changed once something halted after they were entered.
    pub halts: watch::Receiver<()>,
}

impl Batch {
    /// Carries out those that are to be done; returns what became of each.
    pub(super) async fn carry_out(self, mut entered: Vec<Invocation>) -> Vec<Invocation> {
        let mut has_failed = false;
        for invocation in &mut entered {
            let command = self.force.catalogue.command(&invocation.call);
            if let (InvocationStatus::Done, Some(command)) = (invocation.status, command) {
                if !command.halts && self.is_halted() {
                    invocation.status = InvocationStatus::Cancelled;
                } else if !command.halts && has_failed {
                    invocation.status = InvocationStatus::Skipped;
                } else {
                    self.invoke(command, invocation).await;
                    has_failed = invocation.status != InvocationStatus::Done;
                }
            } else if invocation.status == InvocationStatus::Unconfirmed {
                let unconfirmed = Event::Unconfirmed(invocation.clone(), self.origin.clone());
                self.commands.tell(unconfirmed);
            }
            self.commands.record(invocation, &self.origin);
        }
        entered
    }

    /// Signals it and runs its action.
    async fn invoke(&self, command: &Command, invocation: &mut Invocation) {
        let Some(action) = &command.action else {
            return self.tell(Event::Invoked, invocation);
        };
        invocation.status = InvocationStatus::Running;
        self.commands.record(invocation, &self.origin);
        self.tell(Event::Invoked, invocation);
        let job = Job {
            id: invocation.id,
            call: &invocation.call,
            origin: &self.origin,
        };
        let ended = action.run(job, self.halted(command)).await;
        (invocation.status, invocation.result) = match ended {
            Ok(said) => (InvocationStatus::Done, said),
            Err(error) => (error.status(), error.to_string()),
        };
        self.tell(Event::Finished, invocation);
    }

    /// Waits until something halts. What halts itself is not halted.
    async fn halted(&self, command: &Command) {
        // The sender lives as long as the commands do.
        if command.halts || self.halts.clone().changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    fn is_halted(&self) -> bool {
        self.halts.has_changed().unwrap_or(true)
    }

    fn tell(&self, event: fn(Invocation, Origin) -> Event, invocation: &Invocation) {
        self.commands
            .tell(event(invocation.clone(), self.origin.clone()));
    }
}
