//! The settings of a recorder, and its installation. Called by the application at start; nothing here is checked against
//! a region before metrics are used.

use std::collections::HashMap;
use std::sync::Arc;

use super::metrics;
use super::names;
use super::{Families, Recorder};
use crate::{Buckets, OpenRules, Region, naming};

/// Which metrics a setting is for, by the name that their macros have (compared after its repair, without a `_total`
/// that a counter is given).
///
/// ```
/// use tachograph::recorder::Matcher;
/// assert_ne!(Matcher::Full("reply.seconds".into()), Matcher::Suffix("_seconds".into()));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Matcher {
    /// Exactly this name. Goes before the others.
    Full(String),
    /// Names that begin so. Goes before suffixes.
    Prefix(String),
    /// Names that end so.
    Suffix(String),
}

impl Matcher {
    fn matches(&self, name: &str) -> bool {
        match self {
            Self::Full(full) => name == names::repaired(full),
            Self::Prefix(prefix) => name.starts_with(&names::repaired(prefix)),
            Self::Suffix(suffix) => name.ends_with(&names::repaired_end(suffix)),
        }
    }

    const fn rank(&self) -> u8 {
        match self {
            Self::Full(_) => 0,
            Self::Prefix(_) => 1,
            Self::Suffix(_) => 2,
        }
    }
}

/// Why no recorder was installed.
///
/// ```
/// let region = tachograph::Region::private("doc")?;
/// tachograph::recorder::install(&region)?;
/// let error = tachograph::recorder::install(&region).unwrap_err();
/// assert!(error.to_string().contains("has a recorder already"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InstallError {
    /// Another recorder was installed before.
    #[error(
        "the process has a recorder already: install one, at start; \
         take out the line that installs the other (a Prometheus exporter's `install`, say)"
    )]
    Taken,
}

/// Builds a [`Recorder`], or installs it.
///
/// ```
/// use tachograph::recorder::{Builder, Matcher};
/// use tachograph::{Buckets, Region};
/// let region = Region::private("doc")?;
/// Builder::new()
///     .label("service", "api")
///     .buckets_for(Matcher::Suffix("_bytes".into()), Buckets::exponential(0, 64.0..=1e9))
///     .buckets_for(Matcher::Full("reply_seconds".into()), Buckets::bounds([0.01, 0.1, 1.0]))
///     .budget(200)
///     .install(&region)?;
/// metrics::histogram!("reply_seconds").record(0.012);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until it builds or installs"]
pub struct Builder {
    pub(super) labels: Vec<(String, String)>,
    pub(super) labels_of: HashMap<String, Vec<String>>,
    buckets: Buckets,
    buckets_for: Vec<(Matcher, Buckets)>,
    budget: u32,
    histogram_budget: u32,
    budget_for: Vec<(Matcher, u32)>,
    pub(super) total_budget: usize,
    label_area: u32,
    pub(super) unit_suffixes: bool,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            labels: Vec::new(),
            labels_of: HashMap::new(),
            buckets: Buckets::exponential(2, 1e-6..=100.0),
            buckets_for: Vec::new(),
            budget: 64,
            histogram_budget: 16,
            budget_for: Vec::new(),
            total_budget: 8_192,
            label_area: OpenRules::LABEL_AREA,
            unit_suffixes: false,
        }
    }
}

impl Builder {
    /// A builder with all defaults.
    ///
    /// ```
    /// let region = tachograph::Region::private("doc")?;
    /// let recorder = tachograph::recorder::Builder::new().build(&region);
    ///
    /// // Budgets: how much of the region label sets may take.
    /// use tachograph::recorder::{Builder, Matcher};
    /// let builder = Builder::new().budget(100).histogram_budget(8).total_budget(2_000).label_area(256);
    /// let builder = builder.budget_for(Matcher::Prefix("peer.".into()), 500).unit_suffixes(true);
    /// let recorder = builder.build(&region);
    /// # Ok::<(), tachograph::BuildError>(())
    /// ```
    pub fn new() -> Self {
        Self::default()
    }

    /// A constant label of every series. A key's own label of that name goes before it.
    pub fn label(mut self, name: impl AsRef<str>, value: impl Into<String>) -> Self {
        let name = names::label_name(name.as_ref());
        self.labels.retain(|(other, _)| *other != name);
        self.labels.push((name, value.into()));
        self
    }

    /// The label names of a metric, by the name that its macros have: needed where its keys have different ones, and the
    /// first key used does not have them all.
    ///
    /// ```
    /// use tachograph::recorder::Builder;
    /// let region = tachograph::Region::private("doc")?;
    /// let recorder = Builder::new().labels_of("http.requests", ["method", "status"]).build(&region);
    /// metrics::with_local_recorder(&recorder, || {
    ///     metrics::counter!("http.requests", "method" => "GET").increment(1);
    ///     metrics::counter!("http.requests", "method" => "GET", "status" => "200").increment(1);
    /// });
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn labels_of<N: AsRef<str>>(mut self, name: &str, labels: impl IntoIterator<Item = N>) -> Self {
        let labels = labels.into_iter().map(|label| names::label_name(label.as_ref())).collect();
        self.labels_of.insert(names::repaired(name), labels);
        self
    }

    /// The buckets of every histogram that [`Builder::buckets_for`] does not match. Default: exponential, schema 2 from
    /// 1e-6 to 100. Buckets that break a rule cost the histograms that have them, which is told when they are first used.
    pub fn buckets(mut self, buckets: Buckets) -> Self {
        self.buckets = buckets;
        self
    }

    /// The buckets of the histograms whose name matches: own bounds, or exponential ones. Of several that match, a full
    /// name goes before a prefix, a prefix before a suffix, and what was set first before what was set later.
    pub fn buckets_for(mut self, matcher: Matcher, buckets: Buckets) -> Self {
        self.buckets_for.push((matcher, buckets));
        self
    }

    /// Label sets that a counter or gauge with labels may have; the family takes the room when it is first used. Default
    /// 64. A metric without labels has one series, whatever the budget.
    pub fn budget(mut self, label_sets: u32) -> Self {
        self.budget = label_sets.max(1);
        self
    }

    /// Label sets that a histogram with labels may have: each takes a cell a bucket in every lane. Default 16.
    pub fn histogram_budget(mut self, label_sets: u32) -> Self {
        self.histogram_budget = label_sets.max(1);
        self
    }

    /// Label sets that the metrics whose name matches may have, chosen as in [`Builder::buckets_for`].
    pub fn budget_for(mut self, matcher: Matcher, label_sets: u32) -> Self {
        self.budget_for.push((matcher, label_sets.max(1)));
        self
    }

    /// Keys (names with labels) of all metrics together that get a series of their own. What is beyond goes to the
    /// overflow series of its family. Default 8,192.
    pub fn total_budget(mut self, keys: usize) -> Self {
        self.total_budget = keys;
        self
    }

    /// Bytes of label area a series with labels, as [`OpenRules::label_area`]; room for the constant labels is added.
    /// Default 128.
    pub fn label_area(mut self, bytes: u32) -> Self {
        self.label_area = bytes;
        self
    }

    /// Whether a described unit is put at the end of names that do not end in it (before `_total`), `percent` as
    /// `ratio` and `count` not at all. Default false, as in `metrics-exporter-prometheus`. A description that comes after
    /// the metric's first use has no effect.
    pub fn unit_suffixes(mut self, append: bool) -> Self {
        self.unit_suffixes = append;
        self
    }

    /// A recorder that writes into the region, for [`metrics::with_local_recorder`] or to be layered with others. It
    /// does not keep the region open.
    #[must_use = "a recorder does nothing until it is installed"]
    pub fn build(self, region: &Region) -> Recorder {
        Recorder(Arc::new(Families::new(self, region)))
    }

    /// Builds the recorder and makes it that of the process.
    ///
    /// # Errors
    /// As [`super::install`].
    pub fn install(self, region: &Region) -> Result<(), InstallError> {
        metrics::set_global_recorder(self.build(region)).map_err(|_| InstallError::Taken)
    }

    pub(super) fn buckets_of(&self, name: &str) -> &Buckets {
        best(&self.buckets_for, name).unwrap_or(&self.buckets)
    }

    /// The rules of a family with labels, or of one that has but one series.
    pub(super) fn rules_of(&self, name: &str, histogram: bool, labelled: bool) -> OpenRules {
        let (names, values): (Vec<&str>, Vec<&str>) =
            self.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).unzip();
        let constant = naming::label_block_len(&names, &values) as u32;
        if !labelled {
            return OpenRules::new(1).label_area(constant);
        }
        let budget = if histogram { self.histogram_budget } else { self.budget };
        let budget = best(&self.budget_for, name).copied().unwrap_or(budget);
        OpenRules::new(budget).label_area(self.label_area.saturating_add(constant))
    }
}

/// The value of the best match: by rank, then the first one set.
fn best<'a, T>(settings: &'a [(Matcher, T)], name: &str) -> Option<&'a T> {
    let matching = settings.iter().filter(|(matcher, _)| matcher.matches(name));
    matching.min_by_key(|(matcher, _)| matcher.rank()).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_names_go_before_prefixes_and_those_before_suffixes() {
        let builder = Builder::new()
            .budget_for(Matcher::Suffix(".seconds".into()), 3)
            .budget_for(Matcher::Prefix("reply.".into()), 4)
            .budget_for(Matcher::Full("reply-seconds".into()), 5)
            .budget_for(Matcher::Full("reply-seconds".into()), 6);
        let budget = |name| builder.rules_of(name, false, true).budget();
        assert_eq!(
            [budget("reply_seconds"), budget("reply_bytes"), budget("wait_seconds"), budget("x")],
            [5, 4, 3, 64]
        );
        assert_eq!(builder.rules_of("x", true, true).budget(), 16);
        assert_eq!(builder.rules_of("x", true, false).budget(), 1);
    }
}
