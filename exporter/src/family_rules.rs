//! The rules that a family's name, unit and numbers keep, so that every format can show it; and the names it is shown by.
//!
//! Called by the parser of regions, on strings and numbers that a file says. A writer keeps the same rules.

use crate::label_block;
use crate::schema::{Family, Kind, Number};

pub(crate) fn check_number(kind: Kind, number: Number) -> Result<(), String> {
    let known = match kind {
        Kind::Counter | Kind::HistogramBounds | Kind::HistogramExponential => number != Number::I64,
        Kind::UpDownCounter => number != Number::F64,
        Kind::WatermarkMax | Kind::WatermarkMin => number != Number::U64,
        Kind::Gauge | Kind::Info | Kind::StateSet => true,
    };
    if known { Ok(()) } else { Err(format!("a {} is not made of {number:?}", kind.as_str())) }
}

/// Name and unit by the rules that a writer keeps, so that every format can show them.
pub(crate) fn check_names(family: &Family) -> Result<(), String> {
    let name = family.name.as_str();
    if !label_block::is_metric_name(name) || name.len() > 255 {
        return Err(format!("{:?} is no metric name", shortened(name)));
    }
    if name.starts_with("tacho_") {
        return Err("its name starts with tacho_, as only the exporter's own do".to_owned());
    }
    let base = base(family);
    if (family.kind == Kind::Counter) != name.ends_with("_total") || base.is_empty() {
        return Err("names of counters end in _total, and no others do".to_owned());
    }
    if family.kind == Kind::StateSet && !label_block::is_label_name(name) {
        return Err("a state set's name is that of a label, too, and this one is no label's or is reserved".to_owned());
    }
    if family.kind == Kind::Info && !name.ends_with("_info") {
        return Err("the name of an info does not end in _info".to_owned());
    }
    let fits = base.strip_suffix(family.unit.as_str()).is_some_and(|rest| rest.len() > 1 && rest.ends_with('_'));
    if !family.unit.is_empty() && (!label_block::is_unit(&family.unit) || !fits) {
        return Err(format!("unit {:?} is not the name's suffix", shortened(&family.unit)));
    }
    Ok(())
}

/// The name that OpenMetrics gives the family.
fn base(family: &Family) -> &str {
    let suffix = match family.kind {
        Kind::Counter => "_total",
        Kind::Info => "_info",
        _ => "",
    };
    family.name.strip_suffix(suffix).unwrap_or(&family.name)
}

/// Every name that some format shows for a family: no two families may share one.
pub(crate) fn exposed(family: &Family) -> impl Iterator<Item = String> + use<> {
    let suffixes: &[&str] = match family.kind {
        Kind::Counter => &["", "_total", "_created"],
        Kind::HistogramBounds | Kind::HistogramExponential => &["", "_bucket", "_sum", "_count", "_created"],
        Kind::Info => &["", "_info"],
        _ => &[""],
    };
    let base = base(family).to_owned();
    suffixes.iter().map(move |suffix| format!("{base}{suffix}"))
}

/// Enough of a foreign string for a message.
pub(crate) fn shortened(text: &str) -> String {
    text.chars().take(64).collect()
}
