//! The state word of a slot (a family, a series, an activity): generation and state in one 8-byte word.
//!
//! The writer stores it last, with Release; whoever finds [`SlotState::Live`] or [`SlotState::Retired`] in it with
//! Acquire sees everything that the slot refers to. A reader that copies the slot reads the word before and after.

/// What a slot holds. Bits 0..8 of its [`SlotWord`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlotState {
    /// Never used, or given back: nothing in it may be read.
    Free,
    /// Being filled: nothing in it may be read.
    Building,
    /// Published: all of it may be read.
    Live,
    /// No handle is left; its last value is shown until its linger ends.
    Retired,
}

/// The publish word of a slot: `generation << 32 | state`.
///
/// ```
/// use tachograph_layout::{SlotState, SlotWord};
/// let word = SlotWord::new(3, SlotState::Live);
/// assert_eq!((word.generation(), word.state()), (3, Some(SlotState::Live)));
/// assert!(word.is_readable());
/// assert_eq!(SlotWord::from_bits(9).state(), None); // a state that this layout does not know
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlotWord(u64);

impl SlotWord {
    /// A word for one generation and state.
    #[must_use]
    pub const fn new(generation: u32, state: SlotState) -> Self {
        let state = match state {
            SlotState::Free => 0,
            SlotState::Building => 1,
            SlotState::Live => 2,
            SlotState::Retired => 3,
        };
        Self((generation as u64) << 32 | state)
    }

    /// The word as it was found in a region; any bits are allowed, [`SlotWord::state`] checks them.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The word as it is stored.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// How often the slot was used before; goes up by one when a slot is given to another series.
    #[must_use]
    pub const fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// The state, or `None` where the bits are none of this layout's states.
    #[must_use]
    pub const fn state(self) -> Option<SlotState> {
        match self.0 & 0xffff_ffff {
            0 => Some(SlotState::Free),
            1 => Some(SlotState::Building),
            2 => Some(SlotState::Live),
            3 => Some(SlotState::Retired),
            _ => None,
        }
    }

    /// Whether the slot's contents may be read: live or retired.
    #[must_use]
    pub const fn is_readable(self) -> bool {
        matches!(self.state(), Some(SlotState::Live | SlotState::Retired))
    }
}
