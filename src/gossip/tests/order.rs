//! Messages may come in any order, and more than once.

use proptest::prelude::*;

use super::*;

/// What a peer has lived through: it opened and closed in turn.
fn told(events: &[(u64, u64)], start: Instant) -> Vec<IncomingReport> {
    let mut told = Vec::new();
    let mut numbers = [0; 3];
    let mut at = 0;
    for (peer, later) in events {
        at += later;
        let number = &mut numbers[*peer as usize];
        *number += 1;
        let (written, age) = (start + ms(at), Age::since(start, start));
        let mut report = TargetReport { state: Lenient(Some(*number)), ..empty() };
        if *number % 2 == 1 {
            let left = Remaining::until(start + ms(5000), start);
            report.outage = Lenient(Some(outage(age, left, 1)));
        } else {
            report.recovered = Lenient(Some(age));
        }
        told.push(IncomingReport { peer: PeerId(*peer), number: *number, written, report });
    }
    told
}

fn after(
    told: Vec<&IncomingReport>,
    own_success: Option<u64>,
    start: Instant,
    now: Instant,
) -> (ReportedState, Option<Instant>) {
    let b = Gateway::new(7);
    if let Some(at) = own_success {
        let mut health = b.target.state.health.lock();
        let pass = health.breaker.admit(start).unwrap();
        health.breaker.on(pass, Outcome::Success, true, start + ms(at), &mut fastrand::Rng::with_seed(1));
    }
    for IncomingReport { peer, number, written, report } in told {
        let heard =
            IncomingReport { peer: *peer, number: *number, written: *written, report: report.clone() };
        b.sync.borrow_mut().merge(heard, b.me, now);
    }
    let health = b.target.state.health.lock();
    (health.state(now), health.breaker.retry_at())
}

proptest! {
    #[test]
    fn neither_the_order_nor_the_number_of_messages_matters(
        events in prop::collection::vec((0_u64..3, 1_u64..2000), 1..12),
        own_success in prop::option::of(0_u64..10_000),
        seed in any::<u64>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _guard = runtime.enter();
        let start = Instant::now();
        let told = told(&events, start);
        let now = start + ms(events.iter().map(|(_, later)| later).sum::<u64>());
        let in_order = after(told.iter().collect(), own_success, start, now);
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut mixed: Vec<&IncomingReport> = told.iter().chain(&told).collect();
        rng.shuffle(&mut mixed);
        prop_assert_eq!(after(mixed, own_success, start, now), in_order);
        let newest = told.iter().max_by_key(|heard| heard.written).unwrap();
        if own_success.is_some_and(|at| start + ms(at) > newest.written) {
            prop_assert_eq!(in_order.0, ReportedState::Closed);
        }
    }
}
