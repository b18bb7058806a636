//! What an application says of a family: name, help, unit, and how regions are merged.

use tachograph_layout::Aggregation;

/// Describes a family for registration. Nothing is checked before [`crate::Region::register`] and its like.
///
/// ```
/// use tachograph::{Aggregation, Desc, Gauge, Region};
/// let region = Region::private("doc")?;
/// let desc = Desc::new("app_cache_bytes", "Bytes held by the cache").unit("bytes").aggregation(Aggregation::Max);
/// let cache: Gauge<i64> = region.register(desc)?;
/// cache.set(4096);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Desc {
    pub(crate) name: String,
    pub(crate) help: String,
    pub(crate) unit: String,
    pub(crate) aggregation: Option<Aggregation>,
}

impl Desc {
    /// A family by its name (as text 0.0.4 shows it: counters end in `_total`) and its HELP.
    #[must_use]
    pub fn new(name: impl Into<String>, help: impl Into<String>) -> Self {
        Self { name: name.into(), help: help.into(), unit: String::new(), aggregation: None }
    }

    /// As [`Desc::new`], with HELP from the lines of a doc comment.
    #[doc(hidden)]
    #[must_use]
    pub fn from_doc(name: &str, lines: &[&str]) -> Self {
        let help = lines.iter().map(|line| line.trim()).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
        Self::new(name, help.strip_suffix('.').unwrap_or(&help))
    }

    /// The unit, which the name must end in (before `_total`): `bytes`, `seconds`.
    #[must_use]
    pub fn unit(mut self, unit: impl Into<String>) -> Self {
        self.unit = unit.into();
        self
    }

    /// How values of several regions become one, where they are merged. By default counters and up-down counters are
    /// added up, and so are gauges; watermarks take the largest.
    #[must_use]
    pub const fn aggregation(mut self, aggregation: Aggregation) -> Self {
        self.aggregation = Some(aggregation);
        self
    }
}
