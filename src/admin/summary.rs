//! `/admin/providers/summary`: the exact strings of the predecessor of this gateway.
//!
//! Scripts compare them as text, so their digits and units must never change. New figures belong in
//! [`super::view`].

use serde::{Serialize, Serializer};

use super::view::TargetRow;

/// Serialises as an object with one line per target id, best first.
pub(crate) struct Summary<'a>(pub &'a [TargetRow]);

#[derive(Serialize)]
struct SummaryRow {
    success_rate: String,
    avg_latency: String,
    score: String,
    total_calls: u64,
}

impl Serialize for Summary<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|row| (&row.id, SummaryRow::new(row))))
    }
}

impl SummaryRow {
    fn new(row: &TargetRow) -> Self {
        Self {
            success_rate: format!("{:.2}%", 100.0 * row.success_rate),
            avg_latency: format!("{:.2}s", row.avg_latency),
            score: format!("{:.1}", row.score),
            total_calls: row.total_calls,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::{Moment, test_support::snapshot, view::rows};
    use crate::events::Events;

    #[test]
    fn the_summary_is_the_old_one_to_the_letter() {
        let snapshot = snapshot(&Events::new());
        let mut rows = rows(&snapshot, Moment::current());
        rows.truncate(2);
        let first = &mut rows[0];
        first.id = "z/z".into();
        (first.success_rate, first.avg_latency, first.score, first.total_calls) =
            (0.985, 1.2345, 86.155, 1234);
        let second = &mut rows[1];
        second.id = "a/\"a".into();
        (second.success_rate, second.avg_latency, second.score) = (1.0, 0.0, -3.0);
        assert_eq!(
            serde_json::to_string(&Summary(&rows)).unwrap(),
            concat!(
                r#"{"z/z":{"success_rate":"98.50%","avg_latency":"1.23s","score":"86.2","total_calls":1234},"#,
                r#""a/\"a":{"success_rate":"100.00%","avg_latency":"0.00s","score":"-3.0","total_calls":0}}"#
            )
        );
    }
}
