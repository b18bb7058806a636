//! What is said about regions: whether each is up, what of it is used, what could not be read or shown.
//!
//! Part of the exporter's own metrics and of what an application's registry gets through [`crate::collector`]. All have the
//! label `tacho_region`, whatever the series of regions are told apart by. Set at each scrape, by one thread at a time.

use std::time::Duration;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{GaugeVec, IntCounterVec, IntGauge, IntGaugeVec, Opts};

use crate::RegionInfo;

/// What a scrape saw of one region.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(not(feature = "server"), expect(unreachable_pub, reason = "public where the server is: self_metrics::Seen"))]
pub struct Seen<'a> {
    /// The region.
    pub region: &'a RegionInfo,
    /// Families and series that were left out of its snapshot as damaged.
    pub damaged: u64,
}

/// The metrics; a clone is the same ones.
#[derive(Debug, Clone)]
pub(crate) struct RegionMetrics {
    up: IntGaugeVec,
    info: IntGaugeVec,
    heartbeat: GaugeVec,
    series: IntGaugeVec,
    series_capacity: IntGaugeVec,
    lanes: IntGaugeVec,
    lanes_capacity: IntGaugeVec,
    lane_overflows: IntCounterVec,
    registrations_dropped: IntCounterVec,
    label_overflows: IntCounterVec,
    observations_dropped: IntCounterVec,
    panics: IntCounterVec,
    memory_locked: IntGaugeVec,
    unlinked: IntGaugeVec,
    damaged: IntGaugeVec,
    problems: IntGauge,
    clashes: IntGaugeVec,
}

/// The label of all metrics about one region; never renamed, since these are the exporter's own.
const REGION: &[&str] = &["tacho_region"];

impl RegionMetrics {
    /// They all, of no region yet.
    pub(crate) fn new() -> Result<Self, prometheus::Error> {
        let gauges = |name, help| IntGaugeVec::new(Opts::new(name, help), REGION);
        let counters = |name, help| IntCounterVec::new(Opts::new(name, help), REGION);
        let info = Opts::new("tacho_region_info", "The region and its writer, as labels of a constant 1.");
        let heartbeat =
            Opts::new("tacho_region_heartbeat_age_seconds", "Time since the living writer's last housekeeping tick.");
        let metrics = Self {
            up: gauges("tacho_region_up", "Whether the region's writer is alive.")?,
            info: IntGaugeVec::new(info, &["tacho_region", "state", "pid", "version", "exe", "build_id", "host"])?,
            heartbeat: GaugeVec::new(heartbeat, REGION)?,
            series: gauges("tacho_region_series", "Series slots in use.")?,
            series_capacity: gauges("tacho_region_series_capacity", "Series slots that the region has.")?,
            lanes: gauges("tacho_region_lanes", "Lanes ever used, the shared one included.")?,
            lanes_capacity: gauges("tacho_region_lanes_capacity", "Lanes that the region has.")?,
            lane_overflows: counters(
                "tacho_region_lane_overflows_total",
                "Threads that found no free lane and share one: correct, but slower.",
            )?,
            registrations_dropped: counters("tacho_region_registrations_dropped_total", "Registrations refused.")?,
            label_overflows: counters(
                "tacho_region_label_overflows_total",
                "Label sets that went to an overflow series.",
            )?,
            observations_dropped: counters(
                "tacho_region_observations_dropped_total",
                "Observations dropped: NaN, or negative where that has no meaning.",
            )?,
            panics: counters(
                "tacho_region_panics_total",
                "Panics that the writer survived, where its crash hooks are on.",
            )?,
            memory_locked: gauges("tacho_region_memory_locked", "Whether the region is locked into memory.")?,
            unlinked: gauges("tacho_region_unlinked", "Whether something removed the living writer's file.")?,
            damaged: gauges("tacho_region_damaged", "Families and series left out because they are damaged.")?,
            problems: IntGauge::new("tacho_region_problems", "Files and directories that could not be read.")?,
            clashes: IntGaugeVec::new(
                Opts::new(
                    "tacho_family_clashes",
                    "Families that are not what an older region, or the application itself, has under their name: left out where kind or bounds differ, shown under the older HELP and UNIT where only those do.",
                ),
                &["result"],
            )?,
        };
        // There from the start, so that the structure stays as it is.
        metrics.set_clashes(0, 0);
        Ok(metrics)
    }

    /// Sets everything that is seen anew at each scrape. `unreadable` names regions whose file is there and can't be
    /// read: they are not up.
    pub(crate) fn observe(&self, regions: &[Seen<'_>], unreadable: &[&str], problems: usize, now_monotonic_ns: u64) {
        for vec in [&self.up, &self.info].into_iter().chain(self.gauges()) {
            vec.reset();
        }
        self.counters().into_iter().for_each(IntCounterVec::reset);
        self.heartbeat.reset();
        for name in unreadable {
            self.up.with_label_values(&[name]).set(0);
        }
        for seen in regions {
            self.observe_region(seen, now_monotonic_ns);
        }
        self.problems.set(i64::try_from(problems).unwrap_or(i64::MAX));
    }

    fn observe_region(&self, seen: &Seen<'_>, now_monotonic_ns: u64) {
        let region = seen.region;
        let name = &[region.name.as_str()];
        let alive = region.verdict.is_alive();
        self.up.with_label_values(name).set(i64::from(alive));
        self.info
            .with_label_values(&[
                region.name.as_str(),
                region.verdict.as_str(),
                &region.pid.to_string(),
                &region.version,
                &region.exe,
                &region.build_id,
                &region.host,
            ])
            .set(1);
        // A dead region's numbers go at once: only that it is down, and what it was, stays.
        if !alive {
            return;
        }
        let age = now_monotonic_ns.saturating_sub(region.tick_monotonic_ns);
        self.heartbeat.with_label_values(name).set(Duration::from_nanos(age).as_secs_f64());
        let set = |vec: &IntGaugeVec, value: u64| vec.with_label_values(name).set(value.min(i64::MAX as u64) as i64);
        set(&self.series, region.capacity.series.used);
        set(&self.series_capacity, region.capacity.series.capacity);
        set(&self.lanes, region.capacity.lanes.used);
        set(&self.lanes_capacity, region.capacity.lanes.capacity);
        set(&self.memory_locked, u64::from(region.memory_locked));
        set(&self.unlinked, u64::from(region.unlinked));
        set(&self.damaged, seen.damaged);
        self.lane_overflows.with_label_values(name).inc_by(region.lane_overflows);
        self.registrations_dropped.with_label_values(name).inc_by(region.registrations_dropped);
        self.label_overflows.with_label_values(name).inc_by(region.label_overflows);
        self.observations_dropped.with_label_values(name).inc_by(region.dropped_observations);
        self.panics.with_label_values(name).inc_by(region.panics);
    }

    /// Sets how many families were left out, and how many are shown under what an older one says.
    pub(crate) fn set_clashes(&self, left_out: usize, shown: usize) {
        for (result, count) in [("left_out", left_out), ("shown", shown)] {
            self.clashes.with_label_values(&[result]).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    /// Those of the living alone.
    const fn gauges(&self) -> [&IntGaugeVec; 7] {
        [
            &self.series,
            &self.series_capacity,
            &self.lanes,
            &self.lanes_capacity,
            &self.memory_locked,
            &self.unlinked,
            &self.damaged,
        ]
    }

    const fn counters(&self) -> [&IntCounterVec; 5] {
        [
            &self.lane_overflows,
            &self.registrations_dropped,
            &self.label_overflows,
            &self.observations_dropped,
            &self.panics,
        ]
    }

    fn all(&self) -> Vec<&dyn Collector> {
        let mut all: Vec<&dyn Collector> = vec![&self.up, &self.info, &self.heartbeat, &self.problems, &self.clashes];
        all.extend(self.gauges().map(|vec| vec as &dyn Collector));
        all.extend(self.counters().map(|vec| vec as &dyn Collector));
        all
    }
}

impl Collector for RegionMetrics {
    fn desc(&self) -> Vec<&Desc> {
        self.all().into_iter().flat_map(Collector::desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.all().into_iter().flat_map(Collector::collect).collect()
    }
}
