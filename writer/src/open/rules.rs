//! The rules of an open family: how many label sets it holds at a time, how long they may be, how long they linger.

use std::time::Duration;

/// How an open family deals with label sets that come and go.
///
/// ```
/// use std::time::Duration;
/// use tachograph::OpenRules;
/// let rules = OpenRules::new(500).label_area(256).linger(Duration::from_secs(60));
/// assert_eq!((rules.budget(), rules.label_area_bytes()), (500, 256));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenRules {
    budget: u32,
    label_area: u32,
    linger: Duration,
}

impl OpenRules {
    /// Label area of a series where none is set, in bytes.
    pub const LABEL_AREA: u32 = 128;
    /// Linger where none is set.
    pub const LINGER: Duration = Duration::from_secs(300);

    /// At most `budget` label sets at a time, lingering ones included; what is beyond shares the overflow series. The
    /// region must hold one series more than that, for the overflow.
    #[must_use]
    pub const fn new(budget: u32) -> Self {
        Self { budget, label_area: Self::LABEL_AREA, linger: Self::LINGER }
    }

    /// Bytes that the label block of a series (`route="/a",peer="b"`, escaped) may take: 16 to 16,384, rounded up to a
    /// multiple of 8. A label set that is longer goes to the overflow series. Default [`OpenRules::LABEL_AREA`].
    #[must_use]
    pub const fn label_area(mut self, bytes: u32) -> Self {
        let bytes = if bytes < 16 { 16 } else { bytes };
        self.label_area = if bytes > 16_384 { 16_384 } else { bytes.next_multiple_of(8) };
        self
    }

    /// How long readers show a series after its last lease was dropped; only then its slot may go to another label set.
    /// Longer than the scrape interval, so that the last value is seen. Default [`OpenRules::LINGER`].
    #[must_use]
    pub const fn linger(mut self, linger: Duration) -> Self {
        self.linger = linger;
        self
    }

    /// The most label sets at a time.
    #[must_use]
    pub const fn budget(&self) -> u32 {
        self.budget
    }

    /// Bytes of label area that each series owns: a multiple of 8.
    #[must_use]
    pub const fn label_area_bytes(&self) -> u32 {
        self.label_area
    }

    /// The same rules with another budget.
    #[cfg(feature = "metrics")]
    pub(crate) const fn of_budget(self, budget: u32) -> Self {
        Self { budget, ..self }
    }

    /// The linger as it stands in the region.
    pub(crate) fn linger_ns(&self) -> u64 {
        u64::try_from(self.linger.as_nanos()).unwrap_or(u64::MAX)
    }

    /// Slots in the family's block: one a label set of the budget, and the overflow series last.
    pub(crate) const fn slots(&self) -> u32 {
        self.budget.saturating_add(1)
    }
}

impl std::fmt::Display for OpenRules {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "open with areas of {} bytes and a linger of {:?}", self.label_area, self.linger)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_areas_are_whole_words_within_their_range() {
        let area = |bytes| OpenRules::new(1).label_area(bytes).label_area_bytes();
        assert_eq!([area(0), area(16), area(17), area(u32::MAX)], [16, 16, 24, 16_384]);
        assert_eq!(OpenRules::new(u32::MAX).slots(), u32::MAX);
        assert_eq!(OpenRules::new(1).linger(Duration::MAX).linger_ns(), u64::MAX);
    }
}
