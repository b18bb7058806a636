//! Whether a family fits into what is left of a region.
//!
//! Called by the registry before anything is stored, so that a family is registered whole or not at all.

use tachograph_layout::SectionKind;

use super::{Registry, Request};
use crate::RegisterError;

impl Registry {
    /// Whether the family fits; and of what grows with its series, takes no more than one `part`th of what is left.
    pub(super) fn check_room(&self, request: &Request<'_>, blocks: &[String], part: u64) -> Result<(), RegisterError> {
        let series = request.series();
        let cells = series * u64::from(request.shape.cells);
        let (lane_cells, shared) = if request.kind.in_shared_plane() { (0, cells) } else { (cells, 0) };
        let capacity = |kind| self.layout.section(kind).count;
        let lane_capacity = self.layout.section(SectionKind::Lanes).stride / 8;
        for (what, setting, needed, used, capacity) in [
            ("families", "families", 1, self.used.families, capacity(SectionKind::Families)),
            ("series", "series", series, self.used.series, capacity(SectionKind::Series)),
            ("cells", "cells", lane_cells, self.used.cells, lane_capacity),
            ("shared lines", "shared", shared, self.used.shared, capacity(SectionKind::Shared)),
            (
                "string bytes",
                "string_bytes",
                request.string_bytes(blocks),
                self.used.strings,
                capacity(SectionKind::Strings),
            ),
            (
                "histogram bounds",
                "bounds",
                request.shape.bounds.len() as u64,
                self.used.bounds,
                capacity(SectionKind::Bounds),
            ),
            (
                "label bytes",
                "label_bytes",
                request.label_area_bytes(),
                self.used.label_areas,
                capacity(SectionKind::LabelAreas),
            ),
        ] {
            let free = capacity.saturating_sub(used);
            let grows = matches!(what, "series" | "cells" | "shared lines" | "label bytes");
            if needed > if grows { free / part } else { free } {
                return Err(RegisterError::Full {
                    region: self.attached.name.clone(),
                    name: request.desc.name.clone(),
                    what,
                    setting,
                    needed,
                    free,
                    capacity,
                });
            }
        }
        Ok(())
    }
}
