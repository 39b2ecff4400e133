//! What the system lets a process have, and whether a scenario fits into it.

use crate::error::BenchError;
use crate::limits::{DESCRIPTORS_EACH, DESCRIPTORS_OTHER, MEMORY_EACH_BYTES};
use crate::machine;
use crate::scenario::Scenario;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the bound of open files as far as we may. Servers and the load process inherit it.
pub fn raise_descriptors() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    // What is refused is missing when it is checked whether a scenario fits.
    let _refused = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}

/// Checks that the sessions of `scenario` have room on this machine; some target has them `over_tcp`.
///
/// # Errors
///
/// [`BenchError::Usage`] says what is needed and what there is.
pub fn check(scenario: &Scenario, over_tcp: bool) -> Result<(), BenchError> {
    let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    fits(u64::from(scenario.sessions()), over_tcp, descriptors, machine::memory_available().unwrap_or(u64::MAX))
}

fn fits(sessions: u64, over_tcp: bool, descriptors: u64, memory: u64) -> Result<(), BenchError> {
    let wanted = DESCRIPTORS_OTHER + if over_tcp { sessions * DESCRIPTORS_EACH } else { 0 };
    if wanted > descriptors {
        return Err(BenchError::Usage(format!(
            "{sessions} sessions over TCP need {wanted} open files, and a process may have {descriptors}: raise it with \
             `ulimit -n {wanted}`, or ask for fewer connections"
        )));
    }
    let wanted = sessions * MEMORY_EACH_BYTES;
    if wanted > memory {
        let mib = |bytes: u64| bytes >> 20;
        return Err(BenchError::Usage(format!(
            "{sessions} sessions may take {} MiB ({} KiB each, server and clients together), and {} MiB are free: ask for fewer \
             connections",
            mib(wanted),
            MEMORY_EACH_BYTES >> 10,
            mib(memory)
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_does_not_fit_is_refused_with_numbers() {
        let error = fits(2_000, true, 1_024, u64::MAX).unwrap_err().to_string();
        assert!(error.contains("2000 sessions") && error.contains("4256 open files") && error.contains("1024"), "{error}");
        assert!(fits(2_000, true, 4_256, u64::MAX).is_ok() && fits(2_000, false, 1_024, u64::MAX).is_ok());
        let error = fits(20_000, false, 1_024, 1 << 30).unwrap_err().to_string();
        assert!(error.contains("5000 MiB (256 KiB each") && error.contains("1024 MiB are free"), "{error}");
        assert!(fits(4_096, false, 1_024, 1 << 30).is_ok());
    }

    #[test]
    fn the_bound_of_open_files_is_raised_as_far_as_it_may() {
        raise_descriptors();
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        assert_eq!(current, maximum);
        assert!(check(&Scenario::one_room(1.0), true).is_ok());
    }
}
