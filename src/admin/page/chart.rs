//! The small charts: five minutes of a target's latency as two lines, drawn as SVG paths.

use super::format;
use crate::{
    admin::history::{KEPT, LatencyHistory, Percentiles},
    upstream::health::score::LatencyKind,
};

/// Width of the drawing: two units per interval between samples.
const WIDTH: usize = 2 * (KEPT - 1);
/// Height of the drawing; one unit stays free above and below.
const HEIGHT: f64 = 28.0;

/// Two lines in a box of [`WIDTH`] × [`HEIGHT`], newest at the right, from 0 to the highest value at the top.
pub(crate) struct Chart {
    /// `d` of the median's path.
    pub p50: String,
    /// `d` of the 95th percentile's path.
    pub p95: String,
    /// A description of the chart.
    pub words: String,
}

impl Chart {
    /// The chart of `samples` of `kind`; the lines are empty without samples.
    pub(crate) fn new(samples: &LatencyHistory, kind: LatencyKind) -> Self {
        let samples: Vec<_> = samples.iter().map(|sample| sample.get(kind)).collect();
        let top = samples.iter().flatten().map(|known| known.p95).fold(0.0, f64::max);
        let words = match samples.last().copied().flatten() {
            Some(Percentiles { p50, p95 }) => {
                let [top, p50, p95] = [top, p50, p95].map(format::seconds);
                format!("Last five minutes, up to {top}; now p50 {p50}, p95 {p95}")
            }
            None => "Not measured yet".to_owned(),
        };
        Self { p50: path(&samples, top, |s| s.p50), p95: path(&samples, top, |s| s.p95), words }
    }
}

fn path(samples: &[Option<Percentiles>], top: f64, value: impl Fn(&Percentiles) -> f64) -> String {
    let mut d = String::new();
    let mut pen_down = false;
    for (index, sample) in samples.iter().enumerate() {
        let Some(sample) = sample else {
            pen_down = false;
            continue;
        };
        let x = WIDTH - 2 * (samples.len() - 1 - index).min(KEPT - 1);
        let y = HEIGHT - 1.0 - (HEIGHT - 2.0) * value(sample) / top.max(1e-9);
        // A lone sample is a dot: a line of zero length with round ends.
        let (command, dot) = if pen_down { ("L", "") } else { ("M", "h0") };
        d.push_str(&format!("{command}{x} {y:.1}{dot}"));
        pen_down = true;
    }
    d
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::history::LatencySample;

    fn draw(samples: &[Option<(f64, f64)>]) -> Chart {
        let sample = |known: &Option<(f64, f64)>| {
            let percentiles = known.map(|(p50, p95)| Percentiles { p50, p95 });
            LatencySample::new([percentiles, None])
        };
        Chart::new(&samples.iter().map(sample).collect(), LatencyKind::Stream)
    }

    #[test]
    fn the_newest_is_at_the_right_and_the_highest_at_the_top() {
        let chart = draw(&[Some((0.1, 0.2)), Some((0.2, 0.4))]);
        assert_eq!(chart.p95, "M116 14.0h0L118 1.0");
        assert_eq!(chart.p50, "M116 20.5h0L118 14.0");
        assert_eq!(chart.words, "Last five minutes, up to 400 ms; now p50 200 ms, p95 400 ms");
    }

    #[test]
    fn gaps_stay_gaps_and_nothing_is_nothing() {
        assert_eq!(draw(&[Some((0.0, 0.0)), None, Some((0.0, 0.0))]).p50, "M114 27.0h0M118 27.0h0");
        let nothing = draw(&[None]);
        assert_eq!((nothing.p50.as_str(), nothing.words.as_str()), ("", "Not measured yet"));
    }
}
