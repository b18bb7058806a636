//! The plan: in what order a set of snapshots is rendered, with everything that does not change written down already.
//!
//! The families of all regions stand by name under one HELP and TYPE. For each family of each region the plan holds what its
//! lines have before and behind the labels of a series (`name{` and `,tacho_region="x"} `), the same for every text format; a
//! series costs it nothing. It is made anew only when the set of regions or the structure of one changes ([`Plan::fits`]); the
//! formats of `exposition` render from it without looking at a name.
//!
//! Which regions are in view never changes the name of a series, and no region can spoil the output of another: what
//! clashes is left out, counted and named ([`Plan::clashes`]).

mod choice;
mod lines;

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use crate::Snapshot;
use crate::exposition::protobuf::Encoded;
use crate::schema::Schema;

pub(crate) use lines::{Line, Lines, Op, Words, openmetrics_name};

/// Name of the label that says which region a series comes from, unless the operator chose another.
pub const REGION_LABEL: &str = "tacho_region";

/// A snapshot to render.
#[derive(Debug, Clone)]
pub struct Source {
    /// The snapshot.
    pub snapshot: Arc<Snapshot>,
    /// Whether its series get the region label. The exporter's own metrics do not.
    pub labelled: bool,
}

impl Source {
    /// A region's snapshot: its series get the region label.
    #[must_use]
    pub const fn region(snapshot: Arc<Snapshot>) -> Self {
        Self { snapshot, labelled: true }
    }

    /// The exporter's own metrics: no label is added, and they stand where a region's family clashes with them.
    #[must_use]
    pub const fn own(snapshot: Arc<Snapshot>) -> Self {
        Self { snapshot, labelled: false }
    }

    /// Order in which clashes are decided: own metrics first, then the oldest region.
    fn seniority(&self) -> (bool, u64, &str) {
        let region = &self.snapshot.region;
        (self.labelled, region.created_realtime_ns, &region.name)
    }
}

/// What the operator chose.
#[derive(Debug, Clone)]
pub struct Options {
    /// Name of the label that says which region a series comes from. Empty: none is added, which one region allows.
    pub region_label: String,
}

impl Default for Options {
    fn default() -> Self {
        Self { region_label: REGION_LABEL.to_owned() }
    }
}

impl Options {
    /// Whether the label is a name that nothing else has; or empty.
    ///
    /// ```
    /// use tachograph_exporter::plan::Options;
    /// assert!(Options::default().is_usable());
    /// assert!(!Options { region_label: "instance".into() }.is_usable());
    /// ```
    #[must_use]
    pub fn is_usable(&self) -> bool {
        let label = self.region_label.as_str();
        // The default starts with `tacho_`, which no family's own label may.
        let grammar = label.is_empty() || label == REGION_LABEL || crate::label_block::is_label_name(label);
        grammar && !["le", "quantile", "job", "instance", "overflow"].contains(&label)
    }
}

/// Why no plan can be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// Several regions, and no label to tell their series apart.
    #[error(
        "{regions} regions and an empty region label: their series could not be told apart; name a label with --region-label"
    )]
    LabelNeeded {
        /// How many regions there are.
        regions: usize,
    },
    /// Two regions of one name: their series would be the same.
    #[error(
        "two regions are named {name}: {first} and {second}; give them different names, or serve their directories apart"
    )]
    SameName {
        /// The name.
        name: String,
        /// Path of one.
        first: String,
        /// Path of the other.
        second: String,
    },
}

/// A family that says something else than an older one of its name, which stands.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Clash {
    /// The region whose family it is.
    pub region: String,
    /// The family.
    pub family: String,
    /// Why.
    pub reason: String,
    /// Whether it is left out; else it is shown under what the older one says.
    pub left_out: bool,
}

impl fmt::Display for Clash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.left_out { "left out" } else { "shown as that of the older region" };
        write!(f, "family {} of region {} is {what}: {}", self.family, self.region, self.reason)
    }
}

/// What a plan was made for: if any of it changes, the plan no longer fits.
#[derive(Debug)]
struct Made {
    schema: Arc<Schema>,
    name: String,
    created_realtime_ns: u64,
    labelled: bool,
}

/// The families of one name.
#[derive(Debug)]
pub(crate) struct Planned {
    /// HELP and TYPE of text 0.0.4.
    pub(crate) text_head: Vec<u8>,
    /// TYPE, UNIT and HELP of OpenMetrics.
    pub(crate) openmetrics_head: Vec<u8>,
    /// Its blocks, as a range of [`Plan::blocks`]; never empty. The first one's family says what is said of all.
    pub(crate) blocks: Range<usize>,
}

/// The series of one family of one source: their lines follow each other.
#[derive(Debug)]
pub(crate) struct Block {
    /// Index of the source.
    pub(crate) source: usize,
    /// Index into that source's families.
    pub(crate) family: usize,
    /// What each line of a series shows.
    pub(crate) ops: Vec<Op>,
    /// Its words.
    pub(crate) lines: Lines,
    /// Those of the line that says when a series was created.
    pub(crate) created: Lines,
    /// The label of the region as a label block; empty where none is added.
    pub(crate) region: String,
}

/// The render order of a set of snapshots, and the words of their lines.
///
/// ```
/// use std::sync::Arc;
/// use tachograph_exporter::exposition::{Exposition, Format};
/// use tachograph_exporter::{plan::{Options, Plan, Source}, Family, Kind, Number, RegionInfo, Schema, Series, Snapshot};
/// let mut family = Family::new("app_served_total", "Requests served", Kind::Counter, Number::U64);
/// family.series = 0..1;
/// let series = Series {
///     family: 0, slot: 0, generation: 0, labels: "", created_realtime_ns: 0, retired: false, cell: 0, cells: 1,
/// };
/// let schema = Schema { families: vec![family], series: [series].into_iter().collect(), ..Schema::default() };
/// let region = RegionInfo { name: "mc-0".into(), ..RegionInfo::default() };
/// let snapshot = Snapshot::from_parts(region, Arc::new(schema), vec![7], vec![])?;
///
/// let sources = [Source::region(Arc::new(snapshot))];
/// let plan = Plan::new(&sources, &Options::default())?;
/// assert!(plan.fits(&sources));
/// let mut out = Vec::new();
/// Exposition::new(Format::Text).render(&plan, &sources, &mut out);
/// assert!(out.ends_with(b"# TYPE app_served_total counter\napp_served_total{tacho_region=\"mc-0\"} 7\n"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Plan {
    pub(crate) blocks: Vec<Block>,
    pub(crate) families: Vec<Planned>,
    /// What the lines of all blocks are made of.
    pub(crate) words: Words,
    /// Sample lines of text 0.0.4.
    lines: usize,
    /// What protobuf has encoded, made when first asked for.
    pub(crate) encoded: OnceLock<Encoded>,
    made: Vec<Made>,
    clashes: Vec<Clash>,
}

impl Plan {
    /// Plans the rendering of these sources, in the order that they will be rendered in.
    ///
    /// # Errors
    /// [`PlanError`] where series of several regions could not be told apart.
    pub fn new(sources: &[Source], options: &Options) -> Result<Self, PlanError> {
        tell_apart(sources, options)?;
        let mut plan = Self {
            words: Words::default(),
            lines: 0,
            blocks: Vec::new(),
            families: Vec::new(),
            encoded: OnceLock::new(),
            made: sources.iter().map(Made::of).collect(),
            clashes: Vec::new(),
        };
        let choice::Choice { families, clashes } = choice::choose(sources, options);
        plan.clashes = clashes;
        for entries in &families {
            plan.family(sources, options, entries);
        }
        plan.words.finish();
        Ok(plan)
    }

    /// Whether this plan renders these sources: same regions in the same order, same structures.
    #[must_use]
    pub fn fits(&self, sources: &[Source]) -> bool {
        self.made.len() == sources.len() && self.made.iter().zip(sources).all(|(made, source)| made.fits(source))
    }

    /// Families that clash with an older one, in the order of age and then of registration.
    #[must_use]
    pub fn clashes(&self) -> &[Clash] {
        &self.clashes
    }

    /// How many families are rendered.
    #[must_use]
    pub const fn families(&self) -> usize {
        self.families.len()
    }

    /// How many sample lines text 0.0.4 has.
    #[must_use]
    pub const fn lines(&self) -> usize {
        self.lines
    }

    /// Plans the families of one name.
    fn family(&mut self, sources: &[Source], options: &Options, entries: &[choice::Entry]) {
        let Some(first) = entries.first().and_then(|entry| choice::family(sources, *entry)) else { return };
        let blocks = self.blocks.len();
        let mut entries = entries.to_vec();
        entries.sort_by(|a, b| sources[a.0].snapshot.region.name.cmp(&sources[b.0].snapshot.region.name));
        for (source, index) in entries {
            let Source { snapshot, labelled } = &sources[source];
            let Some(family) = snapshot.schema.families.get(index) else { continue };
            let region = match (labelled, options.region_label.as_str()) {
                (false, _) | (_, "") => String::new(),
                (true, label) => format!("{label}=\"{}\"", snapshot.region.name),
            };
            // An open family that has no series yet: nothing is said of it.
            if !family.series.is_empty() {
                let all = || snapshot.schema.series.range(family.series.clone());
                let with = (all().any(|one| !one.labels.is_empty()), all().any(|one| one.labels.is_empty()));
                let (ops, lines, created) = lines::of(&mut self.words, family, &region, with);
                self.lines += family.series.len() * ops.len();
                self.blocks.push(Block { source, family: index, ops, lines, created, region });
            }
        }
        if self.blocks.len() > blocks {
            let (text_head, openmetrics_head) = (lines::text_head(first), lines::openmetrics_head(first));
            self.families.push(Planned { text_head, openmetrics_head, blocks: blocks..self.blocks.len() });
        }
    }
}

impl Made {
    fn of(source: &Source) -> Self {
        let region = &source.snapshot.region;
        Self {
            schema: Arc::clone(&source.snapshot.schema),
            name: region.name.clone(),
            created_realtime_ns: region.created_realtime_ns,
            labelled: source.labelled,
        }
    }

    fn fits(&self, source: &Source) -> bool {
        let region = &source.snapshot.region;
        Arc::ptr_eq(&self.schema, &source.snapshot.schema)
            && self.labelled == source.labelled
            && self.created_realtime_ns == region.created_realtime_ns
            && self.name == region.name
    }
}

fn tell_apart(sources: &[Source], options: &Options) -> Result<(), PlanError> {
    let regions = || sources.iter().filter(|source| source.labelled).map(|source| &source.snapshot.region);
    if options.region_label.is_empty() && regions().count() > 1 {
        return Err(PlanError::LabelNeeded { regions: regions().count() });
    }
    let mut seen = HashMap::new();
    for region in regions() {
        if let Some(first) = seen.insert(region.name.as_str(), &region.path) {
            let (first, second) = (first.display().to_string(), region.path.display().to_string());
            return Err(PlanError::SameName { name: region.name.clone(), first, second });
        }
    }
    Ok(())
}
