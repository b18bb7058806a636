//! A bounded string that const evaluation can build: names that are put together and messages about them, at compile
//! time and at registration by the same code. Called by the checks and by groups; never on the hot path.

/// A string of at most `N` bytes. What does not fit is left out, at a character's boundary.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Text<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> Text<N> {
    pub(crate) const fn new() -> Self {
        Self { bytes: [0; N], len: 0 }
    }

    /// With `more` behind it.
    pub(crate) const fn with(mut self, more: &str) -> Self {
        let mut fits = if more.len() < N - self.len { more.len() } else { N - self.len };
        while !more.is_char_boundary(fits) {
            fits -= 1;
        }
        let mut index = 0;
        while index < fits {
            self.bytes[self.len] = more.as_bytes()[index];
            self.len += 1;
            index += 1;
        }
        self
    }

    /// Without `end`, where it ends in that.
    pub(crate) const fn without_end(mut self, end: &str) -> Self {
        if let Some(rest) = strip_suffix(self.as_str(), end) {
            self.len = rest.len();
        }
        self
    }

    pub(crate) const fn as_str(&self) -> &str {
        let (used, _) = self.bytes.split_at(self.len);
        match std::str::from_utf8(used) {
            Ok(text) => text,
            Err(_) => "",
        }
    }
}

/// `str::strip_suffix` for const evaluation.
pub(crate) const fn strip_suffix<'a>(text: &'a str, end: &str) -> Option<&'a str> {
    let Some(at) = text.len().checked_sub(end.len()) else { return None };
    match text.split_at_checked(at) {
        Some((rest, last)) if equal(last, end) => Some(rest),
        _ => None,
    }
}

/// `str::starts_with` for const evaluation.
pub(crate) const fn starts_with(text: &str, start: &str) -> bool {
    match text.split_at_checked(start.len()) {
        Some((first, _)) => equal(first, start),
        None => false,
    }
}

/// `==` for const evaluation.
pub(crate) const fn equal(one: &str, two: &str) -> bool {
    let (one, two) = (one.as_bytes(), two.as_bytes());
    if one.len() != two.len() {
        return false;
    }
    let mut index = 0;
    while index < one.len() {
        if one[index] != two[index] {
            return false;
        }
        index += 1;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_keeps_what_fits_and_no_half_character() {
        assert_eq!(Text::<8>::new().with("app").with("_").with("x").as_str(), "app_x");
        assert_eq!(Text::<4>::new().with("abc").with("de").as_str(), "abcd");
        assert_eq!(Text::<4>::new().with("abc").with("ä").as_str(), "abc");
        assert_eq!(Text::<16>::new().with("sent_total").without_end("_total").as_str(), "sent");
        assert_eq!(Text::<16>::new().with("sent").without_end("_total").as_str(), "sent");
    }

    #[test]
    fn const_forms_agree_with_the_standard_library() {
        let words = ["", "a", "ä", "_total", "a_total", "x_totaläb", "total_", "ab"];
        for one in words {
            for two in words {
                assert_eq!(equal(one, two), one == two, "{one} {two}");
                assert_eq!(starts_with(one, two), one.starts_with(two), "{one} {two}");
                assert_eq!(strip_suffix(one, two), one.strip_suffix(two), "{one} {two}");
            }
        }
    }
}
