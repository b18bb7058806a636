//! The header page: what the file is, who writes it, and where its sections stand. Never changes once the file has
//! its name.

use bytemuck::{Pod, Zeroable};

use crate::{SectionEntry, SectionError, SectionTable, record};

/// Layout version: a reader of another major version refuses the file.
pub const LAYOUT_MAJOR: u32 = 1;
/// Layout version: a higher minor adds what an older reader may skip.
pub const LAYOUT_MINOR: u32 = 0;

/// The header, 4096 bytes at the start of the file.
///
/// ```
/// use tachograph_layout::Header;
/// assert_eq!(size_of::<Header>(), 4096);
/// assert_eq!(&Header::MAGIC[1..6], b"TACHO");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Header {
    /// [`Header::MAGIC`].
    pub magic: [u8; 8],
    /// [`LAYOUT_MAJOR`].
    pub layout_major: u32,
    /// [`LAYOUT_MINOR`].
    pub layout_minor: u32,
    /// [`Header::BYTE_ORDER`], written little endian like everything else.
    pub byte_order: u64,
    /// 4096.
    pub header_len: u32,
    /// Entries used of `sections`.
    pub section_count: u32,
    /// Bits that a reader must know to read the file; layout 1.0 defines none.
    pub required_features: u64,
    /// Bits that a reader may ignore; layout 1.0 defines none.
    pub optional_features: u64,
    /// Length of the file in bytes.
    pub file_len: u64,
    /// Zero.
    pub reserved_a: u64,
    /// Random (version 4), new for each region ever built.
    pub uuid: [u8; 16],
    /// The region whose counters this one continues; zero where none.
    pub predecessor_uuid: [u8; 16],
    /// `/proc/sys/kernel/random/boot_id`, as 16 bytes.
    pub boot_id: [u8; 16],
    /// Writer's process id, in its own pid namespace.
    pub pid: u32,
    /// Writer's effective user id.
    pub uid: u32,
    /// Inode of the writer's pid namespace (`/proc/self/ns/pid`).
    pub pid_namespace: u64,
    /// Writer's start, in clock ticks since boot (`/proc/self/stat`, field 22).
    pub process_start_ticks: u64,
    /// When the region was built: nanoseconds since the Unix epoch.
    pub created_realtime_ns: u64,
    /// When the region was built, on the monotonic clock: with the field before it, a clock pair.
    pub created_monotonic_ns: u64,
    /// Period of the housekeeping tick, in nanoseconds.
    pub tick_period_ns: u64,
    /// Writer's effective group id.
    pub gid: u32,
    /// [`MemoryLock`].
    pub memory_lock: u32,
    /// Clock ticks a second, for `process_start_ticks`.
    pub ticks_per_second: u32,
    /// Zero.
    pub reserved_b: u32,
    /// How often the lineage was restarted with its counters continued.
    pub restarts: u64,
    /// When the first region of the lineage was built: nanoseconds since the Unix epoch.
    pub lineage_created_realtime_ns: u64,
    /// Bytes used of `name`.
    pub name_len: u32,
    /// Bytes used of `build_id`.
    pub build_id_len: u32,
    /// Bytes used of `host`.
    pub host_len: u32,
    /// Bytes used of `version`.
    pub version_len: u32,
    /// Bytes used of `exe`.
    pub exe_len: u32,
    /// Zero.
    pub reserved_c: [u32; 9],
    /// The region's name, ASCII.
    pub name: [u8; 64],
    /// The executable's GNU build id, raw bytes.
    pub build_id: [u8; 64],
    /// Host name, UTF-8.
    pub host: [u8; 64],
    /// The application's own version, UTF-8.
    pub version: [u8; 64],
    /// Path of the executable, UTF-8, cut at 256 bytes.
    pub exe: [u8; 256],
    /// Zero.
    pub reserved_d: [u64; 33],
    /// The section table.
    pub sections: [SectionEntry; 32],
    /// Zero.
    pub reserved_e: [u64; 128],
}

record!(Header, 4096, {
    magic @ 0, layout_major @ 8, layout_minor @ 12, byte_order @ 16, header_len @ 24, section_count @ 28,
    required_features @ 32, optional_features @ 40, file_len @ 48, reserved_a @ 56, uuid @ 64, predecessor_uuid @ 80,
    boot_id @ 96, pid @ 112, uid @ 116, pid_namespace @ 120, process_start_ticks @ 128, created_realtime_ns @ 136,
    created_monotonic_ns @ 144, tick_period_ns @ 152, gid @ 160, memory_lock @ 164, ticks_per_second @ 168,
    reserved_b @ 172, restarts @ 176, lineage_created_realtime_ns @ 184, name_len @ 192, build_id_len @ 196,
    host_len @ 200, version_len @ 204, exe_len @ 208, reserved_c @ 212, name @ 248, build_id @ 312, host @ 376,
    version @ 440, exe @ 504, reserved_d @ 760, sections @ 1024, reserved_e @ 3072,
});

/// Whether the region's pages are held in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemoryLock {
    /// `mlock` held: the pages can't be swapped out.
    Held,
    /// `mlock` was refused (RLIMIT_MEMLOCK, as a rule).
    Refused,
}

impl MemoryLock {
    /// The number that stands in the header.
    #[must_use]
    pub const fn to_wire(self) -> u32 {
        match self {
            Self::Held => 1,
            Self::Refused => 2,
        }
    }
}

/// Why a header can't be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// Too short to hold a header at all.
    #[error("{0} bytes: too short for a region's header of 4096 bytes")]
    TooShort(u64),
    /// The magic is not a region's.
    #[error("not a Tachograph region: it starts with {0:02x?}, a region with {magic:02x?}", magic = Header::MAGIC)]
    Magic([u8; 8]),
    /// Written on a machine of the other byte order.
    #[error("written big endian; this version reads little endian regions only")]
    ByteOrder,
    /// Another major layout version.
    #[error("layout {found_major}.{found_minor}; this version reads layout {LAYOUT_MAJOR}.x")]
    Layout {
        /// Major version found.
        found_major: u32,
        /// Minor version found.
        found_minor: u32,
    },
    /// Feature bits that must be known and are not.
    #[error("needs features {0:#x}, which this version does not know")]
    Features(u64),
    /// The file is not as long as its header says.
    #[error("cut short or grown: {found} bytes where its header says {expected}")]
    Length {
        /// Length of the file.
        found: u64,
        /// What the header says.
        expected: u64,
    },
    /// A length field is beyond its field.
    #[error("{field} is {len} bytes long where its field holds {max}")]
    Field {
        /// The field's name.
        field: &'static str,
        /// Length found.
        len: u32,
        /// Bytes of the field.
        max: u32,
    },
    /// The section table is off.
    #[error(transparent)]
    Section(#[from] SectionError),
}

impl Header {
    /// First 8 bytes of every region. The high bit, CR and LF show up a file that went through a text tool.
    pub const MAGIC: [u8; 8] = *b"\x89TACHO\r\n";
    /// Little endian marker.
    pub const BYTE_ORDER: u64 = 0x0102_0304_0506_0708;
    /// Length of the header in bytes.
    pub const LEN: u64 = 4096;

    /// Checks a copied header against the length of its file, and gives its sections.
    ///
    /// # Errors
    /// [`HeaderError`] saying what was found and what is supported.
    ///
    /// ```
    /// use tachograph_layout::{Header, HeaderError};
    /// let header: Header = bytemuck::Zeroable::zeroed();
    /// assert!(matches!(header.check(4096), Err(HeaderError::Magic(_))));
    /// ```
    pub fn check(&self, file_len: u64) -> Result<SectionTable, HeaderError> {
        if self.magic != Self::MAGIC {
            return Err(HeaderError::Magic(self.magic));
        }
        if self.byte_order == Self::BYTE_ORDER.swap_bytes() {
            return Err(HeaderError::ByteOrder);
        }
        if self.layout_major != LAYOUT_MAJOR || self.byte_order != Self::BYTE_ORDER {
            return Err(HeaderError::Layout { found_major: self.layout_major, found_minor: self.layout_minor });
        }
        if self.required_features != 0 {
            return Err(HeaderError::Features(self.required_features));
        }
        if self.file_len != file_len {
            return Err(HeaderError::Length { found: file_len, expected: self.file_len });
        }
        let fields = [
            ("name", self.name_len, self.name.len()),
            ("build_id", self.build_id_len, self.build_id.len()),
            ("host", self.host_len, self.host.len()),
            ("version", self.version_len, self.version.len()),
            ("exe", self.exe_len, self.exe.len()),
        ];
        for (field, len, max) in fields {
            if len as usize > max {
                return Err(HeaderError::Field { field, len, max: max as u32 });
            }
        }
        Ok(SectionTable::check(&self.sections, self.section_count, file_len)?)
    }

    /// The region's name; bytes that are no UTF-8 are replaced.
    #[must_use]
    pub fn name(&self) -> String {
        text(&self.name, self.name_len)
    }

    /// The host's name.
    #[must_use]
    pub fn host(&self) -> String {
        text(&self.host, self.host_len)
    }

    /// The application's version, empty where it gave none.
    #[must_use]
    pub fn version(&self) -> String {
        text(&self.version, self.version_len)
    }

    /// Path of the writer's executable.
    #[must_use]
    pub fn exe(&self) -> String {
        text(&self.exe, self.exe_len)
    }

    /// The executable's build id, in hexadecimal.
    #[must_use]
    pub fn build_id(&self) -> String {
        let used = self.build_id.get(..self.build_id_len as usize).unwrap_or_default();
        used.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

fn text(field: &[u8], len: u32) -> String {
    String::from_utf8_lossy(field.get(..len as usize).unwrap_or_default()).into_owned()
}
