//! Text in a field of a record: bytes of a fixed number, cut at a character's edge where it is too long. No allocation.

use std::fmt;

/// A field that text is written into from its start on; what does not fit is left out.
#[derive(Debug)]
pub(crate) struct Field<'a> {
    bytes: &'a mut [u8],
    len: usize,
    /// Something was left out: nothing more goes in, so that no later word stands where an earlier one was cut.
    full: bool,
}

impl<'a> Field<'a> {
    pub(crate) const fn new(bytes: &'a mut [u8]) -> Self {
        Self { bytes, len: 0, full: false }
    }

    /// Bytes written.
    pub(crate) const fn len(&self) -> usize {
        self.len
    }
}

impl fmt::Write for Field<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.bytes.get_mut(self.len..).unwrap_or_default();
        let fits = if self.full { 0 } else { text.floor_char_boundary(room.len()) };
        room.iter_mut().zip(text.bytes().take(fits)).for_each(|(byte, text)| *byte = text);
        self.len += fits;
        self.full |= fits < text.len();
        Ok(())
    }
}

/// Puts text into a field; gives its length.
pub(crate) fn put_text(bytes: &mut [u8], text: &str) -> u32 {
    let mut field = Field::new(bytes);
    let _ = fmt::Write::write_str(&mut field, text);
    field.len() as u32
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;

    #[test]
    fn long_text_is_cut_at_a_character() {
        let mut bytes = [0; 4];
        assert_eq!(put_text(&mut bytes, "abcé"), 3);
        assert_eq!(&bytes, b"abc\0");
    }

    #[test]
    fn nothing_comes_after_what_was_cut() {
        let mut bytes = [0; 6];
        let mut field = Field::new(&mut bytes);
        for text in ["ab", "cdéé", "x"] {
            field.write_str(text).expect("never fails");
        }
        assert_eq!(field.len(), 6);
        assert_eq!(&bytes, "abcdé".as_bytes());
    }
}
