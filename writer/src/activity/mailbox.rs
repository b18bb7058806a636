//! The depth of an actor's mailbox: a word of its slot that whoever puts messages in and takes them out counts.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::{DEPTH, Hot};
use crate::owned_slots::Owned;

/// Messages in one actor's mailbox, as its [`crate::Activity`] shows them. Cheap to clone; all clones are the same word,
/// from any thread. Relaxed atomic adds.
///
/// ```
/// let region = tachograph::Region::private("doc")?;
/// let activity = region.activity("meeting", "stand-up", 500);
/// let depth = activity.mailbox();
/// depth.inc();
/// depth.clone().inc();
/// depth.dec();
/// assert_eq!(depth.get(), 1);
/// # Ok::<(), tachograph::BuildError>(())
/// ```
#[derive(Debug, Clone)]
pub struct MailboxDepth {
    hot: &'static Hot,
    /// Keeps the slot from going to another actor, whose depth this would count then.
    _slot: Option<Arc<Owned>>,
}

impl MailboxDepth {
    pub(super) const fn new(hot: &'static Hot, slot: Option<Arc<Owned>>) -> Self {
        Self { hot, _slot: slot }
    }

    /// A message was put in. To be called before the actor can take it out.
    #[inline]
    pub fn inc(&self) {
        self.hot[DEPTH].fetch_add(1, Relaxed);
    }

    /// A message was taken out.
    #[inline]
    pub fn dec(&self) {
        self.hot[DEPTH].fetch_sub(1, Relaxed);
    }

    /// So many messages are inside, where one place knows it.
    #[inline]
    pub fn set(&self, depth: u64) {
        self.hot[DEPTH].store(depth, Relaxed);
    }

    /// Messages inside.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.hot[DEPTH].load(Relaxed)
    }
}
