//! The declarative forms, for whoever wants no derive: they write the same impls as the derives do.

/// Declares an enum whose variants are the values of a label, and implements [`crate::LabelValue`] for it.
///
/// The enum is `Clone`, `Copy`, `PartialEq` and `Eq`; further derives may be named.
///
/// ```
/// tachograph::label_value! {
///     /// Kind of actor.
///     #[derive(Debug, Hash)]
///     pub enum ActorType: "actor_type" {
///         /// The one on top.
///         Controller = "controller",
///         /// One a meeting.
///         Meeting = "meeting",
///     }
/// }
/// assert_eq!(format!("{:?}", ActorType::Meeting), "Meeting");
/// ```
#[macro_export]
macro_rules! label_value {
    (
        $(#[$meta:meta])*
        $vis:vis enum $name:ident : $key:literal {
            $($(#[$variant_meta:meta])* $variant:ident = $value:literal),+ $(,)?
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq)]
        $vis enum $name {
            $($(#[$variant_meta])* $variant,)+
        }

        impl $crate::LabelValue for $name {
            const KEY: &'static str = $key;
            const VALUES: &'static [&'static str] = &[$($value),+];

            fn all() -> &'static [Self] {
                &[$(Self::$variant),+]
            }

            #[inline]
            fn index(self) -> usize {
                self as usize
            }
        }

        const _: () = $crate::expansion::check_label::<$name>();
    };
}

/// Declares a struct of handles, and implements [`crate::Metrics`] for it. The first paragraph of a field's doc comment
/// is its HELP.
///
/// After the name a field may set `unit` (the name's suffix), `aggregation` (how regions are merged) and `bounds` (of a
/// histogram), in braces; an `OpenFamily` sets `labels` and `budget` there, and may set `label_area` (bytes) and
/// `linger_seconds`. Exponential buckets other than the default ones are set by the derive, or by [`crate::Desc`].
///
/// ```
/// use tachograph::{Counter, Family, Gauge, Metrics, OpenFamily, Region};
/// tachograph::label_value! { pub enum Outcome: "outcome" { Ok = "ok", Failed = "failed" } }
/// tachograph::metrics! {
///     /// What the application counts.
///     #[derive(Debug, Clone, Copy)]
///     pub struct AppMetrics {
///         /// Requests by outcome.
///         pub requests: Family<Counter, Outcome> = "app_requests_total",
///         /// Bytes held by the cache.
///         pub cache: Gauge<i64> = "app_cache_bytes" { unit: "bytes" },
///         /// Messages by peer.
///         pub messages: OpenFamily<Counter, 1> = "app_messages_total" { labels: &["peer"], budget: 100 },
///     }
/// }
/// const { assert!(AppMetrics::SERIES == 3 + 101) }
/// let region = Region::private("doc")?;
/// let metrics = region.metrics::<AppMetrics>()?;
/// metrics.requests.at(Outcome::Ok).inc();
/// metrics.cache.set(4096);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[macro_export]
macro_rules! metrics {
    (
        $(#[$meta:meta])*
        $vis:vis struct $name:ident {
            $(
                $(#[doc = $help:literal])*
                $field_vis:vis $field:ident : $type:ty = $metric:literal $({ $($setting:ident : $value:expr),* $(,)? })?
            ),+ $(,)?
        }
    ) => {
        $(#[$meta])*
        $vis struct $name {
            $($(#[doc = $help])* $field_vis $field: $type,)+
        }

        impl $crate::Metrics for $name {
            const MEMBERS: &'static [$crate::Member] =
                &[$($crate::Member::named::<$type>($metric, &[$($help),*])$($(.$setting($value))*)?),+];

            fn register(region: &$crate::Region, outer: &str) -> ::core::result::Result<Self, $crate::RegisterError> {
                ::core::result::Result::Ok(Self {
                    $($field: <$type as $crate::Registrable>::register(
                        region,
                        $crate::Member::named::<$type>($metric, &[$($help),*])$($(.$setting($value))*)?.desc(outer),
                    )?,)+
                })
            }
        }

        const _: () = $crate::expansion::check_members(<$name as $crate::Metrics>::MEMBERS);
    };
}
