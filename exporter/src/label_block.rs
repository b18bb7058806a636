//! The grammar of what ends up in exposition text: metric names, label names, and escaped label blocks.
//!
//! Every string of a region is checked here when its structure is parsed, so that nothing a file says can break a line of
//! output. Formats that have no label blocks take them apart again.

use std::borrow::Cow;

/// The label block of an open family's overflow series, whatever the family's label names are.
pub(crate) const OVERFLOW: &str = "overflow=\"true\"";
/// The one label of that series.
pub(crate) const OVERFLOW_LABEL: &str = "overflow";

/// Whether a name is a metric name of Prometheus' classic grammar, `[a-zA-Z_:][a-zA-Z0-9_:]*`.
pub(crate) fn is_metric_name(name: &str) -> bool {
    let first = name.bytes().next();
    first.is_some_and(|byte| !byte.is_ascii_digit())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b':')
}

/// Whether a name is a label name, `[a-zA-Z_][a-zA-Z0-9_]*`, and none that means something to Prometheus (`__*`, `le`,
/// `quantile`) or to the exporter (`tacho_*`).
pub(crate) fn is_label_name(name: &str) -> bool {
    let reserved = name.starts_with("__") || name.starts_with("tacho_") || matches!(name, "le" | "quantile");
    is_metric_name(name) && !name.contains(':') && !reserved && name.len() <= 255
}

/// Whether a unit is made of what a metric name's suffix may hold.
pub(crate) fn is_unit(unit: &str) -> bool {
    unit.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Checks a label block: these names, in this order, each with a properly escaped value. Says what is wrong with it.
pub(crate) fn check(block: &str, names: &[String]) -> Result<(), String> {
    let mut rest = block.as_bytes();
    for (index, name) in names.iter().enumerate() {
        if index > 0 {
            rest = rest.strip_prefix(b",").ok_or_else(|| format!("no comma before label {name}"))?;
        }
        let value = rest.strip_prefix(name.as_bytes()).and_then(|rest| rest.strip_prefix(b"=\""));
        let value = value.ok_or_else(|| format!("label {name} is not where it belongs"))?;
        let len = value_len(value).ok_or_else(|| format!("the value of label {name} is not properly escaped"))?;
        rest = value.get(len + 1..).unwrap_or_default();
    }
    if rest.is_empty() { Ok(()) } else { Err(format!("{} bytes too many after its labels", rest.len())) }
}

/// The pairs of a checked block, each value as it stands, escaped.
pub(crate) fn pairs(block: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut rest = block;
    std::iter::from_fn(move || {
        let (name, value) = rest.split_once("=\"")?;
        let len = value_len(value.as_bytes()).unwrap_or(value.len());
        rest = value.get(len + 1..).unwrap_or_default();
        Some((name.trim_start_matches(','), value.get(..len)?))
    })
}

/// Whether a block is one, whatever its family: label names, none twice, each with a properly escaped value.
#[cfg(feature = "server")]
pub(crate) fn is_block(block: &str) -> bool {
    let (mut rest, mut names) = (block, std::collections::HashSet::new());
    loop {
        let Some((name, value)) = rest.split_once("=\"") else { return block.is_empty() };
        let Some(len) = value_len(value.as_bytes()) else { return false };
        if !is_label_name(name) || !names.insert(name) {
            return false;
        }
        rest = match value.get(len + 1..) {
            None | Some("") => return true,
            Some(more) => more.strip_prefix(',').unwrap_or_default(),
        };
    }
}

/// A checked block with its labels by name and without empty ones, which are none: regions may have declared them in
/// different orders, or more of them, and the set is the same.
#[cfg(feature = "server")]
pub(crate) fn sorted(block: &str) -> Cow<'_, str> {
    let all = || pairs(block);
    if all().is_sorted() && all().all(|(_, value)| !value.is_empty()) {
        return Cow::Borrowed(block);
    }
    let mut pairs: Vec<_> = all().filter(|(_, value)| !value.is_empty()).collect();
    pairs.sort_unstable();
    let pairs: Vec<String> = pairs.into_iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
    Cow::Owned(pairs.join(","))
}

/// The value of a label, as it stands.
pub(crate) fn value<'a>(block: &'a str, name: &str) -> Option<&'a str> {
    pairs(block).find(|(found, _)| *found == name).map(|(_, value)| value)
}

/// A label value as it stands between quotes.
pub(crate) fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// An escaped value as its author wrote it.
pub(crate) fn unescaped(value: &str) -> Cow<'_, str> {
    if !value.contains('\\') {
        return Cow::Borrowed(value);
    }
    let mut text = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(char) = chars.next() {
        match (char, char == '\\') {
            (_, true) => text.extend(chars.next().map(|escaped| if escaped == 'n' { '\n' } else { escaped })),
            (char, false) => text.push(char),
        }
    }
    Cow::Owned(text)
}

/// Length of an escaped value, up to the quote that ends it; `None` where it does not end, holds a raw line feed, or a
/// backslash stands before anything but `\`, `"` and `n`.
fn value_len(value: &[u8]) -> Option<usize> {
    let mut bytes = value.iter().enumerate();
    loop {
        match bytes.next()? {
            (index, b'"') => return Some(index),
            (_, b'\n') => return None,
            (_, b'\\') => {
                let (_, escaped) = bytes.next()?;
                if !matches!(escaped, b'\\' | b'"' | b'n') {
                    return None;
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_grammar() {
        assert!(is_metric_name("a:b_c9") && is_metric_name("_") && is_label_name("a_9"));
        for bad in ["", "9a", "a b", "a\nb", "ä", "a\"", "a-b"] {
            assert!(!is_metric_name(bad) && !is_label_name(bad), "{bad:?}");
        }
        for reserved in ["a:b", "__name__", "le", "quantile", "tacho_region"] {
            assert!(!is_label_name(reserved), "{reserved}");
        }
    }

    #[test]
    fn blocks_are_taken_only_whole_and_escaped() {
        let names = ["a".to_owned(), "b".to_owned()];
        assert_eq!(check(r#"a="x",b="y""#, &names), Ok(()));
        assert_eq!(check(r#"a="\\\"\n",b="ü}""#, &names), Ok(()));
        assert_eq!(check("", &[]), Ok(()));
        for bad in [
            "",
            r#"a="x""#,
            r#"b="y",a="x""#,
            r#"a="x"b="y""#,
            r#"a="x",b="y","#,
            r#"a="x",b="y"} 1"#,
            r#"a="x",b="y"#,
            r#"a="x",b="y\"#,
            r#"a="x",b="y\""#,
            r#"a="\t",b="y""#,
            "a=\"\n\",b=\"y\"",
        ] {
            assert!(check(bad, &names).is_err(), "{bad:?}");
        }
    }

    #[cfg(feature = "server")]
    #[test]
    fn a_block_of_any_family_is_taken_only_whole_escaped_and_with_each_name_once() {
        for good in ["", OVERFLOW, r#"b="y",a="x""#, r#"a="\\\"\n",b="ü},=""#, r#"a="""#] {
            assert!(is_block(good), "{good}");
        }
        for bad in [
            "a",
            r#"a="x"#,
            r#"a="x","#,
            r#"a="x",,b="y""#,
            r#",a="x""#,
            r#"a="x"b="y""#,
            r#"a="x",a="y""#,
            r#"a="x"} 1"#,
            r#"le="1""#,
            r#"a="\t""#,
            "a=\"\n\"",
        ] {
            assert!(!is_block(bad), "{bad:?}");
        }
    }

    #[cfg(feature = "server")]
    #[test]
    fn a_set_of_labels_is_one_in_whichever_order_they_are_and_with_empty_ones_or_without() {
        for (block, wanted) in [
            (r#"b="1,\"",a="2""#, r#"a="2",b="1,\"""#),
            (r#"a="2",b="""#, r#"a="2""#),
            (r#"a="""#, ""),
            (r#"a="2",b="1""#, r#"a="2",b="1""#),
        ] {
            assert_eq!(sorted(block), wanted);
        }
    }
}
