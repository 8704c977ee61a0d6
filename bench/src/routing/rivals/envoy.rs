//! Envoy's outlier detection with its defaults: five failures in a row, 30 s times the number of ejections, at most a
//! tenth of the hosts but always one.
//!
//! Ejection by success rate is left out: it needs five hosts with a hundred requests in ten seconds each.

use std::time::Duration;

use concierge::upstream::exchange::outcome::Outcome;
use tokio::time::Instant;

use super::{Guard, failed};
use crate::routing::policy::Ended;

const IN_A_ROW: u32 = 5;
const BASE: Duration = Duration::from_secs(30);
const LONGEST: Duration = Duration::from_secs(300);

/// Who is ejected.
pub struct Ejection(Vec<Host>);

#[derive(Clone, Default)]
struct Host {
    until: Option<Instant>,
    times: u32,
    in_a_row: u32,
}

impl Ejection {
    pub fn new(targets: usize) -> Self {
        Self(vec![Host::default(); targets])
    }

    fn ejected(&self, now: Instant) -> usize {
        (0..self.0.len()).filter(|target| self.is_out(*target, now)).count()
    }
}

impl Guard for Ejection {
    fn is_out(&self, target: usize, now: Instant) -> bool {
        self.0[target].until.is_some_and(|until| now < until)
    }

    fn ended(&mut self, ended: &Ended, now: Instant) {
        let may_eject = self.ejected(now) < (self.0.len() / 10).max(1);
        let host = &mut self.0[ended.target];
        // A 429 is no 5xx: to Envoy the host is well.
        if matches!(ended.outcome, Outcome::Success | Outcome::Throttled { .. }) {
            host.in_a_row = 0;
        } else if failed(ended.outcome) {
            host.in_a_row += 1;
            if host.in_a_row >= IN_A_ROW && may_eject {
                host.times += 1;
                host.in_a_row = 0;
                host.until = Some(now + (BASE * host.times).min(LONGEST));
            }
        }
    }
}
