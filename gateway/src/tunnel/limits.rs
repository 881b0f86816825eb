//! What one session may use up.

use std::time::Duration;

/// Flows open at the same time.
pub(crate) const FLOWS_MAX: usize = 1_024;
/// Connections that may be begun each second, and at once after a pause.
pub(crate) const DIALS_PER_S: u32 = 64;
/// Flows that are decided about each second; more are refused unheard.
pub(crate) const DECISIONS_PER_S: u32 = 1_024;
/// Names that are asked for each second; more are not answered.
pub(crate) const NAMES_PER_S: u32 = 256;
/// Flows of all sessions of one shard.
pub(crate) const FLOWS_PER_SHARD: usize = 16_384;
/// Bytes of buffers of all TCP flows together.
pub(crate) const BUFFERS_MAX: usize = 4 * 1024 * 1024;
/// Longest a client's first segment is held until the system answers.
pub(crate) const DIAL_WAIT: Duration = Duration::from_secs(10);
/// Seconds after which a connection that the client does not confirm is dropped.
pub(crate) const HALF_OPEN_S: i64 = 10;
/// Seconds after which a silent UDP flow or ping is forgotten.
pub(crate) const UDP_IDLE_S: i64 = 60;
/// The same for questions to a name server.
pub(crate) const DNS_IDLE_S: i64 = 10;
/// Datagrams that wait while a flow is dialled.
pub(crate) const DATAGRAMS_WAITING: usize = 4;
/// Their bytes: one packet of the largest size always fits.
pub(crate) const BYTES_WAITING: usize = 16 * 1024;
/// Refusals that are recorded one by one; more are only counted.
pub(crate) const REFUSALS_MAX: usize = 64;

/// Smallest share of a connection, both directions together.
const SHARE_MIN: usize = 2 * 1024;
/// Largest share.
const SHARE_MAX: usize = 2 * 1024 * 1024;

/// The buffers of a session's connections: whoever comes early gets much, and there is always some left.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    used: usize,
}

impl Buffers {
    /// The share of one more connection in each direction; `None` when nothing is left.
    pub(crate) fn take(&mut self) -> Option<usize> {
        let left = BUFFERS_MAX.saturating_sub(self.used);
        // The first gets what a long line needs, some twenty get enough; the rest is for very many with very little.
        let share = match left {
            left if left > BUFFERS_MAX / 4 * 3 => left / 2,
            left if left > BUFFERS_MAX / 8 => left / 16,
            _ => SHARE_MIN,
        };
        let share = share.clamp(SHARE_MIN, SHARE_MAX);
        if share > left {
            return None;
        }
        let each = share / 2;
        self.used += each * 2;
        Some(each)
    }

    /// Gives a share back.
    pub(crate) fn give_back(&mut self, share: usize) {
        self.used = self.used.saturating_sub(share * 2);
    }
}

/// How often something may be done: so many times each second, and as many at once after a pause.
#[derive(Debug)]
pub(crate) struct Rate {
    per_s: u32,
    left: u32,
    at: Duration,
}

impl Rate {
    pub(crate) fn new(per_s: u32) -> Self {
        Self { per_s, left: per_s, at: Duration::ZERO }
    }

    /// Whether it may be done once more at `now`.
    pub(crate) fn take(&mut self, now: Duration) -> bool {
        let passed = now.saturating_sub(self.at);
        let earned = passed.as_millis() * u128::from(self.per_s) / 1_000;
        let earned = u32::try_from(earned).unwrap_or(self.per_s);
        if earned > 0 {
            self.left = self.left.saturating_add(earned).min(self.per_s);
            self.at = now;
        }
        let allowed = self.left > 0;
        self.left = self.left.saturating_sub(1);
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flow_finds_buffers_and_the_sum_is_kept() {
        let mut buffers = Buffers::default();
        let shares: Vec<usize> = (0..FLOWS_MAX).map_while(|_| buffers.take()).collect();
        assert!(shares.iter().sum::<usize>() * 2 <= BUFFERS_MAX);
        assert!(shares.windows(2).all(|pair| pair[0] >= pair[1]));
        assert_eq!(shares[0], 1024 * 1024);
        assert!(shares.len() > 256, "{}", shares.len());
        assert!(shares[20] >= 12 * 1024, "{}", shares[20]);
        shares.iter().for_each(|share| buffers.give_back(*share));
        assert_eq!(buffers.take(), Some(1024 * 1024));
    }

    #[test]
    fn dials_come_back_with_time() {
        let mut dials = Rate::new(DIALS_PER_S);
        let at = |milliseconds| Duration::from_millis(milliseconds);
        assert_eq!((0..200).filter(|_| dials.take(at(1))).count(), 64);
        assert!(!dials.take(at(10)));
        assert!(dials.take(at(33)));
        assert_eq!((0..200).filter(|_| dials.take(at(60_000))).count(), 64);
    }
}
