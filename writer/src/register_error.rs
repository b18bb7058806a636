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
    #[error("metric `{}` {rule}", shown(name))]
    Name {
        /// The family's name.
        name: String,
        /// The rule that it breaks.
        rule: &'static str,
    },
    /// Buckets or states break a rule of the kind.
    #[error("metric `{}` {rule}", shown(name))]
    Shape {
        /// The family's name.
        name: String,
        /// The rule that is broken, by what, and what to do.
        rule: String,
    },
    /// A label breaks a rule.
    #[error("label `{}` of metric `{}` {rule}", shown(label), shown(name))]
    Label {
        /// The family's name.
        name: String,
        /// The label's name.
        label: String,
        /// The rule that it breaks.
        rule: &'static str,
    },
    /// The name is registered already, as something else.
    #[error("metric `{}` is registered already as {}, now asked for as {}", shown(name), shown(found), shown(wanted))]
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
        "metric `{}` needs {needed} more {what}, region `{region}` has {free} of {capacity} left: \
         raise the builder's `{setting}`, or size the region with `fit`",
        shown(name)
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
        "metric `{}`: region `{region}` is closed (or this process was forked from its owner: then build a region of its own)",
        shown(name)
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

/// Most of a text that an error shows, in characters.
const MOST_SHOWN: usize = 300;

/// A text as an error shows it: names may come from strangers, and end up on terminals and in logs.
struct Shown<'a>(&'a str);

const fn shown(text: &str) -> Shown<'_> {
    Shown(text)
}

impl std::fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        use std::fmt::Write;
        for character in self.0.chars().take(MOST_SHOWN) {
            match character {
                '"' | '\'' | '\\' => f.write_char(character)?,
                other => write!(f, "{}", other.escape_debug())?,
            }
        }
        if self.0.chars().nth(MOST_SHOWN).is_some() {
            write!(f, "... ({} bytes)", self.0.len())?;
        }
        Ok(())
    }
}
