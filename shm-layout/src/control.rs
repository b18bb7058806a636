//! The control block: the words of a region that change while it lives, at a fixed place in the header section.
//!
//! Each group of words has 128 bytes of its own, so that what the housekeeping tick writes does not slow down what
//! registration or a thread's first write touches.

/// Byte offsets of the control words, counted from the start of the file.
///
/// ```
/// use tachograph_layout::Control;
/// assert_eq!(Control::STATE, 4096);
/// assert_eq!(Control::FIELDS[0], ("state", 4096));
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Control;

macro_rules! control {
    ($($(#[$doc:meta])* $konst:ident $name:literal = $offset:expr;)*) => {
        impl Control {
            $($(#[$doc])* pub const $konst: u64 = $offset;)*
            /// Name and byte offset of every control word, for the test that holds `docs/LAYOUT.md` to the code.
            pub const FIELDS: &'static [(&'static str, u64)] = &[$(($name, $offset)),*];
        }
    };
}

control! {
    /// [`RegionState`]. Stored with Release; the region is complete from the first time it is not 0.
    STATE "state" = 4096;
    /// When the state last changed: nanoseconds since the Unix epoch.
    STATE_REALTIME_NS "state_realtime_ns" = 4104;
    /// Structure word: odd while a slot is being given to another series, even else. Appending never touches it.
    STRUCTURE "structure" = 4224;
    /// Series slots in use: none at or above it was ever published. Stored last, with Release.
    SERIES_USED "series_used" = 4352;
    /// Families in use; stored with Release before any series of the family is published.
    FAMILIES_USED "families_used" = 4360;
    /// Bytes of the strings section in use.
    STRINGS_USED "strings_used" = 4368;
    /// Cells of a lane in use, its header cells included.
    CELLS_USED "cells_used" = 4376;
    /// Lines of the shared plane in use.
    SHARED_USED "shared_used" = 4384;
    /// Words of the bounds section in use.
    BOUNDS_USED "bounds_used" = 4392;
    /// Bytes of the label areas in use.
    LABEL_AREAS_USED "label_areas_used" = 4400;
    /// Activity slots ever used.
    ACTIVITIES_USED "activities_used" = 4408;
    /// Pulse slots in use.
    PULSES_USED "pulses_used" = 4416;
    /// Lanes ever used: every lane below it may hold values. At least 1 (the shared lane).
    LANES_USED "lanes_used" = 4480;
    /// Threads that found no free lane and share lane 0 instead.
    LANE_OVERFLOWS "lane_overflows" = 4488;
    /// Housekeeping ticks since the region was built.
    TICKS "ticks" = 4608;
    /// When the last tick was, on the monotonic clock.
    TICK_MONOTONIC_NS "tick_monotonic_ns" = 4616;
    /// When the last tick was: nanoseconds since the Unix epoch.
    TICK_REALTIME_NS "tick_realtime_ns" = 4624;
    /// Number of the current 60 s window of the watermarks.
    WATERMARK_WINDOW "watermark_window" = 4632;
    /// 1 once the file was found without a name (unlinked under its writer).
    UNLINKED "unlinked" = 4640;
    /// Registrations refused (full, bad name, clash).
    REGISTRATIONS_DROPPED "registrations_dropped" = 4736;
    /// Label sets that went to an overflow series.
    LABEL_OVERFLOWS "label_overflows" = 4744;
    /// Actors that found no activity slot.
    ACTIVITY_OVERFLOWS "activity_overflows" = 4752;
    /// Notes ever written; the newest has this number.
    NOTES_WRITTEN "notes_written" = 4864;
    /// Panics ever seen; the newest has this number.
    PANICS_SEEN "panics_seen" = 4992;
    /// Whether the process records its panics and fatal signals: one of [`CrashHooks`].
    CRASH_HOOKS "crash_hooks" = 5000;
}

/// Whether a process records its panics and fatal signals, as the word [`Control::CRASH_HOOKS`] says it.
///
/// ```
/// use tachograph_layout::CrashHooks;
/// assert_eq!(CrashHooks::from_wire(CrashHooks::On.to_wire()), Some(CrashHooks::On));
/// assert_eq!(CrashHooks::from_wire(0), None);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CrashHooks {
    /// They are not recorded, so far.
    Off,
    /// They are.
    On,
}

impl CrashHooks {
    /// The word that stands in the file.
    #[must_use]
    pub const fn to_wire(self) -> u64 {
        match self {
            Self::Off => 1,
            Self::On => 2,
        }
    }

    /// From the word in a file; `None` where it does not tell.
    #[must_use]
    pub const fn from_wire(word: u64) -> Option<Self> {
        match word {
            1 => Some(Self::Off),
            2 => Some(Self::On),
            _ => None,
        }
    }
}

/// What a region says of its own life.
///
/// ```
/// use tachograph_layout::RegionState;
/// assert_eq!(RegionState::from_wire(RegionState::Closed.to_wire()), Some(RegionState::Closed));
/// assert_eq!(RegionState::from_wire(77), None);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RegionState {
    /// Being filled; no reader should see a file in this state, since it has no name yet.
    Building,
    /// In use, or left in use by a writer that died.
    Live,
    /// Closed by its writer in an orderly way.
    Closed,
    /// Given up while its writer was unwinding from a panic.
    Unwound,
    /// Still in use when its writer called `exit` or returned from `main`: the process went in order, the region did not.
    Exited,
}

// The state and when it changed are published as one record, whose first word the state is.
const _: () = assert!(Control::STATE_REALTIME_NS == Control::STATE + 8);

impl RegionState {
    /// The word that stands in the file.
    #[must_use]
    pub const fn to_wire(self) -> u64 {
        match self {
            Self::Building => 0,
            Self::Live => 1,
            Self::Closed => 2,
            Self::Unwound => 3,
            Self::Exited => 4,
        }
    }

    /// From the word in a file; `None` where this layout knows no such state.
    #[must_use]
    pub const fn from_wire(word: u64) -> Option<Self> {
        match word {
            0 => Some(Self::Building),
            1 => Some(Self::Live),
            2 => Some(Self::Closed),
            3 => Some(Self::Unwound),
            4 => Some(Self::Exited),
            _ => None,
        }
    }
}
