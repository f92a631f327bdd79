//! What the actions of a catalogue can do with the conversation itself.

use std::fmt;

/// The conversation of the spoken turns, and the voice that answers in it.
pub trait Talk: fmt::Debug + Send + Sync {
    /// The last words of the assistant; `None` if it has said nothing, or has forgotten them.
    fn last(&self) -> Option<String>;

    /// Forgets all that was said.
    fn forget(&self);

    /// The volume of the assistant's own voice, 0 to 1.
    fn volume(&self) -> f32;

    /// Sets it, until the configuration is read again.
    fn set_volume(&self, volume: f32);
}

#[cfg(test)]
pub(super) mod testing {
    use std::sync::Mutex;

    use super::Talk;

    /// A talk in which these were the last words, at this volume.
    #[derive(Debug)]
    pub struct Said(pub Mutex<(Option<String>, f32)>);

    impl Said {
        pub fn nothing() -> Self {
            Self(Mutex::new((None, 0.5)))
        }
    }

    impl Talk for Said {
        fn last(&self) -> Option<String> {
            self.0.lock().unwrap().0.clone()
        }

        fn forget(&self) {
            self.0.lock().unwrap().0 = None;
        }

        fn volume(&self) -> f32 {
            self.0.lock().unwrap().1
        }

        fn set_volume(&self, volume: f32) {
            self.0.lock().unwrap().1 = volume;
        }
    }
}
