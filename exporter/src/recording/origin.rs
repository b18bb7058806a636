//! Which region a block of a recording is of: what stands in the block's header, as JSON.
//!
//! Written by `encoder.rs`, read by `decoder.rs`. Fields are added over time, never renamed; a reader takes what it knows.
//! The bytes may be hostile: the name is checked and control characters are taken out of the texts.

use serde::{Deserialize, Serialize};

use super::wire::Malformed;
use crate::reader::printable;
use crate::region_file::is_region_name;
use crate::region_info::{Capacity, RegionInfo};

/// Which region was recorded, what wrote it, and how often it was sampled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// Nanoseconds between two samples.
    pub interval_ns: u64,
    /// Number of the block among those of this region and interval, from 1.
    pub sequence: u64,
    /// When the block was begun: nanoseconds since the Unix epoch.
    pub start_realtime_ns: u64,
    /// When the block was begun, on the monotonic clock.
    pub start_monotonic_ns: u64,
    /// The region's id as 32 hexadecimal digits.
    pub uuid: String,
    /// Id of the region that stood at its place before; zeros where there was none.
    pub predecessor: String,
    /// The region's name.
    pub name: String,
    /// Where the region was.
    pub path: String,
    /// The writer's process id, in its pid namespace.
    pub pid: u32,
    /// Inode of that pid namespace.
    pub pid_namespace: u64,
    /// The writer's start, in clock ticks since boot.
    pub process_start_ticks: u64,
    /// Clock ticks a second.
    pub ticks_per_second: u32,
    /// Boot that the region was written in, as 32 hexadecimal digits.
    pub boot_id: String,
    /// When the region was built: nanoseconds since the Unix epoch.
    pub created_realtime_ns: u64,
    /// When the region was built, on the monotonic clock.
    pub created_monotonic_ns: u64,
    /// Period of the writer's housekeeping tick in nanoseconds.
    pub tick_period_ns: u64,
    /// Path of the writer's executable.
    pub exe: String,
    /// Host name.
    pub host: String,
    /// The application's version.
    pub version: String,
    /// The executable's build id.
    pub build_id: String,
    /// How often the region's lineage was restarted with counters continued.
    pub restarts: u64,
    /// Length of the region's file.
    pub file_len: u64,
    /// What the region holds at most: series, families, cells, strings, label areas, bounds, lines, lanes.
    pub capacities: [u64; 8],
    /// How many words of facts each tick ends with.
    pub facts: u64,
}

impl Origin {
    /// The origin of a block of this region that begins now.
    pub(crate) fn of(region: &RegionInfo, predecessor: [u8; 16], interval_ns: u64, facts: usize) -> Self {
        let Capacity { series, families, cells, strings, label_areas, bounds, shared, lanes } = region.capacity;
        Self {
            interval_ns,
            sequence: 0,
            start_realtime_ns: 0,
            start_monotonic_ns: 0,
            uuid: hex(region.uuid),
            predecessor: hex(predecessor),
            name: region.name.clone(),
            path: region.path.display().to_string(),
            pid: region.pid,
            pid_namespace: region.pid_namespace,
            process_start_ticks: region.process_start_ticks,
            ticks_per_second: region.ticks_per_second,
            boot_id: hex(region.boot_id),
            created_realtime_ns: region.created_realtime_ns,
            created_monotonic_ns: region.created_monotonic_ns,
            tick_period_ns: region.tick_period_ns,
            exe: region.exe.clone(),
            host: region.host.clone(),
            version: region.version.clone(),
            build_id: region.build_id.clone(),
            restarts: region.restarts,
            file_len: region.file_len,
            capacities: [series, families, cells, strings, label_areas, bounds, shared, lanes]
                .map(|usage| usage.capacity),
            facts: facts as u64,
        }
    }

    /// Reads a header, checked.
    pub(crate) fn read(json: &[u8]) -> Result<Self, Malformed> {
        let mut origin: Self =
            serde_json::from_slice(json).map_err(|_| Malformed("a header that is no JSON of ours"))?;
        if !is_region_name(&origin.name) {
            return Err(Malformed("a name that no region has"));
        }
        if origin.interval_ns == 0 || unhex(&origin.uuid).is_none() || origin.facts > 4096 {
            return Err(Malformed("a header that makes no sense"));
        }
        for text in [
            &mut origin.path,
            &mut origin.exe,
            &mut origin.host,
            &mut origin.version,
            &mut origin.build_id,
            &mut origin.predecessor,
            &mut origin.boot_id,
        ] {
            *text = printable(text);
        }
        Ok(origin)
    }

    /// The region's id.
    #[must_use]
    pub fn region_uuid(&self) -> [u8; 16] {
        unhex(&self.uuid).unwrap_or_default()
    }

    /// What it tells of the region; what changes from tick to tick is missing.
    pub(crate) fn region(&self) -> RegionInfo {
        let mut region = RegionInfo {
            name: self.name.clone(),
            path: self.path.clone().into(),
            uuid: self.region_uuid(),
            pid: self.pid,
            pid_namespace: self.pid_namespace,
            process_start_ticks: self.process_start_ticks,
            ticks_per_second: self.ticks_per_second,
            boot_id: unhex(&self.boot_id).unwrap_or_default(),
            created_realtime_ns: self.created_realtime_ns,
            created_monotonic_ns: self.created_monotonic_ns,
            tick_period_ns: self.tick_period_ns,
            exe: self.exe.clone(),
            host: self.host.clone(),
            version: self.version.clone(),
            build_id: self.build_id.clone(),
            restarts: self.restarts,
            file_len: self.file_len,
            ..RegionInfo::default()
        };
        let capacity = &mut region.capacity;
        let usages = [
            &mut capacity.series,
            &mut capacity.families,
            &mut capacity.cells,
            &mut capacity.strings,
            &mut capacity.label_areas,
            &mut capacity.bounds,
            &mut capacity.shared,
            &mut capacity.lanes,
        ];
        usages.into_iter().zip(self.capacities).for_each(|(usage, capacity)| usage.capacity = capacity);
        region
    }
}

/// An id as 32 hexadecimal digits.
pub(crate) fn hex(uuid: [u8; 16]) -> String {
    format!("{:032x}", u128::from_be_bytes(uuid))
}

/// The id that 32 hexadecimal digits are.
pub(crate) fn unhex(text: &str) -> Option<[u8; 16]> {
    let digits = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    digits.then(|| u128::from_str_radix(text, 16).ok().map(u128::to_be_bytes)).flatten()
}
