//! Realtime priority for threads that stand in for hardware.

use thread_priority::{
    RealtimeThreadSchedulePolicy, ThreadPriority, ThreadPriorityValue, ThreadSchedulePolicy,
    set_thread_priority_and_policy, thread_native_id,
};

/// Realtime priority, 1 to 99 (sched(7)): above all ordinary threads, and below the kernel's interrupt threads at 50.
const PRIORITY: u8 = 10;

/// Gives the calling thread precedence over all ordinary ones, if the system allows it: the clock of a sound card does
/// not wait for a busy machine.
pub(crate) fn run_first() {
    let Ok(priority) = ThreadPriorityValue::try_from(PRIORITY) else {
        return;
    };
    let policy = ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::Fifo);
    // Allowed only for root and for users with such a limit (`RLIMIT_RTPRIO`).
    let _ = set_thread_priority_and_policy(
        thread_native_id(),
        ThreadPriority::Crossplatform(priority),
        policy,
    );
}
