//! Faults: what a failed call means. The one question is whether what it was to do was done, or may still be done.

use crate::store::StoreError;
use mongodb::error::{Error, ErrorKind, InsertManyError, WriteFailure};

/// What a server calls a key that is there already.
pub(super) const DUPLICATE_KEY: i32 = 11_000;
/// Codes of a server that refuses us: the attempt that it refuses has done nothing.
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
            _ if is_refusal(&error) => Self::NotDone(error.to_string()),
            ErrorKind::ServerSelection { .. } | ErrorKind::Authentication { .. } | ErrorKind::DnsResolve { .. } => {
                Self::NotDone(error.to_string())
            }
            ErrorKind::Bson(why) => Self::Corrupt(why.to_string()),
            _ => Self::Unknown(error.to_string()),
        }
    }
}

impl Fault {
    /// What an error says of a write that the driver may have tried twice. A refusal may be that of the second attempt, and the first, of
    /// which the driver says nothing then, may have landed.
    pub(super) fn of_repeated(error: Error) -> Self {
        if is_refusal(&error) { Self::Unknown(error.to_string()) } else { Self::from(error) }
    }
}

fn is_refusal(error: &Error) -> bool {
    matches!(error.kind.as_ref(), ErrorKind::Command(command) if REFUSALS.contains(&command.code))
}

/// Whether all that is wrong with an insert is that documents were there.
pub(super) fn are_duplicates(errors: &InsertManyError) -> bool {
    let are = |errors: &Vec<mongodb::error::IndexedWriteError>| errors.iter().all(|error| error.code == DUPLICATE_KEY);
    errors.write_concern_error.is_none() && errors.write_errors.as_ref().is_some_and(are)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use mongodb::bson::{deserialize_from_document, doc};

    fn answered(code: i32) -> Error {
        let command = deserialize_from_document(doc! { "code": code, "codeName": "X", "errmsg": "no" }).unwrap();
        ErrorKind::Command(command).into()
    }

    #[test]
    fn a_refusal_is_certain_only_where_nothing_was_tried_twice() {
        for code in REFUSALS {
            assert!(matches!(Fault::from(answered(code)), Fault::NotDone(_)), "{code}");
            assert!(matches!(Fault::of_repeated(answered(code)), Fault::Unknown(_)), "{code}");
        }
        assert!(matches!(Fault::of_repeated(answered(DUPLICATE_KEY)), Fault::Taken));
        assert!(matches!(Fault::from(answered(189)), Fault::Unknown(_)), "the primary stepped down");
    }
}
