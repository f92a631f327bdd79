//! An ALSA device that reads its sound from a FIFO.
//!
//! ALSA's `file` plugin over the `null` device gives a recording program the bytes that it reads from a
//! file. If that file is a FIFO, its writer sets the pace, so this device runs in real time. The plugin
//! also copies the recorded bytes into a second file, whose name holds rate, channels and sample type;
//! from that file the writer learns that a program records, and in which encoding.

mod feeder;

use std::{
    fs::{File, Permissions},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::{
    fs::{CWD, FileType, Mode, OFlags, mknodat, open},
    pipe::fcntl_setpipe_size,
};
use tempfile::TempDir;

use crate::loudspeaker::{Air, Loudspeaker};
use crate::variables::{Env, no_server};
use crate::{Echo, Error};
use feeder::Feeder;

/// Capacity of the FIFO, in bytes: how much a slow program may leave unread. Linux allows as much to every user.
const CAPACITY: usize = 1 << 20;

/// See [`super::Microphone::alsa`].
#[derive(Debug)]
pub(super) struct Microphone {
    feeder: Option<Feeder>,
    /// All FIFOs so far. An unplugged one stays open, so that a program that still reads it blocks for
    /// ever, as with a dead device, instead of reaching the end of the file.
    fifos: Vec<Arc<File>>,
    folder: PathBuf,
    /// Path of the folder as seen by the recording programs.
    inside: PathBuf,
    /// ALSA's configuration of the loudspeaker beside it, and that loudspeaker's echo here.
    output: String,
    echo: Option<(Air, Echo)>,
    /// Whether only programs of this user may record.
    private: bool,
    /// Removed with the microphone.
    _temporary: Option<TempDir>,
}

impl Microphone {
    pub(super) fn new() -> Result<Self, Error> {
        let folder = tempfile::tempdir().map_err(Error::file(&std::env::temp_dir()))?;
        let path = folder.path().to_owned();
        Self::set_up(path.clone(), path, Some(folder), String::new(), None)
    }

    pub(super) fn beside(loudspeaker: &Loudspeaker, echo: Option<Echo>) -> Result<Self, Error> {
        let folder = tempfile::tempdir().map_err(Error::file(&std::env::temp_dir()))?;
        let path = folder.path().to_owned();
        let echo = echo.map(|echo| (loudspeaker.air(), echo));
        let output = loudspeaker.configuration();
        Self::set_up(path.clone(), path, Some(folder), output, echo)
    }

    pub(super) fn kept_in(folder: &Path, inside: &Path) -> Result<Self, Error> {
        Self::set_up(folder.into(), inside.into(), None, String::new(), None)
    }

    fn set_up(
        folder: PathBuf,
        inside: PathBuf,
        temporary: Option<TempDir>,
        output: String,
        echo: Option<(Air, Echo)>,
    ) -> Result<Self, Error> {
        let mut microphone = Self {
            feeder: None,
            fifos: Vec::new(),
            folder,
            inside,
            output,
            echo,
            private: temporary.is_some(),
            _temporary: temporary,
        };
        let (config, copies) = (microphone.path("asound.conf"), microphone.path("copies"));
        std::fs::write(&config, microphone.configuration()).map_err(Error::file(&config))?;
        std::fs::create_dir(&copies).map_err(Error::file(&copies))?;
        microphone.share(&copies, 0o777)?;
        microphone.plug_in()?;
        Ok(microphone)
    }

    /// Sets the permissions of `path` for all users, unless the microphone is private.
    fn share(&self, path: &Path, mode: u32) -> Result<(), Error> {
        if self.private {
            return Ok(());
        }
        let permissions = Permissions::from_mode(mode);
        std::fs::set_permissions(path, permissions).map_err(Error::file(path))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn configuration(&self) -> String {
        let default = if self.output.is_empty() {
            ("!default", String::new())
        } else {
            let both = "pcm.!default { type asym playback.pcm loudspeaker capture.pcm microphone hint { show on \
                        description \"Virtual microphone and loudspeaker\" } }\n";
            ("microphone", format!("{}{both}", self.output))
        };
        format!(
            r#"pcm.null {{ type null }}
pcm.{} {{
    type file
    slave.pcm null
    infile "{}"
    file "{}/%r %c %f"
    format raw
    hint {{ show on description "Virtual microphone" }}
}}
{}"#,
            default.0,
            self.inside.join("fifo").display(),
            self.inside.join("copies").display(),
            default.1
        )
    }

    pub(super) fn env(&self) -> Env {
        vec![
            ("ALSA_CONFIG_PATH", self.path("asound.conf").into()),
            no_server(),
        ]
    }

    pub(super) async fn play(&self, samples: &[f32]) -> Result<(), Error> {
        let feeder = self.feeder.as_ref().ok_or(Error::Unplugged)?;
        feeder.play(samples).await
    }

    pub(super) fn unplug(&mut self) {
        if self.feeder.take().is_some() {
            // The FIFO exists, because it was made with the feeder.
            let _ = std::fs::remove_file(self.path("fifo"));
        }
    }

    pub(super) fn plug_in(&mut self) -> Result<(), Error> {
        if self.feeder.is_some() {
            return Ok(());
        }
        let path = self.path("fifo");
        let make = || {
            let mode = Mode::RUSR | Mode::WUSR;
            mknodat(CWD, &path, FileType::Fifo, mode, 0)?;
            // Open for reading too, so that neither end blocks until the other is opened.
            let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let fifo = open(&path, flags, Mode::empty())?;
            fcntl_setpipe_size(&fifo, CAPACITY)?;
            Ok(Arc::new(File::from(fifo)))
        };
        let fifo = make().map_err(|error: rustix::io::Errno| Error::file(&path)(error.into()))?;
        self.share(&path, 0o666)?;
        self.fifos.push(Arc::clone(&fifo));
        self.feeder = Some(Feeder::start(fifo, self.path("copies"), self.echo.clone())?);
        Ok(())
    }
}
