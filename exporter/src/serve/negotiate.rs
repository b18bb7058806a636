//! What a scraper asked for: the format, from `Accept`, and whether it takes gzip, from `Accept-Encoding`.
//!
//! Never refuses: whoever asks for nothing that is served gets text 0.0.4 (never 406, at which scrapers give up). Called by
//! the routes. Media ranges are weighed as RFC 9110 section 12.5.1 says: the highest `q`, then the more specific range,
//! then the order of [`OFFERED`].

use mediatype::names::{_STAR, APPLICATION, JSON, PLAIN, TEXT};
use mediatype::{MediaType, MediaTypeList, Name, ReadParams};

use crate::exposition::Format;

/// What is served, the best first where a scraper likes several equally.
const OFFERED: [Format; 4] = [Format::Protobuf, Format::OpenMetrics, Format::Text, Format::Json];

/// What ranges such as `*/*` mean, which name none: a person or a tool that may know only this.
const ANY: Format = Format::Text;

const OPENMETRICS: Name<'_> = Name::new_unchecked("openmetrics-text");
const PROTOBUF: Name<'_> = Name::new_unchecked("vnd.google.protobuf");
const MESSAGE: &str = "io.prometheus.client.MetricFamily";

/// The format for a request, and the Content-Type to answer with.
pub(super) fn format(accept: &str) -> (Format, String) {
    let ranges: Vec<MediaType<'_>> = MediaTypeList::new(accept).filter_map(Result::ok).collect();
    let best =
        OFFERED.into_iter().filter_map(|format| weigh(&ranges, format).map(|(weight, range)| (format, weight, range)));
    // Of equals the first stays.
    let best = best.reduce(|best, next| if next.1 > best.1 { next } else { best });
    match best {
        Some((format, _, range)) => (format, content_type(format, range)),
        None => (ANY, ANY.content_type().to_owned()),
    }
}

/// How much a format is wanted (thousandths of q, then how specific the range is), and the range that says so; `None`
/// where it is not, or is refused by `q=0`.
fn weigh<'a>(ranges: &'a [MediaType<'a>], format: Format) -> Option<((u32, u8), &'a MediaType<'a>)> {
    // The most specific range that matches decides on the format, as `text/plain;q=0, */*` refuses text.
    let matching = ranges.iter().filter_map(|range| specificity(range, format).map(|specific| (specific, range)));
    let (specific, range) = matching.max_by_key(|(specific, range)| (*specific, quality(range)))?;
    let quality = quality(range);
    (quality > 0).then_some(((quality, specific), range))
}

fn quality(range: &MediaType<'_>) -> u32 {
    let Some(q) = range.get_param(mediatype::names::Q) else { return 1_000 };
    let q: f64 = q.unquoted_str().trim().parse().ok().filter(|q: &f64| !q.is_nan()).unwrap_or(1.0);
    (q.clamp(0.0, 1.0) * 1_000.0).round() as u32
}

/// How closely a range names a format; `None` where it does not. A version or encoding that is not served is no match.
fn specificity(range: &MediaType<'_>, format: Format) -> Option<u8> {
    let param =
        |name: &'static str| range.get_param(Name::new_unchecked(name)).map(|value| value.unquoted_str().into_owned());
    let is = |name: &'static str, wanted: &[&str]| param(name).is_none_or(|value| wanted.contains(&value.as_str()));
    let fits = match (range.ty, range.subty, format) {
        (ty, subty, _) if ty == _STAR && subty == _STAR => return (format == ANY).then_some(0),
        (ty, subty, Format::Text) if ty == TEXT && subty == _STAR => return Some(1),
        (ty, subty, Format::OpenMetrics) if ty == APPLICATION && subty == _STAR => return Some(1),
        (ty, subty, Format::Text) if ty == TEXT && subty == PLAIN => is("version", &["0.0.4"]),
        (ty, subty, Format::OpenMetrics) if ty == APPLICATION && subty == OPENMETRICS => {
            is("version", &["1.0.0", "0.0.1"])
        }
        // Without these two it may mean anything.
        (ty, subty, Format::Protobuf) if ty == APPLICATION && subty == PROTOBUF => {
            param("proto").as_deref() == Some(MESSAGE) && param("encoding").as_deref() == Some("delimited")
        }
        (ty, subty, Format::Json) if ty == APPLICATION && subty == JSON => true,
        _ => false,
    };
    let named = u8::from(param("version").is_some() || format == Format::Protobuf);
    fits.then_some(2 + named)
}

/// The format's Content-Type, with what the scraper said of it said again.
fn content_type(format: Format, range: &MediaType<'_>) -> String {
    let mut text = format.content_type().to_owned();
    let old = range.get_param(Name::new_unchecked("version")).is_some_and(|version| version.unquoted_str() == "0.0.1");
    if format == Format::OpenMetrics && old {
        text = text.replace("1.0.0", "0.0.1");
    }
    // All names are of the classic grammar, so every way of escaping leaves them as they are; this one all readers know.
    if range.get_param(Name::new_unchecked("escaping")).is_some() {
        text.push_str("; escaping=underscores");
    }
    text
}

/// Whether a request takes gzip, and would not rather have plain bytes.
pub(super) fn takes_gzip(accept_encoding: &str) -> bool {
    let weight = |wanted: &[&str]| {
        accept_encoding.split(',').find_map(|part| {
            let (coding, params) = part.split_once(';').unwrap_or((part, ""));
            wanted.iter().any(|name| coding.trim().eq_ignore_ascii_case(name)).then(|| coding_quality(params))
        })
    };
    let gzip = weight(&["gzip", "x-gzip"]).or_else(|| weight(&["*"])).unwrap_or(0.0);
    gzip > 0.0 && weight(&["identity"]).is_none_or(|identity| identity <= gzip)
}

/// The weight among the parameters of a coding: 1 where there is none, 0 where it is no number of 0 to 1.
fn coding_quality(params: &str) -> f64 {
    let mut pairs = params.split(';').filter_map(|param| param.split_once('='));
    let Some((_, q)) = pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case("q")) else { return 1.0 };
    q.trim().parse().ok().filter(|q| (0.0..=1.0).contains(q)).unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_scrapers_send() {
        const PROTO: &str =
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";
        let older = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        let three = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        for (accept, expected) in [
            (older.to_owned(), Format::OpenMetrics),
            (format!("{PROTO},{older}").replace("text;version=1.0.0,", "text;version=1.0.0;q=0.8,"), Format::Protobuf),
            (three.to_owned(), Format::OpenMetrics),
            (format!("{PROTO};q=0.6,{three}"), Format::Protobuf),
            (format!("{PROTO};q=0.5,{three}"), Format::OpenMetrics),
            ("text/plain;version=0.0.4;q=1,*/*;q=0.1".to_owned(), Format::Text),
            ("*/*".to_owned(), Format::Text),
            (String::new(), Format::Text),
            ("text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8".to_owned(), Format::Text),
            ("application/json".to_owned(), Format::Json),
            ("application/json;q=0.5, text/plain;q=0.4".to_owned(), Format::Json),
            ("application/openmetrics-text".to_owned(), Format::OpenMetrics),
            ("APPLICATION/OpenMetrics-Text; Version=1.0.0".to_owned(), Format::OpenMetrics),
            ("application/openmetrics-text; version=\"1.0.0\"".to_owned(), Format::OpenMetrics),
            ("application/openmetrics-text;version=2.0.0".to_owned(), Format::Text),
            ("application/openmetrics-text;version=2.0.0,application/json;q=0.1".to_owned(), Format::Json),
            ("application/openmetrics-text;q=0, */*".to_owned(), Format::Text),
            ("text/plain;q=0, */*;q=0.5, application/json;q=0.1".to_owned(), Format::Json),
            ("text/*".to_owned(), Format::Text),
            ("application/*".to_owned(), Format::OpenMetrics),
            ("application/vnd.google.protobuf".to_owned(), Format::Text),
            (PROTO.replace("delimited", "text"), Format::Text),
            ("text/plain;version=1.0.0".to_owned(), Format::Text),
            ("image/png".to_owned(), Format::Text),
            ("text/plain;q=1.5;q=x,,;;,/".to_owned(), Format::Text),
            // What is no weight says nothing.
            ("application/json;q=NaN".to_owned(), Format::Json),
            ("application/json;q=1e999, text/plain;q=0.9".to_owned(), Format::Json),
            ("application/json;q=-1, text/plain;q=0.1".to_owned(), Format::Text),
            ("application/json;Q=0.2, text/plain;q=0.1".to_owned(), Format::Json),
            ("*/*;q=0".to_owned(), Format::Text),
            ("application/json;x=\"".to_owned(), Format::Text),
            ("application/json;x=\"a,b\";q=0.2, text/plain;q=0.1".to_owned(), Format::Json),
        ] {
            assert_eq!(format(&accept).0, expected, "{accept}");
        }
    }

    #[test]
    fn the_answer_says_one_type() {
        assert_eq!(format("*/*").1, "text/plain; version=0.0.4; charset=utf-8");
        assert_eq!(
            format("application/openmetrics-text;version=1.0.0;escaping=allow-utf-8").1,
            "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=underscores"
        );
        assert_eq!(
            format("application/openmetrics-text;version=0.0.1").1,
            "application/openmetrics-text; version=0.0.1; charset=utf-8"
        );
    }

    proptest::proptest! {
        #[test]
        fn no_header_is_too_odd(accept in "[a-z*/;=,q0-9.\" \\\\éNF+-]{0,60}", any: String) {
            for text in [accept, any] {
                let _ = (format(&text), takes_gzip(&text));
            }
        }
    }

    #[test]
    fn gzip_is_sent_to_who_takes_it() {
        for yes in [
            "gzip",
            "gzip, deflate, br",
            "deflate;q=0.5, GZIP;q=0.1",
            "*",
            "identity;q=0.1, *;q=0.5",
            "gzip, identity",
            "br;q=1, x-gzip ; q=0.001",
            "gzip;level=9;q=1",
        ] {
            assert!(takes_gzip(yes), "{yes}");
        }
        for no in [
            "",
            "identity",
            "gzip;q=0",
            "gzip;Q=0",
            "gzip; q = 0",
            "gzip; q=0.0, *",
            "br",
            "*;q=0",
            "gzipped",
            "identity;q=0.5, gzip;q=0.1",
            "identity;q=0.5, *;q=0.1",
            "gzip;q=NaN",
            "gzip;q=1e999",
            "gzip;q=-1",
        ] {
            assert!(!takes_gzip(no), "{no}");
        }
    }
}
