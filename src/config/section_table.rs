//! One table per section of the file: from its rows come the struct, the defaults, the reader, the JSON for the
//! operator, and the list that the documentation is held to. So a key stands here, in the docs, and nowhere else.
//!
//! ```text
//! section! {
//!     /// `[breaker]`
//!     [breaker] pub struct Breaker {
//!         /// Over which time the ratio is taken.                     what it is for
//!         window: Duration = "30s", read Value::positive;
//!         ^       ^          ^      ^
//!         key     type       |      constraint, where the type's own reader is too lax (see `setting`)
//!                            default, as the file would write it; without one the key must be written
//!     }
//! }
//! ```
//!
//! | more, for few rows | |
//! | --- | --- |
//! | `= (…)` | a default that is computed from the rows above |
//! | `stated "…"` | how the documentation says such a default |
//! | `show …` | how the value is shown, where it is not shown as its type is |
//! | `[[providers]]` | one of several tables: it has no default as a whole, and reading it may fail |
//! | `Breaker(section, …)` | names the table that is read, and what its rows need from others |
//! | `joint { … }` | keys that are no fields, but make one together with others |
//! | `made { … }` | fields that are no keys, and `by` what they are made |
//! | `rules { … }` | what holds between the keys; every row above is bound to its name |
//!
//! Rows are read in their order. One that must be written is an `Option` until the end, so that its absence hides no
//! other mistake.

/// Makes all of this from one table: first the two kinds of table, then what comes from all rows, then from one.
macro_rules! section {
    ($(#[$doc:meta])+ [[$($path:tt)+]] pub struct $Name:ident $args:tt $rows:tt $($more:tt)*) => {
        section! { @table [[$($path)+]] Option<Self>, (Some) [$(#[$doc])+] $Name $args $rows $($more)* }
    };
    ($(#[$doc:meta])+ [$path:ident] pub struct $Name:ident { $($rows:tt)* }) => {
        section! { $(#[$doc])+ [$path] pub struct $Name(section) { $($rows)* } }
    };
    ($(#[$doc:meta])+ [$path:ident] pub struct $Name:ident $args:tt $rows:tt $($more:tt)*) => {
        section! { @table [$path] Self, () [$(#[$doc])+] $Name $args $rows $($more)* }
        section! { @default $Name $rows $($more)* }
    };
    (@table $header:tt $result:ty, ($($wrap:ident)?) [$(#[$doc:meta])+] $Name:ident
        ($section:ident $(, $arg:ident: $argument:ty)*)
        { $(
            $(#[doc = $about:literal])+
            $key:ident: $type:ty $(= $default:tt)?
            $(, stated $stated:literal)? $(, read $read:expr)? $(, show $show:expr)?;
        )* }
        $(joint { $(
            $(#[doc = $about_joint:literal])+
            $joint:ident: $joint_type:ty = $joint_default:tt
            $(, read $joint_read:expr)?, show $joint_show:expr;
        )* })?
        $(made { $(
            $(#[$about_made:meta])+
            $made:ident: $made_type:ty $(= $made_default:tt)?, by $by:expr;
        )* })?
        $(rules { $($rules:tt)* })?
    ) => {
        $(#[$doc])+
        #[derive(Debug, Clone, PartialEq)]
        pub struct $Name {
            $($(#[doc = $about])+ pub $key: $type,)*
            $($($(#[$about_made])+ pub $made: $made_type,)*)?
        }

        impl $Name {
            /// Reads every key and notes every mistake; what is wrong counts as not written.
            #[allow(unused_variables, reason = "a joint key may be there for the reader of the whole list")]
            pub(super) fn read<'a>(
                $section: &$crate::config::reader::section::Section<'a> $(, $arg: $argument)*
            ) -> $result {
                $(let $key = section!(@read $section $key $type, [$($default)?] [$($read)?]);)*
                $($(
                    let $joint = section!(@read $section $joint $joint_type, [$joint_default] [$($joint_read)?]);
                )*)?
                $($($rules)*)?
                $($(let $made = $by;)*)?
                $($wrap)? (Self {
                    $($key: section!(@whole $key [$($default)?]),)*
                    $($($made: section!(@whole $made [$($made_default)?]),)*)?
                })
            }
        }

        impl $crate::config::setting::Shown for $Name {
            fn shown(&self, secrets: $crate::config::redacted::Secrets) -> serde_json::Value {
                $crate::config::redacted::object([
                    $((stringify!($key), section!(@show self $key secrets [$($show)?])),)*
                    $($((stringify!($joint), section!(@show self $joint secrets [$joint_show])),)*)?
                ])
            }
        }

        #[cfg(test)]
        impl $crate::config::tests::Documented for $Name {
            fn keys() -> Vec<$crate::config::tests::Key> {
                vec![
                    $(section!(@key $header $key [$($default)?] [$($stated)?] [$($about)+]),)*
                    $($(section!(@key $header $joint [$joint_default] [] [$($about_joint)+]),)*)?
                ]
            }
        }
    };
    (@default $Name:ident
        { $(
            $(#[$about:meta])+
            $key:ident: $type:ty = $default:tt
            $(, stated $stated:literal)? $(, read $read:expr)? $(, show $show:expr)?;
        )* }
        $(joint $joint:tt)?
        $(made { $($(#[$about_made:meta])+ $made:ident: $made_type:ty = $made_default:tt, by $by:expr;)* })?
        $(rules $rules:tt)?
    ) => {
        impl Default for $Name {
            fn default() -> Self {
                $(let $key = section!(@typed $type, $default);)*
                Self { $($key,)* $($($made: section!(@typed $made_type, $made_default),)*)? }
            }
        }
    };
    (@typed $type:ty, None) => { <$type>::default() };
    (@typed $type:ty, "") => { <$type>::default() };
    (@typed $type:ty, []) => { <$type>::default() };
    (@typed $type:ty, {}) => { <$type>::default() };
    (@typed $type:ty, ($default:expr)) => { $default };
    (@typed $type:ty, $default:expr) => {
        <$type as $crate::config::setting::FromDefault<_>>::from_default($default)
    };
    (@reader $type:ty, []) => { <$type as $crate::config::setting::Setting>::read };
    (@reader $type:ty, [$read:expr]) => { $read };
    (@read $section:ident $key:ident $type:ty, [] $read:tt) => {
        $section.required(stringify!($key), section!(@reader $type, $read))
    };
    (@read $section:ident $key:ident $type:ty, [$default:tt] $read:tt) => {
        $section.or(stringify!($key), section!(@typed $type, $default), section!(@reader $type, $read))
    };
    (@whole $key:ident []) => { $key? };
    (@whole $key:ident [$default:tt]) => { $key };
    (@show $this:ident $key:ident $secrets:ident []) => {
        $crate::config::setting::Shown::shown(&$this.$key, $secrets)
    };
    (@show $this:ident $key:ident $secrets:ident [$show:expr]) => {{
        let show: fn(&Self, $crate::config::redacted::Secrets) -> serde_json::Value = $show;
        show($this, $secrets)
    }};
    (@key $header:tt $key:ident $default:tt $stated:tt [$($about:literal)+]) => {
        (stringify!($header), stringify!($key), section!(@stated $default $stated), concat!($($about),+)).into()
    };
    (@stated $default:tt [$stated:literal]) => { $stated };
    (@stated [] []) => { "–" };
    (@stated [None] []) => { "–" };
    (@stated [[]] []) => { "–" };
    (@stated [{}] []) => { "–" };
    (@stated [$default:tt] []) => { concat!("`", stringify!($default), "`") };
}
pub(in crate::config) use section;

/// The table of the sections themselves.
macro_rules! document {
    ($(#[$doc:meta])+ pub struct $Name:ident { $($(#[$about:meta])+ $section:ident: $type:ty,)+ }) => {
        $(#[$doc])+
        #[derive(Debug, Clone, PartialEq, Default)]
        pub struct $Name { $($(#[$about])+ pub $section: $type,)+ }

        impl $crate::config::setting::Shown for $Name {
            fn shown(&self, secrets: $crate::config::redacted::Secrets) -> serde_json::Value {
                $crate::config::redacted::object([$((stringify!($section), self.$section.shown(secrets)),)+])
            }
        }

        #[cfg(test)]
        impl $crate::config::tests::Documented for $Name {
            fn keys() -> Vec<$crate::config::tests::Key> {
                [$(<$type as $crate::config::tests::Documented>::keys(),)+].concat()
            }
        }
    };
}
pub(in crate::config) use document;
