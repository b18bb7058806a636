//! A layer for `tracing`: warnings and errors of the log become notes in a region, fields included.
//!
//! Part of the application's subscriber, beside whatever prints the log. It formats into the note itself, allocates
//! nothing, and never writes a note about what is logged while it formats one.

use std::cell::Cell;
use std::fmt::{Debug, Write};
use std::sync::{Arc, OnceLock};

use tracing::field::{Field as Named, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use crate::field::Field;
use crate::note::Notes;
use crate::{NoteLevel, Region};

/// Leaves events of the log as notes in a region: WARN and ERROR, unless another level is asked for.
///
/// A subscriber is set before a region is built, so that what goes wrong there is logged; the layer writes nothing until it
/// is given the region by [`NoteLayer::attach`]. Clones are the same layer. A note is the message, then the fields, then
/// the target; what is logged by a field's own `Debug` while a note is put together becomes no note.
///
/// The layer looks at every event that some layer of the subscriber asks for. Where it is the only one, a filter of its own
/// (`.with_filter(LevelFilter::WARN)`) lets the others cost nothing.
///
/// ```
/// use tachograph::{NoteLayer, Region};
/// use tracing_subscriber::layer::SubscriberExt;
/// let notes = NoteLayer::new();
/// let subscriber = tracing_subscriber::registry().with(notes.clone());
/// tracing::subscriber::with_default(subscriber, || {
///     let region = Region::private("doc")?;
///     notes.attach(&region);
///     tracing::warn!(backlog = 17, "the store does not answer");
///     Ok::<(), tachograph::BuildError>(())
/// })?;
/// # Ok::<(), tachograph::BuildError>(())
/// ```
#[derive(Debug, Clone)]
pub struct NoteLayer {
    notes: Arc<OnceLock<Notes>>,
    most: Level,
}

impl Default for NoteLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl NoteLayer {
    /// A layer for WARN and ERROR, without a region yet.
    #[must_use]
    pub fn new() -> Self {
        Self { notes: Arc::default(), most: Level::WARN }
    }

    /// For events of this level and the more severe ones.
    ///
    /// ```
    /// let layer = tachograph::NoteLayer::new().level(tracing::Level::INFO);
    /// ```
    #[must_use]
    pub fn level(mut self, most: Level) -> Self {
        self.most = most;
        self
    }

    /// Has the layer and its clones write into a region from here on. The first one stays; says whether this is it.
    ///
    /// ```
    /// let region = tachograph::Region::private("doc")?;
    /// let layer = tachograph::NoteLayer::new();
    /// assert!(layer.attach(&region));
    /// assert!(!layer.clone().attach(&region));
    /// # Ok::<(), tachograph::BuildError>(())
    /// ```
    pub fn attach(&self, region: &Region) -> bool {
        self.notes.set(region.marks().notes).is_ok()
    }
}

thread_local! {
    /// Whether the thread is putting a note together.
    static WRITING: Cell<bool> = const { Cell::new(false) };
}

/// Held while the thread is putting a note together, also where a field's `Debug` panics.
struct Writing;

impl Writing {
    fn begin() -> Option<Self> {
        (!WRITING.replace(true)).then_some(Self)
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        WRITING.set(false);
    }
}

impl<S: Subscriber> Layer<S> for NoteLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let level = *event.metadata().level();
        if level > self.most {
            return;
        }
        let Some(notes) = self.notes.get() else { return };
        let Some(_writing) = Writing::begin() else { return };
        notes.write(note_level(level), |field| {
            event.record(&mut Message(field));
            event.record(&mut Others(field));
            let _ = write!(field, " ({})", event.metadata().target());
        });
    }
}

fn note_level(level: Level) -> NoteLevel {
    match level {
        Level::ERROR => NoteLevel::Error,
        Level::WARN => NoteLevel::Warn,
        Level::INFO => NoteLevel::Info,
        Level::DEBUG => NoteLevel::Debug,
        Level::TRACE => NoteLevel::Trace,
    }
}

const MESSAGE: &str = "message";

/// Writes the message.
struct Message<'a, 'b>(&'a mut Field<'b>);

impl Visit for Message<'_, '_> {
    fn record_debug(&mut self, field: &Named, value: &dyn Debug) {
        if field.name() == MESSAGE {
            let space = if self.0.len() == 0 { "" } else { " " };
            let _ = write!(self.0, "{space}{value:?}");
        }
    }

    fn record_str(&mut self, field: &Named, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }
}

/// Writes the other fields.
struct Others<'a, 'b>(&'a mut Field<'b>);

impl Visit for Others<'_, '_> {
    fn record_debug(&mut self, field: &Named, value: &dyn Debug) {
        if field.name() != MESSAGE {
            let space = if self.0.len() == 0 { "" } else { " " };
            let _ = write!(self.0, "{space}{}={value:?}", field.name());
        }
    }

    fn record_error(&mut self, field: &Named, value: &(dyn std::error::Error + 'static)) {
        self.record_debug(field, &format_args!("{value}"));
    }
}

#[cfg(test)]
mod tests {
    use tachograph_layout::NoteRecord;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    /// The newest note of a region.
    fn newest(region: &Region) -> (u64, NoteRecord, String) {
        let (number, note) = region.marks().notes.newest().expect("a note");
        let text = String::from_utf8(note.text[..note.len as usize].to_vec()).expect("UTF-8");
        (number, note, text)
    }

    /// Logs when it is shown.
    struct Chatty;

    impl Debug for Chatty {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            tracing::error!("from within");
            f.write_str("chatty")
        }
    }

    #[test]
    fn warnings_become_notes_with_their_fields() {
        let layer = NoteLayer::new();
        let subscriber = tracing_subscriber::registry().with(layer.clone());
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!("before there is a region");
            let region = Region::private("notes").expect("private memory");
            assert!(layer.attach(&region));
            tracing::warn!(target: "app.store", backlog = 17, peer = "a b", "no answer");
            let (number, note, text) = newest(&region);
            assert_eq!((number, note.level, text.as_str()), (1, 2, "no answer backlog=17 peer=\"a b\" (app.store)"));
            tracing::info!("not severe enough");
            assert_eq!(newest(&region).0, 1);
            tracing::error!(target: "app", field = ?Chatty, "outer");
            let (number, note, text) = newest(&region);
            assert_eq!((number, note.level, text.as_str()), (2, 1, "outer field=chatty (app)"));
            let panicked = std::panic::catch_unwind(|| tracing::error!(field = ?Panicking, "never whole"));
            assert!(panicked.is_err());
            tracing::warn!(target: "app", "goes on");
            assert_eq!(newest(&region).2, "goes on (app)");
        });
    }

    #[test]
    fn the_warning_of_a_full_family_fits_a_note_with_its_family() {
        let layer = NoteLayer::new();
        let subscriber = tracing_subscriber::registry().with(layer.clone());
        tracing::subscriber::with_default(subscriber, || {
            let region = Region::private("notes").expect("private memory");
            layer.attach(&region);
            let name = format!("app_{}_total", "x".repeat(60));
            let rules = crate::OpenRules::new(1).label_area(32);
            let desc = crate::Desc::new(name.as_str(), "Messages by peer");
            let sent = region.open_family::<crate::Counter, 1>(desc, ["peer"], rules).expect("room");
            sent.with(["a"]).inc();
            for (number, peer) in [(1, "b"), (2, &*"long".repeat(20))] {
                sent.with([peer]).inc();
                let (newest, _, text) = newest(&region);
                assert_eq!(newest, number, "one for the budget, one for the label area");
                assert!(text.contains(&format!(" family=\"{name}\" ")), "{text}");
            }
        });
    }

    struct Panicking;

    impl Debug for Panicking {
        fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            panic!("planted")
        }
    }

    #[test]
    fn a_note_allocates_nothing() {
        let layer = NoteLayer::new();
        let subscriber = tracing_subscriber::registry().with(layer.clone());
        tracing::subscriber::with_default(subscriber, || {
            let region = Region::private("notes").expect("private memory");
            layer.attach(&region);
            let log = || tracing::warn!(target: "app.store", backlog = 17, peer = "a b", "no answer");
            log();
            assert_eq!(allocation_counter::measure(|| (0..1_000).for_each(|_| log())).count_total, 0);
            assert_eq!(newest(&region).0, 1_001);
        });
    }
}
