//! What actors may be doing: texts that are stored in the region once, so that a mark is one word.

use std::marker::PhantomData;

use tachograph_layout::StrRef;

use crate::{LabelValue, MarkError, Region};

/// Something that actors of a region may be doing, such as the name of a message: one word, `Copy`. Good for activities of
/// the region that it was registered in.
///
/// ```
/// let region = tachograph::Region::private("doc")?;
/// let flush = region.doing("flush")?;
/// assert_eq!(region.doing("flush")?, flush);
/// region.activity("writer", "0", 0).begin(flush);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Doing(u64);

impl Doing {
    #[inline]
    pub(super) const fn word(self) -> u64 {
        self.0
    }
}

/// What one type of actor may be doing: a [`Doing`] for each value of an enum that derives [`LabelValue`].
///
/// ```
/// use tachograph::{DoingSet, LabelValue, Region};
/// #[derive(Clone, Copy, LabelValue)]
/// enum Message { Join, Leave }
/// let region = Region::private("doc")?;
/// let doings: DoingSet<Message> = region.doings()?;
/// assert_eq!(doings.at(Message::Leave), region.doing("leave")?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct DoingSet<E> {
    /// One for each value, in index order.
    doings: &'static [Doing],
    values: PhantomData<fn(E)>,
}

impl<E> Clone for DoingSet<E> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<E> Copy for DoingSet<E> {}

impl<E: LabelValue> DoingSet<E> {
    /// The doing of a value.
    #[must_use]
    #[inline]
    pub fn at(self, value: E) -> Doing {
        // Idle, where an implementation of `LabelValue` by hand has an index out of range.
        self.doings.get(value.index()).copied().unwrap_or(Doing(0))
    }
}

/// Longest text, in bytes: readers show no more.
const LONGEST: usize = 256;

impl Region {
    /// Registers something that actors may be doing: 1 to 256 bytes, once for each text. It takes string bytes of the
    /// region, for good: for names of messages, never for their contents.
    ///
    /// # Errors
    /// [`MarkError`]: too long or empty, no string bytes left, or the region has ended.
    pub fn doing(&self, text: &str) -> Result<Doing, MarkError> {
        let what = "doing";
        let (region, name) = (|| self.name().to_owned(), || text.to_owned());
        if !(1..=LONGEST).contains(&text.len()) {
            return Err(MarkError::Rule { what, region: region(), name: name(), rule: "must have 1 to 256 bytes" });
        }
        let ended = || MarkError::Ended { what, region: region(), name: name() };
        let added = self.with_registry(|registry| registry.add_string(text)).ok_or_else(ended)?;
        let StrRef { offset, len } = added.map_err(|(free, capacity)| MarkError::Full {
            what,
            region: region(),
            name: name(),
            unit: "string bytes",
            free,
            capacity,
            remedy: "raise the builder's `string_bytes`",
        })?;
        Ok(Doing(u64::from(len) << 32 | u64::from(offset)))
    }

    /// Registers all values of an enum as what actors may be doing.
    ///
    /// # Errors
    /// As [`Region::doing`], for the first value that is refused.
    pub fn doings<E: LabelValue>(&self) -> Result<DoingSet<E>, MarkError> {
        let doings = E::VALUES.iter().map(|text| self.doing(text)).collect::<Result<Vec<_>, _>>()?;
        // For good, as the mapping: handles are `Copy`.
        Ok(DoingSet { doings: doings.leak(), values: PhantomData })
    }
}
