//! The form that is compiled before anybody asks: over Gemma's vocabulary the first command would wait for it.
//!
//! Most of the time goes into sorting the vocabulary, which the header of the model's file describes already. So that is
//! done while the weights are loaded.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use super::compiler::{Foreseen, Grammars, Sorted};
use super::form::{Form, Grammar};
use crate::engine::EngineError;

/// A form that is being compiled.
pub(in crate::engine) type Compiling = JoinHandle<Result<Grammar, EngineError>>;

/// A form that is compiled for every model. Clones share it.
#[derive(Debug, Clone, Default)]
pub(in crate::engine) struct Ahead(Arc<Mutex<Option<Form>>>);

impl Ahead {
    /// Has `form` compiled for the models that are loaded from now on; or nothing.
    pub(in crate::engine) fn put(&self, form: Option<&Form>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = form.cloned();
    }

    fn form(&self) -> Option<Form> {
        let form = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        form.clone()
    }

    /// Begins to sort the vocabulary of the model at `path`, which is about to be loaded, if there is a form.
    pub(in crate::engine) fn sort(&self, path: &Path) -> Option<Foreseen> {
        self.form()?;
        let path = path.to_owned();
        let thread = thread::Builder::new().name("sort".into());
        thread.spawn(move || Sorted::foreseen(&path)).ok()
    }

    /// Begins to compile the form for a model that was loaded, if there is a form. Nobody has to wait for the result: who
    /// asks for the grammar gets it, or is told what is wrong with the form.
    pub(in crate::engine) fn compile(&self, grammars: &Arc<Grammars>) -> Option<Compiling> {
        let form = self.form()?;
        let grammars = Arc::clone(grammars);
        let thread = thread::Builder::new().name("ahead".into());
        thread.spawn(move || grammars.compile(&form)).ok()
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::config;
    use crate::engine::ggml::threads::Threads;
    use crate::engine::llama::model::Model;

    #[test]
    fn a_form_is_compiled_before_anybody_asks() {
        let text = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/nano/nano-f16.gguf");
        let ahead = Ahead::default();
        assert!(ahead.sort(&text).is_none());
        let form = Form::Lark(r#"start: "yes" | "no""#.into());
        ahead.put(Some(&form));
        let foreseen = ahead.sort(&text);
        assert!(foreseen.is_some());
        let config = config::Model {
            text,
            mmproj: PathBuf::new(),
            ..config::Model::default()
        };
        let model = Model::open(&config, &Threads::of(1)).unwrap();
        let grammars = Arc::new(Grammars::new(&Arc::new(model), foreseen));
        let compiled = ahead.compile(&grammars).unwrap().join().unwrap().unwrap();
        let asked_for = grammars.compile(&form).unwrap();
        assert!(Arc::ptr_eq(&compiled.matcher, &asked_for.matcher));
        ahead.put(None);
        assert!(ahead.compile(&grammars).is_none());
    }

    #[test]
    fn a_file_that_cannot_be_read_ahead_is_a_matter_of_loading_it() {
        let ahead = Ahead::default();
        ahead.put(Some(&Form::Lark("start: \"yes\"".into())));
        let nothing = ahead.sort(Path::new("/nonexistent.gguf")).unwrap();
        assert!(nothing.join().unwrap().is_err());
    }
}
