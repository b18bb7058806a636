//! Closed label sets: enums whose values are known at compile time, so that picking a series is index arithmetic.

use crate::metric::Metric;

/// A label whose values are an enum's. Made by [`crate::label_value!`].
///
/// ```
/// use tachograph::LabelValue;
/// tachograph::label_value! {
///     /// How a request ended.
///     #[derive(Debug)]
///     pub enum Outcome: "outcome" {
///         /// As asked.
///         Ok = "ok",
///         /// Not as asked.
///         Failed = "failed",
///     }
/// }
/// assert_eq!(Outcome::KEY, "outcome");
/// assert_eq!(Outcome::COUNT, 2);
/// assert_eq!((Outcome::Failed.index(), Outcome::Failed.as_str()), (1, "failed"));
/// ```
pub trait LabelValue: Copy + 'static {
    /// The label's name.
    const KEY: &'static str;
    /// How many values there are.
    const COUNT: usize;

    /// Every value, in index order.
    fn all() -> &'static [Self];

    /// The value's place in [`LabelValue::all`]; below [`LabelValue::COUNT`].
    fn index(self) -> usize;

    /// The value as it is exposed, not escaped.
    fn as_str(self) -> &'static str;
}

/// The labels of a closed family: one [`LabelValue`], or a tuple of up to four.
///
/// ```
/// use tachograph::LabelSet;
/// tachograph::label_value! { enum Colour: "colour" { Red = "red", Blue = "blue" } }
/// tachograph::label_value! { enum Size: "size" { Small = "small", Large = "large" } }
/// assert_eq!(<(Colour, Size)>::COUNT, 4);
/// assert_eq!((Colour::Blue, Size::Small).index(), 2);
/// assert_eq!(<(Colour, Size)>::sets()[2], vec!["blue", "small"]);
/// ```
pub trait LabelSet: Copy + 'static {
    /// How many label sets there are.
    const COUNT: usize;

    /// The labels' names, in order.
    fn names() -> Vec<&'static str>;

    /// The values of every label set, in index order.
    fn sets() -> Vec<Vec<&'static str>>;

    /// The label set's index, below [`LabelSet::COUNT`].
    fn index(self) -> usize;
}

impl<A: LabelValue> LabelSet for A {
    const COUNT: usize = <A as LabelValue>::COUNT;

    fn names() -> Vec<&'static str> {
        vec![A::KEY]
    }

    fn sets() -> Vec<Vec<&'static str>> {
        A::all().iter().map(|value| vec![value.as_str()]).collect()
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

            fn names() -> Vec<&'static str> {
                vec![$first::KEY $(, $rest::KEY)+]
            }

            fn sets() -> Vec<Vec<&'static str>> {
                let mut sets = <$first as LabelSet>::sets();
                $(
                    sets = sets
                        .iter()
                        .flat_map(|set| {
                            $rest::all().iter().map(|value| set.iter().copied().chain([value.as_str()]).collect())
                        })
                        .collect();
                )+
                sets
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
/// tachograph::label_value! { enum Outcome: "outcome" { Ok = "ok", Failed = "failed" } }
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
        f.debug_struct("Family").field("names", &L::names()).field("series", &L::COUNT).finish_non_exhaustive()
    }
}
