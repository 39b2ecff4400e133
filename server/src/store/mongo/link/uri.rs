//! What `MONGODB_URI` says, and what it cannot change. What is wrong with one is told without any piece of it: in one that is
//! wrongly written, a password may stand where the driver takes it for a host, a port or a database.

use crate::limits::{MONGO_CONNECT_TIMEOUT, MONGO_CONNECTIONS_MAX, MONGO_PROBE_INTERVAL, MONGO_SERVER_TIME};
use crate::store::StoreError;
use crate::store::mongo::retry::Pauses;
use mongodb::error::{Error, ErrorKind};
use mongodb::options::{Acknowledgment, ClientOptions, ReadConcern, ReadPreference, SelectionCriteria, WriteConcern};
use tokio::time::{Instant, timeout_at};

const MALFORMED: &str = "it is not written as one. It is mongodb://USER:PASSWORD@HOST:PORT/DATABASE?OPTIONS, or mongodb+srv:// \
                         with one host and no port. USER and PASSWORD are percent-encoded (@ is %40, : is %3A, / is %2F, % is \
                         %25); OPTIONS are names and values as MongoDB knows them, with & between them. It is not shown here, \
                         since it may hold a password";
const UNRESOLVED: &str = "the name after mongodb+srv:// does not resolve: a DNS server that can be reached must have SRV \
                          records of _mongodb._tcp.NAME, and at most one TXT record of NAME";

/// Reads a URI. A name that does not resolve is looked up again until `until`.
///
/// # Errors
///
/// [`StoreError::Unavailable`], which has no piece of the URI in it.
pub(super) async fn read(uri: &str, until: Instant) -> Result<ClientOptions, StoreError> {
    let mut pauses = Pauses::new();
    let mut is_told = false;
    let look = async {
        loop {
            match ClientOptions::parse(uri).await {
                Err(error) if matches!(*error.kind, ErrorKind::DnsResolve { .. }) => {}
                read => return read.map_err(|error| unusable(&error)),
            }
            if !std::mem::replace(&mut is_told, true) {
                tracing::warn!("the database cannot be looked for yet: {UNRESOLVED}");
            }
            pauses.pause().await;
        }
    };
    let options = timeout_at(until, look).await.unwrap_or_else(|_| Err(said(UNRESOLVED)))?;
    Ok(decided(options))
}

/// What is wrong with a URI.
pub(super) fn unusable(error: &Error) -> StoreError {
    match error.kind.as_ref() {
        ErrorKind::InvalidArgument { .. } => said(MALFORMED),
        ErrorKind::DnsResolve { .. } => said(UNRESOLVED),
        // Files that it names: certificates, keys.
        other => said(&other.to_string()),
    }
}

fn said(why: &str) -> StoreError {
    StoreError::Unavailable(format!("MONGODB_URI cannot be used: {why}"))
}

/// The options with what is not for the URI to decide: what the promises rest on, and times.
fn decided(mut options: ClientOptions) -> ClientOptions {
    options.app_name.get_or_insert_with(|| "starling".to_owned());
    options.write_concern = Some(write_concern());
    options.read_concern = Some(ReadConcern::majority());
    options.selection_criteria = Some(SelectionCriteria::ReadPreference(ReadPreference::Primary));
    options.retry_writes = Some(true);
    options.retry_reads = Some(true);
    options.server_selection_timeout = Some(MONGO_CONNECT_TIMEOUT);
    options.connect_timeout = Some(MONGO_CONNECT_TIMEOUT);
    options.heartbeat_freq = Some(MONGO_PROBE_INTERVAL);
    // The driver refuses a pool of none.
    let least = options.min_pool_size.unwrap_or(0);
    options.max_pool_size.get_or_insert(MONGO_CONNECTIONS_MAX.max(least));
    options
}

/// On stable storage of a majority, or the outcome is unknown.
fn write_concern() -> WriteConcern {
    WriteConcern::builder().w(Acknowledgment::Majority).journal(true).w_timeout(MONGO_SERVER_TIME).build()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::time::Duration;

    async fn wrong(uri: &str) -> String {
        read(uri, Instant::now() + Duration::from_secs(30)).await.unwrap_err().to_string()
    }

    #[tokio::test]
    async fn no_piece_of_a_wrong_uri_is_told() {
        for uri in [
            "mongodb://admin:hunter2/starling",
            "mongodb://zoe:hunter2%40host/db",
            "mongodb://zoe:hunter2%zz@host/db",
            "mongodb://zoe:pass/hunter2@host/db",
            "mongodb://host/hunter2 x",
            "mongodb://host/?hunter2",
            "mongodb://host/?readPreference=hunter2",
            "mongodb://host/?maxPoolSize=hunter2",
            "mongodb://host/?maxPoolSize=0",
            "mongodb+srv://zoe:hunter2/db",
            "hunter2://host",
            "hunter2",
        ] {
            let told = wrong(uri).await;
            assert!(told.contains("percent-encoded") && told.contains("HOST:PORT"), "{uri}: {told}");
            assert!(!told.contains("hunter2") && !told.contains("zoe") && !told.contains("admin"), "{uri}: {told}");
        }
    }

    /// Names below `invalid` are never asked for (RFC 6761).
    #[tokio::test]
    async fn a_name_that_does_not_resolve_is_looked_up_for_a_while() {
        let (began, patience) = (Instant::now(), Duration::from_millis(500));
        let told = read("mongodb+srv://ann:hunter2@nowhere.invalid/db", began + patience).await.unwrap_err().to_string();
        assert!(began.elapsed() >= patience, "{:?}", began.elapsed());
        assert!(told.contains("does not resolve") && !told.contains("hunter2"), "{told}");
    }

    #[tokio::test]
    async fn a_uri_decides_pools_and_nothing_of_the_promises() {
        let read = async |options: &str| {
            let uri = format!("mongodb://ann:x%40y@localhost/db?{options}");
            super::read(&uri, Instant::now() + Duration::from_secs(30)).await.unwrap()
        };
        let options = read("w=1&journal=false&readConcernLevel=local&retryWrites=false&readPreference=secondary").await;
        assert_eq!((options.write_concern, options.retry_writes), (Some(write_concern()), Some(true)));
        assert_eq!(options.read_concern, Some(ReadConcern::majority()));
        assert_eq!(options.selection_criteria, Some(SelectionCriteria::ReadPreference(ReadPreference::Primary)));
        assert_eq!(options.max_pool_size, Some(MONGO_CONNECTIONS_MAX));
        assert_eq!(read("maxPoolSize=1").await.max_pool_size, Some(1));
        assert_eq!(read("maxPoolSize=400").await.max_pool_size, Some(400));
        assert_eq!(read("minPoolSize=40").await.max_pool_size, Some(40));
    }
}
