//! What a case says of itself: whose it is, when, and the checksum of each member.

use serde::{Deserialize, Serialize};

use crate::promise::Promise;
use crate::recording::Facts;

/// The manifest of a case, as JSON. Fields are added over time, never renamed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of the case's form: 1.
    pub version: u32,
    /// Version of the `tacho` that wrote it.
    pub written_by: String,
    /// When it was written: nanoseconds since the Unix epoch.
    pub written_realtime_ns: u64,
    /// The same on the monotonic clock of that boot; 0 where an older `tacho` wrote it.
    #[serde(default)]
    pub written_monotonic_ns: u64,
    /// Host that it was written on.
    pub host: String,
    /// The region's name.
    pub name: String,
    /// The region's id as 32 hexadecimal digits.
    pub uuid: String,
    /// Id of the region that stood at its place before.
    pub predecessor: String,
    /// What had become of its writer: `running`, `hung`, `closed`, `crashed` or `copy`. The copy itself can't tell.
    pub verdict: String,
    /// Why, where it crashed and that is known: as in `ls --json`.
    pub cause: Option<String>,
    /// The promises that a hung writer had broken.
    #[serde(default)]
    pub broken_promises: Vec<Promise>,
    /// When it ended, as far as it is known, or its last sign of life: nanoseconds since the Unix epoch.
    pub last_sign_ns: u64,
    /// Where the region was.
    pub path: String,
    /// What was sampled beside the region last, and when ([`crate::recording::LastFacts`]); `None` where it was not recorded.
    pub facts: Option<(u64, Facts)>,
    /// All other members.
    pub members: Vec<Member>,
}

/// A file in a case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its path in the archive.
    pub path: String,
    /// Its length in bytes.
    pub bytes: u64,
    /// CRC-32 (IEEE 802.3) of its bytes.
    pub crc32: u32,
}
