//! Traffic for measuring what lies between: a fake provider and a load generator, small and the same for everybody.
//!
//! Both are the program `traffic`, one process each, on one thread and raw sockets: at saturation they must need less
//! than what they measure. A benchmark describes one stretch of load as a [`Plan`] and gets a [`Measured`] back; the
//! load generator itself reads the gateway's accounts at the edges of the stretch, so that both agree on when it was.
//!
//! Nothing here may know which gateway it measures, or treat one differently.

mod connection;
mod load;
pub mod process;
#[cfg(test)]
mod tests;
pub mod upstream;
pub mod wire;

use serde::{Deserialize, Serialize};

pub use self::{connection::exchange, load::run, wire::Shape};

/// One stretch of load.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Plan {
    /// `host:port` to ask.
    pub addr: String,
    /// Header lines besides `host`, `content-type` and `content-length`.
    pub headers: Vec<String>,
    /// What is asked for.
    pub shape: Shape,
    /// When it is asked for.
    pub pace: Pace,
    /// Connections, each with one request at a time.
    pub connections: usize,
    /// Load that comes first and does not count, milliseconds.
    pub warm_up_ms: u64,
    /// How long it counts, milliseconds.
    pub measure_ms: u64,
    /// How many users ask in turn, by the keys of [`wire::key`]; with 0 the header lines say who asks.
    pub users: usize,
    /// The process whose accounts are read, with its children; none when the provider is asked directly.
    pub pid: Option<u32>,
}

/// When requests are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Pace {
    /// Each connection asks again as soon as it has its answer.
    Closed,
    /// So many per second, whether or not earlier ones are answered; latency counts from when each was due.
    Open(u32),
    /// So many in all, one after the other on each connection.
    Exactly(u32),
    /// Each connection asks once, and all are held open together.
    Hold,
}

/// What one stretch showed. Times in microseconds are the median and the 99th percentile.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Measured {
    /// Good answers, whole ones.
    pub answers: u64,
    /// Everything else, by the first reason seen.
    pub errors: u64,
    /// That reason.
    pub first_error: Option<String>,
    /// Content chunks that came.
    pub chunks: u64,
    /// How long it took, seconds.
    pub seconds: f64,
    /// CPU time of the process, nanoseconds.
    pub cpu_ns: u64,
    /// From due to the last byte.
    pub latency_us: [f64; 2],
    /// From sent to the first content of a stream.
    pub first_us: [f64; 2],
    /// From the provider's write to the arrival of a chunk.
    pub transit_us: [f64; 2],
    /// Memory of the process before, bytes (proportional set size).
    pub pss_before: u64,
    /// … while every stream was open ([`Pace::Hold`] only).
    pub pss_held: u64,
}

impl Measured {
    /// CPU microseconds per answer.
    pub fn cpu_per_answer(&self) -> f64 {
        self.cpu_ns as f64 / 1e3 / self.answers as f64
    }

    /// CPU microseconds per content chunk.
    pub fn cpu_per_chunk(&self) -> f64 {
        self.cpu_ns as f64 / 1e3 / self.chunks as f64
    }

    /// Answers per second.
    pub fn rate(&self) -> f64 {
        self.answers as f64 / self.seconds
    }
}

/// Nanoseconds of the clock that all processes of the machine share.
pub fn now_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}
