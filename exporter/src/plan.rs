//! The plan: in what order a set of snapshots is rendered, with everything that does not change written down already.
//!
//! The families of all regions stand by name under one HELP and TYPE. For each line of output the plan holds its
//! prefix (`name{labels,tacho_region="x"} `) in one arena of bytes, and where its number comes from. It is made anew
//! only when the set of regions or the structure of one changes ([`Plan::fits`]); `text.rs` renders from it without
//! looking at a name.
//!
//! Which regions are in view never changes the name of a series, and no region can spoil the output of another: what
//! clashes is left out, counted and named ([`Plan::clashes`]).

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use crate::Snapshot;
use crate::number;
use crate::schema::{Family, Kind, Schema};

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

/// A family that was left out, because another one stands.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Clash {
    /// The region whose family was left out.
    pub region: String,
    /// The family.
    pub family: String,
    /// Why.
    pub reason: String,
}

impl fmt::Display for Clash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "family {} of region {} is left out: {}", self.family, self.region, self.reason)
    }
}

/// Where the number of a line comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op {
    /// The series' value as it is.
    Scalar,
    /// The count of bucket `n` and of all below it. Lines of one histogram follow each other, buckets upwards.
    Bucket(u32),
    /// The count of all buckets.
    Count,
    /// A histogram's sum.
    Sum,
    /// 1 where state `n` is on, else 0.
    State(u32),
    /// 1.
    One,
}

/// One line of output.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Line {
    /// Where its prefix ends in the arena; it begins where the line before ends.
    pub(crate) end: usize,
    /// Index of the source.
    pub(crate) source: u32,
    /// Index into that source's series.
    pub(crate) series: u32,
    /// What to print.
    pub(crate) op: Op,
}

/// What a plan was made for: if any of it changes, the plan no longer fits.
#[derive(Debug)]
struct Made {
    schema: Arc<Schema>,
    name: String,
    created_realtime_ns: u64,
    labelled: bool,
}

/// The render order and the prefixes of a set of snapshots.
///
/// ```
/// use std::sync::Arc;
/// use tachograph_exporter::{plan::{Options, Plan, Source}, text, Family, Kind, Number, RegionInfo, Schema, Series, Snapshot};
/// let mut family = Family::new("app_served_total", "Requests served", Kind::Counter, Number::U64);
/// family.series = 0..1;
/// let series = Series {
///     family: 0, slot: 0, generation: 0, labels: String::new(), created_realtime_ns: 0, retired: false, cell: 0, cells: 1,
/// };
/// let schema = Schema { families: vec![family], series: vec![series], ..Schema::default() };
/// let region = RegionInfo { name: "mc-0".into(), ..RegionInfo::default() };
/// let snapshot = Snapshot::from_parts(region, Arc::new(schema), vec![7], vec![])?;
///
/// let sources = [Source::region(Arc::new(snapshot))];
/// let plan = Plan::new(&sources, &Options::default())?;
/// assert!(plan.fits(&sources));
/// let mut out = Vec::new();
/// text::render(&plan, &sources, &mut out);
/// assert!(out.ends_with(b"# TYPE app_served_total counter\napp_served_total{tacho_region=\"mc-0\"} 7\n"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Plan {
    pub(crate) arena: Vec<u8>,
    pub(crate) lines: Vec<Line>,
    made: Vec<Made>,
    clashes: Vec<Clash>,
    families: usize,
}

/// A family of one source.
type Entry<'a> = (usize, &'a Family);

impl Plan {
    /// Plans the rendering of these sources, in the order that they will be rendered in.
    ///
    /// # Errors
    /// [`PlanError`] where series of several regions could not be told apart.
    pub fn new(sources: &[Source], options: &Options) -> Result<Self, PlanError> {
        tell_apart(sources, options)?;
        let mut plan = Self {
            arena: Vec::new(),
            lines: Vec::new(),
            made: sources.iter().map(Made::of).collect(),
            clashes: Vec::new(),
            families: 0,
        };
        let mut by_name: Vec<(&str, Vec<Entry<'_>>)> = plan.choose(sources, options);
        by_name.sort_unstable_by_key(|(name, _)| *name);
        for (_, entries) in &by_name {
            plan.family(sources, options, entries);
        }
        plan.arena.shrink_to_fit();
        plan.lines.shrink_to_fit();
        Ok(plan)
    }

    /// Whether this plan renders these sources: same regions in the same order, same structures.
    #[must_use]
    pub fn fits(&self, sources: &[Source]) -> bool {
        self.made.len() == sources.len() && self.made.iter().zip(sources).all(|(made, source)| made.fits(source))
    }

    /// Families that were left out, in the order of age and then of registration.
    #[must_use]
    pub fn clashes(&self) -> &[Clash] {
        &self.clashes
    }

    /// How many families are rendered.
    #[must_use]
    pub const fn families(&self) -> usize {
        self.families
    }

    /// How many sample lines are rendered.
    #[must_use]
    pub const fn lines(&self) -> usize {
        self.lines.len()
    }

    /// Groups the families by name and leaves out what clashes with an older one.
    fn choose<'a>(&mut self, sources: &'a [Source], options: &Options) -> Vec<(&'a str, Vec<Entry<'a>>)> {
        let mut order: Vec<usize> = (0..sources.len()).collect();
        order.sort_by(|a, b| sources[*a].seniority().cmp(&sources[*b].seniority()));
        let mut taken: HashMap<String, &str> = HashMap::new();
        let mut index: HashMap<&str, usize> = HashMap::new();
        let mut chosen: Vec<(&str, Vec<Entry<'_>>)> = Vec::new();
        for source in order {
            let Source { snapshot, labelled } = &sources[source];
            for family in &snapshot.schema.families {
                let label = if *labelled { options.region_label.as_str() } else { "" };
                let known = index.get(family.name.as_str()).map(|known| &mut chosen[*known].1);
                let first = known.as_ref().and_then(|entries| entries.first());
                let reason = reserved(family, label).or_else(|| match first {
                    Some((older, stands)) => differs(family, stands, &sources[*older]),
                    None => suffix_clash(family, &taken),
                });
                if let Some(reason) = reason {
                    let (region, family) = (snapshot.region.name.clone(), family.name.clone());
                    self.clashes.push(Clash { region, family, reason });
                } else if let Some(entries) = known {
                    entries.push((source, family));
                } else {
                    index.insert(&family.name, chosen.len());
                    taken.extend(sample_names(family).into_iter().map(|name| (name, family.name.as_str())));
                    chosen.push((&family.name, vec![(source, family)]));
                }
            }
        }
        chosen
    }

    /// Plans one family: its HELP and TYPE stand before the prefix of its first line.
    fn family(&mut self, sources: &[Source], options: &Options, entries: &[Entry<'_>]) {
        let Some((_, first)) = entries.first() else { return };
        let start = self.arena.len();
        head(&mut self.arena, first);
        let lines = self.lines.len();
        let mut entries = entries.to_vec();
        entries.sort_by(|a, b| sources[a.0].snapshot.region.name.cmp(&sources[b.0].snapshot.region.name));
        for (source, family) in entries {
            let Source { snapshot, labelled } = &sources[source];
            let region = match (labelled, options.region_label.as_str()) {
                (false, _) | (_, "") => String::new(),
                (true, label) => format!("{label}=\"{}\"", snapshot.region.name),
            };
            let parts = parts(family);
            for index in family.series.clone() {
                let Some(series) = snapshot.schema.series.get(index) else { continue };
                for (suffix, label, op) in &parts {
                    self.prefix(&family.name, suffix, [&series.labels, &region, label]);
                    self.lines.push(Line {
                        end: self.arena.len(),
                        source: source as u32,
                        series: index as u32,
                        op: *op,
                    });
                }
            }
        }
        if self.lines.len() == lines {
            // An open family that has no series yet: nothing is said of it.
            self.arena.truncate(start);
        } else {
            self.families += 1;
        }
    }

    /// `name_suffix{blocks} `, the blocks that are not empty joined by commas.
    fn prefix(&mut self, name: &str, suffix: &str, blocks: [&str; 3]) {
        let arena = &mut self.arena;
        arena.extend_from_slice(name.as_bytes());
        arena.extend_from_slice(suffix.as_bytes());
        let mut open = false;
        for block in blocks.into_iter().filter(|block| !block.is_empty()) {
            arena.push(if open { b',' } else { b'{' });
            arena.extend_from_slice(block.as_bytes());
            open = true;
        }
        if open {
            arena.push(b'}');
        }
        arena.push(b' ');
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

/// Whether a family uses a label that is added to it, here or for its kind.
fn reserved(family: &Family, region_label: &str) -> Option<String> {
    let taken = |name: &str| family.label_names.iter().any(|label| label == name);
    let added = match family.kind {
        Kind::HistogramBounds | Kind::HistogramExponential => "le",
        Kind::StateSet => family.name.as_str(),
        _ => "",
    };
    let label = [region_label, added].into_iter().find(|label| !label.is_empty() && taken(label))?;
    Some(format!("it has a label {label} of its own"))
}

/// Why a family can't stand under the HELP and TYPE of an older one; `None` where it can.
fn differs(family: &Family, stands: &Family, older: &Source) -> Option<String> {
    let region = &older.snapshot.region.name;
    let whose = if older.labelled { format!("region {region}") } else { "the exporter".to_owned() };
    if text_type(family.kind) != text_type(stands.kind) || family.kind != stands.kind {
        return Some(format!(
            "it is a {}, and {whose} has a {} of that name",
            family.kind.as_str(),
            stands.kind.as_str()
        ));
    }
    if family.bounds != stands.bounds {
        return Some(format!("its bounds are not those of {whose}'s histogram of that name"));
    }
    None
}

/// Why a family's sample names would be read as another family's; `None` where they are free.
fn suffix_clash(family: &Family, taken: &HashMap<String, &str>) -> Option<String> {
    let (name, other) =
        sample_names(family).into_iter().find_map(|name| taken.get(&name).map(|other| (name, *other)))?;
    Some(format!("its {name} would be read as a part of {other}"))
}

/// All names that lines of a family may begin with; the family's own is always one.
fn sample_names(family: &Family) -> Vec<String> {
    let suffixes: &[&str] = match family.kind {
        Kind::HistogramBounds | Kind::HistogramExponential => &["", "_bucket", "_sum", "_count"],
        _ => &[""],
    };
    suffixes.iter().map(|suffix| format!("{}{suffix}", family.name)).collect()
}

/// The type of text 0.0.4 that a kind is shown as.
const fn text_type(kind: Kind) -> &'static str {
    match kind {
        Kind::Counter => "counter",
        Kind::HistogramBounds | Kind::HistogramExponential => "histogram",
        Kind::Gauge | Kind::UpDownCounter | Kind::Info | Kind::StateSet | Kind::WatermarkMax | Kind::WatermarkMin => {
            "gauge"
        }
    }
}

/// HELP and TYPE. A family without help gets no HELP line.
fn head(arena: &mut Vec<u8>, family: &Family) {
    if !family.help.is_empty() {
        arena.extend_from_slice(b"# HELP ");
        arena.extend_from_slice(family.name.as_bytes());
        arena.push(b' ');
        for byte in family.help.bytes() {
            match byte {
                b'\\' => arena.extend_from_slice(b"\\\\"),
                b'\n' => arena.extend_from_slice(b"\\n"),
                // No escape exists for it, and a scraper may take it for the end of the line.
                b'\r' => arena.push(b' '),
                byte => arena.push(byte),
            }
        }
        arena.push(b'\n');
    }
    arena.extend_from_slice(b"# TYPE ");
    arena.extend_from_slice(family.name.as_bytes());
    arena.push(b' ');
    arena.extend_from_slice(text_type(family.kind).as_bytes());
    arena.push(b'\n');
}

/// The lines of one series: suffix of the name, label that is added, and what is printed.
fn parts(family: &Family) -> Vec<(&'static str, String, Op)> {
    match family.kind {
        Kind::HistogramBounds | Kind::HistogramExponential => {
            let mut parts: Vec<_> = (0..)
                .zip(&family.bounds)
                .filter(|(index, bound)| is_classic(family, *index, **bound))
                .map(|(index, bound)| ("_bucket", le(*bound), Op::Bucket(index)))
                .collect();
            parts.push(("_bucket", le(f64::INFINITY), Op::Count));
            parts.push(("_sum", String::new(), Op::Sum));
            parts.push(("_count", String::new(), Op::Count));
            parts
        }
        Kind::StateSet => (0..)
            .zip(&family.states)
            .map(|(bit, state)| ("", format!("{}=\"{}\"", family.name, escaped(state)), Op::State(bit)))
            .collect(),
        Kind::Info => vec![("", String::new(), Op::One)],
        Kind::Counter | Kind::Gauge | Kind::UpDownCounter | Kind::WatermarkMax | Kind::WatermarkMin => {
            vec![("", String::new(), Op::Scalar)]
        }
    }
}

/// Whether a bucket is a line of its own in formats that know cumulative buckets only. Of an exponential histogram these
/// are the zero bucket, those that end at a power of two, and the last: counts stay exact, and a series has a line a
/// doubling, not 2^schema of them. Which lines there are never depends on what was counted.
fn is_classic(family: &Family, index: u32, bound: f64) -> bool {
    let power_of_two = bound.to_bits() & ((1 << (f64::MANTISSA_DIGITS - 1)) - 1) == 0;
    family.kind != Kind::HistogramExponential || index == 0 || power_of_two || index as usize + 1 == family.bounds.len()
}

fn le(bound: f64) -> String {
    let mut text = b"le=\"".to_vec();
    number::push_le(&mut text, bound);
    text.push(b'"');
    String::from_utf8_lossy(&text).into_owned()
}

/// A label value as it stands between quotes.
pub(crate) fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
