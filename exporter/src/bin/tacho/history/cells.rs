//! One point of a series in words and numbers, as each form of output shows it.

use serde_json::{Value as Json, json};
use tachograph_exporter::number;
use tachograph_exporter::recording::history::{Point, QUANTILES};

/// A point as it is shown; NaN for what it has not.
pub(super) struct Cells {
    pub(super) value: String,
    pub(super) number: f64,
    pub(super) is_rate: bool,
    pub(super) rate: f64,
    pub(super) mean: f64,
    pub(super) quantiles: [f64; 3],
}

impl Cells {
    pub(super) fn of(point: &Point) -> Self {
        let nan = f64::NAN;
        let none =
            Self { value: String::new(), number: nan, is_rate: false, rate: nan, mean: nan, quantiles: [nan; 3] };
        match point {
            Point::Count(value, rate) => Self {
                value: value.to_string(),
                number: *value as f64,
                is_rate: true,
                rate: rate.unwrap_or(nan),
                ..none
            },
            Point::Sum(value, rate) => {
                Self { value: float(*value), number: *value, is_rate: true, rate: rate.unwrap_or(nan), ..none }
            }
            Point::Integer(value) => Self { value: value.to_string(), number: *value as f64, ..none },
            Point::Float(value) => Self { value: float(*value), number: *value, ..none },
            Point::States(on) => Self {
                value: if on.is_empty() { "none".to_owned() } else { on.join("+") },
                number: on.len() as f64,
                ..none
            },
            Point::Histogram(seen) => {
                let since = seen.since.as_ref();
                Self {
                    value: seen.count.to_string(),
                    number: seen.count as f64,
                    is_rate: true,
                    rate: since.map_or(nan, |since| since.rate),
                    mean: since.map_or(nan, |since| since.mean),
                    quantiles: since.map_or([nan; 3], |since| since.quantiles),
                }
            }
        }
    }

    /// Puts the point into a JSON object.
    pub(super) fn put(&self, point: &Point, object: &mut Json) {
        let number = |value: f64| {
            if value.is_nan() {
                Json::Null
            } else {
                serde_json::Number::from_f64(value).map_or_else(|| json!(float(value)), Json::Number)
            }
        };
        match point {
            Point::Count(value, _) => object["value"] = json!(value),
            Point::Integer(value) => object["value"] = json!(value),
            Point::Sum(value, _) | Point::Float(value) => object["value"] = number(*value),
            Point::States(on) => object["states"] = json!(on),
            Point::Histogram(seen) => {
                object["count"] = json!(seen.count);
                object["sum"] = number(seen.sum);
                if let Some(since) = &seen.since {
                    object["since_count"] = json!(since.count);
                    object["mean"] = number(since.mean);
                    let quantiles = QUANTILES.iter().zip(since.quantiles);
                    let quantiles: Vec<Json> =
                        quantiles.map(|(share, bound)| json!({"quantile": share, "upper": number(bound)})).collect();
                    object["quantiles"] = json!(quantiles);
                }
            }
        }
        if self.is_rate {
            object["rate"] = number(self.rate);
        }
    }
}

pub(super) fn float(value: f64) -> String {
    let mut text = Vec::new();
    number::push_f64(&mut text, value);
    String::from_utf8_lossy(&text).into_owned()
}

/// A number for a table: four digits are enough there.
pub(crate) fn short(value: f64) -> String {
    match value.abs() {
        _ if value.is_nan() => "-".to_owned(),
        0.0 => "0".to_owned(),
        size if !size.is_finite() => float(value),
        size if !(1e-3..1e6).contains(&size) => format!("{value:.3e}"),
        size if size >= 1000.0 => format!("{value:.0}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}
