//! The derives of `tachograph`, which re-exports them: use them from there.
//!
//! They read declarations and write impls of tachograph's traits; that is all they know of it. What a name, a unit or a
//! label may be is checked by what they write, in const evaluation, with the rules that registration has. Here stand
//! only the mistakes that const evaluation can't see: a field without a doc comment, an unknown setting, the wrong shape.

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

mod attributes;
mod label_set;
mod label_value;
mod metrics;

/// Makes an enum without fields the values of a label.
///
/// The label's name is the enum's in snake_case, a value is its variant's; `#[label(name = "..")]` on the enum and
/// `#[label(value = "..")]` on a variant say otherwise. The enum must be `Copy`. A reserved or malformed name, an empty
/// value and one that stands twice are errors at compile time.
///
/// ```
/// use tachograph::LabelValue;
/// #[derive(Clone, Copy, LabelValue)]
/// #[label(name = "class")]
/// enum StatusClass {
///     Ok,
///     #[label(value = "4xx")]
///     Client,
///     TimedOut,
/// }
/// assert_eq!(StatusClass::KEY, "class");
/// assert_eq!(StatusClass::VALUES, ["ok", "4xx", "timed_out"]);
/// ```
#[proc_macro_derive(LabelValue, attributes(label))]
pub fn derive_label_value(input: TokenStream) -> TokenStream {
    expand(label_value::expand(&parse_macro_input!(input as DeriveInput)))
}

/// Makes a struct of one to four label enums a label set: the order of its fields is the order of the labels.
///
/// The struct must be `Copy`. Picking a series by it is the same index arithmetic as by a tuple.
///
/// ```
/// use tachograph::{Counter, Desc, Family, LabelSet, LabelValue, Region};
/// #[derive(Clone, Copy, LabelValue)]
/// enum Verb { Get, Put }
/// #[derive(Clone, Copy, LabelValue)]
/// enum Outcome { Ok, Failed }
/// #[derive(Clone, Copy, LabelSet)]
/// struct Call { verb: Verb, outcome: Outcome }
///
/// let region = Region::private("doc")?;
/// let calls: Family<Counter, Call> = region.family(Desc::new("app_calls_total", "Calls by verb and outcome"))?;
/// calls.at(Call { verb: Verb::Get, outcome: Outcome::Ok }).inc();
/// # assert_eq!((Call::NAMES, Call::COUNT), (&["verb", "outcome"][..], 4));
/// # assert_eq!(Call { verb: Verb::Put, outcome: Outcome::Failed }.index(), 3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[proc_macro_derive(LabelSet)]
pub fn derive_label_set(input: TokenStream) -> TokenStream {
    expand(label_set::expand(&parse_macro_input!(input as DeriveInput)))
}

/// Makes a struct of handles a group of metrics, which a region is sized by (`fit`) and which is registered at once.
///
/// A field's doc comment is its HELP: the first paragraph, on one line. Its name is prefix, field, unit, and `_total`
/// for a counter or `_info` for an info, joined by underscores; what the name ends in already is not put there again.
///
/// - `#[metrics(prefix = "app")]` on the struct: what its names start with.
/// - `#[metric(name = "..")]` on a field: its whole name, to which nothing is added.
/// - `#[metric(unit = "bytes")]`: the unit; part of the name.
/// - `#[metric(aggregation = Max)]`: how values of several regions become one: `Sum`, `Min`, `Max`, `Newest`.
/// - `#[metric(bounds = [0.1, 1.0])]`: the upper bounds of a histogram with own bounds; a constant array will do, too.
/// - `#[metric(exponential(schema = 3, range = 1e-6..=100.0))]`: the buckets of an exponential histogram; without, these.
/// - `#[metric(labels = ["route", "peer"], budget = 500)]`: the label names of an `OpenFamily`, as many as its type says,
///   and the most label sets that it holds at a time. It must have both, and may have `label_area = 128` (bytes that the
///   labels of one set take) and `linger_seconds = 300` (how long a set is shown after its last lease). See `OpenRules`.
/// - `#[metrics(nested)]` on a field: it is a group itself. Its names get the outer group's prefix before them, and
///   `#[metrics(nested, prefix = "..")]` one more, which tells two groups of one type apart.
///
/// ```
/// use std::time::Duration;
///
/// use tachograph::{Counter, DurationHistogram, Family, Gauge, LabelValue, Metrics, OpenFamily, Region};
/// #[derive(Clone, Copy, LabelValue)]
/// enum Outcome { Ok, Failed }
///
/// #[derive(Clone, Copy, Metrics)]
/// struct Pool {
///     /// Connections open.
///     #[metric(aggregation = Max)]
///     open: Gauge<i64>,
/// }
///
/// #[derive(Clone, Copy, Metrics)]
/// #[metrics(prefix = "app")]
/// struct AppMetrics {
///     /// Requests by outcome.
///     requests: Family<Counter, Outcome>,
///     /// Sent to clients.
///     #[metric(unit = "bytes")]
///     sent: Counter,
///     /// Time that requests took.
///     #[metric(unit = "seconds", bounds = [0.005, 0.05, 0.5, 5.0])]
///     latency: Family<DurationHistogram, Outcome>,
///     /// Jobs waiting.
///     #[metric(name = "queue_depth")]
///     waiting: Gauge<i64>,
///     /// Messages by peer.
///     #[metric(labels = ["peer"], budget = 100)]
///     messages: OpenFamily<Counter, 1>,
///     #[metrics(nested, prefix = "read")]
///     readers: Pool,
///     #[metrics(nested, prefix = "write")]
///     writers: Pool,
/// }
///
/// let region = Region::builder("doc").fit::<AppMetrics>().private()?;
/// let metrics: AppMetrics = region.metrics()?;
/// metrics.requests.at(Outcome::Ok).inc();
/// metrics.latency.at(Outcome::Ok).observe(Duration::from_millis(7));
/// metrics.messages.with(["10.0.0.7"]).inc();
/// metrics.readers.open.set(4);
/// let names: Vec<String> = AppMetrics::MEMBERS.iter().map(|member| member.name("")).collect();
/// assert_eq!(names[..3], ["app_requests_total", "app_sent_bytes_total", "app_latency_seconds"]);
/// assert_eq!(names[3..], ["queue_depth", "app_messages_total", "app_read", "app_write"]);
/// // The same name and kind are the same cells: the nested gauge is this one.
/// # use tachograph::{Aggregation, Desc};
/// let open: Gauge<i64> = region.register(Desc::new("app_read_open", "Connections open").aggregation(Aggregation::Max))?;
/// assert_eq!(open.get(), 4);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[proc_macro_derive(Metrics, attributes(metric, metrics))]
pub fn derive_metrics(input: TokenStream) -> TokenStream {
    expand(metrics::expand(&parse_macro_input!(input as DeriveInput)))
}

fn expand(expanded: syn::Result<proc_macro2::TokenStream>) -> TokenStream {
    expanded.unwrap_or_else(|error| error.to_compile_error()).into()
}
