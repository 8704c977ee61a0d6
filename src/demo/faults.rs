//! When the flaky provider fails, and how: a function of the clock alone, so every demo shows the same.

use std::time::Duration;

use tokio::time::Instant;

/// Seconds into each minute at which it breaks; a new demo is healthy first.
const BREAKS_AT: u64 = 20;
/// Seconds for which it stays broken.
const BROKEN_FOR: u64 = 20;

/// A way to break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Answers with status 500.
    ServerError,
    /// The stream begins, and breaks in the middle.
    CutOff,
    /// Accepts the request and sends nothing.
    Silence,
    /// Accepts the request and closes the connection.
    HangUp,
}

impl Fault {
    /// One for each minute, in rotation.
    const IN_TURN: [Self; 4] = [Self::ServerError, Self::CutOff, Self::Silence, Self::HangUp];
}

/// The faults of one provider over time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Schedule {
    start: Instant,
}

impl Schedule {
    /// The schedule whose first minute begins at `start`.
    pub(crate) fn from(start: Instant) -> Self {
        Self { start }
    }

    /// The fault at `now`; `None` while the provider is healthy.
    pub(crate) fn at(&self, now: Instant) -> Option<Fault> {
        fault_after(now.saturating_duration_since(self.start))
    }
}

fn fault_after(elapsed: Duration) -> Option<Fault> {
    let (minute, second) = (elapsed.as_secs() / 60, elapsed.as_secs() % 60);
    let broken = (BREAKS_AT..BREAKS_AT + BROKEN_FOR).contains(&second);
    broken.then(|| Fault::IN_TURN[(minute % Fault::IN_TURN.len() as u64) as usize])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn over_minute(minute: u64) -> Vec<Option<Fault>> {
        (0..60).map(|second| fault_after(Duration::from_secs(minute * 60 + second))).collect()
    }

    #[test]
    fn it_is_broken_for_twenty_seconds_of_every_minute_in_one_way() {
        for minute in 0..100 {
            let faults: Vec<_> = over_minute(minute).into_iter().flatten().collect();
            assert_eq!(faults, vec![Fault::IN_TURN[minute as usize % 4]; 20], "minute {minute}");
        }
    }

    #[test]
    fn it_begins_and_ends_each_minute_healthy() {
        let minute = over_minute(7);
        assert!(minute[..20].iter().chain(&minute[40..]).all(Option::is_none));
    }

    #[test]
    fn a_time_before_its_start_is_no_reason_to_panic() {
        let start = Instant::now() + Duration::from_secs(30);
        assert_eq!(Schedule::from(start).at(Instant::now()), None);
    }
}
