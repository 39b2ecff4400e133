//! Faults: what a failed call means. The one question is whether what it was to do was done, or may still be done.

use crate::store::StoreError;
use mongodb::error::{Error, ErrorKind, InsertManyError, WriteFailure};

/// What a server calls a key that is there already.
pub(super) const DUPLICATE_KEY: i32 = 11_000;
/// Codes of a server that refuses us: it has done nothing.
const REFUSALS: [i32; 2] = [13, 18];

/// Why a call did not do what it should.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum Fault {
    /// It is certain that nothing was done.
    #[error("{0}")]
    NotDone(String),
    /// A unique field is taken; nothing was done.
    #[error("a unique field is taken")]
    Taken,
    /// What was done is not known, and may still be done later.
    #[error("{0}")]
    Unknown(String),
    /// What is stored cannot be read.
    #[error("{0}")]
    Corrupt(String),
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Corrupt(why) => Self::Corrupt(why),
            other => Self::NotDone(other.to_string()),
        }
    }
}

impl From<Fault> for StoreError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Corrupt(why) => Self::Corrupt(why),
            other => Self::Unavailable(other.to_string()),
        }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        match error.kind.as_ref() {
            ErrorKind::Write(WriteFailure::WriteError(write)) if write.code == DUPLICATE_KEY => Self::Taken,
            // A command that the server answers so has not changed anything.
            ErrorKind::Command(command) if command.code == DUPLICATE_KEY => Self::Taken,
            ErrorKind::Command(command) if REFUSALS.contains(&command.code) => Self::NotDone(error.to_string()),
            ErrorKind::ServerSelection { .. } | ErrorKind::Authentication { .. } | ErrorKind::DnsResolve { .. } => {
                Self::NotDone(error.to_string())
            }
            ErrorKind::Bson(why) => Self::Corrupt(why.to_string()),
            _ => Self::Unknown(error.to_string()),
        }
    }
}

/// Whether all that is wrong with an insert is that documents were there.
pub(super) fn are_duplicates(errors: &InsertManyError) -> bool {
    let are = |errors: &Vec<mongodb::error::IndexedWriteError>| errors.iter().all(|error| error.code == DUPLICATE_KEY);
    errors.write_concern_error.is_none() && errors.write_errors.as_ref().is_some_and(are)
}
