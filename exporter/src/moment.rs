//! Moments as people name them: `now`, `-30s`, `2026-11-25T03:12:00Z`, `@crash`, `@crash-10s`.
//!
//! Called for every time that a command takes. Pure: no clock is read here. A moment is named once and then placed, by
//! [`Moment::at`], on the clock that the caller has: the reader's own, or that of a region which died on another machine.

use std::str::FromStr;

use jiff::{SignedDuration, Span, SpanRelativeTo, Timestamp};

/// A moment as a user named it.
///
/// ```
/// use tachograph_exporter::moment::Moment;
/// let second = 1_000_000_000;
/// let (now, crash) = (100 * second, Some(90 * second));
/// let at = |text: &str| text.parse::<Moment>().unwrap().at(now, crash).unwrap();
/// assert_eq!(at("now"), now);
/// assert_eq!(at("-30s"), 70 * second);
/// assert_eq!(at("@crash-1m10s"), 20 * second);
/// assert_eq!(at("1970-01-01T00:00:05Z"), 5 * second);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// So many nanoseconds before now; 0 is now itself.
    BeforeNow(u64),
    /// Nanoseconds since the Unix epoch.
    Realtime(u64),
    /// So many nanoseconds after the crash; before it where negative.
    FromCrash(i64),
}

/// Why a text names no moment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no time{why}: give -30s or -1h30m (before now), 2026-11-25T03:12:00Z, @crash, @crash-10s, or now")]
pub struct MomentError {
    /// What was given.
    text: String,
    /// What is wrong with it, where that helps.
    why: &'static str,
}

/// Why a moment has no place on a clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlaceError {
    /// It counts from a crash, and there was none.
    #[error("@crash names no moment here: nothing crashed; name the time itself, or REGION@crash")]
    NoCrash,
    /// It is before 1970, or after 2554.
    #[error("that time is outside 1970 to 2554; give one nearer to now")]
    OutOfRange,
}

impl Moment {
    /// Its place on a clock: nanoseconds since the Unix epoch. `crash_ns` is when what is asked about died, by its own
    /// clock; `None` where it did not.
    ///
    /// # Errors
    /// [`PlaceError`] where it counts from a crash that was not, or leads before 1970.
    pub fn at(self, now_ns: u64, crash_ns: Option<u64>) -> Result<u64, PlaceError> {
        match self {
            Self::BeforeNow(ns) => now_ns.checked_sub(ns).ok_or(PlaceError::OutOfRange),
            Self::Realtime(ns) => Ok(ns),
            Self::FromCrash(ns) => {
                crash_ns.ok_or(PlaceError::NoCrash)?.checked_add_signed(ns).ok_or(PlaceError::OutOfRange)
            }
        }
    }
}

impl FromStr for Moment {
    type Err = MomentError;

    fn from_str(text: &str) -> Result<Self, MomentError> {
        let error = |why| MomentError { text: text.to_owned(), why };
        let named = text.trim();
        if let Some(rest) = named.strip_prefix("@crash") {
            return if rest.is_empty() { Ok(Self::FromCrash(0)) } else { offset(rest).map(Self::FromCrash) }
                .map_err(error);
        }
        let relative = named.strip_prefix("now").unwrap_or(named);
        if relative.is_empty() && !named.is_empty() {
            return Ok(Self::BeforeNow(0));
        }
        if relative.starts_with(['-', '+']) || named.starts_with("now") {
            let ns = offset(relative).map_err(error)?;
            return u64::try_from(-i128::from(ns)).map(Self::BeforeNow).map_err(|_| error(", it lies ahead of now"));
        }
        if duration(named).is_some() {
            return Err(error(", but a span of time; a minus before it means before now"));
        }
        // jiff also takes times without seconds or with a zone in brackets; without any zone it refuses.
        let time: Timestamp = named.parse().map_err(|_| error(if looks_dated(named) { DATED } else { "" }))?;
        u64::try_from(time.as_nanosecond()).map(Self::Realtime).map_err(|_| error(", it is before 1970"))
    }
}

/// What is said of a date that does not parse.
const DATED: &str = " that says where it is (Z for UTC, or +02:00)";

fn looks_dated(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_digit()) && text.contains(['-', ':'])
}

/// A signed span such as `-10s`, in nanoseconds.
fn offset(text: &str) -> Result<i64, &'static str> {
    let (negative, span) = match text.split_at_checked(1) {
        Some(("-", span)) => (true, span),
        Some(("+", span)) => (false, span),
        _ => return Err(", - or + is missing before the span"),
    };
    let span = duration(span).ok_or(", the span after the sign is none, such as 30s, 5m, 1h30m, 2d or 500ms")?;
    let ns = i64::try_from(span.as_nanos()).map_err(|_| ", the span is too long")?;
    Ok(if negative { -ns } else { ns })
}

/// An unsigned span; days have 24 hours.
fn duration(text: &str) -> Option<SignedDuration> {
    // A sign of its own would undo the one before.
    let unsigned = text.starts_with(|first: char| first.is_ascii_digit() || first == '.');
    let span: Span = if unsigned { text.parse().ok()? } else { return None };
    span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn each_form_is_understood() {
        for (text, expected) in [
            ("now", Moment::BeforeNow(0)),
            ("now-1s", Moment::BeforeNow(SECOND)),
            ("-500ms", Moment::BeforeNow(SECOND / 2)),
            ("-1.5s", Moment::BeforeNow(SECOND * 3 / 2)),
            ("-5m", Moment::BeforeNow(300 * SECOND)),
            (" -1h30m ", Moment::BeforeNow(5400 * SECOND)),
            ("-2d", Moment::BeforeNow(172_800 * SECOND)),
            ("-0s", Moment::BeforeNow(0)),
            ("@crash", Moment::FromCrash(0)),
            ("@crash-10s", Moment::FromCrash(-10_000_000_000)),
            ("@crash+2m", Moment::FromCrash(120_000_000_000)),
            ("1970-01-01T00:00:01.5Z", Moment::Realtime(SECOND * 3 / 2)),
            ("1970-01-01T01:00:01+01:00", Moment::Realtime(SECOND)),
        ] {
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_what_is_right() {
        for (text, why) in [
            ("", "\"\" is no time: give"),
            ("yesterday", "is no time: give"),
            ("30s", "a minus before it"),
            ("+30s", "ahead of now"),
            ("now+1s", "ahead of now"),
            ("nowhere", "- or + is missing"),
            ("--30s", "the span after the sign is none"),
            ("-30", "the span after the sign is none"),
            ("-", "the span after the sign is none"),
            ("@crash10s", "- or + is missing"),
            ("@crash-", "the span after the sign is none"),
            ("@crash-1000000d", "too long"),
            ("2026-11-25T03:12:00", "says where it is"),
            ("2026-13-25T03:12:00Z", "says where it is"),
            ("1960-01-01T00:00:00Z", "before 1970"),
            ("\u{1b}[2J", "\"\\u{1b}[2J\" is no time"),
        ] {
            let error = text.parse::<Moment>().unwrap_err().to_string();
            assert!(error.contains(why) && error.contains("@crash-10s"), "{text:?}: {error}");
        }
    }

    #[test]
    fn a_moment_without_a_place_says_so() {
        assert_eq!(Moment::FromCrash(0).at(5, None), Err(PlaceError::NoCrash));
        assert_eq!(Moment::FromCrash(-6).at(9, Some(5)), Err(PlaceError::OutOfRange));
        assert_eq!(Moment::BeforeNow(6).at(5, None), Err(PlaceError::OutOfRange));
        assert_eq!(Moment::FromCrash(-2).at(0, Some(5)), Ok(3));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(now|@crash)?[-+]?[0-9a-zµ:TZ. ]{0,20}|\\PC*", now in any::<u64>(), crash in any::<u64>()) {
            if let Ok(moment) = text.parse::<Moment>() {
                let _ = moment.at(now, Some(crash));
            }
        }
    }
}
