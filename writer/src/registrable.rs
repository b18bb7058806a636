//! What may be a member of a group, what that takes of a region, and how its registration is asked for.
//!
//! Called by groups, to size a region and to register; the requests are made here for `region/families.rs`, too, so that
//! what is counted is what is registered.

use tachograph_layout::Kind;

use crate::labels::{Family, LabelSet};
use crate::metric::{Metric, sealed::Handle};
use crate::open::{Open, OpenFamily};
use crate::register::Request;
use crate::{Desc, Needs, Region, RegisterError, naming};

/// What may be a member of a group: a handle, a family of handles, or an open family.
///
/// ```
/// use tachograph::{Counter, Desc, Registrable};
/// assert_eq!(Counter::needs(&Desc::new("app_served_total", "Requests served")).series, 1);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no metric",
    label = "neither a kind of metric (`Counter`, `Gauge<i64>`, ..) nor a `Family` or an `OpenFamily` of one",
    note = "a struct of metrics is made part of a group by `#[metrics(nested)]` on its field"
)]
pub trait Registrable: Sized {
    /// What it measures, and so what its name ends in.
    const KIND: Kind;
    /// The names of its labels. None of an open family: its [`crate::Member`] has them.
    const LABELS: &'static [&'static str];
    /// How many series it has. Of an open family the overflow series only: its [`crate::Member`] has the budget.
    const SERIES: u32;
    /// The unit that it is shown in, where its type says so: durations are shown in `seconds`. Empty for all else.
    const UNIT: &'static str = "";
    /// How many labels an open family has; `None` for all else.
    const OPEN: Option<usize> = None;

    /// What the member takes of a region.
    fn needs(desc: &Desc) -> Needs;

    /// Registers the member.
    ///
    /// # Errors
    /// As [`Region::counter`].
    fn register(region: &Region, desc: Desc) -> Result<Self, RegisterError>;
}

// Without this the compiler speaks of the sealed trait behind `Metric`.
#[diagnostic::do_not_recommend]
impl<M: Metric> Registrable for M {
    const KIND: Kind = <M as Handle>::KIND;
    const UNIT: &'static str = <M as Handle>::UNIT;
    const LABELS: &'static [&'static str] = &[];
    const SERIES: u32 = 1;

    fn needs(desc: &Desc) -> Needs {
        closed_needs::<M>(desc, Vec::new(), vec![Vec::new()])
    }

    fn register(region: &Region, desc: Desc) -> Result<Self, RegisterError> {
        region.register(desc)
    }
}

impl<M: Metric, L: LabelSet> Registrable for Family<M, L> {
    const KIND: Kind = <M as Handle>::KIND;
    const UNIT: &'static str = <M as Handle>::UNIT;
    const LABELS: &'static [&'static str] = L::NAMES;
    const SERIES: u32 = L::COUNT as u32;

    fn needs(desc: &Desc) -> Needs {
        closed_needs::<M>(desc, L::NAMES.to_vec(), L::sets())
    }

    fn register(region: &Region, desc: Desc) -> Result<Self, RegisterError> {
        region.family(desc)
    }
}

impl<M: Metric, const N: usize> Registrable for OpenFamily<M, N> {
    const KIND: Kind = <M as Handle>::KIND;
    const UNIT: &'static str = <M as Handle>::UNIT;
    const LABELS: &'static [&'static str] = &[];
    const SERIES: u32 = 1;
    const OPEN: Option<usize> = Some(N);

    fn needs(desc: &Desc) -> Needs {
        open_request::<M>(desc, N).map_or_else(|_| Needs::default(), |request| needs(&request))
    }

    fn register(region: &Region, desc: Desc) -> Result<Self, RegisterError> {
        region.create_requested(&desc, open_request::<M>(&desc, N))
    }
}

/// A request for series that are known, or for those of an open family whose rules are not said by the description.
pub(crate) fn request<'a, M: Handle>(
    desc: &'a Desc,
    label_names: Vec<&'a str>,
    label_sets: Vec<Vec<&'a str>>,
) -> Result<Request<'a>, RegisterError> {
    check_open(desc, None)?;
    described::<M>(desc, label_names, label_sets, None)
}

/// A request for an open family of so many labels, whose names and rules the description has.
fn open_request<M: Handle>(desc: &Desc, labels: usize) -> Result<Request<'_>, RegisterError> {
    check_open(desc, Some(labels))?;
    described::<M>(desc, desc.open.names().to_vec(), Vec::new(), Some(Open::new(desc.open.rules())))
}

fn check_open(desc: &Desc, labels: Option<usize>) -> Result<(), RegisterError> {
    let refused = |rule: naming::Broken| RegisterError::Shape { name: desc.name.clone(), rule: rule.to_owned() };
    desc.open.check(labels).map_err(refused)
}

fn described<'a, M: Handle>(
    desc: &'a Desc,
    label_names: Vec<&'a str>,
    label_sets: Vec<Vec<&'a str>>,
    open: Option<Open>,
) -> Result<Request<'a>, RegisterError> {
    let shape = M::shape(desc).map_err(|rule| RegisterError::Shape { name: desc.name.clone(), rule })?;
    let aggregation = desc.aggregation.unwrap_or(M::AGGREGATION);
    Ok(Request { desc, kind: M::KIND, number: M::NUMBER, aggregation, shape, label_names, label_sets, open })
}

/// What a closed family takes; nothing where its description breaks a rule, which registering it will say.
fn closed_needs<M: Handle>(desc: &Desc, label_names: Vec<&str>, label_sets: Vec<Vec<&str>>) -> Needs {
    request::<M>(desc, label_names, label_sets).map_or_else(|_| Needs::default(), |request| needs(&request))
}

/// What a family takes.
fn needs(request: &Request<'_>) -> Needs {
    let number = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
    let blocks: Vec<String> =
        request.label_sets.iter().map(|set| naming::label_block(&request.label_names, set)).collect();
    let series = request.series();
    let cells = number(series.saturating_mul(u64::from(request.shape.cells)));
    let shared = request.kind.in_shared_plane();
    Needs {
        families: 1,
        series: number(series),
        cells: if shared { 0 } else { cells },
        shared: if shared { cells } else { 0 },
        string_bytes: number(request.string_bytes(&blocks)),
        label_bytes: number(request.label_area_bytes()),
        bounds: request.shape.bounds.len() as u32,
        largest: vec![(request.desc.name.clone(), number(series))],
    }
}
