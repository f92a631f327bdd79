//! Hostile, hopeless and doubtful catalogues, given to the real daemon: it refuses them, and lives on.

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use gemmad_api::{CommandInfo, CommandsProxy, Error, ManagerState, from_dict, text};
use gemmad_testbed::{Bus, Daemon};
use rustix::fs::{CWD, FileType, Mode, mknodat};

const DANCE: &str = "[commands.dance]\ndescription = \"Dance.\"\n";

/// A daemon whose catalogue is the file `one.toml` in `folder`; it needs no model.
async fn daemon(bus: &Bus, folder: &Path) -> Daemon {
    std::fs::write(folder.join("one.toml"), DANCE).unwrap();
    let daemon = Daemon::setup(bus).commands(folder);
    let daemon = daemon.set("model", "text", "/nonexistent.gguf");
    daemon.until(ManagerState::Degraded).start().await.unwrap()
}

async fn commands(daemon: &Daemon) -> CommandsProxy<'static> {
    CommandsProxy::new(daemon.connection()).await.unwrap()
}

fn refused<T: std::fmt::Debug>(result: Result<T, Error>) -> String {
    let Err(Error::InvalidConfiguration(why)) = result else {
        panic!("{result:?}")
    };
    assert_eq!(text::check(&why), Ok(()), "{why:?}");
    assert!(why.len() < 2000, "{why}");
    why
}

/// A catalogue of a command with this parameter `x`.
fn with(parameter: &str) -> String {
    format!("{DANCE}[commands.dance.parameters]\nx = {{ {parameter} }}\n")
}

/// Catalogues under which every command would fail, or with invisible characters; and a part of each error message.
fn hopeless() -> Vec<(String, &'static str)> {
    let values: Vec<_> = (0..2000).map(|nth| format!("\"v{nth}\"")).collect();
    let values = format!("type = \"enum\", values = [{}]", values.join(","));
    let mut many = String::new();
    for nth in 0..1000 {
        let parameters = "{ a = { type = \"boolean\" }, b = { type = \"boolean\" } }";
        writeln!(many, "c{nth}={{description=\"A\",parameters={parameters}}}").unwrap();
    }
    let x = ":4: commands.dance.parameters.x";
    vec![
        (with(&values), x),
        (format!("[commands]\n{many}"), "it has"),
        (with("type = \"number\", min = 0, max = inf"), x),
        (with("type = \"number\", min = 0, max = 1e300"), x),
        (with("type = \"number\", min = 0, max = 1, step = 1e-9"), x),
        (
            with("type = \"integer\", min = 0, max = 9007199254740991, step = 9007199254740991"),
            x,
        ),
        (with("type = \"string\", longest = 4294967295"), x),
        (with("type = \"list\", most = 4294967295"), x),
        (with("type = \"enum\", values = [\"a\", \"a\"]"), x),
        (with("type = \"enum\", values = [\"on\u{202E}\"]"), x),
        (with("type = \"string\", ask = \"Which\u{E0041}?\""), x),
        (
            format!("{DANCE}users = []\n"),
            ":1: commands.dance: `users` is empty",
        ),
    ]
}

#[tokio::test]
async fn a_hopeless_catalogue_is_refused_with_its_line_and_the_old_one_stays() {
    let bus = Bus::start().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let daemon = daemon(&bus, folder.path()).await;
    let commands = commands(&daemon).await;
    for (text, said) in hopeless() {
        let checked = refused(commands.check("home.toml", &text).await);
        assert!(checked.starts_with("home.toml"), "{checked}");
        assert!(checked.contains(said), "{checked}");

        std::fs::write(folder.path().join("one.toml"), &text).unwrap();
        let reloaded = refused(daemon.manager().reload().await);
        assert!(reloaded.contains("one.toml"), "{reloaded}");
        let [one] = &commands.list().await.unwrap()[..] else {
            panic!()
        };
        assert_eq!(from_dict::<CommandInfo>(one).unwrap().name, "dance");
    }
}

#[tokio::test]
async fn checking_a_file_that_grows_is_refused_at_once() {
    let bus = Bus::start().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let daemon = daemon(&bus, folder.path()).await;
    let commands = commands(&daemon).await;
    for (default, examples) in [(1_000, 45_000), (100_000, 10_000)] {
        let examples = "{say=\"a\",call={}},".repeat(examples);
        let default = "d".repeat(default);
        let text = format!(
            "{DANCE}examples=[{examples}]\n\
             parameters={{x={{type=\"string\",longest=100000,default=\"{default}\"}}}}\n"
        );
        let began = Instant::now();
        let why = refused(commands.check("home.toml", &text).await);
        assert!(why.contains("at most 65536"), "{why}");
        assert!(
            began.elapsed() < Duration::from_secs(2),
            "{:?}",
            began.elapsed()
        );
    }
    refused(commands.check("a\n\u{1b}[2J\u{202E}", "commands = 1").await);
    let long = commands.check(&"b".repeat(100_000), DANCE).await;
    assert!(matches!(long, Err(Error::InvalidArgument(_))), "{long:?}");
    assert_eq!(commands.list().await.unwrap().len(), 1);
}

#[tokio::test]
async fn users_nobody_knows_programs_that_are_not_there_and_a_file_others_may_write_are_found_when_it_is_checked()
 {
    let bus = Bus::start().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let daemon = daemon(&bus, folder.path()).await;
    let commands = commands(&daemon).await;
    let unknown = format!("{DANCE}users = [\"root\",\n\"no_such_user\"]\n");
    let why = refused(commands.check("home.toml", &unknown).await);
    assert!(
        why.contains("home.toml:4: commands.dance.users: there is no user no_such_user"),
        "{why}"
    );
    let missing = format!("{DANCE}action.program = {{ run = [\"/bin/tru\", \"x\"] }}\n");
    let why = refused(commands.check("home.toml", &missing).await);
    assert!(
        why.contains(
            "home.toml:3: commands.dance.action.program.run: there is no program /bin/tru"
        ),
        "{why}"
    );
    // A deleted user must not cost a machine its commands, so a reload only warns.
    std::fs::write(folder.path().join("one.toml"), &unknown).unwrap();
    daemon.manager().reload().await.unwrap();
    let log = daemon.log();
    assert!(
        log.contains("one.toml:4: commands.dance.users: there is no user"),
        "{log}"
    );

    let path = folder.path().join("two.toml");
    std::fs::write(&path, DANCE).unwrap();
    let name = path.display().to_string();
    commands.check(&name, DANCE).await.unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
    let why = refused(commands.check(&name, DANCE).await);
    assert!(why.contains("two.toml: everybody may write it"), "{why}");
    // With another text the file is not judged: a client that does not know its text learns nothing about it.
    commands.check(&name, &format!("{DANCE}\n")).await.unwrap();
}

#[tokio::test]
async fn a_fifo_and_an_endless_device_are_no_files() {
    let bus = Bus::start().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("fifo.toml");
    mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    for (config, said) in [
        (fifo.as_path(), "it is a FIFO"),
        (Path::new("/dev/zero"), "it is a device"),
    ] {
        let run = tokio::process::Command::new(env!("CARGO_BIN_EXE_gemmad"))
            .args(["--session", "--config"])
            .arg(config)
            .envs(bus.env())
            .kill_on_drop(true)
            .output();
        let ended = tokio::time::timeout(Duration::from_mins(1), run).await;
        let output = ended.expect("it does not wait for anybody").unwrap();
        let said_instead = String::from_utf8_lossy(&output.stderr);
        assert!(said_instead.contains(said), "{said_instead}");
    }

    let commands_folder = tempfile::tempdir().unwrap();
    let daemon = daemon(&bus, commands_folder.path()).await;
    std::fs::rename(&fifo, commands_folder.path().join("two.toml")).unwrap();
    let why = refused(daemon.manager().reload().await);
    assert!(why.contains("two.toml: it is a FIFO"), "{why}");
}
