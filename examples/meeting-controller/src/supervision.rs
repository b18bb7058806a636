//! Supervision: a parent holds its children's tasks and is told of each end as it happens, without any message.
//!
//! `Children::next` belongs into the parent's `select!`. Each end is told exactly once, so a panic is counted exactly
//! once. Dropping `Children` (the parent panicked, say) aborts them.

use std::collections::HashMap;
use std::future::Future;

use tachograph::LabelValue;
use tokio::task::{Id as TaskId, JoinError, JoinSet};

use crate::actor_metrics::ActorMetrics;
use crate::fact::Fact;
use crate::metrics::ActorType;

/// The tasks of a parent's children, by key.
#[derive(Debug)]
pub struct Children<K> {
    tasks: JoinSet<()>,
    keys: HashMap<TaskId, K>,
}

/// A child that is no more.
#[derive(Debug)]
pub struct Ended<K> {
    /// The child's key; `None` never happens for children of this set.
    pub key: Option<K>,
    /// How it ended.
    pub outcome: Outcome,
}

/// How a task ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// It returned.
    Finished,
    /// It panicked, with this message.
    Panicked(String),
    /// It was aborted.
    Aborted,
}

impl<K> Default for Children<K> {
    fn default() -> Self {
        Self { tasks: JoinSet::new(), keys: HashMap::new() }
    }
}

impl<K> Children<K> {
    /// Starts a child.
    pub fn spawn(&mut self, key: K, task: impl Future<Output = ()> + Send + 'static) {
        let handle = self.tasks.spawn(task);
        self.keys.insert(handle.id(), key);
    }

    /// Waits for the next end. `None` where there are no children. Cancel safe.
    pub async fn next(&mut self) -> Option<Ended<K>> {
        let (id, outcome) = match self.tasks.join_next_with_id().await? {
            Ok((id, ())) => (id, Outcome::Finished),
            Err(error) => (error.id(), Outcome::of(error)),
        };
        Some(Ended { key: self.keys.remove(&id), outcome })
    }

    /// Aborts all that live: for those that do not end when they should.
    pub fn abort_all(&mut self) {
        self.tasks.abort_all();
    }

    /// How many have not been told as ended.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tasks.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }
}

impl Outcome {
    /// The outcome of a task that was joined with an error.
    #[must_use]
    pub fn of(error: JoinError) -> Self {
        match error.try_into_panic() {
            Ok(payload) => {
                let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
                let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
                Self::Panicked(text.unwrap_or_else(|| "(not a text)".to_owned()))
            }
            Err(_) => Self::Aborted,
        }
    }
}

/// Counts and logs a child's end, where it is worth it: once, by its parent.
pub async fn account(metrics: &ActorMetrics, actor: ActorType, id: &str, outcome: &Outcome) {
    match outcome {
        Outcome::Panicked(message) => {
            tracing::error!(
                target: "mc.actor.panic",
                actor_type = actor.as_str(),
                actor_id = id,
                message = message.as_str(),
                "actor panicked"
            );
            metrics.count(Fact::Panic(actor)).await;
        }
        Outcome::Aborted => {
            tracing::warn!(actor_type = actor.as_str(), actor_id = id, "actor did not end in time and was aborted");
        }
        Outcome::Finished => tracing::debug!(actor_type = actor.as_str(), actor_id = id, "actor ended"),
    }
}
