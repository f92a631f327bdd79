//! The limit of open files.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// The limit to set, in descriptors: more than the daemon ever opens. It is not higher because programs inherit it, and
/// some close every possible descriptor, one by one.
const ENOUGH: u64 = 4096;

/// Raises the limit to 4096, or to the system's maximum if that is lower. The descriptors that clients may hold
/// fit below 1024, the usual limit, so nothing depends on this.
pub fn raise_limit() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(soft, hard)| {
        let wanted = hard.min(ENOUGH);
        if soft < wanted {
            setrlimit(Resource::RLIMIT_NOFILE, wanted, hard)?;
        }
        Ok(())
    });
    if let Err(error) = raised {
        log::debug!("the limit of open files stays as it is: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_raised_as_far_as_it_may_be() {
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        // As low as the tests that run at the same time allow.
        setrlimit(Resource::RLIMIT_NOFILE, soft.min(1024), hard).unwrap();
        raise_limit();
        let (raised, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        assert_eq!(raised, hard.min(ENOUGH));
    }
}
