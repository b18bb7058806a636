//! The rules of names: what Prometheus and OpenMetrics accept from every format this project renders.
//!
//! Checked at registration, and before that by const evaluation where a declaration says enough, by the same code, so
//! that no exporter ever has to repair a name. Source of the rules: the Prometheus data model and OpenMetrics 1.0
//! ("Metric names", "Suffixes").

use tachograph_layout::Kind;

use crate::Desc;
use crate::text::{equal, starts_with, strip_suffix};

/// Which rule a name, label or unit breaks, in words that finish the sentence "`x` ...".
pub(crate) type Broken = &'static str;

/// Longest family name, in bytes.
const MAX_NAME: usize = 255;
/// Longest HELP or label block, in bytes.
pub(crate) const MAX_TEXT: usize = 16 * 1024;

pub(crate) const LABEL_TWICE: Broken = "stands twice";
pub(crate) const LABEL_OVERFLOW: Broken = "is what an open family's overflow series is known by: choose another name";
pub(crate) const VALUE_TWICE: Broken = "has the same value for two of its enum's variants";
pub(crate) const VALUE_EMPTY: Broken = "has an empty value, which to Prometheus is the same as no label";
pub(crate) const VALUE_LONG: Broken = "has values longer than 16 KiB";

/// Checks a family's name, help and unit against its kind.
pub(crate) fn check(desc: &Desc, kind: Kind) -> Result<(), Broken> {
    if desc.help.len() > MAX_TEXT {
        return Err("has a HELP longer than 16 KiB");
    }
    check_name(&desc.name, &desc.unit, kind)
}

/// Checks a family's name and unit against its kind: at registration, and at compile time for declared groups.
pub(crate) const fn check_name(name: &str, unit: &str, kind: Kind) -> Result<(), Broken> {
    if !is_identifier(name) {
        return Err("is no metric name: letters, digits and underscores, not starting with a digit");
    }
    if name.len() > MAX_NAME {
        return Err("is longer than 255 bytes");
    }
    if starts_with(name, "tacho_") {
        return Err("starts with `tacho_`, which the exporter's own metrics do");
    }
    match (kind, strip_suffix(name, "_total")) {
        (Kind::Counter, None) => return Err("is a counter's and must end in `_total`"),
        (Kind::Counter, Some(rest)) if rest.is_empty() => return Err("is only a suffix"),
        (Kind::Counter, Some(_)) | (_, None) => {}
        (_, Some(_)) => return Err("ends in `_total`, which is for counters"),
    }
    if matches!(kind, Kind::StateSet) && check_label(name).is_err() {
        return Err(
            "is a state set's, whose name is a label, too: `le`, `quantile` and `__*` mean something to Prometheus",
        );
    }
    if matches!(kind, Kind::Info) && strip_suffix(name, "_info").is_none() {
        return Err("is an info's and must end in `_info`");
    }
    let reserved = ["_bucket", "_count", "_sum", "_created", "_gcount", "_gsum"];
    let mut index = 0;
    while index < reserved.len() {
        if strip_suffix(base(name), reserved[index]).is_some() {
            return Err("ends in a suffix that histograms, summaries and creation times use");
        }
        index += 1;
    }
    if !unit.is_empty() {
        if matches!(kind, Kind::Info | Kind::StateSet) {
            return Err("is an info's or a state set's, which have no unit");
        }
        let fits = match strip_suffix(base(name), unit) {
            Some(rest) => rest.len() > 1 && strip_suffix(rest, "_").is_some(),
            None => false,
        };
        if !fits {
            return Err(
                "has a unit that it does not end in: end it in `_` and the unit (before `_total`), or leave the unit out",
            );
        }
    }
    Ok(())
}

/// Checks a label's name.
pub(crate) const fn check_label(name: &str) -> Result<(), Broken> {
    if !is_identifier(name) {
        return Err("is no label name: letters, digits and underscores, not starting with a digit");
    }
    if name.len() > MAX_NAME {
        return Err("is longer than 255 bytes");
    }
    if equal(name, "le") || equal(name, "quantile") || starts_with(name, "__") || starts_with(name, "tacho_") {
        return Err("is reserved: `le`, `quantile`, `__*` and `tacho_*` mean something to Prometheus or the exporter");
    }
    Ok(())
}

/// The family's name in OpenMetrics, which strips what counters and infos end in. Two families that share it can't be
/// exposed side by side. (Other suffixes need no such care: [`check`] refuses them in every name.)
pub(crate) fn openmetrics_family(name: &str, kind: Kind) -> &str {
    match kind {
        Kind::Counter | Kind::Info => base(name),
        _ => name,
    }
}

/// The label block of a series as it is printed: `a="x",b="y"`, values escaped.
pub(crate) fn label_block<N: AsRef<str>>(names: &[N], values: &[&str]) -> String {
    let mut block = String::new();
    write_label_block(&mut block, names, values);
    block
}

/// Appends the label block to `block`.
pub(crate) fn write_label_block<N: AsRef<str>>(block: &mut String, names: &[N], values: &[&str]) {
    label_pieces(names, values, |piece| block.push_str(piece));
}

/// Length of the label block in bytes, without making it.
pub(crate) fn label_block_len<N: AsRef<str>>(names: &[N], values: &[&str]) -> usize {
    let mut len = 0;
    label_pieces(names, values, |piece| len += piece.len());
    len
}

/// Whether `block` is the label block of these labels, without making that.
pub(crate) fn is_label_block<N: AsRef<str>>(block: &str, names: &[N], values: &[&str]) -> bool {
    let mut rest = Some(block);
    label_pieces(names, values, |piece| rest = rest.and_then(|rest| rest.strip_prefix(piece)));
    rest.is_some_and(str::is_empty)
}

/// The label block, piece by piece: this is where label values are escaped.
fn label_pieces<N: AsRef<str>>(names: &[N], values: &[&str], mut piece: impl FnMut(&str)) {
    for (index, (name, value)) in names.iter().zip(values).enumerate() {
        piece(if index == 0 { "" } else { "," });
        piece(name.as_ref());
        piece("=\"");
        let mut rest = *value;
        while let Some(at) = rest.find(['\\', '"', '\n']) {
            let (plain, special) = rest.split_at(at);
            piece(plain);
            piece(match special.as_bytes()[0] {
                b'\\' => "\\\\",
                b'"' => "\\\"",
                _ => "\\n",
            });
            rest = &special[1..];
        }
        piece(rest);
        piece("\"");
    }
}

const fn base(name: &str) -> &str {
    match (strip_suffix(name, "_total"), strip_suffix(name, "_info")) {
        (Some(base), _) | (None, Some(base)) => base,
        (None, None) => name,
    }
}

const fn is_identifier(name: &str) -> bool {
    let bytes = name.as_bytes();
    let mut index = 0;
    while index < bytes.len() {
        let letter = bytes[index].is_ascii_alphabetic() || bytes[index] == b'_';
        if !letter && (index == 0 || !bytes[index].is_ascii_digit()) {
            return false;
        }
        index += 1;
    }
    !bytes.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(name: &str, kind: Kind) -> Option<Broken> {
        check(&Desc::new(name, "help"), kind).err()
    }

    #[test]
    fn names_are_held_to_their_kind() {
        assert_eq!(broken("app_served_total", Kind::Counter), None);
        assert!(broken("app_served", Kind::Counter).is_some_and(|rule| rule.contains("_total")));
        assert!(broken("app_depth_total", Kind::Gauge).is_some());
        assert!(broken("9lives", Kind::Gauge).is_some());
        assert!(broken("a:b", Kind::Gauge).is_some());
        assert!(broken("", Kind::Gauge).is_some());
        assert!(broken("_total", Kind::Counter).is_some());
        assert!(broken("tacho_up", Kind::Gauge).is_some());
        assert!(broken("app_latency_count", Kind::Gauge).is_some());
        assert!(broken("app_latency_sum_total", Kind::Counter).is_some());
        // A state set's name is a label, too.
        for name in ["__name__", "__mode", "le", "quantile"] {
            assert!(broken(name, Kind::StateSet).is_some() && broken(name, Kind::Gauge).is_none(), "{name}");
        }
        assert_eq!(broken("app_mode", Kind::StateSet), None);
    }

    #[test]
    fn units_are_the_names_suffix() {
        let with = |name: &str, unit: &str, kind| check(&Desc::new(name, "help").unit(unit), kind);
        assert_eq!(with("app_sent_bytes_total", "bytes", Kind::Counter), Ok(()));
        assert!(with("app_sent_total", "bytes", Kind::Counter).is_err());
        assert!(with("bytes", "bytes", Kind::Gauge).is_err());
        assert!(with("app_megabytes", "bytes", Kind::Gauge).is_err());
        assert!(with("app_build_bytes_info", "bytes", Kind::Info).is_err());
    }

    #[test]
    fn label_blocks_are_escaped_once() {
        assert_eq!(label_block(&["a", "b"], &["x\"y\\", "l1\nl2"]), r#"a="x\"y\\",b="l1\nl2""#);
        assert_eq!(label_block::<&str>(&[], &[]), "");
        assert_eq!(label_block(&["a"], &["\\\"\nü\r\0"]), "a=\"\\\\\\\"\\nü\r\0\"");
    }

    #[test]
    fn a_label_block_is_known_without_being_made() {
        let names = ["a", "b"];
        for values in [["", ""], ["x\"y\\", "l1\nl2"], ["\"", "\""], ["x,b=", "y"], ["x", ",b=y"], ["ü", "\\n"]] {
            let block = label_block(&names, &values);
            assert_eq!(label_block_len(&names, &values), block.len());
            assert!(is_label_block(&block, &names, &values), "{block}");
            assert!(!is_label_block(&block, &names, &[values[1], "other"]), "{block}");
            assert!(!is_label_block(&block[..block.len() - 1], &names, &values), "{block}");
            assert!(!is_label_block(&format!("{block},"), &names, &values), "{block}");
        }
    }
}
