//! Groups of metrics: a struct of handles, and the table that says what each of them is.
//!
//! The table is a constant. What a group takes of a region and what its families are called is read from it, at compile
//! time where const evaluation can. Derived by `#[derive(Metrics)]` or written by [`crate::metrics!`]; used by
//! [`crate::Builder::fit`] and [`Region::metrics`].

use std::ops::RangeInclusive;

use tachograph_layout::{Aggregation, Kind};

use crate::declared::{Asked, Declared};
use crate::expansion::{check_label_names, check_open_label_names, refuse};
use crate::open::OpenSettings;
use crate::text::{Text, strip_suffix};
use crate::{Buckets, Desc, Needs, Region, RegisterError, Registrable, naming};

/// A group of metrics: declared by `#[derive(Metrics)]` or [`crate::metrics!`], sized by [`crate::Builder::fit`],
/// registered by [`Region::metrics`].
///
/// What it takes of a region is known at compile time:
///
/// ```
/// use tachograph::{Counter, Family, Gauge, LabelValue, Metrics, Region};
/// #[derive(Clone, Copy, LabelValue)]
/// enum Outcome { Ok, Failed }
///
/// #[derive(Metrics)]
/// #[metrics(prefix = "app")]
/// struct AppMetrics {
///     /// Requests by outcome.
///     requests: Family<Counter, Outcome>,
///     /// Jobs waiting.
///     queue_depth: Gauge<i64>,
/// }
/// const { assert!(AppMetrics::SERIES <= 100) }
/// assert_eq!((AppMetrics::FAMILIES, AppMetrics::SERIES), (2, 3));
/// assert_eq!((AppMetrics::CELLS, AppMetrics::SHARED), (2, 1));
///
/// let region = Region::private("doc")?;
/// let metrics: AppMetrics = region.metrics()?;
/// metrics.requests.at(Outcome::Ok).inc();
/// metrics.queue_depth.set(3);
/// # assert!(region.counter("app_requests_total", "something else").is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no group of metrics",
    label = "not a struct of handles",
    note = "`#[derive(Metrics)]` on a struct with named fields makes it one"
)]
pub trait Metrics: Sized {
    /// What the group consists of, in the order of its fields.
    const MEMBERS: &'static [Member];
    /// How many families it has, nested groups included.
    const FAMILIES: u32 = total(Self::MEMBERS, Capacity::Families);
    /// How many series it has.
    const SERIES: u32 = total(Self::MEMBERS, Capacity::Series);
    /// How many cells it takes of each lane.
    const CELLS: u32 = total(Self::MEMBERS, Capacity::Cells);
    /// How many lines it takes of the shared plane.
    const SHARED: u32 = total(Self::MEMBERS, Capacity::Shared);

    /// What the group takes of a region, exactly.
    #[must_use]
    fn needs() -> Needs {
        let mut needs = Needs::default();
        for member in Self::MEMBERS {
            member.add_needs("", &mut needs);
        }
        needs
    }

    /// Registers every member, its name behind `outer` and an underscore where that is not empty.
    ///
    /// # Errors
    /// [`RegisterError`] of the first member that is refused. Those before it stay registered.
    fn register(region: &Region, outer: &str) -> Result<Self, RegisterError>;
}

/// One row of a group's table: a family, or a group nested in it.
///
/// ```
/// use tachograph::{Counter, Member, UpDownCounter};
/// const SENT: Member = Member::field::<Counter>("app", "sent", &["Bytes sent"]).unit("bytes");
/// const OPEN: Member = Member::named::<UpDownCounter>("app_open", &["Connections open"]);
/// assert_eq!(SENT.name(""), "app_sent_bytes_total");
/// assert_eq!(OPEN.name("outer"), "outer_app_open");
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Member(Shape);

#[derive(Debug, Clone, Copy)]
enum Shape {
    Family(Declared),
    Group { prefix: &'static str, members: &'static [Member] },
}

/// A name that is put together. Longer than any name may be, so that one that is cut is refused for its length.
type Name = Text<512>;

impl Member {
    /// A family that is named after its field: prefix, field, unit, and `_total` or `_info` where the kind asks for it,
    /// each put there unless the name ends in it already. `help` are the lines of the doc comment; the first paragraph
    /// is the HELP.
    #[must_use]
    pub const fn field<T: Registrable>(
        prefix: &'static str,
        field: &'static str,
        help: &'static [&'static str],
    ) -> Self {
        Self::family::<T>(prefix, field, false, help)
    }

    /// A family by its whole name.
    #[must_use]
    pub const fn named<T: Registrable>(name: &'static str, help: &'static [&'static str]) -> Self {
        Self::family::<T>("", name, true, help)
    }

    /// A group, every name in it behind `prefix` and an underscore where that is not empty.
    ///
    /// ```
    /// use tachograph::{Gauge, Member};
    /// tachograph::metrics! {
    ///     struct Pool {
    ///         /// Connections open
    ///         open: Gauge<i64> = "connections",
    ///     }
    /// }
    /// const READERS: Member = Member::group::<Pool>("read");
    /// assert_eq!(READERS.name("app"), "app_read");
    /// ```
    #[must_use]
    pub const fn group<G: Metrics>(prefix: &'static str) -> Self {
        Self(Shape::Group { prefix, members: G::MEMBERS })
    }

    const fn family<T: Registrable>(
        prefix: &'static str,
        stem: &'static str,
        whole: bool,
        help: &'static [&'static str],
    ) -> Self {
        Self(Shape::Family(Declared {
            prefix,
            stem,
            whole,
            help,
            unit: "",
            aggregation: None,
            buckets: Asked::Nothing,
            kind: T::KIND,
            shown_in: T::UNIT,
            labels: T::LABELS,
            open: T::OPEN,
            settings: OpenSettings::NONE,
            series: T::SERIES,
            needs: T::needs,
        }))
    }

    /// The family's unit; see [`Desc::unit`]. A group has none.
    #[must_use]
    pub const fn unit(mut self, unit: &'static str) -> Self {
        if let Shape::Family(family) = &mut self.0 {
            family.unit = unit;
        }
        self
    }

    /// How the family's values of several regions become one; see [`Desc::aggregation`]. A group has none.
    #[must_use]
    pub const fn aggregation(mut self, aggregation: Aggregation) -> Self {
        if let Shape::Family(family) = &mut self.0 {
            family.aggregation = Some(aggregation);
        }
        self
    }

    /// The upper bounds of a histogram with own bounds; see [`Buckets::bounds`].
    #[must_use]
    pub const fn bounds(mut self, bounds: &'static [f64]) -> Self {
        if let Shape::Family(family) = &mut self.0 {
            family.buckets = Asked::Bounds(bounds);
        }
        self
    }

    /// The buckets of an exponential histogram; see [`Buckets::exponential`].
    #[must_use]
    pub const fn exponential(mut self, schema: i32, range: RangeInclusive<f64>) -> Self {
        if let Shape::Family(family) = &mut self.0 {
            family.buckets = Asked::Exponential { schema, lower: *range.start(), upper: *range.end() };
        }
        self
    }

    /// The names of an open family's labels, as many as its type says; see [`Region::open_family`].
    ///
    /// ```
    /// use tachograph::{Counter, Member, OpenFamily};
    /// const SENT: Member = Member::field::<OpenFamily<Counter, 1>>("app", "sent", &["Messages by peer"])
    ///     .labels(&["peer"])
    ///     .budget(100)
    ///     .label_area(64)
    ///     .linger_seconds(60);
    /// const _: () = SENT.check();
    /// assert_eq!(SENT.name(""), "app_sent_total");
    /// ```
    #[must_use]
    pub const fn labels(mut self, names: &'static [&'static str]) -> Self {
        if let Shape::Family(family) = &mut self.0 {
            family.settings.labels = Some(names);
        }
        self
    }

    /// The most label sets that an open family holds at a time; see [`crate::OpenRules::new`].
    #[must_use]
    pub const fn budget(mut self, label_sets: u32) -> Self {
        if let Shape::Family(family) = &mut self.0 {
            family.settings.budget = Some(label_sets);
        }
        self
    }

    /// Bytes of an open family's label areas; see [`crate::OpenRules::label_area`] for range and default.
    #[must_use]
    pub const fn label_area(mut self, bytes: u32) -> Self {
        if let Shape::Family(family) = &mut self.0 {
            family.settings.label_area = Some(bytes);
        }
        self
    }

    /// How long an open family's series are shown after their last lease; see [`crate::OpenRules::linger`] for the
    /// default.
    #[must_use]
    pub const fn linger_seconds(mut self, seconds: u64) -> Self {
        if let Shape::Family(family) = &mut self.0 {
            family.settings.linger_seconds = Some(seconds);
        }
        self
    }

    /// The family's name behind `outer`, or what is put before the names of the group.
    #[must_use]
    pub fn name(&self, outer: &str) -> String {
        self.compose(outer).as_str().to_owned()
    }

    /// The family's description, its name behind `outer`.
    #[must_use]
    pub fn desc(&self, outer: &str) -> Desc {
        let desc = Desc::new(self.name(outer), String::new());
        let Shape::Family(family) = &self.0 else { return desc };
        let buckets = match family.buckets {
            Asked::Nothing => None,
            Asked::Bounds(bounds) => Some(Buckets::bounds(bounds.iter().copied())),
            Asked::Exponential { schema, lower, upper } => Some(Buckets::exponential(schema, lower..=upper)),
        };
        let aggregation = family.aggregation;
        let (unit, open) = (family.unit.to_owned(), family.settings);
        Desc { help: help(family.help), unit, aggregation, buckets, open, ..desc }
    }

    /// Checks what can be checked before registration, in const evaluation.
    ///
    /// # Panics
    /// For what registration would refuse under no outer prefix, in the same words, and for a family without HELP.
    ///
    /// ```
    /// use tachograph::{Counter, Member};
    /// const _: () = Member::field::<Counter>("app", "sent", &["Bytes sent"]).unit("bytes").check();
    /// ```
    #[track_caller]
    pub const fn check(&self) {
        let name = self.compose("");
        let Shape::Family(family) = &self.0 else { return };
        if let Err(rule) = naming::check_name(name.as_str(), family.unit, family.kind) {
            refuse("metric", name.as_str(), rule);
        }
        if family.help.is_empty() {
            refuse("metric", name.as_str(), "has no HELP: write a doc comment (`/// ..`) above its field");
        }
        if let Err(rule) = family.check_durations(name.as_str()) {
            refuse("metric", name.as_str(), rule);
        }
        if let Err(rule) = family.check_info() {
            refuse("metric", name.as_str(), rule);
        }
        if let Err(rule) = family.check_buckets() {
            refuse("metric", name.as_str(), rule);
        }
        if let Err(rule) = family.settings.check(family.open) {
            refuse("metric", name.as_str(), rule);
        }
        check_label_names(family.labels);
        check_open_label_names(family.settings.names());
    }

    const fn compose(&self, outer: &str) -> Name {
        let mut name = Name::new().with(outer);
        let family = match &self.0 {
            Shape::Family(family) => family,
            Shape::Group { prefix, .. } => return joined(name, prefix),
        };
        if family.whole {
            return joined(name, family.stem);
        }
        let ending = match family.kind {
            Kind::Counter => "_total",
            Kind::Info => "_info",
            _ => "",
        };
        name = joined(joined(name, family.prefix), family.stem).without_end(ending);
        if !family.unit.is_empty() {
            let has_unit = match strip_suffix(name.as_str(), family.unit) {
                Some(rest) => strip_suffix(rest, "_").is_some(),
                None => false,
            };
            if !has_unit {
                name = joined(name, family.unit);
            }
        }
        name.with(ending)
    }

    fn add_needs(&self, outer: &str, needs: &mut Needs) {
        match &self.0 {
            Shape::Family(family) => *needs += (family.needs)(&self.desc(outer)),
            Shape::Group { members, .. } => {
                let outer = self.compose(outer);
                for member in *members {
                    member.add_needs(outer.as_str(), needs);
                }
            }
        }
    }
}

/// Two parts of a name with an underscore between them, or the one that is not empty.
const fn joined(name: Name, part: &str) -> Name {
    if name.as_str().is_empty() || part.is_empty() { name.with(part) } else { name.with("_").with(part) }
}

/// HELP from the lines of a doc comment: its first paragraph, on one line, without the full stop.
fn help(doc: &[&str]) -> String {
    let lines = doc.iter().flat_map(|lines| lines.split('\n')).map(str::trim).skip_while(|line| line.is_empty());
    let help = lines.take_while(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
    help.strip_suffix('.').unwrap_or(&help).to_owned()
}

#[derive(Clone, Copy)]
enum Capacity {
    Families,
    Series,
    Cells,
    Shared,
}

/// How much of a capacity all members take.
const fn total(members: &[Member], capacity: Capacity) -> u32 {
    let mut sum: u32 = 0;
    let mut index = 0;
    while index < members.len() {
        let more = match &members[index].0 {
            Shape::Group { members, .. } => total(members, capacity),
            Shape::Family(family) => match (capacity, family.kind.in_shared_plane()) {
                (Capacity::Families, _) => 1,
                (Capacity::Series, _) => family.series(),
                (Capacity::Cells, false) | (Capacity::Shared, true) => family.series().saturating_mul(family.cells()),
                (Capacity::Cells, true) | (Capacity::Shared, false) => 0,
            },
        };
        sum = sum.saturating_add(more);
        index += 1;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Counter, DurationHistogram, ExponentialDurationHistogram, ExponentialHistogram, FloatCounter, Gauge, Histogram,
        OpenFamily, UpDownCounter, WatermarkMax,
    };

    #[test]
    fn cells_are_counted_as_registration_counts_them() {
        fn agrees<T: Registrable>(name: &'static str, member: impl Fn(Member) -> Member) {
            let members = [member(Member::named::<T>(name, &["x"]))];
            let mut needs = Needs::default();
            members[0].add_needs("", &mut needs);
            let totals = [Capacity::Families, Capacity::Series, Capacity::Cells, Capacity::Shared]
                .map(|capacity| total(&members, capacity));
            assert_eq!(totals, [needs.families, needs.series, needs.cells, needs.shared], "{name}");
        }
        agrees::<Counter>("a_total", |member| member);
        agrees::<FloatCounter>("b_total", |member| member);
        agrees::<Gauge<f64>>("c", |member| member);
        agrees::<UpDownCounter>("d", |member| member);
        agrees::<WatermarkMax>("e", |member| member);
        agrees::<Histogram>("f", |member| member.bounds(&[1.0, 2.5]));
        agrees::<DurationHistogram>("g", |member| member.bounds(&[0.001]));
        agrees::<ExponentialHistogram>("h", |member| member.exponential(0, 0.1..=7.0));
        agrees::<ExponentialDurationHistogram>("i", |member| member);
        agrees::<OpenFamily<Counter, 1>>("j_total", |member| member.labels(&["peer"]).budget(7));
        agrees::<OpenFamily<Gauge<i64>, 1>>("k", |member| member.labels(&["peer"]).budget(7));
        agrees::<OpenFamily<DurationHistogram, 1>>("l", |member| member.bounds(&[0.1]).labels(&["peer"]).budget(7));
    }

    #[test]
    fn names_are_put_together_without_saying_anything_twice() {
        let name = |member: Member| member.name("");
        assert_eq!(name(Member::field::<Counter>("app", "served", &["x"])), "app_served_total");
        assert_eq!(name(Member::field::<Counter>("app", "served_total", &["x"])), "app_served_total");
        assert_eq!(name(Member::field::<Counter>("", "served", &["x"])), "served_total");
        assert_eq!(name(Member::field::<Gauge>("app", "cache", &["x"]).unit("bytes")), "app_cache_bytes");
        assert_eq!(name(Member::field::<Gauge>("app", "cache_bytes", &["x"]).unit("bytes")), "app_cache_bytes");
        assert_eq!(name(Member::field::<Gauge>("app", "megabytes", &["x"]).unit("bytes")), "app_megabytes_bytes");
        assert_eq!(name(Member::field::<Gauge>("app", "bytes", &["x"]).unit("bytes")), "app_bytes");
        let sent = Member::field::<Counter>("app", "sent_bytes_total", &["x"]).unit("bytes");
        assert_eq!((sent.name(""), sent.name("o")), ("app_sent_bytes_total".into(), "o_app_sent_bytes_total".into()));
        assert_eq!(Member::named::<Counter>("whole", &["x"]).name("o"), "o_whole");
    }

    #[test]
    fn help_is_the_first_paragraph_on_one_line() {
        assert_eq!(help(&[" Requests", " by outcome.", "", " Not this."]), "Requests by outcome");
        assert_eq!(help(&["\n Of a block\n comment\n"]), "Of a block comment");
        assert_eq!(help(&[]), "");
    }

    #[test]
    fn a_name_that_is_too_long_is_refused_whole() {
        let long = "x".repeat(600);
        let error = Member::named::<Counter>("app_a_total", &["A"]).desc(&long);
        assert!(naming::check(&error, Kind::Counter).is_err());
    }
}
