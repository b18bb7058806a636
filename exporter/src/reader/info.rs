//! Facts about a region beside its values: what its header and control words say, and what is used of it.

use tachograph_layout::{Control, MemoryLock, SectionKind};

use super::RegionReader;
use super::judgement::Judgement;
use crate::region_info::{Capacity, RegionInfo, Usage};
use crate::values;

impl RegionReader {
    pub(super) fn info_with(&self, judgement: Judgement, dropped_observations: u64) -> RegionInfo {
        let (header, view) = (&self.file.header, self.view());
        let word = |offset| view.load(offset).unwrap_or(0);
        let usage = |used: u64, kind| {
            let capacity = self.file.sections.section(kind).count;
            Usage { used: used.min(capacity), capacity }
        };
        let (cells, lanes) = (self.file.sections.cells(), values::lanes_used(view, &self.file.sections));
        let Judgement { verdict, cause, signal, broken_promises, fatal_realtime_ns, copied_as } = judgement;
        RegionInfo {
            name: self.file.name.clone(),
            path: self.path().to_owned(),
            uuid: header.uuid,
            verdict,
            cause,
            signal,
            broken_promises,
            copied_as: copied_as.map(|(verdict, _)| verdict),
            copied_realtime_ns: copied_as.map_or(0, |(_, at_ns)| at_ns),
            pid: header.pid,
            pid_namespace: header.pid_namespace,
            process_start_ticks: header.process_start_ticks,
            ticks_per_second: header.ticks_per_second,
            boot_id: header.boot_id,
            created_realtime_ns: header.created_realtime_ns,
            created_monotonic_ns: header.created_monotonic_ns,
            tick_period_ns: header.tick_period_ns,
            ticks: word(Control::TICKS),
            tick_monotonic_ns: word(Control::TICK_MONOTONIC_NS),
            tick_realtime_ns: word(Control::TICK_REALTIME_NS),
            state: self.state(),
            state_realtime_ns: word(Control::STATE_REALTIME_NS),
            fatal_realtime_ns,
            exe: printable(&header.exe()),
            host: printable(&header.host()),
            version: printable(&header.version()),
            build_id: header.build_id(),
            predecessor: header.predecessor_uuid,
            restarts: header.restarts,
            capacity: Capacity {
                series: usage(word(Control::SERIES_USED), SectionKind::Series),
                families: usage(word(Control::FAMILIES_USED), SectionKind::Families),
                cells: Usage { used: word(Control::CELLS_USED).min(cells), capacity: cells },
                strings: usage(word(Control::STRINGS_USED), SectionKind::Strings),
                label_areas: usage(word(Control::LABEL_AREAS_USED), SectionKind::LabelAreas),
                bounds: usage(word(Control::BOUNDS_USED), SectionKind::Bounds),
                shared: usage(word(Control::SHARED_USED), SectionKind::Shared),
                lanes: usage(lanes, SectionKind::Lanes),
            },
            memory_locked: header.memory_lock == MemoryLock::Held.to_wire(),
            lane_overflows: word(Control::LANE_OVERFLOWS),
            registrations_dropped: word(Control::REGISTRATIONS_DROPPED),
            label_overflows: word(Control::LABEL_OVERFLOWS),
            dropped_observations,
            panics: word(Control::PANICS_SEEN),
            unlinked: word(Control::UNLINKED) == 1 || self.file.links().is_ok_and(|links| links == 0),
            file_len: header.file_len,
            archived: self.file.in_archive(),
        }
    }
}

/// A foreign string without control characters, which would move a terminal's cursor or break a line.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}
