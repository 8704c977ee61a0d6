//! What a key can hold: for each type, how it is read, how it is shown, and how the table writes a default of it.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use serde_json::{Value as Json, json};
use url::Url;

use super::{
    Secret, TargetName,
    keyword::Keyword,
    reader::{
        units::{self, duration_text},
        value::Value,
    },
    redacted::Secrets,
};

/// Can be shown to the operator.
pub(crate) trait Shown {
    /// In the notation of the file; `Null`: the key is left out.
    fn shown(&self, secrets: Secrets) -> Json;

    /// Stands where there is none of it.
    fn absent() -> Json {
        Json::Null
    }
}

/// Can be read without a reader of the row's own.
pub(crate) trait Setting: Sized {
    /// `None` when it is wrong, which has been noted.
    fn read(value: &Value<'_>) -> Option<Self>;
}

/// Can be made of a default as the table writes it. One that makes no sense shows in a test, which reads them all.
pub(crate) trait FromDefault<Written> {
    /// The value of `written`.
    fn from_default(written: Written) -> Self;
}

/// One function of a trait, for many types.
macro_rules! implement {
    ($Trait:ty, fn $name:ident $arguments:tt -> $result:ty;
        $($type:ty $(where [$($generic:tt)+])? => $body:expr;)+
    ) => {$(
        impl $(<$($generic)+>)? $Trait for $type {
            #[allow(unused_variables, reason = "few types have to do with secrets")]
            fn $name $arguments -> $result {
                $body
            }
        }
    )+};
}

implement! { Setting, fn read(value: &Value<'_>) -> Option<Self>;
    bool => value.boolean();
    u32 => value.count();
    u64 => value.count();
    usize => value.count();
    i64 => value.whole(i64::MIN);
    f64 => value.number(0.0..=f64::MAX);
    String => value.name();
    PathBuf => value.name().map(Self::from);
    SocketAddr => value.address();
    Duration => value.duration();
    Secret => value.secret();
    K where [K: Keyword] => value.keyword();
    Option<T> where [T: Setting] => T::read(value).map(Some);
    Vec<T> where [T: Setting] => value.list(T::read);
}

implement! { Shown, fn shown(&self, secrets: Secrets) -> Json;
    bool => json!(self);
    u32 => json!(self);
    u64 => json!(self);
    usize => json!(self);
    i64 => json!(self);
    f64 => json!(self);
    String => json!(self);
    PathBuf => json!(self);
    SocketAddr => json!(self.to_string());
    TargetName => json!(self.to_string());
    Duration => json!(duration_text(*self));
    K where [K: Keyword] => json!(self.text());
    Option<T> where [T: Shown] => self.as_ref().map_or_else(T::absent, |held| held.shown(secrets));
    Vec<T> where [T: Shown] => self.iter().map(|held| held.shown(secrets)).collect();
    BTreeMap<K, T> where [K: AsRef<str>, T: Shown] =>
        self.iter().map(|(key, held)| (key.as_ref().to_owned(), held.shown(secrets))).collect();
}

implement! { FromDefault<&'static str>, fn from_default(text: &'static str) -> Self;
    usize => units::size(text).unwrap_or_default();
    String => text.to_owned();
    PathBuf => Self::from(text);
    SocketAddr => text.parse().unwrap_or((Ipv4Addr::LOCALHOST, 0).into());
    Duration => units::duration(text).unwrap_or_default();
    Option<Duration> => units::duration(text).filter(|duration| !duration.is_zero());
    K where [K: Keyword] => Self::parse(text).unwrap_or(Self::WORDS[0].1);
}

impl<T> FromDefault<T> for T {
    fn from_default(written: T) -> T {
        written
    }
}

impl<const N: usize> FromDefault<[&'static str; N]> for Vec<String> {
    fn from_default(written: [&'static str; N]) -> Self {
        written.map(str::to_owned).to_vec()
    }
}

impl Shown for Secret {
    fn shown(&self, secrets: Secrets) -> Json {
        secrets.stand_in(self.expose().as_bytes())
    }

    fn absent() -> Json {
        json!("")
    }
}

impl Shown for Url {
    fn shown(&self, _: Secrets) -> Json {
        json!(self.as_str())
    }

    fn absent() -> Json {
        json!("")
    }
}
