//! Numbers as Prometheus' own encoders write them: the shortest digits that read back to the same bits, in the form
//! of Go's `strconv.FormatFloat(v, 'g', -1, 64)`.
//!
//! Called by the text renderer for every value and by the plan for every `le`. Numbers are written into a place of a fixed
//! length; nothing here allocates apart from the growth of a buffer that is appended to. One form for all formats, so that
//! `le` never changes when a scraper changes the format it asks for.

/// Bytes that any number fits in, with some to spare.
pub(crate) const WIDTH: usize = 32;

/// Appends an unsigned integer.
///
/// ```
/// let mut out = Vec::new();
/// tachograph_exporter::number::push_u64(&mut out, u64::MAX);
/// assert_eq!(out, b"18446744073709551615");
/// ```
pub fn push_u64(out: &mut Vec<u8>, value: u64) {
    push(out, |place| write_u64(place, value));
}

/// Appends a signed integer.
///
/// ```
/// let mut out = Vec::new();
/// tachograph_exporter::number::push_i64(&mut out, -7);
/// assert_eq!(out, b"-7");
/// ```
pub fn push_i64(out: &mut Vec<u8>, value: i64) {
    push(out, |place| write_i64(place, value));
}

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
    push(out, |place| write_f64(place, value));
}

fn push(out: &mut Vec<u8>, write: impl FnOnce(&mut [u8; WIDTH]) -> usize) {
    let mut place = [0; WIDTH];
    let len = write(&mut place);
    out.extend_from_slice(place.get(..len).unwrap_or_default());
}

/// Digits that [`eight_digits`] writes at a time, and one more than they can say.
const EIGHT: u64 = 100_000_000;

/// Writes an unsigned integer to the front of `out` and says how long it is; what is behind it may be written, too.
#[inline(always)]
pub(crate) fn write_u64(out: &mut [u8; WIDTH], value: u64) -> usize {
    if value < EIGHT { write_first(out, value) } else { write_long(out, value) }
}

/// The same, of a number of more than eight digits.
#[inline(never)]
fn write_long(out: &mut [u8; WIDTH], value: u64) -> usize {
    let (high, low) = (value / EIGHT, value % EIGHT);
    let len = if high < EIGHT {
        write_first(out, high)
    } else {
        let len = write_first(out, high / EIGHT);
        write_eight(out, len, high % EIGHT);
        len + 8
    };
    write_eight(out, len, low);
    len + 8
}

/// The same, of a signed one.
#[inline]
pub(crate) fn write_i64(out: &mut [u8; WIDTH], value: i64) -> usize {
    let len = write_u64(out, value.unsigned_abs());
    if value >= 0 {
        return len;
    }
    out.copy_within(..WIDTH - 1, 1);
    out[0] = b'-';
    len + 1
}

/// The same, of thousandths: a whole number, a point and three digits.
pub(crate) fn write_millis(out: &mut [u8; WIDTH], millis: u64) -> usize {
    let mut text = Text { len: write_u64(out, millis / 1_000), out };
    let rest = millis % 1_000;
    text.push(b".");
    text.push(&[100, 10, 1].map(|place| b'0' + (rest / place % 10) as u8));
    text.len
}

/// Writes up to eight digits, without zeros in front, to the front of `out`.
#[inline(always)]
fn write_first(out: &mut [u8; WIDTH], value: u64) -> usize {
    let digits = eight_digits(value);
    // Zeros in front are the lowest bytes; the last digit is one, whatever it is.
    let zeros = (digits | 1 << 56).trailing_zeros() & !7;
    let text = (digits | 0x3030_3030_3030_3030) >> zeros;
    out[..8].copy_from_slice(&text.to_le_bytes());
    8 - (zeros / 8) as usize
}

/// Writes eight digits behind the first `at` bytes.
#[inline]
fn write_eight(out: &mut [u8; WIDTH], at: usize, value: u64) {
    let text = eight_digits(value) | 0x3030_3030_3030_3030;
    if let Some(place) = out.get_mut(at..at + 8) {
        place.copy_from_slice(&text.to_le_bytes());
    }
}

/// The eight digits of a number below 10^8, a byte each, the first one in the lowest byte: halves, their halves, and the
/// halves of those are parted all at once in one word, each quotient by a multiplication.
#[inline(always)]
const fn eight_digits(value: u64) -> u64 {
    let fours = (value / 10_000) | ((value % 10_000) << 32);
    let hundreds = (fours * 10_486) >> 20 & 0x7f_0000_007f;
    let twos = hundreds | ((fours - hundreds * 100) << 16);
    let tens = (twos * 103) >> 10 & 0x000f_000f_000f_000f;
    tens | ((twos - tens * 10) << 8)
}

/// Below this, an integral value is written without an exponent.
const PLAIN_LIMIT: f64 = 1e6;

/// From here up to [`PLAIN_LIMIT`] no value has an exponent, neither here nor in the words of the library that finds digits.
const PLAIN_START: f64 = 1e-4;

/// Writes a float as [`push_f64`] has it to the front of `out` and says how long it is.
pub(crate) fn write_f64(out: &mut [u8; WIDTH], value: f64) -> usize {
    let mut text = Text { out, len: 0 };
    if !value.is_finite() {
        text.push(match (value.is_nan(), value > 0.0) {
            (true, _) => b"NaN",
            (false, true) => b"+Inf",
            (false, false) => b"-Inf",
        });
        return text.len;
    }
    // Most gauges are small integers: no digit search for them. Minus zero keeps its sign through the slow path.
    if value.abs() < PLAIN_LIMIT && value.fract() == 0.0 && (value != 0.0 || value.is_sign_positive()) {
        return write_i64(text.out, value as i64);
    }
    let mut buffer = zmij::Buffer::new();
    let digits = buffer.format_finite(value).as_bytes();
    if (PLAIN_START..PLAIN_LIMIT).contains(&value.abs()) {
        text.push(digits);
    } else {
        Decimal::parse(digits).push(&mut text);
    }
    text.len
}

/// A number's text while it is written, piece by piece.
struct Text<'a> {
    out: &'a mut [u8; WIDTH],
    len: usize,
}

impl Text<'_> {
    /// Appends; past the end nothing, which no number reaches.
    fn push(&mut self, bytes: &[u8]) {
        if let Some(place) = self.out.get_mut(self.len..self.len + bytes.len()) {
            place.copy_from_slice(bytes);
            self.len += bytes.len();
        }
    }

    fn zeros(&mut self, count: usize) {
        (0..count).for_each(|_| self.push(b"0"));
    }
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

    fn push(&self, text: &mut Text<'_>) {
        if self.negative {
            text.push(b"-");
        }
        let digits = &self.digits[..self.len];
        let Some((first, rest)) = digits.split_first() else { return text.push(b"0") };
        let exponent = self.point - 1;
        if !(-4..6).contains(&exponent) {
            text.push(&[*first]);
            if !rest.is_empty() {
                text.push(b".");
                text.push(rest);
            }
            text.push(if exponent < 0 { b"e-" } else { b"e+" });
            if exponent.unsigned_abs() < 10 {
                text.push(b"0");
            }
            let mut number = [0; WIDTH];
            let len = write_u64(&mut number, u64::from(exponent.unsigned_abs()));
            return text.push(&number[..len]);
        }
        if self.point <= 0 {
            text.push(b"0.");
            text.zeros(self.point.unsigned_abs() as usize);
            return text.push(digits);
        }
        let whole = self.point as usize;
        if whole >= digits.len() {
            text.push(digits);
            text.zeros(whole - digits.len());
        } else {
            text.push(&digits[..whole]);
            text.push(b".");
            text.push(&digits[whole..]);
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
        for power in 0..20 {
            for value in [10_u64.pow(power), 10_u64.pow(power) - 1] {
                let mut out = Vec::new();
                push_u64(&mut out, value);
                assert_eq!(out, value.to_string().as_bytes());
            }
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
        fn integers_are_those_of_the_standard_library(value in any::<u64>(), shift in 0_u32..64) {
            let mut out = Vec::new();
            for value in [value >> shift, u64::MAX >> shift, 1 << shift] {
                out.clear();
                push_u64(&mut out, value);
                prop_assert_eq!(String::from_utf8_lossy(&out), value.to_string());
                out.clear();
                push_i64(&mut out, value.cast_signed());
                prop_assert_eq!(String::from_utf8_lossy(&out), value.cast_signed().to_string());
            }
        }

        #[test]
        fn plain_floats_are_those_of_the_slow_path(value in -1.1e6..1.1e6_f64, scale in 0_u32..12) {
            let value = value / 10_f64.powi(scale.cast_signed());
            let mut place = [0; WIDTH];
            let mut slow = Text { out: &mut place, len: 0 };
            Decimal::parse(zmij::Buffer::new().format_finite(value).as_bytes()).push(&mut slow);
            let len = slow.len;
            prop_assert_eq!(text(value).into_bytes(), place[..len].to_vec());
        }

        #[test]
        fn integral_values_read_back(value in -10_000_000_i64..10_000_000) {
            prop_assert_eq!(text(value as f64).parse::<f64>(), Ok(value as f64));
        }
    }
}
