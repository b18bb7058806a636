//! Independent, strict little readers of the exposition formats: a body as families and samples in the order that they
//! stand in, with everything that its grammar forbids as a list of faults.
//!
//! Called by tests on each scrape. Nothing here shares code with the renderer. What a body means is judged by `rules.rs`.

use prost::Message as _;

use crate::messages::{Metric, MetricFamily};

/// A format of exposition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Text 0.0.4.
    Text,
    /// OpenMetrics text 1.0.0.
    OpenMetrics,
    /// Delimited protobuf.
    Protobuf,
}

/// A body, read.
#[derive(Debug)]
pub struct Body {
    /// Its format.
    pub format: Format,
    /// Its families as they stand, one for each HELP and TYPE.
    pub families: Vec<Family>,
    /// What its grammar forbids.
    pub faults: Vec<String>,
}

/// A family under one HELP and TYPE.
#[derive(Debug, Default)]
pub struct Family {
    /// Its name as TYPE says it.
    pub name: String,
    /// Its type; empty where nothing says it.
    pub kind: String,
    /// HELP as it stands.
    pub help: Option<String>,
    /// UNIT.
    pub unit: String,
    /// Its samples.
    pub samples: Vec<Sample>,
}

/// One line, or what would be one.
#[derive(Debug, Clone)]
pub struct Sample {
    /// The name that it begins with.
    pub name: String,
    /// Its labels as they stand, values unescaped.
    pub labels: Vec<(String, String)>,
    /// Name and labels as they stand: what a scraper knows the series by.
    pub series: String,
    /// The number as it stands.
    pub text: String,
    /// The number.
    pub value: f64,
}

impl Sample {
    /// The value of a label.
    #[must_use]
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(label, _)| label == name).map(|(_, value)| value.as_str())
    }

    /// Its labels but one, sorted.
    #[must_use]
    pub fn labels_but(&self, name: &str) -> Vec<(String, String)> {
        let mut labels: Vec<_> = self.labels.iter().filter(|(label, _)| label != name).cloned().collect();
        labels.sort();
        labels
    }
}

impl Body {
    /// Reads a body of this format.
    #[must_use]
    pub fn read(format: Format, body: &[u8]) -> Self {
        let mut read = Self { format, families: Vec::new(), faults: Vec::new() };
        match (format, std::str::from_utf8(body)) {
            (Format::Protobuf, _) => read.messages(body),
            (_, Ok(text)) => read.lines(text),
            (_, Err(error)) => read.fault("no UTF-8", &error.to_string()),
        }
        read
    }

    /// All samples as they stand.
    pub fn samples(&self) -> impl Iterator<Item = &Sample> {
        self.families.iter().flat_map(|family| &family.samples)
    }

    fn fault(&mut self, what: &str, line: &str) {
        self.faults.push(format!("{what}: {line:?}"));
    }

    fn lines(&mut self, body: &str) {
        if !body.is_empty() && !body.ends_with('\n') {
            self.fault("the last line has no end", "");
        }
        let strict = self.format == Format::OpenMetrics;
        let mut ended = false;
        for line in body.split_terminator('\n') {
            if ended {
                self.fault("something after EOF", line);
            }
            // Inside a label's value it is a character as any other; anywhere else it ends up in what stands before it.
            let unescaped = line.replace(r"\\", "").replace(r#"\""#, "");
            if unescaped.split('"').step_by(2).any(|outside| outside.contains('\r')) {
                self.fault("carriage return", line);
            }
            match line.strip_prefix("# ").and_then(|rest| rest.split_once(' ').or(Some((rest, "")))) {
                Some(("EOF", "")) if strict => ended = true,
                Some((word @ ("HELP" | "TYPE"), rest)) => self.head(word, rest, line),
                Some((word @ "UNIT", rest)) if strict => self.head(word, rest, line),
                Some(_) if strict => self.fault("a comment", line),
                Some(_) => {}
                None if line.is_empty() => self.fault("empty line", line),
                None => self.sample(line),
            }
        }
        if strict && !ended {
            self.fault("no EOF at the end", "");
        }
    }

    fn head(&mut self, word: &str, rest: &str, line: &str) {
        let Some((name, text)) = rest.split_once(' ') else { return self.fault("a head without text", line) };
        let stands = self.families.last().is_some_and(|family| family.name == name);
        let first = if self.format == Format::OpenMetrics { "TYPE" } else { "HELP" };
        if !stands || (word == first && self.families.last().is_some_and(|family| !family.samples.is_empty())) {
            self.families.push(Family { name: name.to_owned(), ..Family::default() });
        }
        let Some(family) = self.families.last_mut() else { return };
        let after = !family.samples.is_empty();
        let twice = match word {
            "HELP" => family.help.replace(text.to_owned()).is_some(),
            "UNIT" => !std::mem::replace(&mut family.unit, text.to_owned()).is_empty(),
            _ => !std::mem::replace(&mut family.kind, text.to_owned()).is_empty(),
        };
        // TYPE, UNIT, HELP in OpenMetrics; HELP, TYPE in text.
        let early = (first == "TYPE" && word != "TYPE" && family.kind.is_empty())
            || (first == "TYPE" && word == "UNIT" && family.help.is_some());
        if twice {
            self.fault("said twice", line);
        } else if after {
            self.fault("said after a sample", line);
        } else if early {
            self.fault("said too early", line);
        }
    }

    fn sample(&mut self, line: &str) {
        let Some((series, rest)) = split_series(line) else { return self.fault("no sample", line) };
        let Some((name, labels)) = labels(series) else { return self.fault("no series", line) };
        let mut rest = rest.split(' ');
        let text = rest.next().unwrap_or_default();
        let Some(value) = number(text) else { return self.fault("no value", line) };
        if rest.next().is_some() {
            self.fault("a timestamp or an exemplar", line);
        }
        let sample = Sample { name, labels, series: series.to_owned(), text: text.to_owned(), value };
        match self.families.last_mut() {
            Some(family) => family.samples.push(sample),
            None => self.fault("a sample before any TYPE", line),
        }
    }

    fn messages(&mut self, mut body: &[u8]) {
        while !body.is_empty() {
            match MetricFamily::decode_length_delimited(&mut body) {
                Ok(family) => self.message(family),
                Err(error) => return self.fault("no message", &error.to_string()),
            }
        }
    }

    fn message(&mut self, message: MetricFamily) {
        let kind = ["counter", "gauge", "", "", "histogram"].get(message.kind as usize).copied().unwrap_or_default();
        let mut family = Family {
            name: message.name.clone(),
            kind: kind.to_owned(),
            help: Some(message.help),
            unit: message.unit,
            samples: Vec::new(),
        };
        for Metric { label, gauge, counter, timestamp_ms, histogram } in message.metric {
            if timestamp_ms != 0 {
                self.fault("a timestamp", &message.name);
            }
            let labels: Vec<_> = label.into_iter().map(|pair| (pair.name, pair.value)).collect();
            let mut add = |suffix: &str, value: f64, le: Option<f64>| {
                let (name, mut labels) = (format!("{}{suffix}", message.name), labels.clone());
                labels.extend(le.map(|le| ("le".to_owned(), canonical_le(le))));
                let series = format!("{name}{labels:?}");
                family.samples.push(Sample { name, labels, series, text: value.to_string(), value });
            };
            match (kind, gauge, counter, histogram) {
                ("gauge", Some(number), None, None) | ("counter", None, Some(number), None) => {
                    add("", number.value, None)
                }
                ("histogram", None, None, Some(histogram)) => {
                    for bucket in &histogram.bucket {
                        add("_bucket", bucket.cumulative_count as f64, Some(bucket.upper_bound));
                    }
                    add("_sum", histogram.sum, None);
                    add("_count", histogram.count as f64, None);
                }
                other => self.fault("a metric of another type than its family", &format!("{} {other:?}", message.name)),
            }
        }
        self.families.push(family);
    }
}

/// A line's series and what stands behind it. A space in a label's value belongs to it.
fn split_series(line: &str) -> Option<(&str, &str)> {
    let mut quoted = false;
    let mut escaped = false;
    for (at, byte) in line.bytes().enumerate() {
        match byte {
            b' ' if !quoted => return Some((&line[..at], &line[at + 1..])),
            b'"' if !escaped => quoted = !quoted,
            _ => {}
        }
        escaped = quoted && byte == b'\\' && !escaped;
    }
    None
}

/// Name and labels of a series, as they stand; `None` where it is none.
pub(crate) fn labels(series: &str) -> Option<(String, Vec<(String, String)>)> {
    let is_name = |name: &str| {
        let first = name.bytes().next().is_some_and(|byte| !byte.is_ascii_digit());
        first && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':'))
    };
    let Some((name, rest)) = series.split_once('{') else {
        return is_name(series).then(|| (series.to_owned(), Vec::new()));
    };
    let mut rest = rest.strip_suffix('}')?;
    let mut labels: Vec<(String, String)> = Vec::new();
    while !rest.is_empty() {
        let (key, value) = rest.split_once("=\"")?;
        let mut text = String::new();
        let mut characters = value.char_indices();
        let end = loop {
            match characters.next()? {
                (at, '"') => break at,
                (_, '\\') => text.push(match characters.next()?.1 {
                    'n' => '\n',
                    escaped @ ('\\' | '"') => escaped,
                    _ => return None,
                }),
                (_, character) => text.push(character),
            }
        };
        if !is_name(key) || key.contains(':') || labels.iter().any(|(label, _)| label == key) {
            return None;
        }
        labels.push((key.to_owned(), text));
        rest = &value[end + 1..];
        if !rest.is_empty() {
            rest = rest.strip_prefix(',').filter(|rest| !rest.is_empty())?;
        }
    }
    is_name(name).then(|| (name.to_owned(), labels))
}

/// A number as Go reads it, but for its hexadecimal forms. What is out of range is an error to Go.
fn number(text: &str) -> Option<f64> {
    let digits = text.bytes().any(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|value: &f64| value.is_finite() == digits)
}

/// A bound as a canonical `le` has it: Go's shortest `%g`, and a point where nothing else says that it is no integer.
#[must_use]
pub fn canonical_le(value: f64) -> String {
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').expect("the form has one");
    let exponent: i32 = exponent.parse().expect("a number");
    if value != 0.0 && !(-4..6).contains(&exponent) {
        return format!("{digits}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs());
    }
    let plain = format!("{value}");
    if plain.contains('.') { plain } else { format!("{plain}.0") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_bounds_are_those_of_the_specification() {
        let said = "0.005 1.0 10.0 100000.0 1e+06 1e-05 +Inf -0.5 0.0001 1.5e-07 1e+21 123456.0 1.234567e+06 0.0";
        for text in said.split(' ') {
            assert_eq!(canonical_le(text.parse().expect("a number")), text);
        }
    }

    #[test]
    fn what_stands_in_quotes_belongs_to_the_label() {
        let text = "# TYPE a gauge\na{b=\"x\\\"} 1\\n\",c=\"{, \"} 3\na{b=\"\\\"\r\\\\\"} 4\n";
        let body = Body::read(Format::Text, text.as_bytes());
        assert!(body.faults.is_empty(), "{:?}", body.faults);
        let sample = &body.families[0].samples[0];
        assert_eq!((sample.label("b"), sample.label("c"), sample.value), (Some("x\"} 1\n"), Some("{, "), 3.0));
    }
}
