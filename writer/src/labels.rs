//! Closed label sets: enums whose values are known at compile time, so that picking a series is index arithmetic.

use crate::expansion;
use crate::metric::Metric;

/// A label whose values are an enum's: `#[derive(LabelValue)]`, or [`crate::label_value!`].
///
/// ```
/// use tachograph::LabelValue;
/// /// How a request ended.
/// #[derive(Debug, Clone, Copy, PartialEq, LabelValue)]
/// pub enum Outcome {
///     /// As asked.
///     Ok,
///     /// Not in time.
///     TimedOut,
/// }
/// assert_eq!(Outcome::KEY, "outcome");
/// assert_eq!(Outcome::VALUES, ["ok", "timed_out"]);
/// assert_eq!((Outcome::TimedOut.index(), Outcome::TimedOut.as_str()), (1, "timed_out"));
/// assert_eq!(Outcome::all()[1], Outcome::TimedOut);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no label",
    label = "not an enum that derives `LabelValue`",
    note = "the values of a label are an enum without fields: `#[derive(Clone, Copy, LabelValue)]`"
)]
pub trait LabelValue: Copy + 'static {
    /// The label's name.
    const KEY: &'static str;
    /// The values as they are exposed, not escaped, in index order.
    const VALUES: &'static [&'static str];
    /// How many values there are.
    const COUNT: usize = Self::VALUES.len();

    /// Every value, in index order.
    fn all() -> &'static [Self];

    /// The value's place in [`LabelValue::all`]; below [`LabelValue::COUNT`].
    fn index(self) -> usize;

    /// The value as it is exposed, not escaped.
    #[must_use]
    fn as_str(self) -> &'static str {
        Self::VALUES[self.index()]
    }
}

/// The labels of a closed family: one [`LabelValue`], a tuple of up to four, or a struct of up to four fields with
/// `#[derive(LabelSet)]`.
///
/// ```
/// use tachograph::{LabelSet, LabelValue};
/// #[derive(Clone, Copy, LabelValue)]
/// enum Colour { Red, Blue }
/// #[derive(Clone, Copy, LabelValue)]
/// enum Size { Small, Large }
/// assert_eq!(<(Colour, Size)>::COUNT, 4);
/// assert_eq!((Colour::Blue, Size::Small).index(), 2);
/// assert_eq!(<(Colour, Size)>::sets()[2], vec!["blue", "small"]);
///
/// #[derive(Clone, Copy, LabelSet)]
/// struct Shirt { colour: Colour, size: Size }
/// assert_eq!(Shirt::NAMES, ["colour", "size"]);
/// assert_eq!(Shirt { colour: Colour::Blue, size: Size::Small }.index(), 2);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no label set",
    label = "neither a label's enum nor a set of such enums",
    note = "the values of one label are an enum without fields: `#[derive(Clone, Copy, LabelValue)]`",
    note = "a family has at most four labels: a tuple of two to four such enums, or a struct of up to four with \
            `#[derive(Clone, Copy, LabelSet)]`"
)]
pub trait LabelSet: Copy + 'static {
    /// How many label sets there are.
    const COUNT: usize;
    /// The labels' names, in order.
    const NAMES: &'static [&'static str];

    /// The values of every label set, in index order.
    fn sets() -> Vec<Vec<&'static str>>;

    /// The label set's index, below [`LabelSet::COUNT`].
    fn index(self) -> usize;
}

// Without this the compiler speaks of a missing `LabelValue` where a tuple is too long.
#[diagnostic::do_not_recommend]
impl<A: LabelValue> LabelSet for A {
    const COUNT: usize = <A as LabelValue>::COUNT;
    const NAMES: &'static [&'static str] = &[A::KEY];

    fn sets() -> Vec<Vec<&'static str>> {
        A::VALUES.iter().map(|value| vec![*value]).collect()
    }

    #[inline]
    fn index(self) -> usize {
        LabelValue::index(self)
    }
}

macro_rules! label_tuple {
    ($first:ident $(, $rest:ident)+) => {
        impl<$first: LabelValue $(, $rest: LabelValue)+> LabelSet for ($first $(, $rest)+) {
            const COUNT: usize = <$first as LabelValue>::COUNT $(* <$rest as LabelValue>::COUNT)+;
            const NAMES: &'static [&'static str] = &[$first::KEY $(, $rest::KEY)+];

            fn sets() -> Vec<Vec<&'static str>> {
                expansion::product(&[$first::VALUES $(, $rest::VALUES)+])
            }

            #[inline]
            #[allow(non_snake_case, reason = "the tuple's parts are named as its types")]
            fn index(self) -> usize {
                let ($first $(, $rest)+) = self;
                let index = LabelValue::index($first);
                $(let index = index * <$rest as LabelValue>::COUNT + LabelValue::index($rest);)+
                index
            }
        }
    };
}

label_tuple!(A, B);
label_tuple!(A, B, C);
label_tuple!(A, B, C, D);

/// The series of a closed label set. Every one exists, at 0, from registration on.
///
/// ```
/// #[derive(Clone, Copy, tachograph::LabelValue)]
/// enum Outcome { Ok, Failed }
/// let region = tachograph::Region::private("doc")?;
/// let requests: tachograph::Family<tachograph::Counter, Outcome> =
///     region.family(tachograph::Desc::new("app_requests_total", "Requests by outcome"))?;
/// requests.at(Outcome::Failed).inc();
/// assert_eq!(requests.at(Outcome::Ok).get(), 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Family<M: Metric, L: LabelSet> {
    block: M::Block,
    labels: std::marker::PhantomData<fn(L)>,
}

impl<M: Metric, L: LabelSet> Family<M, L> {
    pub(crate) const fn new(block: M::Block) -> Self {
        Self { block, labels: std::marker::PhantomData }
    }

    /// The handle of one label set: arithmetic, no lookup.
    #[must_use]
    #[inline]
    pub fn at(&self, labels: L) -> M {
        M::pick(self.block, labels.index())
    }
}

impl<M: Metric, L: LabelSet> Clone for Family<M, L> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<M: Metric, L: LabelSet> Copy for Family<M, L> {}

impl<M: Metric, L: LabelSet> std::fmt::Debug for Family<M, L> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Family").field("names", &L::NAMES).field("series", &L::COUNT).finish_non_exhaustive()
    }
}
