//! The text format of metrics: OpenMetrics on request, otherwise Prometheus' own format, which is nearly the same.
//!
//! `prometheus-client` writes OpenMetrics; the differences to Prometheus' format are converted line by line. Every page is
//! made anew from the present state; nothing here keeps a number.

use std::fmt;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text},
    metrics::MetricType,
    registry::{Registry, Unit},
};

use super::histogram::HistogramSnapshot;

/// The labels of a sample: names and values.
pub(crate) type Labels = Vec<(&'static str, String)>;

/// A page, written one metric family after the other.
#[derive(Debug, Default)]
pub(crate) struct MetricsPage(Vec<MetricFamily>);

/// All samples of one metric.
#[derive(Debug)]
struct MetricFamily {
    name: &'static str,
    help: &'static str,
    unit: Option<Unit>,
    samples: FamilySamples,
}

#[derive(Debug)]
enum FamilySamples {
    Counters(Vec<(Labels, f64)>),
    Gauges(Vec<(Labels, f64)>),
    Histograms(Vec<(Labels, HistogramSnapshot)>),
    Info(Labels),
}

/// The two text formats of metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// `text/plain; version=0.0.4`
    Prometheus,
    /// `application/openmetrics-text; version=1.0.0`
    OpenMetrics,
}

impl Format {
    /// The `content-type` to send.
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

impl MetricsPage {
    /// Numbers that only rise. The name is without `_total`.
    pub(crate) fn counter(
        &mut self,
        name: &'static str,
        help: &'static str,
        samples: impl IntoIterator<Item = (Labels, u64)>,
    ) {
        let samples = samples.into_iter().map(|(labels, count)| (labels, count as f64));
        self.rising(name, help, samples);
    }

    /// Fractional numbers that only rise.
    pub(crate) fn rising(
        &mut self,
        name: &'static str,
        help: &'static str,
        samples: impl IntoIterator<Item = (Labels, f64)>,
    ) {
        self.put(name, help, FamilySamples::Counters(samples.into_iter().collect()));
    }

    /// Numbers that rise and fall.
    pub(crate) fn gauge(
        &mut self,
        name: &'static str,
        help: &'static str,
        samples: impl IntoIterator<Item = (Labels, f64)>,
    ) {
        self.put(name, help, FamilySamples::Gauges(samples.into_iter().collect()));
    }

    /// Histograms: counts by upper bound.
    pub(crate) fn histogram(
        &mut self,
        name: &'static str,
        help: &'static str,
        samples: impl IntoIterator<Item = (Labels, HistogramSnapshot)>,
    ) {
        self.put(name, help, FamilySamples::Histograms(samples.into_iter().collect()));
    }

    /// Constant text. The name is without `_info`.
    pub(crate) fn info(&mut self, name: &'static str, help: &'static str, labels: Labels) {
        self.put(name, help, FamilySamples::Info(labels));
    }

    /// A family without samples is omitted. A name that ends in a unit of OpenMetrics gets that unit.
    fn put(&mut self, name: &'static str, help: &'static str, samples: FamilySamples) {
        let empty = match &samples {
            FamilySamples::Counters(samples) | FamilySamples::Gauges(samples) => samples.is_empty(),
            FamilySamples::Histograms(samples) => samples.is_empty(),
            FamilySamples::Info(_) => false,
        };
        if empty {
            return;
        }
        let units = [("_seconds", Unit::Seconds), ("_bytes", Unit::Bytes)];
        let found = units.into_iter().find_map(|(end, unit)| Some((name.strip_suffix(end)?, Some(unit))));
        let (name, unit) = found.unwrap_or((name, None));
        self.0.push(MetricFamily { name, help, unit, samples });
    }

    /// The page as text.
    ///
    /// # Errors
    /// None in practice: writing to a string cannot fail.
    pub(crate) fn text(self, format: Format) -> Result<String, fmt::Error> {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self));
        let mut text = String::new();
        text::encode(&mut text, &registry)?;
        Ok(match format {
            Format::OpenMetrics => text,
            Format::Prometheus => as_prometheus(&text),
        })
    }
}

impl Collector for MetricsPage {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|family| family.encode(&mut encoder))
    }
}

impl MetricFamily {
    fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut metric =
            encoder.encode_descriptor(self.name, self.help, self.unit.as_ref(), self.metric_type())?;
        match &self.samples {
            FamilySamples::Counters(samples) => each(&mut metric, samples, |metric, value| {
                metric.encode_counter::<NoLabelSet, _, f64>(value, None)
            }),
            FamilySamples::Gauges(samples) => {
                each(&mut metric, samples, |metric, value| metric.encode_gauge(value))
            }
            FamilySamples::Histograms(samples) => each(&mut metric, samples, |metric, reading| {
                let (sum, count) = (reading.sum, reading.count());
                metric.encode_histogram::<NoLabelSet>(sum, count, &reading.buckets, None)
            }),
            FamilySamples::Info(labels) => metric.encode_info(labels),
        }
    }

    fn metric_type(&self) -> MetricType {
        match self.samples {
            FamilySamples::Counters(_) => MetricType::Counter,
            FamilySamples::Gauges(_) => MetricType::Gauge,
            FamilySamples::Histograms(_) => MetricType::Histogram,
            FamilySamples::Info(_) => MetricType::Info,
        }
    }
}

fn each<T>(
    metric: &mut MetricEncoder<'_>,
    samples: &[(Labels, T)],
    encode: impl Fn(&mut MetricEncoder<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    samples.iter().try_for_each(|(labels, value)| match labels.as_slice() {
        [] => encode(metric, value),
        _ => encode(&mut metric.encode_family(labels)?, value),
    })
}

/// Converts to Prometheus' own format: a counter has the name of its samples, there are no units, an info is a
/// gauge, and nothing marks the end.
fn as_prometheus(open_metrics: &str) -> String {
    let mut text = String::with_capacity(open_metrics.len());
    // HELP comes before TYPE, and must not be written before the type is known.
    let mut help = None;
    for line in open_metrics.lines() {
        if line == "# EOF" || line.starts_with("# UNIT ") {
            continue;
        }
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ');
            continue;
        }
        let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) else {
            text.push_str(line);
            text.push('\n');
            continue;
        };
        let (suffix, kind) = match kind {
            "counter" => ("_total", "counter"),
            "info" => ("_info", "gauge"),
            other => ("", other),
        };
        let help = help.take().map_or("", |(_, help)| help);
        text.push_str(&format!("# HELP {name}{suffix} {help}\n# TYPE {name}{suffix} {kind}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::histogram::Histogram;

    fn page() -> MetricsPage {
        let mut page = MetricsPage::default();
        page.counter("x_calls", "Calls.", [(vec![("to", "a\"b\\c\nd".to_owned())], 3)]);
        page.gauge("x_rest_seconds", "Rest.", [(Vec::new(), 0.5)]);
        page.gauge("x_nothing", "Nobody has any.", []);
        let histogram = Histogram::new(&[1.0]);
        histogram.observe(0.5);
        histogram.observe(2.0);
        page.histogram("x_time_seconds", "Time.", [(vec![("op", "chat".to_owned())], histogram.read())]);
        page.info("x_build", "Build.", vec![("version", "1".to_owned())]);
        page
    }

    #[test]
    fn open_metrics_has_units_and_an_end() {
        let text = page().text(Format::OpenMetrics).unwrap();
        assert_eq!(
            text,
            "# HELP x_calls Calls.\n# TYPE x_calls counter\nx_calls_total{to=\"a\\\"b\\\\c\\nd\"} 3.0\n\
             # HELP x_rest_seconds Rest.\n# TYPE x_rest_seconds gauge\n# UNIT x_rest_seconds seconds\n\
             x_rest_seconds 0.5\n\
             # HELP x_time_seconds Time.\n# TYPE x_time_seconds histogram\n# UNIT x_time_seconds seconds\n\
             x_time_seconds_sum{op=\"chat\"} 2.5\nx_time_seconds_count{op=\"chat\"} 2\n\
             x_time_seconds_bucket{le=\"1.0\",op=\"chat\"} 1\nx_time_seconds_bucket{le=\"+Inf\",op=\"chat\"} 2\n\
             # HELP x_build Build.\n# TYPE x_build info\nx_build_info{version=\"1\"} 1\n# EOF\n"
        );
    }

    #[test]
    fn prometheus_names_counters_by_their_samples() {
        let text = page().text(Format::Prometheus).unwrap();
        assert!(
            text.starts_with("# HELP x_calls_total Calls.\n# TYPE x_calls_total counter\nx_calls_total{")
        );
        assert!(text.contains("# TYPE x_build_info gauge\nx_build_info{version=\"1\"} 1\n"), "{text}");
        assert!(!text.contains("UNIT") && !text.contains("EOF"));
    }
}
