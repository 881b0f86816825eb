//! The pods of the pool that is published to, as far as their readiness matters to what is said of it.

/// How many gateways there are to be, and how many people can reach.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fleet {
    /// Pods that are wanted.
    pub wanted: u32,
    /// Pods that are ready.
    pub ready: u32,
}

impl Fleet {
    /// Reason and message of a pool that is not ready, though all that is written of it is in force.
    #[must_use]
    pub fn says_no(self) -> Option<(String, String)> {
        if self.wanted == 0 {
            return Some(("NoGateway".to_owned(), "no gateway is wanted".to_owned()));
        }
        let message = || format!("{} of {} gateways are ready", self.ready, self.wanted);
        (self.ready < self.wanted).then(|| ("GatewaysNotReady".to_owned(), message()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_is_ready_with_all_that_are_wanted() {
        let reason = |wanted, ready| Fleet { wanted, ready }.says_no().map(|(reason, _)| reason);
        assert_eq!(reason(0, 0).as_deref(), Some("NoGateway"));
        assert_eq!(reason(2, 1).as_deref(), Some("GatewaysNotReady"));
        assert_eq!(reason(2, 2), None);
        assert_eq!(reason(2, 3), None, "more, while it is rolled out");
    }
}
