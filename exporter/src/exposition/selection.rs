//! Which families of which regions a scraper asked for: `?name[]=` and `?region=`.
//!
//! Applied while a plan is rendered, so that a scraper which wants a part costs no plan of its own. A scraper may name
//! thousands: what each family or block is asked costs a look-up, not a walk through them.

use std::collections::{BTreeSet, HashSet};

use crate::label_block;
use crate::plan::{Plan, Source, openmetrics_name};
use crate::schema::{Family, Kind};

/// Names of families and of regions. Where there are none, there is no restriction.
///
/// ```
/// use tachograph_exporter::exposition::Selection;
/// assert!(Selection::default().is_all());
/// let some = Selection { regions: ["mc-0".into()].into(), names: ["mc_meetings_active".into()].into() };
/// assert!(!some.is_all());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Selection {
    /// Names of regions. Of the exporter's own metrics those are left that are about one of these regions.
    pub regions: BTreeSet<String>,
    /// Names of families, or of their samples.
    pub names: BTreeSet<String>,
}

impl Selection {
    /// Whether nothing is left out.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.regions.is_empty() && self.names.is_empty()
    }

    /// Whether a family is wanted, by its name, the name of one of its samples, or what OpenMetrics calls it.
    pub(crate) fn wants_family(&self, family: &Family) -> bool {
        let suffixes: &[&str] = match family.kind {
            Kind::HistogramBounds | Kind::HistogramExponential => &["_bucket", "_sum", "_count"],
            _ => &[],
        };
        self.names.is_empty()
            || self.names.contains(&family.name)
            || self.names.contains(openmetrics_name(family))
            || suffixes.iter().any(|suffix| self.names.contains(&format!("{}{suffix}", family.name)))
    }

    /// Whether all series of a source are wanted, none of them, or some (`None`), of which [`Selection::wants_labels`]
    /// tells.
    pub(crate) fn wants_source(&self, source: &Source) -> Option<bool> {
        if self.regions.is_empty() {
            return Some(true);
        }
        source.labelled.then(|| self.regions.contains(&source.snapshot.region.name))
    }

    /// Whether a series of the exporter's own is about a wanted region, by its label block.
    pub(crate) fn wants_labels(&self, block: &str) -> bool {
        let region = label_block::value(block, crate::plan::REGION_LABEL);
        region.is_some_and(|region| self.regions.contains(region))
    }

    /// The regions it names that are in none of the sources and that the exporter says nothing about.
    #[must_use]
    pub fn unknown_regions<'a>(&'a self, sources: &[Source]) -> Vec<&'a str> {
        let told = sources.iter().flat_map(|source| {
            let named = source.labelled.then_some(source.snapshot.region.name.as_str());
            let series = &source.snapshot.schema.series;
            let own = if source.labelled || self.regions.is_empty() { 0 } else { series.len() };
            let about =
                series.range(0..own).filter_map(|one| label_block::value(one.labels, crate::plan::REGION_LABEL));
            named.into_iter().chain(about)
        });
        let told: HashSet<&str> = told.collect();
        self.regions.iter().map(String::as_str).filter(|name| !told.contains(name)).collect()
    }
}

/// A block of a plan and which of its series are wanted.
pub(super) struct Wanted<'a> {
    selection: &'a Selection,
    /// The source is the exporter's own, and only some of its series are wanted.
    some: bool,
}

impl<'a> Wanted<'a> {
    /// Of the series of a block; `None` where none of them is.
    pub(super) fn of(selection: &'a Selection, source: &Source) -> Option<Self> {
        match selection.wants_source(source) {
            Some(true) => Some(Self { selection, some: false }),
            Some(false) => None,
            None => Some(Self { selection, some: true }),
        }
    }

    /// What tells by its labels whether a series is; `None` where all are.
    pub(super) fn by_labels(&self) -> Option<impl Fn(&str) -> bool> {
        self.some.then_some(|labels: &str| self.selection.wants_labels(labels))
    }

    pub(super) fn wants(&self, labels: &str) -> bool {
        !self.some || self.selection.wants_labels(labels)
    }
}

/// The planned families that are wanted.
pub(super) fn families<'a>(
    plan: &'a Plan,
    sources: &'a [Source],
    selection: &'a Selection,
) -> impl Iterator<Item = (&'a crate::plan::Planned, &'a Family)> {
    plan.families.iter().filter_map(move |planned| {
        let first = plan.blocks.get(planned.blocks.start)?;
        let family = sources.get(first.source)?.snapshot.schema.families.get(first.family)?;
        selection.wants_family(family).then_some((planned, family))
    })
}
