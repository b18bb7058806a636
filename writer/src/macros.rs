//! The declarative forms: a label's values as an enum, a group of metrics as a struct.

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
            const COUNT: usize = [$($value),+].len();

            fn all() -> &'static [Self] {
                &[$(Self::$variant),+]
            }

            #[inline]
            fn index(self) -> usize {
                self as usize
            }

            fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $value,)+
                }
            }
        }
    };
}

/// Declares a struct of handles, and implements [`crate::Metrics`] for it. The doc comment of a field is its HELP.
///
/// After the name a field may set `unit` (the name's suffix) and `aggregation` (how regions are merged), in braces.
///
/// ```
/// use tachograph::{Counter, Family, Gauge, Metrics, Region};
/// tachograph::label_value! { pub enum Outcome: "outcome" { Ok = "ok", Failed = "failed" } }
/// tachograph::metrics! {
///     /// What the application counts.
///     #[derive(Debug, Clone, Copy)]
///     pub struct AppMetrics {
///         /// Requests by outcome.
///         pub requests: Family<Counter, Outcome> = "app_requests_total",
///         /// Bytes held by the cache.
///         pub cache: Gauge<i64> = "app_cache_bytes" { unit: "bytes" },
///     }
/// }
/// assert_eq!(AppMetrics::needs().series, 3);
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

        impl $name {
            $(
                fn $field() -> $crate::Desc {
                    $crate::Desc::from_doc($metric, &[$($help),*])$($(.$setting($value))*)?
                }
            )+
        }

        impl $crate::Metrics for $name {
            fn needs() -> $crate::Needs {
                let mut needs = $crate::Needs::default();
                $(needs += <$type as $crate::Registrable>::needs(&Self::$field());)+
                needs
            }

            fn register(region: &$crate::Region) -> ::std::result::Result<Self, $crate::RegisterError> {
                Ok(Self {
                    $($field: <$type as $crate::Registrable>::register(region, Self::$field())?,)+
                })
            }
        }
    };
}
