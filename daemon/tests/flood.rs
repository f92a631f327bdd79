//! Clients that ask for more than they read, on a real bus: others are served as if they were not there.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread::JoinHandle;
use std::time::Duration;

use gemmad_api::{COMMANDS_PATH, CommandsProxy, MANAGER_PATH, ManagerProxy, SERVICE};
use gemmad_testbed::{Bus, Daemon};
use zbus::Message;
use zbus::message::Flags;
use zbus::proxy::CacheProperties;

const PATIENCE: Duration = Duration::from_mins(1);

/// How long the bus may take no more of a client's calls before the client gives up.
const JAM: Duration = Duration::from_secs(5);

/// Most memory beyond that of the idle daemon, in kB.
const MEMORY: u64 = 128 << 10;

/// A client that says hello and reads nothing after that.
struct Deaf(UnixStream);

impl Deaf {
    fn connect(bus: &Bus) -> Self {
        let path = bus.address().trim_start_matches("unix:path=");
        let path = path.split(',').next().unwrap();
        let mut stream = UnixStream::connect(path).unwrap();
        let user = rustix::process::getuid().as_raw().to_string();
        // In hexadecimal: the code of a digit is 3 and the digit.
        let user: String = user.chars().flat_map(|digit| ['3', digit]).collect();
        write!(stream, "\0AUTH EXTERNAL {user}\r\n").unwrap();
        let mut line = String::new();
        BufReader::with_capacity(1, &stream)
            .read_line(&mut line)
            .unwrap();
        assert!(line.starts_with("OK "), "{line}");
        stream.write_all(b"BEGIN\r\n").unwrap();
        let bus = "org.freedesktop.DBus";
        let hello = Message::method_call("/org/freedesktop/DBus", "Hello");
        let hello = hello.destination(bus).interface(bus).build(&()).unwrap();
        stream.write_all(hello.data()).unwrap();
        stream.read_exact(&mut [0; 16]).unwrap();
        stream.set_write_timeout(Some(JAM)).unwrap();
        Self(stream)
    }

    /// Sends so many calls, or as many as the bus takes.
    fn send(mut self, count: u32, call: impl Fn() -> Message + Send + 'static) -> JoinHandle<Self> {
        std::thread::spawn(move || {
            for _ in 0..count {
                if self.0.write_all(call().data()).is_err() {
                    break;
                }
            }
            self
        })
    }
}

fn list() -> Message {
    let call = Message::method_call(COMMANDS_PATH, "List");
    let call = call.destination(SERVICE).interface("org.gemmad1.Commands");
    call.build(&()).unwrap()
}

/// Asks for the state and wants no reply.
fn state() -> Message {
    let call = Message::method_call(MANAGER_PATH, "Get");
    let call = call
        .destination(SERVICE)
        .interface("org.freedesktop.DBus.Properties")
        .with_flags(Flags::NO_REPLY_EXPECTED);
    call.build(&("org.gemmad1.Manager", "State")).unwrap()
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

/// Halts and asks for the state until these have sent all they can.
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

#[tokio::test]
async fn a_client_that_reads_no_replies_silences_nobody() {
    let bus = Bus::start().await.unwrap();
    let daemon = daemon(&bus).await;
    let process = daemon.process().unwrap();
    let idle = memory(process);
    let senders: Vec<_> = (0..3)
        .map(|_| Deaf::connect(&bus).send(10_000, list))
        .collect();
    is_served(&bus, &senders).await;
    let more = memory(process).saturating_sub(idle);
    assert!(more < MEMORY, "{more} kB");
}

#[tokio::test]
async fn calls_that_want_no_reply_do_not_hold_up_a_halt() {
    let bus = Bus::start().await.unwrap();
    let _daemon = daemon(&bus).await;
    let senders: Vec<_> = (0..3)
        .map(|_| Deaf::connect(&bus).send(30_000, state))
        .collect();
    is_served(&bus, &senders).await;
}
