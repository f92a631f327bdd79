//! A private `PulseAudio` server whose default source monitors its only sink.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use tempfile::TempDir;
use tokio::io::AsyncWriteExt;

use super::Encoding;
use crate::{Error, process::Process, variables::Env};

/// The line after which the server accepts clients, because its configuration opens the socket.
const UP: &str = "Daemon startup complete";

/// See [`super::Microphone::pulse`].
#[derive(Debug)]
pub(super) struct Microphone {
    encoding: Encoding,
    server: Option<Process>,
    folder: TempDir,
}

impl Microphone {
    pub(super) async fn new(encoding: Encoding) -> Result<Self, Error> {
        let folder = tempfile::tempdir().map_err(Error::file(&std::env::temp_dir()))?;
        // Programs that use ALSA reach the server through ALSA's pulse plugin.
        let alsa = folder.path().join("asound.conf");
        let text = "pcm.!default { type pulse hint { show on description \"Default source\" } }\n";
        std::fs::write(&alsa, text).map_err(Error::file(&alsa))?;
        let mut microphone = Self {
            encoding,
            server: None,
            folder,
        };
        microphone.plug_in().await?;
        Ok(microphone)
    }

    pub(super) fn unplug_for(&mut self, encoding: Encoding) {
        self.unplug();
        self.encoding = encoding;
    }

    pub(super) fn env(&self) -> Env {
        let folder = self.folder.path();
        let socket = format!("unix:{}", folder.join("socket").display());
        vec![
            ("PULSE_SERVER", socket.into()),
            ("PULSE_RUNTIME_PATH", folder.into()),
            ("ALSA_CONFIG_PATH", folder.join("asound.conf").into()),
        ]
    }

    pub(super) async fn play(&self, samples: &[f32]) -> Result<(), Error> {
        if self.server.is_none() {
            return Err(Error::Unplugged);
        }
        let bytes = self.encoding.encode(samples)?;
        let Encoding { rate, channels, .. } = self.encoding;
        let mut player = tokio::process::Command::new("paplay")
            .args(["--raw", "--format=s16le", "--device=speaker"])
            .args([format!("--rate={rate}"), format!("--channels={channels}")])
            .envs(self.env())
            .stdin(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|source| Error::Program {
                program: "paplay".into(),
                source,
            })?;
        if let Some(mut stdin) = player.stdin.take() {
            // It fails if paplay has ended; paplay's exit status is checked below.
            let _ = stdin.write_all(&bytes).await;
        }
        match player.wait().await {
            Ok(status) if status.success() => Ok(()),
            _ => Err(Error::Unplugged),
        }
    }

    pub(super) fn unplug(&mut self) {
        self.server = None;
    }

    pub(super) async fn plug_in(&mut self) -> Result<(), Error> {
        if self.server.is_some() {
            return Ok(());
        }
        let folder = self.folder.path();
        let script = folder.join("server.pa");
        std::fs::write(&script, configuration(folder, self.encoding))
            .map_err(Error::file(&script))?;
        let mut command = Command::new("pulseaudio");
        command
            .args(["-n", "--daemonize=no", "--use-pid-file=no", "-v"])
            .args([
                "--exit-idle-time=-1",
                "--disallow-exit",
                "--log-target=stderr",
            ])
            .arg("-F")
            .arg(script)
            .env("XDG_RUNTIME_DIR", folder)
            .env("PULSE_RUNTIME_PATH", folder)
            .env("PULSE_STATE_PATH", folder)
            .env("HOME", folder)
            .env("LC_ALL", "C")
            .env_remove("PULSE_SERVER");
        let (process, mut lines) = Process::start(command)?;
        while let Some(line) = lines.recv().await {
            if line.contains(UP) {
                self.server = Some(process);
                return Ok(());
            }
        }
        Err(process.not_started())
    }
}

/// The server's configuration. `norewinds` makes the sink pass on sound as it comes; without it the
/// first sound reaches a recording program almost 2 s late.
fn configuration(folder: &Path, Encoding { rate, channels, .. }: Encoding) -> String {
    let format = format!("format=s16le rate={rate} channels={channels}");
    let socket = folder.join("socket");
    format!(
        r#"load-module module-null-sink sink_name=speaker norewinds=1 {format}
load-module module-remap-source source_name=microphone master=speaker.monitor {format} source_properties="device.description='Virtual microphone'"
set-default-sink speaker
set-default-source microphone
load-module module-native-protocol-unix auth-anonymous=1 socket={}
"#,
        socket.display()
    )
}
