//! The recorder's counts as metrics of the exporter, read at each scrape.

use std::sync::Arc;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Counter, Gauge};

use crate::recording::{RecorderCounts, RecorderStats};

/// Takes a metric's value out of the counts.
type Get = fn(&RecorderCounts) -> f64;

/// Metrics of one recorder.
pub(super) struct RecorderMetrics {
    stats: Arc<RecorderStats>,
    counters: Vec<(Counter, Get)>,
    gauges: Vec<(Gauge, Get)>,
}

impl RecorderMetrics {
    pub(super) fn new(stats: Arc<RecorderStats>) -> Result<Self, prometheus::Error> {
        let counters: [(&str, &str, Get); 8] = [
            ("tacho_recorder_ticks_total", "Ticks at which regions were sampled.", |counts| counts.ticks as f64),
            ("tacho_recorder_late_ticks_total", "Ticks left out because the one before took too long.", |counts| {
                counts.late as f64
            }),
            ("tacho_recorder_samples_total", "Samples written, of all regions and tiers.", |counts| {
                counts.samples as f64
            }),
            ("tacho_recorder_errors_total", "Samples that could not be taken or written.", |counts| {
                counts.errors as f64
            }),
            ("tacho_recorder_written_bytes_total", "Bytes written to blocks.", |counts| counts.written as f64),
            ("tacho_recorder_seconds_total", "Time spent in ticks.", |counts| counts.busy_ns as f64 / 1e9),
            ("tacho_recorder_cases_total", "Cases written.", |counts| counts.cases as f64),
            ("tacho_recorder_case_errors_total", "Cases that could not be written.", |counts| {
                counts.case_errors as f64
            }),
        ];
        let gauges: [(&str, &str, Get); 4] = [
            ("tacho_recorder_bytes", "Bytes of the blocks that are kept.", |counts| counts.bytes as f64),
            ("tacho_recorder_regions", "Regions that are being recorded.", |counts| counts.regions as f64),
            ("tacho_recorder_failing", "Whether the last tick could not write everything.", |counts| {
                counts.failing as f64
            }),
            (
                "tacho_recorder_oldest_timestamp_seconds",
                "When the oldest block kept was last written; 0 for none.",
                |counts| counts.oldest_ns as f64 / 1e9,
            ),
        ];
        Ok(Self {
            stats,
            counters: counters
                .into_iter()
                .map(|(name, help, get)| Ok((Counter::new(name, help)?, get)))
                .collect::<Result<_, prometheus::Error>>()?,
            gauges: gauges
                .into_iter()
                .map(|(name, help, get)| Ok((Gauge::new(name, help)?, get)))
                .collect::<Result<_, prometheus::Error>>()?,
        })
    }
}

impl Collector for RecorderMetrics {
    fn desc(&self) -> Vec<&Desc> {
        let counters = self.counters.iter().flat_map(|(counter, _)| counter.desc());
        counters.chain(self.gauges.iter().flat_map(|(gauge, _)| gauge.desc())).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let counts = self.stats.counts();
        let mut families = Vec::new();
        for (counter, get) in &self.counters {
            counter.inc_by((get(&counts) - counter.get()).max(0.0));
            families.extend(counter.collect());
        }
        for (gauge, get) in &self.gauges {
            gauge.set(get(&counts));
            families.extend(gauge.collect());
        }
        families
    }
}
