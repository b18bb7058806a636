//! What a body has to keep beyond its grammar, because Prometheus takes what breaks it in silence and stores it wrongly: each
//! series once, whole histograms, canonical bounds, families in one place, names that can't be read as a part of another.
//!
//! Called on every scrape of the end-to-end tests, by `exposition.rs`.

use std::collections::{HashMap, HashSet};

use crate::body::{Body, Family, Format, Sample, canonical_le};

/// Everything that is wrong with a body; empty where nothing is. Of a body that is not the exporter's, `ours` is false: then
/// bounds may be written in other ways, and counters be named as they like.
#[must_use]
pub fn faults(body: &Body, ours: bool) -> Vec<String> {
    let mut faults = body.faults.clone();
    let mut fault = |what: String| faults.push(what);
    let mut series = HashSet::new();
    for sample in body.samples() {
        let spelt = sample.value.is_finite() || matches!(sample.text.as_str(), "NaN" | "+Inf" | "-Inf");
        if ours && !spelt && body.format != Format::Protobuf {
            fault(format!("{} is another spelling: {}", sample.text, sample.series));
        }
        // An empty label is none.
        let mut labels = sample.labels_but("");
        labels.retain(|(_, value)| !value.is_empty());
        if !series.insert((&sample.name, labels)) {
            fault(format!("the series stands twice: {}", sample.series));
        }
    }
    let mut taken: HashMap<String, &str> = HashMap::new();
    for family in &body.families {
        let mut names = names(family, body.format);
        names.sort();
        names.dedup();
        for name in names {
            if let Some(other) = taken.insert(name.clone(), &family.name) {
                let what = if other == family.name {
                    "stands in two places".to_owned()
                } else {
                    format!("is read as a part of {other}")
                };
                fault(format!("family {}: {name} {what}", family.name));
            }
        }
        of_family(family, body.format, ours, &mut fault);
    }
    faults
}

/// What a later body of the same exporter does with the order of the series that are in both.
#[must_use]
pub fn order_faults(before: &Body, after: &Body) -> Vec<String> {
    // `x_created` may be one family's in the one body and another's in the other.
    let of = |body: &Body| -> Vec<String> {
        let of_family = |family: &Family| -> Vec<String> {
            family
                .samples
                .iter()
                .map(|sample| format!("{} of {} {}", sample.series, family.kind, family.name))
                .collect()
        };
        body.families.iter().flat_map(of_family).collect()
    };
    let (before, after) = (of(before), of(after));
    let (old, new): (HashSet<_>, HashSet<_>) = (before.iter().collect(), after.iter().collect());
    let kept = before.iter().filter(|series| new.contains(series));
    let shown = after.iter().filter(|series| old.contains(series));
    let moved = kept.zip(shown).find(|(kept, shown)| kept != shown);
    moved.into_iter().map(|(kept, shown)| format!("{shown} stands where {kept} stood")).collect()
}

/// Suffixes of the samples that a family of this type may have, and whether the type is one of the format's.
fn suffixes(kind: &str, format: Format) -> Option<&'static [&'static str]> {
    Some(match (kind, format) {
        ("counter", Format::OpenMetrics) => &["_total", "_created"],
        ("histogram", Format::OpenMetrics) => &["_bucket", "_sum", "_count", "_created"],
        ("histogram", _) => &["_bucket", "_sum", "_count"],
        ("info", Format::OpenMetrics) => &["_info"],
        ("stateset" | "unknown", Format::OpenMetrics) | ("counter" | "gauge", _) => &[""],
        ("untyped", Format::Text) => &[""],
        ("summary", Format::Text) => &["", "_sum", "_count"],
        _ => return None,
    })
}

/// Every name that somebody may read as this family's.
fn names(family: &Family, format: Format) -> Vec<String> {
    let name = family.name.as_str();
    let counter = family.kind == "counter" && format != Format::OpenMetrics;
    let base = name.strip_suffix("_total").filter(|_| counter).unwrap_or(name);
    let more: &[&str] = match family.kind.as_str() {
        "counter" => &["", "_total", "_created"],
        "histogram" => &["", "_bucket", "_sum", "_count", "_created"],
        "summary" => &["", "_sum", "_count", "_created"],
        "info" => &["", "_info"],
        _ => &[""],
    };
    let mut names: Vec<String> = more.iter().map(|suffix| format!("{base}{suffix}")).collect();
    if format != Format::OpenMetrics {
        names.push(name.to_owned());
    }
    names
}

fn of_family(family: &Family, format: Format, ours: bool, fault: &mut impl FnMut(String)) {
    let Family { name, kind, samples, unit, .. } = family;
    let Some(suffixes) = suffixes(kind, format) else {
        return fault(format!("family {name}: {kind:?} is no type of it"));
    };
    for sample in samples {
        if !suffixes.iter().any(|suffix| sample.name == format!("{name}{suffix}")) {
            fault(format!("sample {} under family {name}", sample.series));
        }
        let bucket = sample.name == format!("{name}_bucket") && kind == "histogram";
        if (sample.label("le").is_some() != bucket) || (sample.label("quantile").is_some() && kind != "summary") {
            fault(format!("le or quantile where it means nothing, or is missing: {}", sample.series));
        }
    }
    let strict = format == Format::OpenMetrics;
    // In OpenMetrics it is a counter's samples that end so: a family may be named `x_total`, and they `x_total_total`.
    let total = name.ends_with("_total");
    let misnamed = if kind == "counter" { !total && !strict } else { total };
    if ours && misnamed {
        fault(format!("family {name} is a {kind}: _total is the suffix of counters"));
    }
    if strict
        && !unit.is_empty()
        && (!name.ends_with(&format!("_{unit}")) || matches!(kind.as_str(), "info" | "stateset"))
    {
        fault(format!("family {name} has the unit {unit}"));
    }
    match kind.as_str() {
        "histogram" => histograms(family, strict, ours, fault),
        "counter" if strict => {
            for sample in samples.iter().filter(|sample| sample.value < 0.0 || sample.value.is_nan()) {
                fault(format!("a counter of {}: {}", sample.text, sample.series));
            }
            created(family, fault);
        }
        "info" => {
            for sample in samples.iter().filter(|sample| sample.text != "1") {
                fault(format!("an info of {}: {}", sample.text, sample.series));
            }
        }
        "stateset" => {
            let wrong = |sample: &&Sample| sample.label(name).is_none() || !matches!(sample.text.as_str(), "0" | "1");
            for sample in samples.iter().filter(wrong) {
                fault(format!("no state of {name}: {} {}", sample.series, sample.text));
            }
        }
        _ => {}
    }
}

/// `_created` stands right behind its own counter.
fn created(family: &Family, fault: &mut impl FnMut(String)) {
    let is_created = |sample: &Sample| sample.name.ends_with("_created");
    let before = std::iter::once(None).chain(family.samples.iter().map(Some));
    for (before, sample) in before.zip(&family.samples).filter(|(_, sample)| is_created(sample)) {
        if before.is_none_or(|before| is_created(before) || before.labels != sample.labels) {
            fault(format!("not behind its counter: {}", sample.series));
        }
    }
}

/// Each histogram's lines together: buckets upwards to +Inf, which is the count, then sum and count.
fn histograms(family: &Family, strict: bool, ours: bool, fault: &mut impl FnMut(String)) {
    let mut seen = HashSet::new();
    let of = |sample: &Sample| sample.labels_but("le");
    for lines in family.samples.chunk_by(|a, b| of(a) == of(b)) {
        let Some(first) = lines.first() else { continue };
        let who = &first.series;
        if !seen.insert(of(first)) {
            fault(format!("the histogram stands in two places: {who}"));
        }
        let named = |suffix: &str| -> Vec<&Sample> {
            let name = format!("{}{suffix}", family.name);
            lines.iter().filter(|sample| sample.name == name).collect()
        };
        let [buckets, sums, counts, created] = ["_bucket", "_sum", "_count", "_created"].map(named);
        let in_order =
            buckets.iter().chain(&sums).chain(&counts).chain(&created).zip(lines).all(|(a, b)| a.series == b.series);
        if !in_order {
            fault(format!("lines in another order than buckets, sum, count: {who}"));
        }
        if sums.len() != counts.len() || sums.len() > 1 || (sums.is_empty() && !strict) {
            fault(format!("{} sums and {} counts: {who}", sums.len(), counts.len()));
        }
        let bound = |sample: &Sample| sample.label("le").and_then(|le| le.parse::<f64>().ok()).unwrap_or(f64::NAN);
        for pair in buckets.windows(2) {
            let [below, above] = pair else { continue };
            // A bound that is no number is neither.
            if bound(below).partial_cmp(&bound(above)) != Some(std::cmp::Ordering::Less) {
                fault(format!("bounds do not ascend: {} and {}", below.series, above.series));
            }
            if above.value < below.value {
                fault(format!("{} is below {}: {}", above.text, below.text, above.series));
            }
        }
        for bucket in &buckets {
            let le = bucket.label("le").unwrap_or_default();
            if ours && canonical_le(bound(bucket)) != le {
                fault(format!("{le} is not canonical: {}", bucket.series));
            }
        }
        for line in buckets.iter().chain(&counts).filter(|line| line.value < 0.0 || line.value.fract() != 0.0) {
            fault(format!("{} is no count: {}", line.text, line.series));
        }
        match buckets.last() {
            Some(last) if bound(last) == f64::INFINITY => {
                for count in counts.iter().filter(|count| count.value != last.value) {
                    fault(format!("{} is not the {} of +Inf: {}", count.text, last.text, count.series));
                }
            }
            _ => fault(format!("no bucket that ends at +Inf: {who}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "# HELP h Time\n# TYPE h histogram\nh_bucket{a=\"x\",le=\"0.5\"} 1\nh_bucket{a=\"x\",le=\"+Inf\"} 2\n\
                        h_sum{a=\"x\"} 3\nh_count{a=\"x\"} 2\n# HELP n_total Count\n# TYPE n_total counter\nn_total 1\n";
    const GOOD_OPENMETRICS: &str = "# TYPE h_seconds histogram\n# UNIT h_seconds seconds\n# HELP h_seconds Time\n\
                                    h_seconds_bucket{le=\"0.5\"} 1\nh_seconds_bucket{le=\"+Inf\"} 2\nh_seconds_sum 3\nh_seconds_count 2\n\
                                    h_seconds_created 1.5\n# TYPE n counter\nn_total 1\nn_created 1.5\n# TYPE i info\ni_info{v=\"1\"} 1\n\
                                    # TYPE s stateset\ns{s=\"a\"} 1\ns{s=\"b\"} 0\n# EOF\n";

    fn said(format: Format, body: &str) -> Vec<String> {
        faults(&Body::read(format, body.as_bytes()), true)
    }

    #[test]
    fn a_good_body_has_no_fault() {
        assert_eq!(said(Format::Text, GOOD), [""; 0]);
        assert_eq!(said(Format::OpenMetrics, GOOD_OPENMETRICS), [""; 0]);
        assert_eq!(said(Format::Text, ""), [""; 0]);
    }

    #[test]
    fn each_fault_is_found_in_text() {
        for (from, to, expected) in [
            ("n_total 1\n", "n_total 1\nn_total 1\n", "stands twice"),
            ("n_total 1\n", "n_total{b=\"1\",c=\"2\"} 1\nn_total{c=\"2\",b=\"1\"} 1\n", "stands twice"),
            ("n_total 1\n", "n_total 1\nn_total{b=\"\"} 1\n", "stands twice"),
            ("n_total 1\n", "n_total{b=\"1\",b=\"2\"} 1\n", "no series"),
            ("n_total 1\n", "n_total{b=\"\\t\"} 1\n", "no series"),
            ("n_total 1\n", "n_total{b=\"1\",} 1\n", "no series"),
            ("n_total 1\n", "n_total 1 1700000000000\n", "timestamp"),
            ("n_total 1\n", "n_total 1e400\n", "no value"),
            ("n_total 1\n", "n_total inf\n", "another spelling"),
            ("n_total 1\n", "n_total 1", "no end"),
            ("n_total 1\n", "n_total 1\n\n", "empty line"),
            ("n_total 1\n", "n_total 1\r\n", "carriage return"),
            ("n_total 1\n", "other 1\n", "sample other under family n_total"),
            ("n_total 1\n", "n_total{le=\"1.0\"} 1\n", "le or quantile"),
            ("TYPE n_total counter", "TYPE n_total gauge", "_total is the suffix of counters"),
            ("TYPE n_total counter", "TYPE n_total info", "no type"),
            ("# TYPE n_total counter\n", "", "no type"),
            ("# TYPE n_total counter\n", "# TYPE n_total counter\n# TYPE n_total counter\n", "said twice"),
            ("# HELP n_total Count\n", "# HELP n_total Count\n# HELP n_total Count\n", "said twice"),
            ("n_total 1\n", "n_total 1\n# TYPE n_total counter\n", "said twice"),
            (
                "n_total 1\n",
                "n_total 1\n# TYPE o gauge\no 1\n# TYPE n_total counter\nn_total{b=\"1\"} 1\n",
                "two places",
            ),
            ("n_total 1\n", "n_total 1\n# TYPE n gauge\nn 1\n", "read as a part of n_total"),
            ("n_total 1\n", "n_total 1\n# TYPE n_created gauge\nn_created 1\n", "read as a part of n_total"),
            ("n_total 1\n", "n_total 1\n# TYPE h_count gauge\nh_count 1\n", "read as a part of h"),
            ("n_total 1\n", "n_total 1\n# TYPE h_bucket gauge\nh_bucket 1\n", "read as a part of h"),
            ("h_bucket{a=\"x\",le=\"+Inf\"} 2\n", "", "no bucket that ends at +Inf"),
            ("le=\"+Inf\"} 2", "le=\"+Inf\"} 3", "2 is not the 3 of +Inf"),
            ("le=\"0.5\"} 1", "le=\"0.5\"} 3", "2 is below 3"),
            ("le=\"0.5\"} 1", "le=\"0.5\"} 1.5", "no count"),
            ("le=\"0.5\"} 1", "le=\"5e-1\"} 1", "not canonical"),
            ("le=\"0.5\"} 1\n", "le=\"0.5\"} 1\nh_bucket{a=\"x\",le=\"0.25\"} 1\n", "do not ascend"),
            ("h_sum{a=\"x\"} 3\n", "", "0 sums and 1 counts"),
            ("h_sum{a=\"x\"} 3\nh_count{a=\"x\"} 2\n", "", "0 sums and 0 counts"),
            ("h_sum{a=\"x\"} 3\nh_count{a=\"x\"} 2\n", "h_count{a=\"x\"} 2\nh_sum{a=\"x\"} 3\n", "another order"),
            ("h_sum{a=\"x\"} 3\n", "h_bucket{le=\"+Inf\"} 0\nh_sum 0\nh_count 0\nh_sum{a=\"x\"} 3\n", "two places"),
        ] {
            let bad = GOOD.replacen(from, to, 1);
            assert!(bad != GOOD, "{from:?} is in it");
            let said = said(Format::Text, &bad);
            assert!(said.iter().any(|fault| fault.contains(expected)), "{expected:?} in {said:?} of {bad}");
        }
        let bytes = faults(&Body::read(Format::Text, b"# TYPE a gauge\na{b=\"\xff\"} 1\n"), true);
        assert!(bytes[0].contains("UTF-8"), "{bytes:?}");
    }

    #[test]
    fn each_fault_is_found_in_openmetrics() {
        for (from, to, expected) in [
            ("# EOF\n", "", "no EOF"),
            ("# EOF\n", "# EOF\n# TYPE z gauge\n", "after EOF"),
            ("# EOF\n", "# a comment\n# EOF\n", "a comment"),
            (
                "# TYPE h_seconds histogram\n# UNIT h_seconds seconds\n",
                "# UNIT h_seconds seconds\n# TYPE h_seconds histogram\n",
                "too early",
            ),
            ("# UNIT h_seconds seconds\n", "# UNIT h_seconds bytes\n", "has the unit bytes"),
            ("n_total 1\n", "n_total -1\n", "a counter of -1"),
            ("n_total 1\n", "n_total NaN\n", "a counter of NaN"),
            ("n_total 1\n", "n 1\n", "sample n under family n"),
            ("n_total 1\nn_created 1.5\n", "n_created 1.5\nn_total 1\n", "not behind its counter"),
            ("n_total 1\nn_created 1.5\n", "n_total{a=\"1\"} 1\nn_created 1.5\n", "not behind its counter"),
            ("TYPE n counter", "TYPE n_total counter", "sample n_total under family n_total"),
            (
                "TYPE n counter\nn_total 1\nn_created 1.5",
                "TYPE n_total gauge\nn_total 1",
                "_total is the suffix of counters",
            ),
            ("i_info{v=\"1\"} 1", "i_info{v=\"1\"} 2", "an info of 2"),
            ("s{s=\"b\"} 0", "s{s=\"b\"} 2", "no state of s"),
            ("s{s=\"b\"} 0", "s{t=\"b\"} 0", "no state of s"),
            ("# EOF\n", "# TYPE n_created gauge\nn_created{a=\"1\"} 1\n# EOF\n", "read as a part of n"),
            ("# EOF\n", "# TYPE i_info gauge\ni_info 1\n# EOF\n", "read as a part of i"),
            ("h_seconds_count 2\n", "", "1 sums and 0 counts"),
            ("h_seconds_sum 3\n", "h_seconds_sum 3 # {a=\"b\"} 1\n", "exemplar"),
        ] {
            let bad = GOOD_OPENMETRICS.replacen(from, to, 1);
            assert!(bad != GOOD_OPENMETRICS, "{from:?} is in it");
            let said = said(Format::OpenMetrics, &bad);
            assert!(said.iter().any(|fault| fault.contains(expected)), "{expected:?} in {said:?} of {bad}");
        }
    }

    #[test]
    fn series_that_change_places_are_found_and_those_that_come_and_go_are_none() {
        let body = |names: &str| {
            let lines: String = names.split(' ').map(|name| format!("# TYPE {name} gauge\n{name} 1\n")).collect();
            Body::read(Format::Text, lines.as_bytes())
        };
        assert_eq!(order_faults(&body("a b c"), &body("a b c")), [""; 0]);
        assert_eq!(order_faults(&body("a b c"), &body("x a c y")), [""; 0]);
        assert_eq!(order_faults(&body("a b c"), &body("a c b")), ["c of gauge c stands where b of gauge b stood"]);
        assert_eq!(order_faults(&body("a b c"), &body("c x a")), ["c of gauge c stands where a of gauge a stood"]);
    }
}
