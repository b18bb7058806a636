//! Numbers as Prometheus' own encoders write them: the shortest digits that read back to the same bits, in the form
//! of Go's `strconv.FormatFloat(v, 'g', -1, 64)`.
//!
//! Called by the text renderer for every value and by the plan for every `le`. Nothing here allocates apart from the
//! growth of the buffer it appends to. One form for all formats, so that `le` never changes when a scraper changes
//! the format it asks for.

/// Appends an unsigned integer.
///
/// ```
/// let mut out = Vec::new();
/// tachograph_exporter::number::push_u64(&mut out, u64::MAX);
/// assert_eq!(out, b"18446744073709551615");
/// ```
pub fn push_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Appends a signed integer.
///
/// ```
/// let mut out = Vec::new();
/// tachograph_exporter::number::push_i64(&mut out, -7);
/// assert_eq!(out, b"-7");
/// ```
pub fn push_i64(out: &mut Vec<u8>, value: i64) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Below this, an integral value is written without an exponent.
const PLAIN_LIMIT: f64 = 1e6;

/// Appends a float: shortest digits, an exponent of at least two digits where it is below -4 or at least 6, and
/// `NaN`, `+Inf`, `-Inf`.
///
/// ```
/// let text = |value: f64| {
///     let mut out = Vec::new();
///     tachograph_exporter::number::push_f64(&mut out, value);
///     String::from_utf8(out).unwrap()
/// };
/// assert_eq!(text(0.0001), "0.0001");
/// assert_eq!(text(0.00001), "1e-05");
/// assert_eq!(text(1_234_567.5), "1.2345675e+06");
/// assert_eq!(text(f64::INFINITY), "+Inf");
/// ```
pub fn push_f64(out: &mut Vec<u8>, value: f64) {
    if !value.is_finite() {
        let text: &[u8] = match (value.is_nan(), value > 0.0) {
            (true, _) => b"NaN",
            (false, true) => b"+Inf",
            (false, false) => b"-Inf",
        };
        return out.extend_from_slice(text);
    }
    // Most gauges are small integers: no digit search for them. Minus zero keeps its sign through the slow path.
    if value.abs() < PLAIN_LIMIT && value.fract() == 0.0 && (value != 0.0 || value.is_sign_positive()) {
        return push_i64(out, value as i64);
    }
    let mut buffer = zmij::Buffer::new();
    Decimal::parse(buffer.format_finite(value).as_bytes()).push(out);
}

/// Appends a float the way `le` and `quantile` are written: as [`push_f64`], with `.0` where nothing else says that
/// it is no integer.
///
/// ```
/// let text = |value: f64| {
///     let mut out = Vec::new();
///     tachograph_exporter::number::push_le(&mut out, value);
///     String::from_utf8(out).unwrap()
/// };
/// assert_eq!(text(10.0), "10.0");
/// assert_eq!(text(0.005), "0.005");
/// assert_eq!(text(1e6), "1e+06");
/// assert_eq!(text(f64::INFINITY), "+Inf");
/// ```
pub fn push_le(out: &mut Vec<u8>, value: f64) {
    let start = out.len();
    push_f64(out, value);
    if value.is_finite() && !out[start..].iter().any(|byte| matches!(byte, b'.' | b'e')) {
        out.extend_from_slice(b".0");
    }
}

/// Most significant digits that a binary64 needs.
const MAX_DIGITS: usize = 20;

/// Digits `d1 d2 ..` with the value `0.d1d2.. * 10^point`.
struct Decimal {
    negative: bool,
    digits: [u8; MAX_DIGITS],
    len: usize,
    point: i32,
}

impl Decimal {
    /// From the text of a shortest-digits formatter, in whichever of its forms: `12.5`, `1e-7`, `1.5e300`.
    fn parse(text: &[u8]) -> Self {
        let mut decimal = Self { negative: false, digits: [0; MAX_DIGITS], len: 0, point: 0 };
        let (mut exponent, mut exponent_negative, mut in_exponent, mut after_point) = (0_i32, false, false, false);
        for &byte in text {
            match byte {
                b'-' if in_exponent => exponent_negative = true,
                b'-' => decimal.negative = true,
                b'.' => after_point = true,
                b'e' | b'E' => in_exponent = true,
                b'0'..=b'9' if in_exponent => exponent = exponent * 10 + i32::from(byte - b'0'),
                b'0'..=b'9' => {
                    let leading_zero = byte == b'0' && decimal.len == 0;
                    if !leading_zero && decimal.len < MAX_DIGITS {
                        decimal.digits[decimal.len] = byte;
                        decimal.len += 1;
                    }
                    // A digit before the point moves the point right; a zero right after it moves it left.
                    match (after_point, leading_zero) {
                        (false, false) => decimal.point += 1,
                        (true, true) => decimal.point -= 1,
                        _ => {}
                    }
                }
                _ => {}
            }
        }
        while decimal.len > 0 && decimal.digits[decimal.len - 1] == b'0' {
            decimal.len -= 1;
        }
        decimal.point += if exponent_negative { -exponent } else { exponent };
        decimal
    }

    fn push(&self, out: &mut Vec<u8>) {
        if self.negative {
            out.push(b'-');
        }
        let digits = &self.digits[..self.len];
        if digits.is_empty() {
            return out.push(b'0');
        }
        let exponent = self.point - 1;
        if !(-4..6).contains(&exponent) {
            out.push(digits[0]);
            if digits.len() > 1 {
                out.push(b'.');
                out.extend_from_slice(&digits[1..]);
            }
            out.push(b'e');
            out.push(if exponent < 0 { b'-' } else { b'+' });
            if exponent.unsigned_abs() < 10 {
                out.push(b'0');
            }
            return push_u64(out, u64::from(exponent.unsigned_abs()));
        }
        if self.point <= 0 {
            out.extend_from_slice(b"0.");
            out.resize(out.len() + self.point.unsigned_abs() as usize, b'0');
            return out.extend_from_slice(digits);
        }
        let whole = self.point as usize;
        if whole >= digits.len() {
            out.extend_from_slice(digits);
            out.resize(out.len() + whole - digits.len(), b'0');
        } else {
            out.extend_from_slice(&digits[..whole]);
            out.push(b'.');
            out.extend_from_slice(&digits[whole..]);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(value: f64) -> String {
        let mut out = Vec::new();
        push_f64(&mut out, value);
        String::from_utf8(out).expect("ASCII")
    }

    #[test]
    fn same_text_as_go() {
        // Made with Go's strconv.FormatFloat(v, 'g', -1, 64).
        for (value, expected) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (-1.5, "-1.5"),
            (100_000.0, "100000"),
            (123_456.0, "123456"),
            (999_999.0, "999999"),
            (1e6, "1e+06"),
            (1_234_567.0, "1.234567e+06"),
            (100_000.25, "100000.25"),
            (0.0001, "0.0001"),
            (0.000_123, "0.000123"),
            (0.00001, "1e-05"),
            (1e21, "1e+21"),
            (1e300, "1e+300"),
            (5e-324, "5e-324"),
            (f64::MAX, "1.7976931348623157e+308"),
            (0.1 + 0.2, "0.30000000000000004"),
            (1_754_000_000.25, "1.75400000025e+09"),
        ] {
            assert_eq!(text(value), expected);
        }
        for (value, expected) in [
            (-0.0, "-0.0"),
            (5e-324, "5e-324"),
            (1e-5, "1e-05"),
            (0.1 + 0.2, "0.30000000000000004"),
            (100_000.0, "100000.0"),
            (999_999.5, "999999.5"),
            (123_456_789.0, "1.23456789e+08"),
            (1e10, "1e+10"),
            (12_345_678_901.0, "1.2345678901e+10"),
            (1e21, "1e+21"),
            (f64::MIN, "-1.7976931348623157e+308"),
            (f64::NEG_INFINITY, "-Inf"),
        ] {
            let mut out = Vec::new();
            push_le(&mut out, value);
            assert_eq!(String::from_utf8_lossy(&out), expected);
        }
        assert_eq!(text(f64::NAN), "NaN");
        assert_eq!(text(f64::NEG_INFINITY), "-Inf");
    }

    proptest! {
        #[test]
        fn reads_back_to_the_same_bits(bits in any::<u64>()) {
            let value = f64::from_bits(bits);
            prop_assume!(value.is_finite());
            prop_assert_eq!(text(value).parse::<f64>().map(f64::to_bits), Ok(bits));
        }

        #[test]
        fn integral_values_read_back(value in -10_000_000_i64..10_000_000) {
            prop_assert_eq!(text(value as f64).parse::<f64>(), Ok(value as f64));
        }
    }
}
