//! Settings in attributes: `#[label(..)]`, `#[metric(..)]`, `#[metrics(..)]`. Each may stand once; what is not known is
//! an error that lists what is.

use syn::meta::ParseNestedMeta;
use syn::{Attribute, Error, LitStr, Result};

/// All mistakes of a declaration, so that its author sees them at once.
#[derive(Default)]
pub(crate) struct Mistakes(Option<Error>);

impl Mistakes {
    pub(crate) fn add(&mut self, error: Error) {
        match &mut self.0 {
            Some(all) => all.combine(error),
            None => self.0 = Some(error),
        }
    }

    /// The value, or its mistake remembered.
    pub(crate) fn ok<T>(&mut self, result: Result<T>) -> Option<T> {
        result.map_err(|error| self.add(error)).ok()
    }

    pub(crate) fn finish(self) -> Result<()> {
        self.0.map_or(Ok(()), Err)
    }
}

/// Goes through the settings of all attributes called `attribute`. `setting` says whether it knew the one it was given;
/// `known` lists those it knows.
pub(crate) fn settings(
    attributes: &[Attribute],
    attribute: &str,
    known: &str,
    mut setting: impl FnMut(&ParseNestedMeta<'_>) -> Result<bool>,
) -> Result<()> {
    let mut mistakes = Mistakes::default();
    for found in attributes.iter().filter(|found| found.path().is_ident(attribute)) {
        mistakes.ok(found.parse_nested_meta(|meta| {
            if setting(&meta)? {
                return Ok(());
            }
            let name = meta.path.get_ident().map(ToString::to_string).unwrap_or_default();
            Err(meta.error(format!("`#[{attribute}(..)]` has no setting `{name}` here; it has: {known}")))
        }));
    }
    mistakes.finish()
}

/// Takes the value of a setting that may stand once.
pub(crate) fn once<T>(
    place: &mut Option<T>,
    meta: &ParseNestedMeta<'_>,
    value: impl FnOnce(&ParseNestedMeta<'_>) -> Result<T>,
) -> Result<bool> {
    if place.is_some() {
        let name = meta.path.get_ident().map(ToString::to_string).unwrap_or_default();
        return Err(meta.error(format!("`{name}` stands twice")));
    }
    *place = Some(value(meta)?);
    Ok(true)
}

/// The string of `setting = "string"`.
pub(crate) fn string(meta: &ParseNestedMeta<'_>) -> Result<LitStr> {
    meta.value()?.parse()
}

/// A prefix: what a name starts with, without the underscore behind it.
pub(crate) fn prefix(meta: &ParseNestedMeta<'_>) -> Result<LitStr> {
    let prefix = string(meta)?;
    let text = prefix.value();
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if text.is_empty() || text.as_bytes()[0].is_ascii_digit() || !text.bytes().all(letter) {
        return Err(Error::new(
            prefix.span(),
            "a prefix starts metric names: letters, digits and underscores, not starting with a digit",
        ));
    }
    if text.ends_with('_') {
        return Err(Error::new(prefix.span(), "the underscore behind a prefix is put there: leave it out here"));
    }
    Ok(prefix)
}
