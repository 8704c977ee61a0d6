//! The two ends against each other, without a gateway: what one sends the other must read whole.

use tokio::{net::TcpListener, task::JoinSet};

use super::{Measured, Pace, Plan, Shape, run, upstream};

async fn direct(shape: Shape, pace: Pace, users: usize) -> Measured {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    let mut provider = JoinSet::new();
    provider.spawn(upstream::serve(listener));
    let plan = Plan {
        addr,
        headers: Vec::new(),
        shape,
        pace,
        connections: 3,
        warm_up_ms: 20,
        measure_ms: 300,
        users,
        pid: Some(std::process::id()),
    };
    run(plan).await
}

#[tokio::test]
async fn every_answer_is_read_whole() {
    for (shape, users) in [(Shape::Plain, 0), (Shape::Plain, 5), (Shape::Burst, 0), (Shape::Paced, 0)] {
        let measured = direct(shape, Pace::Exactly(2), users).await;
        assert_eq!((measured.answers, measured.errors), (6, 0), "{shape:?}: {measured:?}");
        assert_eq!(measured.chunks as usize, 6 * shape.chunks());
    }
}

#[tokio::test]
async fn an_error_is_counted_and_named() {
    let measured = direct(Shape::Broken, Pace::Exactly(1), 0).await;
    assert_eq!((measured.answers, measured.errors), (0, 3));
    assert!(measured.first_error.unwrap().starts_with("HTTP/1.1 500"));
}

#[tokio::test]
async fn loops_measure_time_and_an_open_one_keeps_its_rate() {
    let closed = direct(Shape::Plain, Pace::Closed, 0).await;
    assert!(closed.answers > 0 && closed.seconds >= 0.3 && closed.cpu_ns > 0, "{closed:?}");
    let open = direct(Shape::Plain, Pace::Open(100), 0).await;
    // 30 in 300 ms; a stalled machine may hand some of them to the warm-up, or out late.
    assert!((1..=60).contains(&open.answers), "{open:?}");
}
