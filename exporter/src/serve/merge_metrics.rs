//! How adding regions up is going, as metrics of the exporter, set at each scrape by `scrape.rs`.

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntCounter, IntGauge};

use crate::ledger::Condition;

/// The metrics; a clone is the same ones.
#[derive(Debug, Clone)]
pub(super) struct MergeMetrics {
    durable: IntGauge,
    standing: IntGauge,
    folded: IntCounter,
    left_out: IntCounter,
}

impl MergeMetrics {
    pub(super) fn new() -> Result<Self, prometheus::Error> {
        Ok(Self {
            durable: IntGauge::new(
                "tacho_merge_ledger_durable",
                "Whether the ledger of merged totals can be written; while not, the last durable values are served.",
            )?,
            standing: IntGauge::new("tacho_merge_regions", "Regions that count by themselves in the merged totals.")?,
            folded: IntCounter::new(
                "tacho_merge_folded_regions_total",
                "Regions that are gone and whose totals are kept in the ledger.",
            )?,
            left_out: IntCounter::new(
                "tacho_merge_left_out_series_total",
                "Series of regions that are gone that found no room in the ledger: their totals fell.",
            )?,
        })
    }

    pub(super) fn set(&self, condition: Condition) {
        self.durable.set(i64::from(condition.durable));
        self.standing.set(i64::try_from(condition.standing).unwrap_or(i64::MAX));
        for (counter, value) in [(&self.folded, condition.folded), (&self.left_out, condition.left_out)] {
            counter.inc_by(value.saturating_sub(counter.get()));
        }
    }
}

impl Collector for MergeMetrics {
    fn desc(&self) -> Vec<&Desc> {
        [self.durable.desc(), self.standing.desc(), self.folded.desc(), self.left_out.desc()].concat()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        [self.durable.collect(), self.standing.collect(), self.folded.collect(), self.left_out.collect()].concat()
    }
}
