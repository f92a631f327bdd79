//! Clients that send calls and do not read the replies, on a real bus: other clients are served as usual.

use std::path::Path;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::future::join_all;
use gemmad_api::{COMMANDS_PATH, CommandsProxy, MANAGER_PATH, ManagerProxy, SERVICE, VoiceProxy};
use gemmad_testbed::{Bus, Daemon, Deaf};
use tokio::task::JoinHandle;
use zbus::Message;
use zbus::message::Flags;
use zbus::proxy::CacheProperties;

const PATIENCE: Duration = Duration::from_mins(1);

/// Time for which the bus may accept no call before a flooding client stops.
const JAM: Duration = Duration::from_secs(5);

/// Maximum memory beyond that of the idle daemon, in kB.
const MEMORY: u64 = 128 << 10;

/// A client that sends `count` calls, or as many as the bus accepts, and reads nothing.
async fn deaf(bus: &Bus, count: usize, call: fn() -> Message) -> JoinHandle<Deaf> {
    let mut client = Deaf::connect(bus).await.unwrap();
    tokio::spawn(async move {
        client.send((0..count).map(|_| call()), JAM).await;
        client
    })
}

fn list() -> Message {
    let call = Message::method_call(COMMANDS_PATH, "List");
    let call = call.destination(SERVICE).interface("org.gemmad1.Commands");
    call.build(&()).unwrap()
}

/// A call for the state that expects no reply.
fn state() -> Message {
    let call = Message::method_call(MANAGER_PATH, "Get");
    let call = call
        .destination(SERVICE)
        .interface("org.freedesktop.DBus.Properties")
        .with_flags(Flags::NO_REPLY_EXPECTED);
    call.build(&("org.gemmad1.Manager", "State")).unwrap()
}

/// A call to an unknown object with a path of 4 MB, which an error reply would repeat.
fn long() -> Message {
    let path = "/a".repeat(2_000_000);
    let call = Message::method_call(path, "Do").destination(SERVICE);
    call.interface("a.b").build(&()).unwrap()
}

async fn daemon(bus: &Bus) -> Daemon {
    let catalogues = concat!(env!("CARGO_MANIFEST_DIR"), "/../configs/commands");
    let setup = Daemon::setup(bus).commands(Path::new(catalogues));
    setup.start().await.unwrap()
}

/// Resident memory, in kB.
fn memory(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap()
}

/// Halts and asks for the state until `senders` have sent all they can; checks that both are served.
async fn is_served(bus: &Bus, senders: &[JoinHandle<Deaf>]) {
    let connection = bus.connect(PATIENCE).await.unwrap();
    let commands = CommandsProxy::new(&connection).await.unwrap();
    let manager = ManagerProxy::builder(&connection);
    let manager = manager
        .cache_properties(CacheProperties::No)
        .build()
        .await
        .unwrap();
    loop {
        let are_done = senders.iter().all(JoinHandle::is_finished);
        commands.halt().await.unwrap();
        manager.state().await.unwrap();
        if are_done {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_reads_no_replies_silences_nobody() {
    let bus = Bus::start().await.unwrap();
    let daemon = daemon(&bus).await;
    let process = daemon.process().unwrap();
    let idle = memory(process);
    let senders = join_all((0..3).map(|_| deaf(&bus, 10_000, list))).await;
    is_served(&bus, &senders).await;
    let more = memory(process).saturating_sub(idle);
    assert!(more < MEMORY, "{more} kB");
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_want_no_reply_do_not_hold_up_a_halt() {
    let bus = Bus::start().await.unwrap();
    let _daemon = daemon(&bus).await;
    let senders = join_all((0..3).map(|_| deaf(&bus, 30_000, state))).await;
    is_served(&bus, &senders).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_that_an_answer_would_repeat_are_not_taken() {
    let bus = Bus::start().await.unwrap();
    let daemon = daemon(&bus).await;
    let process = daemon.process().unwrap();
    let idle = memory(process);
    let senders = join_all((0..40).map(|_| deaf(&bus, 1, long))).await;
    is_served(&bus, &senders).await;
    let more = memory(process).saturating_sub(idle);
    assert!(more < MEMORY, "{more} kB");
}

/// The bus queues signals for a subscriber that does not read them, so the daemon limits their rate.
#[tokio::test]
async fn what_clients_make_the_daemon_signal_comes_so_many_times_a_second() {
    let bus = Bus::start().await.unwrap();
    let _daemon = daemon(&bus).await;
    let connection = bus.connect(PATIENCE).await.unwrap();
    let voice = VoiceProxy::builder(&connection);
    let voice = voice.cache_properties(CacheProperties::No);
    let voice = voice.build().await.unwrap();
    let mut refused = 0;
    for _ in 0..200 {
        refused += u32::from(voice.set_muted(false).await.is_err());
    }
    assert!(refused > 100, "{refused}");
    // Closing an open microphone is never refused.
    voice.set_muted(true).await.unwrap();
    assert!(voice.muted().await.unwrap());

    let commands = CommandsProxy::new(&connection).await.unwrap();
    let mut invoked = commands.receive_invoked().await.unwrap();
    let begin = Instant::now();
    for _ in 0..1000 {
        commands.halt().await.unwrap();
    }
    let took = begin.elapsed().as_millis();
    let end = commands.halt().await.unwrap().last().unwrap().id;
    let mut signals = 0;
    loop {
        let signal = invoked.next().await.unwrap();
        signals += 1;
        if signal.args().unwrap().id == end {
            break;
        }
    }
    // Two commands halt: one of the robot, and one of the home.
    assert!(signals <= 2 * (took / 100 + 2), "{signals} in {took} ms");
}
