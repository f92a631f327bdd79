//! Threads that stand in for hardware, which no other work makes late.

use thread_priority::{
    RealtimeThreadSchedulePolicy, ThreadPriority, ThreadPriorityValue, ThreadSchedulePolicy,
    set_thread_priority_and_policy, thread_native_id,
};

/// Of 1 to 99 (sched(7)): above every ordinary thread, and below the kernel's own for interrupts, which have 50.
const PRIORITY: u8 = 10;

/// Lets the calling thread run before all ordinary ones, where the system allows it: the clock of a sound card does not
/// wait for a busy machine.
pub(crate) fn run_first() {
    let Ok(priority) = ThreadPriorityValue::try_from(PRIORITY) else {
        return;
    };
    let policy = ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::Fifo);
    // Only root may, and those whom the machine's limits name.
    let _ = set_thread_priority_and_policy(
        thread_native_id(),
        ThreadPriority::Crossplatform(priority),
        policy,
    );
}
