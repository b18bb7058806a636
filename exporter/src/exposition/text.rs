//! Prometheus text format 0.0.4.

use super::body::Body;
use super::samples::{self, Style};
use super::selection::{Selection, Wanted, families};
use crate::plan::{Plan, Source};

pub(super) fn render(plan: &Plan, sources: &[Source], selection: &Selection, out: &mut Body<'_>) {
    for (planned, _) in families(plan, sources, selection) {
        let mut head = planned.text_head.as_slice();
        for block in plan.blocks.get(planned.blocks.clone()).unwrap_or_default() {
            let Some(source) = sources.get(block.source) else { continue };
            let Some(wanted) = Wanted::of(selection, source) else { continue };
            samples::block(
                &plan.words,
                block,
                source,
                &wanted,
                Style { strict: false, created: false },
                &mut head,
                out,
            );
        }
    }
}
