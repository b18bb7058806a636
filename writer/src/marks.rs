//! What a region holds beside its values, for its own process: the slots of activities and pulses, and the ring of notes.

use tachograph_layout::{Layout, SectionKind};

use crate::activity;
use crate::note::Notes;
use crate::owned_slots::OwnedSlots;
use crate::process::Attached;
use crate::pulse::Pulses;

/// Made once a region and leaked, as its map: handles point here for the life of the process.
#[derive(Debug)]
pub(crate) struct Marks {
    pub(crate) activities: OwnedSlots,
    pub(crate) pulses: Pulses,
    pub(crate) notes: Notes,
}

impl Marks {
    pub(crate) fn new(attached: &'static Attached, layout: &Layout) -> &'static Self {
        Box::leak(Box::new(Self {
            activities: activity::slots(attached, layout.section(SectionKind::Activities)),
            pulses: Pulses::new(attached, layout.section(SectionKind::Pulses)),
            notes: Notes::new(attached, layout.section(SectionKind::Notes)),
        }))
    }
}
