//! Deaths and stuck actors as metrics of the exporter, set at each scrape by `scrape.rs`.
//!
//! Never an actor's id or what it is doing: those are no labels.

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{GaugeVec, IntCounterVec, IntGaugeVec, Opts};

use crate::deaths::Tally;

/// The metrics; a clone is the same ones.
#[derive(Debug, Clone)]
pub(super) struct DeathMetrics {
    crashes: IntCounterVec,
    by_region: IntCounterVec,
    last_crash: GaugeVec,
    stuck: IntGaugeVec,
}

impl DeathMetrics {
    pub(super) fn new() -> Result<Self, prometheus::Error> {
        let region = &["tacho_region"];
        Ok(Self {
            crashes: IntCounterVec::new(
                Opts::new(
                    "tacho_crashes_total",
                    "Regions whose writers ended without closing them, each counted once.",
                ),
                &["cause"],
            )?,
            by_region: IntCounterVec::new(
                Opts::new("tacho_region_crashes_total", "Crashes of regions with this name, each counted once."),
                region,
            )?,
            last_crash: GaugeVec::new(
                Opts::new(
                    "tacho_last_crash_timestamp_seconds",
                    "End of the region's newest crash: its fatal signal or exit, else its last sign of life.",
                ),
                region,
            )?,
            stuck: IntGaugeVec::new(
                Opts::new(
                    "tacho_actors_stuck",
                    "Actors of the living writer that are busy with one message for too long, or busy with a full mailbox.",
                ),
                region,
            )?,
        })
    }

    /// Shows these deaths, and how many actors of each living region are stuck. A region that is in view and never crashed
    /// stands at 0, so that its first crash is a rise.
    pub(super) fn set<'a>(
        &self,
        tally: &Tally,
        in_view: impl Iterator<Item = &'a str>,
        stuck: impl Iterator<Item = (&'a str, u64)>,
    ) {
        self.crashes.reset();
        for (cause, count) in &tally.crashes {
            self.crashes.with_label_values(&[cause]).inc_by(*count);
        }
        self.by_region.reset();
        for name in in_view {
            self.by_region.with_label_values(&[name]);
        }
        for (name, count) in &tally.by_region {
            self.by_region.with_label_values(&[name]).inc_by(*count);
        }
        self.last_crash.reset();
        for (name, ns) in &tally.last_crash_ns {
            self.last_crash.with_label_values(&[name]).set(*ns as f64 / 1e9);
        }
        self.stuck.reset();
        for (name, count) in stuck {
            self.stuck.with_label_values(&[name]).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }
}

impl Collector for DeathMetrics {
    fn desc(&self) -> Vec<&Desc> {
        [self.crashes.desc(), self.by_region.desc(), self.last_crash.desc(), self.stuck.desc()].concat()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        [self.crashes.collect(), self.by_region.collect(), self.last_crash.collect(), self.stuck.collect()].concat()
    }
}
