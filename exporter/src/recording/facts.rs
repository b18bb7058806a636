//! What is sampled beside a region's values: how its writer's process and its memory cgroup are, and the region's own
//! control words. Each is one word of a tick, so that what did not change costs nothing.
//!
//! The types here are what a reader of a recording gets. `proc.rs` asks the kernel; nothing here does.

use serde::{Deserialize, Serialize};
use tachograph_layout::RegionState;

use crate::region_info::{RegionInfo, Usage};
use crate::verdict::Verdict;

/// What was sampled beside a region's values at one tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Facts {
    /// The writer's process; `None` where it was dead, or lives in another pid namespace than the recorder.
    pub process: Option<ProcessFacts>,
    /// The memory cgroup that the writer's process was in; `None` where it could not be read.
    pub memory: Option<MemoryFacts>,
}

/// How a process was doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ProcessFacts {
    /// User and system CPU time spent, in nanoseconds, in steps of the kernel's clock tick.
    pub cpu_ns: u64,
    /// Resident memory in bytes.
    pub resident_bytes: u64,
    /// Threads.
    pub threads: u64,
}

/// How a memory cgroup was doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct MemoryFacts {
    /// Bytes in use.
    pub usage_bytes: u64,
    /// Most bytes that it may use; `None` where it has no limit.
    pub limit_bytes: Option<u64>,
    /// Processes of the cgroup that the kernel's out-of-memory killer killed.
    pub oom_kills: u64,
    /// How often its usage ran into the limit.
    pub limit_hits: u64,
}

/// How many words [`Words`] has.
pub(crate) const COUNT: usize = 25;

/// Facts and control words in the order in which they stand in a tick.
pub(crate) type Words = [u64; COUNT];

const PROCESS: u64 = 1;
const MEMORY: u64 = 2;
const LIMITED: u64 = 4;

/// The words of a tick: what the region says of itself, and the facts.
pub(crate) fn words(region: &RegionInfo, facts: &Facts) -> Words {
    let capacity = &region.capacity;
    let (process, memory) = (facts.process.unwrap_or_default(), facts.memory.unwrap_or_default());
    let present = facts.process.map_or(0, |_| PROCESS)
        | facts.memory.map_or(0, |_| MEMORY)
        | memory.limit_bytes.map_or(0, |_| LIMITED);
    [
        verdict_code(region.verdict),
        region.state.map_or(u64::MAX, RegionState::to_wire),
        region.state_realtime_ns,
        region.ticks,
        region.tick_monotonic_ns,
        region.tick_realtime_ns,
        capacity.series.used,
        capacity.families.used,
        capacity.cells.used,
        capacity.strings.used,
        capacity.label_areas.used,
        capacity.shared.used,
        capacity.lanes.used,
        region.lane_overflows,
        region.registrations_dropped,
        region.label_overflows,
        region.dropped_observations,
        present,
        process.cpu_ns,
        process.resident_bytes,
        process.threads,
        memory.limit_hits,
        memory.usage_bytes,
        memory.limit_bytes.unwrap_or_default(),
        memory.oom_kills,
    ]
}

/// Puts what the words say into a region's facts, and gives the sampled ones.
pub(crate) fn read(words: &Words, region: &mut RegionInfo) -> Facts {
    let [
        verdict,
        state,
        state_realtime_ns,
        ticks,
        tick_monotonic_ns,
        tick_realtime_ns,
        series,
        families,
        cells,
        strings,
        label_areas,
        shared,
        lanes,
        lane_overflows,
        registrations_dropped,
        label_overflows,
        dropped_observations,
        present,
        cpu_ns,
        resident_bytes,
        threads,
        limit_hits,
        usage_bytes,
        limit_bytes,
        oom_kills,
    ] = *words;
    region.verdict = verdict_of(verdict);
    region.state = RegionState::from_wire(state);
    region.state_realtime_ns = state_realtime_ns;
    region.ticks = ticks;
    region.tick_monotonic_ns = tick_monotonic_ns;
    region.tick_realtime_ns = tick_realtime_ns;
    let capacity = &mut region.capacity;
    let set = |usage: &mut Usage, used: u64| usage.used = used.min(usage.capacity);
    set(&mut capacity.series, series);
    set(&mut capacity.families, families);
    set(&mut capacity.cells, cells);
    set(&mut capacity.strings, strings);
    set(&mut capacity.label_areas, label_areas);
    set(&mut capacity.shared, shared);
    set(&mut capacity.lanes, lanes);
    region.lane_overflows = lane_overflows;
    region.registrations_dropped = registrations_dropped;
    region.label_overflows = label_overflows;
    region.dropped_observations = dropped_observations;
    let has = |bit: u64| present & bit != 0;
    Facts {
        process: has(PROCESS).then_some(ProcessFacts { cpu_ns, resident_bytes, threads }),
        memory: has(MEMORY).then(|| MemoryFacts {
            usage_bytes,
            limit_bytes: has(LIMITED).then_some(limit_bytes),
            oom_kills,
            limit_hits,
        }),
    }
}

const fn verdict_code(verdict: Verdict) -> u64 {
    match verdict {
        Verdict::Copy => 0,
        Verdict::Running => 1,
        Verdict::Hung => 2,
        Verdict::Closed => 3,
        Verdict::Crashed => 4,
    }
}

const fn verdict_of(code: u64) -> Verdict {
    match code {
        1 => Verdict::Running,
        2 => Verdict::Hung,
        3 => Verdict::Closed,
        4 => Verdict::Crashed,
        _ => Verdict::Copy,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_come_back() {
        let memory = MemoryFacts { usage_bytes: 5, limit_bytes: Some(0), oom_kills: 1, limit_hits: 9 };
        let process = ProcessFacts { cpu_ns: 1, resident_bytes: 2, threads: 3 };
        for facts in [
            Facts::default(),
            Facts { process: Some(process), memory: None },
            Facts { process: None, memory: Some(memory) },
            Facts { process: Some(process), memory: Some(MemoryFacts { limit_bytes: None, ..memory }) },
        ] {
            let before = RegionInfo {
                verdict: Verdict::Crashed,
                state: Some(RegionState::Live),
                ticks: 7,
                lane_overflows: 3,
                ..RegionInfo::default()
            };
            let mut region = RegionInfo::default();
            assert_eq!(read(&words(&before, &facts), &mut region), facts);
            assert_eq!(region, before);
        }
    }
}
