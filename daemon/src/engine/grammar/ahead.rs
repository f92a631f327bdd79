//! The form that is compiled before anybody asks: over Gemma's vocabulary the first command would wait a second for it.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use super::compiler::Grammars;
use super::form::Form;

/// A form that is compiled for every model. Clones share it.
#[derive(Debug, Clone, Default)]
pub(in crate::engine) struct Ahead(Arc<Mutex<Option<Form>>>);

impl Ahead {
    /// Has `form` compiled for the models that are loaded from now on; or nothing.
    pub(in crate::engine) fn put(&self, form: Option<&Form>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = form.cloned();
    }

    /// Begins to compile the form for a new model, if there is a form. The engine thread goes on meanwhile.
    pub(in crate::engine) fn begin(&self, grammars: &Arc<Grammars>) {
        let form = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(form) = form.clone() else {
            return;
        };
        let grammars = Arc::clone(grammars);
        // Whoever asks for it is told what is wrong with it. Without a thread it is compiled then.
        let _ = thread::Builder::new()
            .name("ahead".into())
            .spawn(move || drop(grammars.compile(&form)));
    }
}
