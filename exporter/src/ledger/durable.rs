//! What the ledger holds, on disk: read when an exporter starts, and written before any of it is served.
//!
//! Called by `ledger/mod.rs`. `ledger/content.rs` makes the bytes and `ledger/file.rs` keeps them; here it is decided whether a
//! change does or all is written, and what becomes of a file that can't be read: it is put aside, never written over.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Ledger;
use super::content::{self, Content, Stands};
use super::file::{self, Book};
use super::standing::Standing;

/// Files that could not be read that are kept beside at most.
pub(super) const MOST_UNREADABLE: u32 = 9;

impl Ledger {
    /// Whether what stands here is on disk now.
    pub(super) fn store(&mut self) -> bool {
        match self.write() {
            Ok(()) => {
                if std::mem::take(&mut self.said) {
                    tracing::info!(path = %self.path.display(), "the ledger of merged totals is written again");
                }
                true
            }
            Err(error) => {
                if !std::mem::replace(&mut self.said, true) {
                    tracing::error!(path = %self.path.display(), %error,
                        "the ledger of merged totals can't be written: the last durable values are served until it can");
                }
                false
            }
        }
    }

    /// Writes what changed; all of it where there is no file yet, or no room in it.
    fn write(&mut self) -> io::Result<()> {
        if let Some(book) = self.book.as_mut().filter(|book| book.is_at(&self.path)) {
            let change = self.on_file.change(&self.folded, &stands(&self.standing));
            if change.is_empty() {
                return Ok(());
            }
            if book.append(&change)? {
                self.is_written();
                return Ok(());
            }
        }
        self.rewrite()
    }

    pub(super) fn rewrite(&mut self) -> io::Result<()> {
        if self.in_the_way {
            put_aside(&self.path)?;
            self.in_the_way = false;
        }
        let whole = content::encode(&mut self.folded, &stands(&self.standing));
        Book::replace(&mut self.book, &self.path, &whole)?;
        self.is_written();
        Ok(())
    }

    fn is_written(&mut self) {
        self.folded.is_written();
        for (uuid, picture) in self.on_file.holds(&stands(&self.standing)) {
            let reader = self.standing.get(&uuid).and_then(|standing| standing.reader.as_ref());
            if let (Some(reader), Some(picture)) = (reader, Arc::into_inner(picture)) {
                reader.recycle(picture);
            }
        }
    }
}

fn stands(standing: &BTreeMap<[u8; 16], Standing>) -> Vec<Stands<'_>> {
    standing.values().map(|one| (&one.identity, one.pictures.as_slice())).collect()
}

/// What the file tells; `None` where there is none.
pub(super) fn read(path: &Path) -> io::Result<Option<Content>> {
    let Some(read) = file::read(path)? else { return Ok(None) };
    let mut content = Content::decode(read.whole()).map_err(io::Error::other)?;
    for change in read.changes() {
        content.change(change).map_err(io::Error::other)?;
    }
    if read.torn {
        tracing::warn!(path = %path.display(),
            "the last change of the ledger of merged totals was cut short by the end of an exporter: left out, it was never shown");
    }
    Ok(Some(content))
}

/// Moves what can't be read out of the way: to the first free name of some, so that nothing is written over.
pub(super) fn put_aside(path: &Path) -> io::Result<PathBuf> {
    let names = (1..=MOST_UNREADABLE).map(|number| match number {
        1 => path.with_extension("ledger.unreadable"),
        number => path.with_extension(format!("ledger.unreadable.{number}")),
    });
    let free =
        |aside: &PathBuf| std::fs::symlink_metadata(aside).is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
    let aside = names.clone().find(free).ok_or_else(|| {
        io::Error::other(format!(
            "{MOST_UNREADABLE} unreadable ledgers stand beside it already: look at them, and remove them"
        ))
    })?;
    std::fs::rename(path, &aside)?;
    Ok(aside)
}
