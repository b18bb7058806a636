//! State sets: named states, each on or off, as the bits of one cell in the shared plane.

use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tachograph_layout::{Kind, Number, SharedBlock, WriterMap};

use crate::metric::sealed::Handle;
use crate::register::Place;
use crate::shape::Shape;
use crate::{Desc, LabelValue, naming};

/// Which of an enum's states are on: one of them ([`StateSet::set`]), or any ([`StateSet::enable`]).
///
/// All are off until the first call. A reader sees a line a state, `name{name="state"}`, 1 where it is on; after `set`
/// exactly one is, at any moment. The enum has 1 to 64 values, none empty; its own label name is not used. Relaxed: a state set
/// publishes no other memory.
///
/// ```
/// tachograph::label_value! {
///     #[derive(Debug)]
///     enum Phase: "phase" { Starting = "starting", Serving = "serving", Draining = "draining" }
/// }
/// let region = tachograph::Region::private("doc")?;
/// let phase = region.state_set::<Phase>("app_phase", "What the application is at")?;
/// phase.set(Phase::Starting);
/// phase.set(Phase::Serving); // and no longer starting
/// assert_eq!(phase.states(), [Phase::Serving]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct StateSet<E: LabelValue> {
    cell: &'static AtomicU64,
    states: PhantomData<fn(E)>,
}

/// A bit a state.
const MOST_STATES: usize = 64;

impl<E: LabelValue> StateSet<E> {
    /// Turns this state on and all others off: one store.
    #[inline]
    pub fn set(self, state: E) {
        self.cell.store(bit(state), Relaxed);
    }

    /// Turns this state on and leaves the others as they are.
    ///
    /// ```
    /// tachograph::label_value! {
    ///     #[derive(Debug)]
    ///     enum Feature: "feature" { Recording = "recording", Screen = "screen" }
    /// }
    /// let region = tachograph::Region::private("doc")?;
    /// let features = region.state_set::<Feature>("app_features", "What is switched on")?;
    /// features.enable(Feature::Recording);
    /// features.enable(Feature::Screen);
    /// features.disable(Feature::Recording);
    /// assert!(features.is_enabled(Feature::Screen) && !features.is_enabled(Feature::Recording));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn enable(self, state: E) {
        self.cell.fetch_or(bit(state), Relaxed);
    }

    /// Turns this state off and leaves the others as they are.
    #[inline]
    pub fn disable(self, state: E) {
        self.cell.fetch_and(!bit(state), Relaxed);
    }

    /// Whether this state is on.
    #[must_use]
    #[inline]
    pub fn is_enabled(self, state: E) -> bool {
        self.cell.load(Relaxed) & bit(state) != 0
    }

    /// The states that are on, in the enum's order.
    #[must_use]
    pub fn states(self) -> Vec<E> {
        let bits = self.cell.load(Relaxed);
        E::all().iter().copied().filter(|state| bits & bit(*state) != 0).collect()
    }
}

/// A state's bit; none where the enum gives an index that it must not.
#[inline]
fn bit<E: LabelValue>(state: E) -> u64 {
    1_u64.checked_shl(state.index() as u32).unwrap_or(0)
}

impl<E: LabelValue> Clone for StateSet<E> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<E: LabelValue> Copy for StateSet<E> {}

impl<E: LabelValue> std::fmt::Debug for StateSet<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("StateSet").field(&self.states().iter().map(|state| state.as_str()).collect::<Vec<_>>()).finish()
    }
}

impl<E: LabelValue> Handle for StateSet<E> {
    const KIND: Kind = Kind::StateSet;
    const NUMBER: Number = Number::U64;
    type Block = SharedBlock;

    fn shape(desc: &Desc) -> Result<Shape, String> {
        let states: Vec<&'static str> = E::all().iter().map(|state| state.as_str()).collect();
        if states.is_empty() || states.len() > MOST_STATES {
            return Err(format!("is a state set of {} states: at least 1 and at most {MOST_STATES}", states.len()));
        }
        for (index, state) in states.iter().enumerate() {
            if state.is_empty() || state.contains('\0') || states[..index].contains(state) {
                return Err(format!("has state {state:?}: no name may be empty, hold a zero byte, or stand twice"));
            }
        }
        if states.iter().map(|state| state.len()).sum::<usize>() > naming::MAX_TEXT {
            return Err("has state names longer than 16 KiB together".to_owned());
        }
        Ok(Shape { states, ..Shape::plain(desc, 1)? })
    }

    fn block(map: &'static WriterMap, place: Place) -> Option<Self::Block> {
        map.shared_block(place.first, place.series)
    }

    #[inline]
    fn pick(block: Self::Block, series: usize) -> Self {
        Self { cell: block.series(series), states: PhantomData }
    }
}
