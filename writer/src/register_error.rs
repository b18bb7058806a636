//! Why a family was not registered.

use tachograph_layout::Kind;

/// Why a registration was refused. The region is as it was before; the refusal is counted in it.
///
/// ```
/// use tachograph::{Region, RegisterError};
/// let region = Region::private("doc")?;
/// let error = region.counter("app_served", "Requests served").unwrap_err();
/// assert!(matches!(error, RegisterError::Name { .. }));
/// assert!(error.to_string().contains("must end in `_total`"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// Name, help or unit break a rule.
    #[error("metric `{name}` {rule}")]
    Name {
        /// The family's name.
        name: String,
        /// The rule that it breaks.
        rule: &'static str,
    },
    /// Buckets or states break a rule of the kind.
    #[error("metric `{name}` {rule}")]
    Shape {
        /// The family's name.
        name: String,
        /// The rule that is broken, by what, and what to do.
        rule: String,
    },
    /// A label breaks a rule.
    #[error("label `{label}` of metric `{name}` {rule}")]
    Label {
        /// The family's name.
        name: String,
        /// The label's name.
        label: String,
        /// The rule that it breaks.
        rule: &'static str,
    },
    /// The name is registered already, as something else.
    #[error("metric `{name}` is registered already as {found}, now asked for as {wanted}")]
    Clash {
        /// The family's name.
        name: String,
        /// What the name stands for.
        found: String,
        /// What was asked for.
        wanted: String,
    },
    /// Some format would show the same name for two families.
    #[error("metric `{name}` ({kind}) would be exposed as `{exposed}`, which `{other}` is exposed as: rename one", kind = .kind.as_str())]
    Suffix {
        /// The family's name.
        name: String,
        /// Its kind.
        kind: Kind,
        /// The name that both would show.
        exposed: String,
        /// The family that has it.
        other: String,
    },
    /// The region has no room for the family.
    #[error(
        "metric `{name}` needs {needed} more {what}, region `{region}` has {free} of {capacity} left: \
         raise the builder's `{setting}`, or size the region with `fit`"
    )]
    Full {
        /// The region.
        region: String,
        /// The family's name.
        name: String,
        /// Which capacity.
        what: &'static str,
        /// The builder's method that sets it.
        setting: &'static str,
        /// How much the family needs.
        needed: u64,
        /// How much is left.
        free: u64,
        /// The capacity.
        capacity: u64,
    },
    /// The region was closed, or belongs to the process that this one was forked from.
    #[error(
        "metric `{name}`: region `{region}` is closed (or this process was forked from its owner: then build a region of its own)"
    )]
    Ended {
        /// The region.
        region: String,
        /// The family's name.
        name: String,
    },
}

/// The message, not the fields: this is what `fn main() -> Result<..>` and `unwrap` show people.
impl std::fmt::Debug for RegisterError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}
