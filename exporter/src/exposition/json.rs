//! JSON of our own: `{"version":1,"families":[{"name","kind","help","unit","series":[{"labels",..}]}]}`, each series as
//! `tacho show --json` has it. For people and scripts; one object a series is made on the way.

use serde_json::json;

use super::body::Body;
use super::selection::{Selection, Wanted, families};
use crate::json::series_json;
use crate::plan::{Plan, Source};

pub(super) fn render(plan: &Plan, sources: &[Source], selection: &Selection, out: &mut Body<'_>) {
    out.text(br#"{"version":1,"families":["#);
    let mut separator: &[u8] = b"";
    for (planned, family) in families(plan, sources, selection) {
        let head = json!({
            "name": family.name, "kind": family.kind.as_str(), "help": family.help, "unit": family.unit,
        })
        .to_string();
        let mut begin = [separator, head.trim_end_matches('}').as_bytes(), br#","series":["#].concat();
        for block in plan.blocks.get(planned.blocks.clone()).unwrap_or_default() {
            let Some(source) = sources.get(block.source) else { continue };
            let Some(wanted) = Wanted::of(selection, source) else { continue };
            let schema = &source.snapshot.schema;
            let Some(family) = schema.families.get(block.family) else { continue };
            for index in family.series.clone() {
                let Some(series) = schema.series.get(index).filter(|series| wanted.wants(series.labels)) else {
                    continue;
                };
                out.text(&begin);
                let object = series_json(&source.snapshot, family, &series, index, &block.region);
                out.text(object.to_string().as_bytes());
                (begin, separator) = (b",".to_vec(), b"]},");
            }
        }
    }
    out.text(if separator.is_empty() { b"]}\n" } else { b"]}]}\n" });
}
