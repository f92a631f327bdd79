//! The bus interfaces under clients that ask for too much, hold too much or leave without notice: their resources are
//! bounded, other clients do not wait for them, and halts are obeyed.

use std::collections::HashMap;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::future::join_all;
use gemmad_api::{
    AskOptions, COMMANDS_PATH, CommandsProxy, Error, Health, MANAGER_PATH, ManagerProxy,
    ManagerState, SERVICE, SayOptions, Stats, TranscribeOptions, VOICE_PATH, VoiceProxy, from_dict,
};
use gemmad_testbed::{Bus, Daemon, Microphone, Signal, nano};
use tokio::time::timeout;
use zbus::{Connection, Fd, MatchRule, MessageStream, Variant};

/// Longest wait for events that may take a while.
const PATIENCE: Duration = Duration::from_mins(1);

/// Longest wait for an immediate reply, on a busy machine too.
const AT_ONCE: Duration = Duration::from_secs(2);

const MIB: u64 = 1 << 20;

const ROBOT: &str = include_str!("../../configs/commands/robot.toml");

fn endless() -> AskOptions {
    AskOptions {
        max_tokens: Some(100_000),
        min_tokens: Some(100_000),
        ..AskOptions::default()
    }
}

fn short() -> AskOptions {
    AskOptions {
        max_tokens: Some(1),
        ..AskOptions::default()
    }
}

/// Peak resident memory of the daemon so far, in bytes.
fn peak(daemon: &Daemon) -> u64 {
    let status = format!("/proc/{}/status", daemon.process().unwrap());
    let status = std::fs::read_to_string(status).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let number = line.unwrap().split_ascii_whitespace().nth(1).unwrap();
    number.parse::<u64>().unwrap() * 1024
}

/// A pipe that is full.
fn full_pipe() -> (io::PipeReader, io::PipeWriter) {
    let (reader, mut writer) = io::pipe().unwrap();
    rustix::io::ioctl_fionbio(&writer, true).unwrap();
    while writer.write(&[b'x'; 4096]).is_ok() {}
    while writer.write(b"x").is_ok() {}
    (reader, writer)
}

/// Calls a method of the daemon with arguments that no proxy would send.
async fn call<B>(
    connection: &Connection,
    path: &str,
    interface: &str,
    method: &str,
    arguments: &B,
) -> Result<zbus::Message, (String, String)>
where
    B: serde::Serialize + zbus::Type,
{
    let called = connection.call_method(Some(SERVICE), path, Some(interface), method, arguments);
    called.await.map_err(|error| match error {
        zbus::Error::MethodError(name, message, _) => {
            (name.to_string(), message.unwrap_or_default())
        }
        error => panic!("{error}"),
    })
}

async fn manager(connection: &Connection) -> ManagerProxy<'static> {
    ManagerProxy::builder(connection)
        .cache_properties(zbus::proxy::CacheProperties::No)
        .build()
        .await
        .unwrap()
}

async fn health(manager: &ManagerProxy<'_>) -> Health {
    from_dict(&manager.health().await.unwrap()).unwrap()
}

/// Waits for the `wanted` health, by polling: health has no change signal.
async fn health_becomes(manager: &ManagerProxy<'_>, wanted: impl Fn(&Health) -> bool) {
    let patience = Instant::now();
    while !wanted(&health(manager).await) {
        assert!(patience.elapsed() < PATIENCE, "{:?}", health(manager).await);
    }
}

#[tokio::test]
async fn numbers_are_taken_in_every_type_and_what_does_not_fit_is_named() {
    let bus = Bus::start().await.unwrap();
    let daemon = Daemon::setup(&bus).start().await.unwrap();
    let ask = async |options: HashMap<&str, Variant<'_>>| {
        let arguments = (nano::QUESTION, options);
        let interface = "org.gemmad1.Manager";
        call(
            daemon.connection(),
            MANAGER_PATH,
            interface,
            "Ask",
            &arguments,
        )
        .await
    };
    // Types as Python's bindings choose them.
    let numbers: [(&str, Variant<'_>); 5] = [
        ("max_tokens", 4i32.into()),
        ("temperature", 0i32.into()),
        ("top_p", 1i64.into()),
        ("top_k", 20.0f64.into()),
        ("seed", 7i64.into()),
    ];
    let answer = ask(HashMap::from(numbers)).await.unwrap();
    let (_, stats): (String, gemmad_api::Dict) = answer.body().deserialize().unwrap();
    assert_eq!(from_dict::<Stats>(&stats).unwrap().output_tokens, 4);

    let wrong: [(&str, Variant<'_>, &str); 5] = [
        (
            "max_tokens",
            "4".into(),
            "max_tokens is a string (s) but must be a whole number",
        ),
        ("max_tokens", (-3i32).into(), "max_tokens is -3"),
        (
            "thinking",
            1i32.into(),
            "thinking is an integer (i) but must be a boolean (b)",
        ),
        ("seed", (1u64 << 32).into(), "seed is 4294967296"),
        (
            "colour",
            "blue".into(),
            "there is no option `colour`; there are system,",
        ),
    ];
    for (option, value, message) in wrong {
        let (name, said) = ask(HashMap::from([(option, value)])).await.unwrap_err();
        assert_eq!(name, "org.gemmad1.Error.InvalidArgument", "{said}");
        assert!(said.contains(message), "{said}");
    }
    let others = [
        (
            MANAGER_PATH,
            "org.gemmad1.Manager",
            "Transcribe",
            "language",
        ),
        (VOICE_PATH, "org.gemmad1.Voice", "Say", "voice"),
        (COMMANDS_PATH, "org.gemmad1.Commands", "Invoke", "dry_run"),
    ];
    for (path, interface, method, option) in others {
        let options = HashMap::from([(option, Variant::from(5i32))]);
        let refused = if method == "Transcribe" {
            let file = tempfile::tempfile().unwrap();
            let arguments = (Fd::from(&file), options);
            call(daemon.connection(), path, interface, method, &arguments).await
        } else {
            call(
                daemon.connection(),
                path,
                interface,
                method,
                &("hello", options),
            )
            .await
        };
        let (_, said) = refused.unwrap_err();
        assert!(
            said.contains(&format!("{option} is an integer (i)")),
            "{said}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_clients_send_is_measured_before_it_takes_memory() {
    let bus = Bus::start().await.unwrap();
    let daemon = Daemon::setup(&bus).start().await.unwrap();
    let before = peak(&daemon);
    let prompt = "word ".repeat(6 * (1 << 20) / 5);
    let prompts = (0..30).map(|_| async {
        let client = bus.connect(PATIENCE).await.unwrap();
        manager(&client).await.ask(&prompt, short()).await
    });
    for refused in join_all(prompts).await {
        // If they come faster than the daemon reads them, the bus itself refuses some.
        let is_refused = matches!(
            &refused,
            Err(Error::InvalidArgument(_) | Error::Bus(zbus::Error::FDO(_)))
        );
        assert!(is_refused, "{refused:?}");
    }
    let prompt = "word ".repeat((2 << 20) / 5);
    let refused = daemon.manager().ask(&prompt, short()).await;
    assert!(
        matches!(refused, Err(Error::PromptTooLong(_))),
        "{refused:?}"
    );
    let schema = AskOptions {
        schema: Some(format!("{{\"title\":\"{}\"}}", "x".repeat(3 << 20))),
        ..short()
    };
    let refused = daemon.manager().ask("hello", schema).await;
    assert!(
        matches!(refused, Err(Error::InvalidArgument(_))),
        "{refused:?}"
    );

    // Deserialised, an array in a variant takes a hundred times its size in the message.
    let value = Variant::from(vec![0u8; 16 << 20]);
    let arguments = ("org.gemmad1.Voice", "Muted", value);
    let properties = "org.freedesktop.DBus.Properties";
    let set = call(
        daemon.connection(),
        VOICE_PATH,
        properties,
        "Set",
        &arguments,
    )
    .await;
    let (_, said) = set.unwrap_err();
    assert!(said.contains("shorten its arguments"), "{said}");

    // No option takes these descriptors, but the daemon would hold them as long as the call lasts.
    let (reader, _writer) = io::pipe().unwrap();
    let descriptors: HashMap<_, _> = (0..8)
        .map(|at| (format!("d{at}"), Variant::from(Fd::from(&reader))))
        .collect();
    let interface = "org.gemmad1.Manager";
    let arguments = ("hello", descriptors);
    let ask = call(
        daemon.connection(),
        MANAGER_PATH,
        interface,
        "Ask",
        &arguments,
    )
    .await;
    let (_, said) = ask.unwrap_err();
    assert!(said.contains("more files than it takes"), "{said}");

    let grown = (peak(&daemon) - before) / MIB;
    assert!(grown < 150, "grew by {grown} MiB");
    let (text, _) = daemon
        .manager()
        .ask(nano::QUESTION, AskOptions::default())
        .await
        .unwrap();
    assert_eq!(text, nano::ANSWER);
}

/// A WAV file of 64 MiB of 8-bit silence at this rate; it is sparse and takes no space on the disk.
fn huge_wav(rate: u32) -> std::fs::File {
    let mut file = tempfile::tempfile().unwrap();
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: rate,
        bits_per_sample: 8,
        sample_format: hound::SampleFormat::Int,
    };
    let mut head = io::Cursor::new(Vec::new());
    hound::WavWriter::new(&mut head, spec)
        .unwrap()
        .finalize()
        .unwrap();
    let mut head = head.into_inner();
    let length = (64 << 20) - u32::try_from(head.len()).unwrap();
    let at = head.len() - 4;
    head[at..].copy_from_slice(&length.to_le_bytes());
    head[4..8].copy_from_slice(&((64u32 << 20) - 8).to_le_bytes());
    file.write_all(&head).unwrap();
    file.set_len(64 << 20).unwrap();
    file.seek(SeekFrom::Start(0)).unwrap();
    file
}

#[tokio::test(flavor = "multi_thread")]
async fn sound_files_are_decoded_a_few_at_a_time_and_nobody_else_waits_for_them() {
    let bus = Bus::start().await.unwrap();
    let setup = Daemon::setup(&bus).set("engine", "queue", 6);
    let daemon = setup.start().await.unwrap();
    let before = peak(&daemon);
    let transcriptions = (0..40).map(|_| async {
        let client = bus.connect(PATIENCE).await.unwrap();
        let file = huge_wav(383_987);
        let manager = manager(&client).await;
        manager
            .transcribe((&file).into(), TranscribeOptions::default())
            .await
    });
    let asking = async {
        // While the transcriptions are refused and decoded, other clients are answered.
        for _ in 0..20 {
            let state = timeout(AT_ONCE, daemon.manager().state()).await;
            assert_eq!(state.expect("too slow").unwrap(), ManagerState::Ready);
        }
    };
    let (transcribed, ()) = tokio::join!(join_all(transcriptions), asking);
    let busy = transcribed
        .iter()
        .filter(|it| matches!(it, Err(Error::Busy(_))));
    assert!(busy.count() >= 32, "{transcribed:?}");
    let grown = (peak(&daemon) - before) / MIB;
    assert!(grown < 600, "grew by {grown} MiB");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_client_and_all_together_hold_so_many_streams_and_a_reader_that_leaves_gives_its_own_back()
 {
    let bus = Bus::start().await.unwrap();
    let daemon = Daemon::setup(&bus).start().await.unwrap();
    let mut readers = Vec::new();
    let mut clients = Vec::new();
    let mut refused = None;
    while refused.is_none() {
        let client = bus.connect(PATIENCE).await.unwrap();
        let manager = manager(&client).await;
        let mut of_this = 0;
        loop {
            let (reader, writer) = full_pipe();
            match manager.stream("hello", short(), (&writer).into()).await {
                Ok(_) => readers.push(reader),
                Err(Error::Busy(why)) if why.contains("one client may") => break,
                Err(error) => {
                    refused = Some(error);
                    break;
                }
            }
            // The answer is complete and waits for its reader; the engine is idle.
            health_becomes(&manager, Health::is_idle).await;
            of_this += 1;
        }
        assert!(of_this == 8 || refused.is_some(), "{of_this}");
        clients.push(client);
    }
    let refused = refused.unwrap();
    assert!(
        matches!(&refused, Error::Busy(why) if why.contains("64 streams")),
        "{refused:?}"
    );
    assert_eq!(readers.len(), 64);

    // Other clients are answered, and a halt is obeyed.
    let (text, _) = daemon
        .manager()
        .ask(nano::QUESTION, AskOptions::default())
        .await
        .unwrap();
    assert_eq!(text, nano::ANSWER);
    drop(readers.pop());
    let patience = Instant::now();
    loop {
        let (_reader, writer) = full_pipe();
        match daemon
            .manager()
            .stream("hello", short(), (&writer).into())
            .await
        {
            Ok(_) => break,
            Err(error) => assert!(matches!(error, Error::Busy(_)), "{error:?}"),
        }
        assert!(patience.elapsed() < PATIENCE);
    }
}

#[tokio::test]
async fn a_socket_whose_peer_has_gone_gives_its_place_back_and_one_that_cannot_tell_is_refused() {
    let bus = Bus::start().await.unwrap();
    let setup = Daemon::setup(&bus)
        .set("engine", "parallel", 1)
        .set("engine", "queue", 0);
    let daemon = setup.start().await.unwrap();
    let manager = daemon.manager();
    for _ in 0..3 {
        let (mut reader, writer) = UnixStream::pair().unwrap();
        manager
            .stream("tell me everything", endless(), (&writer).into())
            .await
            .unwrap();
        drop(writer);
        reader.read_exact(&mut [0]).unwrap();
        drop(reader);
        health_becomes(manager, Health::is_idle).await;
    }
    // Also if the reader closes it before anything is written.
    let (reader, writer) = UnixStream::pair().unwrap();
    drop(reader);
    let closed = manager
        .stream("tell me everything", endless(), (&writer).into())
        .await;
    assert!(
        matches!(closed, Ok(_) | Err(Error::Cancelled(_))),
        "{closed:?}"
    );
    health_becomes(manager, Health::is_idle).await;

    let (datagram, _peer) = UnixDatagram::pair().unwrap();
    let (read_end, _writer) = io::pipe().unwrap();
    let unfit: [OwnedFd; 2] = [datagram.into(), read_end.into()];
    for descriptor in unfit {
        let refused = manager
            .stream("hello", short(), descriptor.as_fd().into())
            .await;
        assert!(
            matches!(refused, Err(Error::InvalidArgument(_))),
            "{refused:?}"
        );
    }
    let (text, _) = manager
        .ask(nano::QUESTION, AskOptions::default())
        .await
        .unwrap();
    assert_eq!(text, nano::ANSWER);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_something_is_said_the_microphone_is_muted_at_once_and_only_so_much_is_to_be_said() {
    let bus = Bus::start().await.unwrap();
    let (loudspeaker, microphone) = Microphone::in_a_room(0.5).unwrap();
    let mut daemon = Daemon::setup(&bus)
        .microphone(&microphone)
        .loudspeaker(&loudspeaker)
        .start()
        .await
        .unwrap();
    daemon.until_it_listens().await.unwrap();
    let long = "One two three four five six seven eight nine ten. ".repeat(20);
    let talker = bus.connect(PATIENCE).await.unwrap();
    let talking = VoiceProxy::new(&talker).await.unwrap();
    let sayings: Vec<_> = (0..8)
        .map(|_| {
            let (talking, long) = (talking.clone(), long.clone());
            tokio::spawn(async move { talking.say(&long, SayOptions::default()).await })
        })
        .collect();
    timeout(PATIENCE, loudspeaker.sounds(0)).await.unwrap();

    let refused = timeout(AT_ONCE, talking.say("one more", SayOptions::default())).await;
    let refused = refused.expect("it waits").unwrap_err();
    assert!(
        matches!(&refused, Error::Busy(why) if why.contains("texts to be said")),
        "{refused:?}"
    );
    let voice = daemon.voice();
    timeout(AT_ONCE, voice.set_muted(true))
        .await
        .expect("it waits")
        .unwrap();
    timeout(AT_ONCE, daemon.until_microphone_is(false))
        .await
        .expect("it is open")
        .unwrap();
    assert!(sayings.iter().all(|saying| !saying.is_finished()));
    timeout(AT_ONCE, voice.state())
        .await
        .expect("it waits")
        .unwrap();
    timeout(AT_ONCE, voice.stop())
        .await
        .expect("it waits")
        .unwrap();
    for saying in sayings {
        let said = timeout(AT_ONCE, saying)
            .await
            .expect("it is still said")
            .unwrap();
        assert!(matches!(said, Err(Error::Cancelled(_))), "{said:?}");
    }
}

/// The shipped catalogue of the robot, whose `stop` runs this in a shell.
fn robot_that_stops_by(folder: &Path, script: &str) {
    let head = "[commands.stop]\n";
    assert!(ROBOT.contains(head));
    let action = format!("action.program = {{ run = [\"/bin/sh\", \"-c\", '{script}'] }}");
    let text = ROBOT.replace(head, &format!("{head}{action}\n"));
    std::fs::write(folder.join("robot.toml"), text).unwrap();
}

#[tokio::test]
async fn no_signal_is_sent_without_the_name() {
    let bus = Bus::start().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    robot_that_stops_by(folder.path(), "sleep 0.2");
    let mut daemon = Daemon::setup(&bus)
        .commands(folder.path())
        .start()
        .await
        .unwrap();
    let commands = CommandsProxy::new(daemon.connection()).await.unwrap();
    // With a reader that does not read, the daemon takes half a second to end.
    let (_reader, writer) = full_pipe();
    daemon
        .manager()
        .stream("hello", short(), (&writer).into())
        .await
        .unwrap();

    let listener = bus.connect(PATIENCE).await.unwrap();
    let driver = zbus::fdo::DBusProxy::new(&listener).await.unwrap();
    let owner = driver
        .get_name_owner(SERVICE.try_into().unwrap())
        .await
        .unwrap();
    let everything = MatchRule::builder()
        .msg_type(zbus::message::Type::Signal)
        .build();
    let mut signals = MessageStream::for_match_rule(everything.unwrap(), &listener, None)
        .await
        .unwrap();
    commands.halt().await.unwrap();
    daemon.signal(Signal::TERM);

    let mut last_words = Vec::new();
    loop {
        let signal = timeout(PATIENCE, signals.next())
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        let header = signal.header();
        if header.sender().is_some_and(|sender| *sender == *owner) {
            last_words.push(header.member().unwrap().to_string());
        } else if header
            .member()
            .is_some_and(|member| *member == "NameOwnerChanged")
        {
            let (name, _, now): (String, String, String) = signal.body().deserialize().unwrap();
            if name == SERVICE && now.is_empty() {
                break;
            }
        }
    }
    assert!(
        last_words
            .iter()
            .any(|member| member == "PropertiesChanged"),
        "{last_words:?}"
    );
    assert!(
        last_words.iter().any(|member| member == "Finished"),
        "{last_words:?}"
    );
    assert!(daemon.wait().await.unwrap().success());
    // All that the daemon sent arrives before the reply to this call.
    driver.get_id().await.unwrap();
    let late = async {
        loop {
            let signal = signals.next().await.unwrap().unwrap();
            let header = signal.header();
            let is_from_it = header.sender().is_some_and(|sender| *sender == *owner);
            assert!(!is_from_it, "{signal:?} without the name");
        }
    };
    assert!(timeout(Duration::from_millis(100), late).await.is_err());
}

#[tokio::test]
async fn nothing_new_is_begun_at_the_end() {
    let bus = Bus::start().await.unwrap();
    let mut daemon = Daemon::setup(&bus).start().await.unwrap();
    let (_reader, writer) = full_pipe();
    daemon
        .manager()
        .stream("hello", short(), (&writer).into())
        .await
        .unwrap();
    let client = bus.connect(PATIENCE).await.unwrap();
    let manager = manager(&client).await;
    let mut states = daemon.manager().receive_state_changed().await;
    daemon.signal(Signal::TERM);
    while states.next().await.unwrap().get().await.ok() != Some(ManagerState::Stopping) {}
    let refused = manager.ask("hello", short()).await.unwrap_err();
    assert!(
        matches!(&refused, Error::Cancelled(why) if why.contains("stopping")),
        "{refused:?}"
    );
    assert!(daemon.wait().await.unwrap().success());
}

#[tokio::test]
async fn programs_of_commands_get_no_descriptors_of_clients() {
    let bus = Bus::start().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("list");
    let script = format!(
        "ls -l /proc/self/fd > {0}.new; mv {0}.new {0}",
        list.display()
    );
    robot_that_stops_by(folder.path(), &script);
    let daemon = Daemon::setup(&bus)
        .commands(folder.path())
        .set("engine", "parallel", 1)
        .start()
        .await
        .unwrap();
    let commands = CommandsProxy::new(daemon.connection()).await.unwrap();
    let (_reader, writer) = io::pipe().unwrap();
    daemon
        .manager()
        .stream("Go on.", endless(), (&writer).into())
        .await
        .unwrap();
    // This transcription waits, and the daemon holds its file.
    let mut secret = tempfile::NamedTempFile::with_prefix("secret").unwrap();
    let sound = huge_wav(16_000);
    io::copy(&mut sound.take(80_000), &mut secret).unwrap();
    let secret = std::fs::File::open(secret.path()).unwrap();
    let transcriber = manager(&bus.connect(PATIENCE).await.unwrap()).await;
    let waiting = tokio::spawn(async move {
        transcriber
            .transcribe((&secret).into(), TranscribeOptions::default())
            .await
    });
    health_becomes(daemon.manager(), |health| health.queued == 1).await;
    let mut finished = commands.receive_finished().await.unwrap();
    commands.halt().await.unwrap();
    finished.next().await.unwrap();
    let listed = std::fs::read_to_string(&list).unwrap();
    assert!(!listed.contains("secret"), "{listed}");
    waiting.abort();
}

#[tokio::test]
async fn a_file_that_never_ends_holds_up_neither_a_stop_nor_a_start() {
    let bus = Bus::start().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("commands.toml");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &fifo,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RWXU,
        0,
    )
    .unwrap();
    // A reader of the FIFO blocks as long as this is open.
    let _writer = std::fs::File::options()
        .read(true)
        .write(true)
        .open(&fifo)
        .unwrap();
    let mut daemon = Daemon::setup(&bus).start().await.unwrap();
    let folders = vec![folder.path().display().to_string()];
    daemon.write("commands", "folders", folders).unwrap();
    daemon.write("commands", "enabled", true).unwrap();
    daemon.signal(Signal::HUP);
    let manager = daemon.manager().clone();
    let reloading = tokio::spawn(async move { manager.reload().await });
    assert_eq!(daemon.manager().state().await.unwrap(), ManagerState::Ready);
    let begun = Instant::now();
    assert!(
        timeout(PATIENCE, daemon.stop())
            .await
            .unwrap()
            .unwrap()
            .success()
    );
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
    reloading.abort();
}

#[tokio::test]
async fn a_service_manager_that_hears_nothing_holds_up_neither_start_nor_end() {
    let bus = Bus::start().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let notify = folder.path().join("notify");
    let _deaf = UnixDatagram::bind(&notify).unwrap();
    let fill = UnixDatagram::unbound().unwrap();
    fill.set_nonblocking(true).unwrap();
    while fill.send_to(b"X=1", &notify).is_ok() {}
    let daemon = Daemon::setup(&bus)
        .env("NOTIFY_SOCKET", &notify)
        .start()
        .await
        .unwrap();
    let begun = Instant::now();
    let status = timeout(PATIENCE, daemon.stop()).await.unwrap().unwrap();
    assert!(status.success());
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
}
