//! From the names of the `metrics` crate, which may be any text, to names that every format can show.
//!
//! Called when a metric or a setting is first seen. Where it differs from `metrics-exporter-prometheus` is said in
//! `recorder.rs`. Never fails: what is still against a rule afterwards (a name of more than 255 bytes) is refused by
//! registration.

use tachograph_layout::Kind;

use super::metrics::Unit;
use crate::naming;

/// A metric's name without the characters that it can't have.
pub(super) fn repaired(raw: &str) -> String {
    let name = repaired_end(raw);
    if name.starts_with(|first: char| first.is_ascii_digit()) { format!("_{}", &name[1..]) } else { name }
}

/// The end of a metric's name, which may begin with a digit.
pub(super) fn repaired_end(raw: &str) -> String {
    let fits = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    raw.chars().map(|letter| if fits(letter) { letter } else { '_' }).collect()
}

/// A label's name without the characters that it can't have, and none that means something to others.
pub(super) fn label_name(raw: &str) -> String {
    let name = repaired(raw);
    let name = if name.is_empty() { "_".to_owned() } else { name };
    if naming::check_label(&name).is_err() || name == "overflow" { format!("exported_{name}") } else { name }
}

/// What a unit is called at the end of a name.
pub(super) fn unit_suffix(unit: Unit) -> &'static str {
    match unit {
        Unit::Count => "",
        Unit::Percent => "ratio",
        unit => unit.as_str(),
    }
}

/// The name that a family is registered with, and whether more than characters, unit and `_total` was changed.
pub(super) fn family_name(repaired: &str, kind: Kind, unit: Option<&str>) -> (String, bool) {
    let total = if kind == Kind::Counter { "_total" } else { "" };
    let mut base = repaired.strip_suffix(total).unwrap_or(repaired).to_owned();
    if let Some(unit) = unit.filter(|unit| !unit.is_empty() && !base.ends_with(unit)) {
        base.push('_');
        base.push_str(unit);
    }
    let name = format!("{base}{total}");
    if naming::check_name(&name, "", kind).is_ok() {
        return (name, false);
    }
    if base.starts_with("tacho_") {
        base.insert(0, '_');
    }
    let name = format!("{base}{total}");
    if naming::check_name(&name, "", kind).is_ok() {
        return (name, true);
    }
    (format!("{base}_value{total}"), true)
}

/// The unit that a family is registered with: none where its name does not end in it.
pub(super) fn family_unit<'a>(name: &str, unit: &'a str, kind: Kind) -> &'a str {
    if naming::check_name(name, unit, kind).is_ok() { unit } else { "" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_repaired_as_the_prometheus_exporter_does() {
        let cases = [
            ("*", "_"),
            ("\"", "_"),
            ("foo_bar", "foo_bar"),
            ("1foobar", "_foobar"),
            ("123", "_23"),
            ("a.b-c/d", "a_b_c_d"),
        ];
        for (raw, wanted) in cases {
            assert_eq!(repaired(raw), wanted);
        }
        // Colons are for recording rules.
        assert_eq!(repaired("foo1:bar2"), "foo1_bar2");
    }

    #[test]
    fn every_name_becomes_one_that_registers() {
        for raw in [
            "",
            "_total",
            "x_count",
            "x_count_total",
            "memory_total",
            "x_bucket",
            "tacho_x",
            "tacho_x_sum",
            "é",
            "9",
            "x_info",
            "_sum",
        ] {
            for kind in [Kind::Counter, Kind::Gauge, Kind::HistogramExponential] {
                let (name, _) = family_name(&repaired(raw), kind, None);
                assert_eq!(naming::check_name(&name, "", kind), Ok(()), "{raw} {name}");
            }
        }
        let name = |raw, kind| family_name(raw, kind, None);
        assert_eq!(name("requests", Kind::Counter), ("requests_total".into(), false));
        assert_eq!(name("requests_total", Kind::Counter), ("requests_total".into(), false));
        assert_eq!(name("queue_count", Kind::Gauge), ("queue_count_value".into(), true));
        assert_eq!(name("jobs_count", Kind::Counter), ("jobs_count_value_total".into(), true));
    }

    #[test]
    fn units_go_before_total_and_stand_once() {
        let name = |raw, kind, unit| family_name(raw, kind, Some(unit_suffix(unit))).0;
        assert_eq!(name("sent", Kind::Counter, Unit::Bytes), "sent_bytes_total");
        assert_eq!(name("sent_bytes_total", Kind::Counter, Unit::Bytes), "sent_bytes_total");
        assert_eq!(name("cpu", Kind::Gauge, Unit::Percent), "cpu_ratio");
        assert_eq!(name("jobs", Kind::Gauge, Unit::Count), "jobs");
        assert_eq!(family_unit("sent_bytes_total", "bytes", Kind::Counter), "bytes");
        assert_eq!(family_unit("sent_total", "bytes", Kind::Counter), "");
    }

    #[test]
    fn label_names_keep_clear_of_what_means_something() {
        let cases = [
            ("a.b", "a_b"),
            ("", "_"),
            ("le", "exported_le"),
            ("__x", "exported___x"),
            ("tacho_region", "exported_tacho_region"),
            ("overflow", "exported_overflow"),
            ("1a", "_a"),
        ];
        for (raw, wanted) in cases {
            assert_eq!(label_name(raw), wanted);
        }
    }
}
