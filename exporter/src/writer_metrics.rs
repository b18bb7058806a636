//! `process_*` of each living writer, in the families that the exporter's own process has, with the label `tacho_region`.
//!
//! Called by `self_metrics.rs`. One family for all processes is what dashboards of other client libraries read, and what
//! a `process_cpu_seconds_total{job="x"}` finds; the exporter's own series are those without the label.

use std::cell::LazyCell;
use std::collections::BTreeMap;

use prometheus::core::Collector;
use prometheus::proto::MetricFamily;
use prometheus::{CounterVec, GaugeVec, Opts};

use crate::region_info::RegionInfo;
use crate::writer_process::{self, Stat};

/// The metrics; a clone is the same ones.
#[derive(Debug, Clone)]
pub(crate) struct WriterProcesses {
    cpu: CounterVec,
    gauges: BTreeMap<&'static str, GaugeVec>,
}

/// Names and what they say, as the `prometheus` crate says it of its own process.
const GAUGES: [(&str, &str); 6] = [
    ("process_open_fds", "Number of open file descriptors."),
    ("process_max_fds", "Maximum number of open file descriptors."),
    ("process_virtual_memory_bytes", "Virtual memory size in bytes."),
    ("process_resident_memory_bytes", "Resident memory size in bytes."),
    ("process_start_time_seconds", "Start time of the process since unix epoch in seconds."),
    ("process_threads", "Number of OS threads in the process."),
];

impl WriterProcesses {
    pub(crate) fn new() -> Result<Self, prometheus::Error> {
        let label = &["tacho_region"];
        let cpu = Opts::new("process_cpu_seconds_total", "Total user and system CPU time spent in seconds.");
        let gauge = |(name, help)| Ok((name, GaugeVec::new(Opts::new(name, help), label)?));
        let gauges = GAUGES.into_iter().map(gauge).collect::<Result<_, prometheus::Error>>()?;
        Ok(Self { cpu: CounterVec::new(cpu, label)?, gauges })
    }

    /// Shows the processes of the living among these regions, as far as each may be looked at, and of no other.
    pub(crate) fn observe<'a>(&self, regions: impl Iterator<Item = &'a RegionInfo>) {
        self.cpu.reset();
        self.gauges.values().for_each(GaugeVec::reset);
        let booted = LazyCell::new(writer_process::booted_seconds);
        for region in regions.filter(|region| region.verdict.is_alive()) {
            let Some(Stat { cpu_ns, resident_bytes, virtual_bytes, threads }) = writer_process::stat(region) else {
                continue;
            };
            let descriptors = writer_process::descriptors(region);
            self.cpu.with_label_values(&[&region.name]).inc_by(cpu_ns as f64 / 1e9);
            let values = [
                ("process_open_fds", descriptors.open.map(|open| open as f64)),
                ("process_max_fds", descriptors.most.map(|most| most as f64)),
                ("process_virtual_memory_bytes", Some(virtual_bytes as f64)),
                ("process_resident_memory_bytes", Some(resident_bytes as f64)),
                ("process_start_time_seconds", booted.map(|booted| writer_process::start_seconds(region, booted))),
                ("process_threads", Some(threads as f64)),
            ];
            for (name, value) in values {
                if let (Some(gauge), Some(value)) = (self.gauges.get(name), value) {
                    gauge.with_label_values(&[&region.name]).set(value);
                }
            }
        }
    }

    /// Adds the writers' series to the families of this process.
    pub(crate) fn join(&self, families: &mut [MetricFamily]) {
        let all = self.gauges.values().flat_map(Collector::collect).chain(self.cpu.collect());
        for mut of_writers in all {
            if let Some(family) = families.iter_mut().find(|family| family.name() == of_writers.name()) {
                family.mut_metric().extend(of_writers.take_metric());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Verdict;
    use crate::self_metrics::{Seen, SelfMetrics};
    use crate::writer_process::tests::own_region;

    #[test]
    fn a_living_writer_has_every_family_of_a_process_and_a_dead_or_foreign_one_none() {
        let own = SelfMetrics::new().unwrap();
        let alive = own_region();
        let dead = RegionInfo { name: "dead".into(), verdict: Verdict::Crashed, ..alive.clone() };
        let reused = RegionInfo { name: "reused".into(), process_start_ticks: 1, ..alive.clone() };
        own.observe(&[&alive, &dead, &reused].map(|region| Seen { region, damaged: 0 }), &[], 0, 0);
        let snapshot = own.snapshot().unwrap();
        for family in snapshot.schema.families.iter().filter(|family| family.name.starts_with("process_")) {
            let labels: Vec<&str> =
                snapshot.schema.series.range(family.series.clone()).map(|series| series.labels).collect();
            assert_eq!(labels, ["", "tacho_region=\"own\""], "{}", family.name);
        }
        own.observe(&[], &[], 0, 0);
        let gone = own.snapshot().unwrap();
        assert!(gone.schema.series.iter().all(|series| !series.labels.contains("\"own\"")));
    }
}
