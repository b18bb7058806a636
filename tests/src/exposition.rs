//! What a scrape in text 0.0.4 says, as series and values. Every body that is taken here keeps all rules of `rules.rs`.

use std::collections::{BTreeMap, BTreeSet};

use crate::body::{self, Body, Format};
use crate::rules;

/// The series of a scrape: `name{labels}` (labels sorted, `tacho_region` left out) and the value as text.
#[derive(Debug, Default)]
pub struct Exposition {
    /// Value by series.
    pub values: BTreeMap<String, String>,
    /// TYPE by family.
    pub types: BTreeMap<String, String>,
    /// Families that have a HELP.
    pub helps: BTreeSet<String>,
}

impl Exposition {
    /// Parses a whole body.
    ///
    /// # Panics
    /// On anything that the format forbids and that Prometheus would store wrongly, naming it: what `rules.rs` finds.
    pub fn parse(body: &str) -> Self {
        Self::parse_where(body, |_| true)
    }

    /// As [`Exposition::parse`], but keeps only the series of one region.
    ///
    /// # Panics
    /// As [`Exposition::parse`].
    pub fn parse_of_region(body: &str, region: &str) -> Self {
        Self::parse_where(body, |of| of == Some(region))
    }

    /// As [`Exposition::parse`] of a body that is not the exporter's, as far as the rules are not its own.
    ///
    /// # Panics
    /// As [`Exposition::parse`].
    pub fn parse_foreign(body: &str) -> Self {
        Self::parse_as(body, false, |_| true)
    }

    fn parse_where(body: &str, wanted: impl Fn(Option<&str>) -> bool) -> Self {
        Self::parse_as(body, true, wanted)
    }

    fn parse_as(body: &str, ours: bool, wanted: impl Fn(Option<&str>) -> bool) -> Self {
        let read = Body::read(Format::Text, body.as_bytes());
        let faults = rules::faults(&read, ours);
        assert!(faults.is_empty(), "{faults:#?} in a body of {} bytes", body.len());
        let mut parsed = Self::default();
        for family in read.families {
            parsed.helps.extend(family.help.map(|_| family.name.clone()));
            parsed.types.insert(family.name, family.kind);
            for sample in family.samples {
                if wanted(sample.label("tacho_region")) {
                    parsed.values.insert(key(&sample.series), sample.text);
                }
            }
        }
        parsed
    }

    /// An integer value.
    ///
    /// # Panics
    /// Where the series is not there, or is no integer.
    pub fn integer(&self, series: &str) -> i128 {
        let value = self.values.get(series).unwrap_or_else(|| panic!("no series {series} in {:#?}", self.values));
        value.parse().unwrap_or_else(|_| panic!("{series} is {value}, no integer"))
    }
}

/// A series as the keys of [`Exposition::values`] are: labels sorted, the region's left out.
///
/// # Panics
/// Where it is no series.
pub fn key(series: &str) -> String {
    let (name, mut labels) = body::labels(series).unwrap_or_else(|| panic!("no series: {series:?}"));
    labels.sort();
    let labels: Vec<String> =
        labels.iter().filter(|(key, _)| key != "tacho_region").map(|(k, v)| format!("{k}={v:?}")).collect();
    if labels.is_empty() { name } else { format!("{name}{{{}}}", labels.join(",")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_escapes_and_leaves_the_region_out() {
        let parsed = Exposition::parse("# TYPE a gauge\na{b=\"x\\\"\\n\",tacho_region=\"r\"} 3\n");
        assert_eq!(parsed.integer("a{b=\"x\\\"\\n\"}"), 3);
    }

    #[test]
    #[should_panic(expected = "stands twice")]
    fn it_refuses_duplicates() {
        Exposition::parse("# TYPE a gauge\na 1\na 2\n");
    }
}
