//! The reference controller: a small, real actor system on tokio that writes its metrics through `tachograph`.
//!
//! What it promises:
//! - **One cell per fact.** Every quantity is in exactly one series of the region; whoever needs it reads that one.
//! - **Depth is true.** A message counts from the moment it is put into a mailbox until it is taken out; an actor's share
//!   goes with the actor, however it ends.
//! - **A parent knows.** The end of a child, by return, panic or abort, is told to its parent at once, without a message.
//!
//! Controller, meetings and connections form a tree: [`controller`], [`meeting`], [`connection`]. Actors are built of
//! [`actor`] (address and mailbox) and [`supervision`] (children); they count through [`actor_metrics`] and mark what they do
//! through [`activities`]. [`cli`] is the
//! binary: a deterministic [`load`], the services around it simulated by [`backend`], faults, and the [`acks`] that a test
//! holds against the region.
//!
//! ```
//! use meeting_controller::{ActorMetrics, Controller, ControllerConfig, McMetrics};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! let region = tachograph::Region::private("doc")?;
//! let metrics = region.metrics::<McMetrics>()?;
//! let controller = Controller::spawn(ControllerConfig::default(), &ActorMetrics::new(metrics));
//! let meeting = controller.create("stand-up").await?;
//! meeting.join("ada").await?;
//! assert_eq!((metrics.meetings.get(), metrics.participants.get()), (1, 1));
//! controller.shutdown().await;
//! assert_eq!((metrics.meetings.get(), metrics.participants.get()), (0, 0));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod acks;
pub mod activities;
pub mod actor;
pub mod actor_metrics;
pub mod backend;
pub mod cli;
pub mod connection;
pub mod controller;
pub mod controller_metrics;
pub mod fact;
pub mod heartbeat;
pub mod labels;
pub mod load;
pub mod mailbox;
pub mod meeting;
pub mod metrics;
pub mod process_usage;
pub mod supervision;
mod timeline;
pub mod witness;

pub use activities::Activities;
pub use actor::{Address, Mailbox, Refused};
pub use actor_metrics::ActorMetrics;
pub use cli::{main_from, runtime};
pub use controller::{Controller, ControllerConfig, ControllerError, ControllerHandle};
pub use controller_metrics::ControllerMetrics;
pub use fact::{CountedSeries, Fact};
pub use mailbox::{MailboxLevel, MailboxMonitor};
pub use meeting::{MeetingError, MeetingHandle};
pub use metrics::{ActorType, HeartbeatStatus, HeartbeatType, McMetrics};
pub use witness::Witness;
