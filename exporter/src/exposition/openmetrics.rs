//! OpenMetrics text 1.0.0, as its strictest readers take it: <https://prometheus.io/docs/specs/om/open_metrics_spec/>.

use super::body::Body;
use super::samples::{self, Style};
use super::selection::{Selection, Wanted, families};
use crate::plan::{Plan, Source};

/// `created` adds the `_created` lines.
pub(super) fn render(plan: &Plan, sources: &[Source], selection: &Selection, created: bool, out: &mut Body<'_>) {
    for (planned, _) in families(plan, sources, selection) {
        let mut head = planned.openmetrics_head.as_slice();
        for block in plan.blocks.get(planned.blocks.clone()).unwrap_or_default() {
            let Some(source) = sources.get(block.source) else { continue };
            let Some(wanted) = Wanted::of(selection, source) else { continue };
            samples::block(&plan.words, block, source, &wanted, Style { strict: true, created }, &mut head, out);
        }
    }
    out.text(b"# EOF\n");
}
