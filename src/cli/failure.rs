//! An error on its way to standard error and the exit code.

use crate::error::{Exit, Explain};

/// Any error that can be shown to a person.
#[derive(Debug)]
pub(super) struct Failure(Box<dyn Explain>);

impl Failure {
    /// A failure of the command line itself.
    pub(super) fn new(exit: Exit, what: impl Into<String>, advice: impl Into<String>) -> Self {
        Plain { exit, what: what.into(), advice: advice.into() }.into()
    }

    /// The error.
    pub(super) fn error(&self) -> &dyn Explain {
        &*self.0
    }
}

impl<E: Explain> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(Box::new(error))
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{what}")]
struct Plain {
    exit: Exit,
    what: String,
    advice: String,
}

impl Explain for Plain {
    fn exit(&self) -> Exit {
        self.exit
    }

    fn advice(&self) -> Option<String> {
        Some(self.advice.clone())
    }
}
