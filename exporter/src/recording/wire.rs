//! Bytes of a recording: variable-length numbers and texts, written and read back.
//!
//! Called by the files of this room. Reading never allocates more than the bytes at hand and never panics: what does not
//! fit is [`Malformed`].

/// Why bytes make no sense: what was being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Malformed(pub(crate) &'static str);

/// Appends an unsigned number, seven bits a byte, the lowest first.
pub(crate) fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a difference that may go either way: small ones of both signs are short.
pub(crate) fn put_signed(out: &mut Vec<u8>, value: i64) {
    put(out, ((value << 1) ^ (value >> 63)).cast_unsigned());
}

/// Appends eight bytes.
pub(crate) fn put_bits(out: &mut Vec<u8>, bits: u64) {
    out.extend_from_slice(&bits.to_le_bytes());
}

/// Appends a text with its length.
pub(crate) fn put_text(out: &mut Vec<u8>, text: &str) {
    put(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

/// Reads what was appended, in the same order.
#[derive(Debug)]
pub(crate) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Bytes left.
    pub(crate) const fn left(&self) -> usize {
        self.rest.len()
    }

    pub(crate) fn byte(&mut self) -> Result<u8, Malformed> {
        let (first, rest) = self.rest.split_first().ok_or(Malformed("cut short"))?;
        self.rest = rest;
        Ok(*first)
    }

    pub(crate) fn number(&mut self) -> Result<u64, Malformed> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Malformed("a number longer than 64 bits"))
    }

    /// A number that fits where it is needed.
    pub(crate) fn small<T: TryFrom<u64>>(&mut self) -> Result<T, Malformed> {
        T::try_from(self.number()?).map_err(|_| Malformed("a number out of range"))
    }

    pub(crate) fn signed(&mut self) -> Result<i64, Malformed> {
        let value = self.number()?;
        Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }

    pub(crate) fn bits(&mut self) -> Result<u64, Malformed> {
        let (bytes, rest) = self.rest.split_first_chunk::<8>().ok_or(Malformed("cut short"))?;
        self.rest = rest;
        Ok(u64::from_le_bytes(*bytes))
    }

    /// How many of something follow that takes at least `each` bytes: never more than there is room for.
    pub(crate) fn count(&mut self, each: usize) -> Result<usize, Malformed> {
        let count: usize = self.small()?;
        if count.checked_mul(each.max(1)).is_none_or(|bytes| bytes > self.rest.len()) {
            return Err(Malformed("a count of more than there is"));
        }
        Ok(count)
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, Malformed> {
        let len = self.count(1)?;
        let (text, rest) = self.rest.split_at_checked(len).ok_or(Malformed("cut short"))?;
        self.rest = rest;
        std::str::from_utf8(text).map_err(|_| Malformed("a text that is not UTF-8"))
    }

    /// Nothing may be left.
    pub(crate) const fn end(&self) -> Result<(), Malformed> {
        if self.rest.is_empty() { Ok(()) } else { Err(Malformed("bytes too many")) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_put_is_read(values: Vec<u64>, signed: Vec<i64>, text: String) {
            let mut out = Vec::new();
            values.iter().for_each(|value| put(&mut out, *value));
            signed.iter().for_each(|value| put_signed(&mut out, *value));
            put_text(&mut out, &text);
            put_bits(&mut out, 7);
            let mut cursor = Cursor::new(&out);
            for value in values {
                prop_assert_eq!(cursor.number(), Ok(value));
            }
            for value in signed {
                prop_assert_eq!(cursor.signed(), Ok(value));
            }
            prop_assert_eq!(cursor.text(), Ok(text.as_str()));
            prop_assert_eq!(cursor.bits(), Ok(7));
            prop_assert_eq!(cursor.end(), Ok(()));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let mut cursor = Cursor::new(&bytes);
            while cursor.number().is_ok() {}
            let _ = (cursor.text(), cursor.bits(), cursor.count(3), cursor.left());
        }
    }

    #[test]
    fn a_number_has_64_bits() {
        let mut bytes = vec![0xff; 9];
        bytes.push(1);
        assert_eq!(Cursor::new(&bytes).number(), Ok(u64::MAX));
        *bytes.last_mut().unwrap() = 2;
        assert!(Cursor::new(&bytes).number().is_err());
    }
}
