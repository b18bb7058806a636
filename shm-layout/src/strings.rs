//! References into the strings section (and into the label areas of open families).

use bytemuck::{Pod, Zeroable};

/// Where a string stands: byte offset within its section, and length in bytes. Zero length is the empty string.
///
/// ```
/// use tachograph_layout::StrRef;
/// let at = StrRef { offset: 8, len: 5 };
/// assert_eq!(at.check(64)?, 8..13);
/// assert!(StrRef { offset: 60, len: 5 }.check(64).is_err());
/// # Ok::<(), tachograph_layout::StrError>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct StrRef {
    /// First byte, counted from the start of the section; a multiple of 8 where the writer placed it.
    pub offset: u32,
    /// Length in bytes, at most [`StrRef::MAX_LEN`].
    pub len: u32,
}

const _: () = assert!(size_of::<StrRef>() == 8);

/// Why a reference does not point at a string.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StrError {
    /// The bytes it names are not all inside the section.
    #[error("string at offset {offset}, {len} bytes long, ends outside its section of {section} bytes")]
    Outside {
        /// Offset found.
        offset: u32,
        /// Length found.
        len: u32,
        /// Length of the section.
        section: u64,
    },
    /// It is longer than any string the writer accepts.
    #[error("string of {len} bytes is longer than the {max} that a region holds", max = StrRef::MAX_LEN)]
    TooLong {
        /// Length found.
        len: u32,
    },
}

impl StrRef {
    /// Longest string, in bytes. Bounds what a hostile file can make a reader copy.
    pub const MAX_LEN: u32 = 64 * 1024;

    /// The byte range it names, checked against a section of `section_len` bytes.
    ///
    /// # Errors
    /// [`StrError`] where any byte lies outside the section or the length is beyond [`StrRef::MAX_LEN`].
    pub const fn check(self, section_len: u64) -> Result<std::ops::Range<u64>, StrError> {
        if self.len > Self::MAX_LEN {
            return Err(StrError::TooLong { len: self.len });
        }
        let start = self.offset as u64;
        let end = start + self.len as u64;
        if end > section_len {
            return Err(StrError::Outside { offset: self.offset, len: self.len, section: section_len });
        }
        Ok(start..end)
    }
}
