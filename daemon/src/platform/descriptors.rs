//! How many files the daemon may have open.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// More than the daemon ever opens. Programs that it runs inherit the limit, and some close every descriptor they
/// could have, one by one.
const ENOUGH: u64 = 4096;

/// Raises the limit as far as the system lets it, and no further than is of use. What clients may hold fits below
/// 1024, the usual limit, so nothing depends on this.
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
        // As low as it may be without troubling tests that run beside this one.
        setrlimit(Resource::RLIMIT_NOFILE, soft.min(1024), hard).unwrap();
        raise_limit();
        let (raised, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        assert_eq!(raised, hard.min(ENOUGH));
    }
}
