//! An independent, strict little parser of text 0.0.4: what a scrape says, as series and values.

use std::collections::{BTreeMap, BTreeSet};

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
    /// On anything that the format forbids, naming the line: a bad escape, a duplicate series, a sample before its
    /// TYPE, a second TYPE, a family in two places, a last line without its end.
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

    fn parse_where(body: &str, wanted: impl Fn(Option<&str>) -> bool) -> Self {
        assert!(body.is_empty() || body.ends_with('\n'), "the last line has no end");
        let mut parsed = Self::default();
        let mut full = BTreeSet::new();
        let mut current = String::new();
        for line in body.lines() {
            // Inside a label's value it is a character as any other; anywhere else it ends up in what stands before it.
            let unescaped = line.replace(r"\\", "").replace(r#"\""#, "");
            let outside: String = unescaped.split('"').step_by(2).collect();
            assert!(!outside.contains('\r'), "carriage return in {line:?}");
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, _) = rest.split_once(' ').unwrap_or_else(|| panic!("HELP without text: {line:?}"));
                assert!(parsed.helps.insert(name.to_owned()), "second HELP: {line:?}");
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap_or_else(|| panic!("TYPE without kind: {line:?}"));
                assert!(matches!(kind, "counter" | "gauge" | "histogram" | "untyped"), "kind of {line:?}");
                assert!(parsed.types.insert(name.to_owned(), kind.to_owned()).is_none(), "second TYPE: {line:?}");
                name.clone_into(&mut current);
            } else {
                assert!(!line.is_empty(), "empty line");
                if line.starts_with("# ") {
                    continue;
                }
                let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no value in {line:?}"));
                assert!(full.insert(series.to_owned()), "the series stands twice: {line:?}");
                let (name, labels) = labels(series);
                let family =
                    ["", "_bucket", "_sum", "_count"].iter().any(|suffix| name == format!("{current}{suffix}"));
                assert!(family, "sample {name} under family {current}");
                assert!(value.parse::<f64>().is_ok(), "value of {line:?}");
                let region = labels.iter().find(|(key, _)| key == "tacho_region").map(|(_, value)| value.as_str());
                if !wanted(region) {
                    continue;
                }
                parsed.values.insert(key(series), value.to_owned());
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
    let (name, labels) = labels(series);
    let labels: Vec<String> =
        labels.iter().filter(|(key, _)| key != "tacho_region").map(|(k, v)| format!("{k}={v:?}")).collect();
    if labels.is_empty() { name } else { format!("{name}{{{}}}", labels.join(",")) }
}

/// Name and labels of a series, the labels sorted.
fn labels(series: &str) -> (String, Vec<(String, String)>) {
    let Some((name, rest)) = series.split_once('{') else { return (series.to_owned(), Vec::new()) };
    let mut rest = rest.strip_suffix('}').unwrap_or_else(|| panic!("labels without end: {series:?}"));
    let mut labels = Vec::new();
    while !rest.is_empty() {
        let (key, value) = rest.split_once("=\"").unwrap_or_else(|| panic!("label without value: {series:?}"));
        let mut text = String::new();
        let mut characters = value.char_indices();
        let end = loop {
            match characters.next().unwrap_or_else(|| panic!("label value without end: {series:?}")) {
                (at, '"') => break at,
                (_, '\\') => text.push(match characters.next() {
                    Some((_, 'n')) => '\n',
                    Some((_, escaped @ ('\\' | '"'))) => escaped,
                    other => panic!("escape {other:?} in {series:?}"),
                }),
                (_, character) => text.push(character),
            }
        };
        labels.push((key.to_owned(), text));
        rest = &value[end + 1..];
        rest = rest.strip_prefix(',').unwrap_or(rest);
    }
    labels.sort();
    (name.to_owned(), labels)
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
