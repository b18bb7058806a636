//! Why a pulse or a doing was not registered.

/// Why a pulse, or what an actor may be doing, was refused. The region is as it was before.
///
/// ```
/// use std::time::Duration;
/// use tachograph::{MarkError, Region};
/// let region = Region::private("doc")?;
/// let first = region.pulse("control-loop", Duration::from_secs(5))?;
/// let second = region.pulse("control-loop", Duration::from_secs(5)).unwrap_err();
/// assert!(matches!(second, MarkError::Taken { .. }));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MarkError {
    /// The name or the promise breaks a rule.
    #[error("{what} `{name}` of region `{region}` {rule}")]
    Rule {
        /// `pulse` or `doing`.
        what: &'static str,
        /// The region.
        region: String,
        /// The name.
        name: String,
        /// The rule that it breaks.
        rule: &'static str,
    },
    /// A living pulse has that name.
    #[error(
        "pulse `{name}` of region `{region}` is another loop's: give each loop a name of its own, or drop the other first"
    )]
    Taken {
        /// The region.
        region: String,
        /// The name.
        name: String,
    },
    /// The region has no room for it.
    #[error("{what} `{name}` finds no room: region `{region}` holds {capacity} {unit}, {free} are left: {remedy}")]
    Full {
        /// `pulse` or `doing`.
        what: &'static str,
        /// The region.
        region: String,
        /// The name.
        name: String,
        /// What is counted.
        unit: &'static str,
        /// How much is left.
        free: u64,
        /// The capacity.
        capacity: u64,
        /// What to do.
        remedy: &'static str,
    },
    /// The region was closed, or belongs to the process that this one was forked from.
    #[error(
        "{what} `{name}`: region `{region}` is closed (or this process was forked from its owner: then build a region of its own)"
    )]
    Ended {
        /// `pulse` or `doing`.
        what: &'static str,
        /// The region.
        region: String,
        /// The name.
        name: String,
    },
}

/// The message, not the fields: this is what `fn main() -> Result<..>` and `unwrap` show people.
impl std::fmt::Debug for MarkError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}
