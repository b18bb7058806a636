//! Open label sets: families whose label values come and go, within a budget.
//!
//! Called by the application: [`OpenFamily::with`] looks a label set up or gives it a slot, and never fails; past the
//! budget it gives the family's overflow series. What a reader finds meanwhile is `slots.rs`'s to keep whole. No method
//! here is for a hot loop, but those of the [`Lease`] that it gives are.

mod lease;
mod lease_count;
mod observations;
mod rules;
mod settings;
mod slots;
mod table;
mod writes;

#[cfg(all(test, not(loom)))]
mod tests;

pub use lease::Lease;
pub use rules::OpenRules;
pub(crate) use settings::OpenSettings;
pub(crate) use slots::{Site, Slots};
pub use writes::LeaseGuard;

use crate::Metric;

/// What a registration says of an open family.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Open {
    pub(crate) rules: OpenRules,
    /// The monotonic clock, in nanoseconds; a test's own in tests.
    pub(crate) clock: fn() -> u64,
}

impl Open {
    pub(crate) const fn new(rules: OpenRules) -> Self {
        Self { rules, clock: slots::monotonic_ns }
    }
}

/// A family whose label sets are not known beforehand: peers, routes, meetings. Registered by
/// [`crate::Region::open_family`], or as a member of a group; `Copy`, and good for the life of the process.
///
/// At most [`OpenRules::budget`] label sets have a series at a time; those that lost their last lease count until their
/// linger is over. What is beyond shares one series, `{overflow="true"}`, and the region counts how often that was so.
/// The names of the labels are fixed. Values may be any text; each set takes a fixed area in the region, which is used
/// again with its slot, so that nothing runs out however many sets come and go.
///
/// ```
/// use tachograph::{Counter, Desc, OpenFamily, OpenRules, Region};
/// let region = Region::private("doc")?;
/// let requests: OpenFamily<Counter, 2> = region.open_family(
///     Desc::new("app_requests_total", "Requests by route and peer"),
///     ["route", "peer"],
///     OpenRules::new(500),
/// )?;
/// let lease = requests.with(["/metrics", "10.0.0.7"]);
/// lease.inc();
/// assert_eq!(requests.with(["/metrics", "10.0.0.7"]).get(), 1); // the same series
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// As a member of a group, which [`crate::Builder::fit`] makes room for:
///
/// ```
/// use tachograph::{Counter, Metrics, OpenFamily, Region};
/// #[derive(Clone, Copy, Metrics)]
/// #[metrics(prefix = "app")]
/// struct AppMetrics {
///     /// Requests by route and peer.
///     #[metric(labels = ["route", "peer"], budget = 500)]
///     requests: OpenFamily<Counter, 2>,
/// }
/// const { assert!(AppMetrics::SERIES == 501) } // and the overflow series
/// let region = Region::builder("doc").fit::<AppMetrics>().private()?;
/// let metrics: AppMetrics = region.metrics()?;
/// metrics.requests.with(["/metrics", "10.0.0.7"]).inc();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct OpenFamily<M: Metric, const N: usize> {
    slots: &'static Slots,
    block: M::Block,
}

impl<M: Metric, const N: usize> OpenFamily<M, N> {
    pub(crate) const fn new(slots: &'static Slots, block: M::Block) -> Self {
        Self { slots, block }
    }

    /// A lease of the series with these label values, in the order of the family's label names.
    ///
    /// Never fails: a set that finds no slot, or does not fit its label area, gets the overflow series
    /// ([`Lease::is_overflow`]), and so does every set once the region was closed, or in a forked child (whose writes go
    /// nowhere). Where the set has a lease already this is a lookup under a shared lock, and allocates nothing; a new set
    /// takes the family's lock for as long as it takes to clear the slot's cells in all lanes.
    pub fn with(&self, values: [&str; N]) -> Lease<M> {
        let slot = self.slots.take(&values);
        Lease::counted(M::pick(self.block, slot as usize), self.slots, slot)
    }

    /// The rules that the family was registered with.
    #[must_use]
    pub const fn rules(&self) -> OpenRules {
        self.slots.rules()
    }
}

impl<M: Metric, const N: usize> Clone for OpenFamily<M, N> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<M: Metric, const N: usize> Copy for OpenFamily<M, N> {}

impl<M: Metric, const N: usize> std::fmt::Debug for OpenFamily<M, N> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenFamily")
            .field("name", &self.slots.name())
            .field("rules", &self.rules())
            .finish_non_exhaustive()
    }
}
