//! Which metrics a reader asked for: a glob over their names.
//!
//! Called by `tacho show --filter` and by the page's API. Its work is bounded by pattern times name.

/// A glob over metric names: `*` stands for any text, `?` for one character, everything else for itself. A counter is
/// also found by its name without `_total`, as OpenMetrics calls it.
///
/// ```
/// use tachograph_exporter::filter::Filter;
/// let filter = Filter::new("mc_*_total");
/// assert!(filter.matches("mc_actor_panics_total"));
/// assert!(!filter.matches("mc_meetings_active"));
/// assert!(Filter::new("mc_actor_panics").matches("mc_actor_panics_total"));
/// assert!(Filter::default().matches("anything"));
/// ```
#[derive(Debug, Clone, Default)]
pub struct Filter {
    pattern: Option<Vec<u8>>,
}

impl Filter {
    /// Names that the whole pattern matches.
    #[must_use]
    pub fn new(pattern: &str) -> Self {
        Self { pattern: Some(pattern.as_bytes().to_vec()) }
    }

    /// Whether a name matches. Without a pattern every name does.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        let counter = name.strip_suffix("_total");
        self.pattern.as_ref().is_none_or(|pattern| {
            [Some(name), counter].into_iter().flatten().any(|name| glob(pattern, name.as_bytes()))
        })
    }
}

fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut read) = (0, 0);
    // Where to go on if what follows the last star does not match: the star takes one character more.
    let mut retry = None;
    while read < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                retry = Some((at, read));
                at += 1;
            }
            Some(byte) if *byte == b'?' || *byte == text[read] => {
                at += 1;
                read += 1;
            }
            _ => {
                let Some((star, from)) = retry else { return false };
                retry = Some((star, from + 1));
                at = star + 1;
                read = from + 1;
            }
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_and_marks() {
        for (pattern, name, expected) in [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("a*c", "abbc", true),
            ("a*c", "abbcd", false),
            ("*b*", "abc", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("**a", "ba", true),
            ("*ab", "aab", true),
            ("a_joules", "a_joules_total", true),
            ("a_joules_total", "a_joules", false),
            ("a*s", "a_joules_total", true),
            ("a_total", "a_total_total", true),
            ("", "_total", true),
        ] {
            assert_eq!(Filter::new(pattern).matches(name), expected, "{pattern} {name}");
        }
    }
}
