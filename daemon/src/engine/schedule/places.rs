//! How many requests may be under way.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::config;
use crate::engine::{EngineError, Priority};

/// Spoken turns under way: the one being answered and the next, which is already being heard.
pub(in crate::engine) const TURNS: u32 = 2;

/// Counts the requests and turns under way, running or waiting.
#[derive(Debug)]
pub(in crate::engine) struct Places {
    questions: Room,
    speech: Room,
}

#[derive(Debug)]
struct Room {
    most: u32,
    taken: AtomicU32,
}

/// The right to be under way, given back when dropped.
#[derive(Debug)]
pub struct Place {
    places: Arc<Places>,
    priority: Priority,
    counts: bool,
}

impl Place {
    /// Whether somebody took it.
    pub(in crate::engine) fn counts(&self) -> bool {
        self.counts
    }
}

impl Places {
    pub(in crate::engine) fn new(config: &config::Engine) -> Self {
        let room = |most| Room {
            most,
            taken: AtomicU32::new(0),
        };
        Self {
            questions: room(config.parallel.get() + config.queue.get()),
            speech: room(TURNS),
        }
    }

    /// Takes a place.
    ///
    /// # Errors
    /// [`EngineError::Busy`] or [`EngineError::Listening`] when all are taken.
    pub(in crate::engine) fn take(
        places: &Arc<Self>,
        priority: Priority,
    ) -> Result<Place, EngineError> {
        let room = places.room(priority);
        let add = |taken| (taken < room.most).then_some(taken + 1);
        match room
            .taken
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, add)
        {
            Ok(_) => Ok(Place {
                places: Arc::clone(places),
                priority,
                counts: true,
            }),
            Err(taken) => Err(match priority {
                Priority::Speech => EngineError::Listening { turns: taken },
                Priority::Question => EngineError::Busy { requests: taken },
            }),
        }
    }

    /// A place that counts as none, for what the engine does of its own accord.
    pub(in crate::engine) fn beside(places: &Arc<Self>) -> Place {
        Place {
            places: Arc::clone(places),
            priority: Priority::Question,
            counts: false,
        }
    }

    /// Questions under way.
    pub(in crate::engine) fn questions(&self) -> u32 {
        self.questions.taken.load(Ordering::Acquire)
    }

    fn room(&self, priority: Priority) -> &Room {
        match priority {
            Priority::Speech => &self.speech,
            Priority::Question => &self.questions,
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.counts {
            return;
        }
        let room = self.places.room(self.priority);
        room.taken.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Bounded;

    #[test]
    fn a_full_queue_is_busy_until_somebody_leaves_and_speech_has_places_of_its_own() {
        let config = config::Engine {
            parallel: Bounded::new(1).unwrap(),
            queue: Bounded::new(1).unwrap(),
            ..config::Engine::default()
        };
        let places = Arc::new(Places::new(&config));
        let take = |priority| Places::take(&places, priority);
        let first = take(Priority::Question).unwrap();
        let _second = take(Priority::Question).unwrap();
        let refused = take(Priority::Question).unwrap_err();
        assert_eq!(refused, EngineError::Busy { requests: 2 });
        let _speech = take(Priority::Speech).unwrap();
        drop(first);
        assert!(take(Priority::Question).is_ok());
        let _next = take(Priority::Speech).unwrap();
        let refused = take(Priority::Speech).unwrap_err();
        assert_eq!(refused, EngineError::Listening { turns: 2 });
        assert_eq!(places.questions(), 1);
    }
}
