//! What the configuration allows, over all gateways.

use crate::{
    admission::request::Operation,
    config::{self, Config},
};

/// Slots and limits of the configuration.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LimitPolicy {
    pub slots: config::SlotsConfig,
    pub limits: config::LimitsConfig,
}

impl From<&Config> for LimitPolicy {
    fn from(config: &Config) -> Self {
        Self { slots: config.slots.clone(), limits: config.limits.clone() }
    }
}

impl LimitPolicy {
    /// Whether anything is counted per minute.
    pub(crate) fn limits_anything(&self) -> bool {
        self.limits != config::LimitsConfig::default()
    }

    /// Slots of each user for `operation`.
    pub(crate) fn per_user(&self, operation: Operation) -> u32 {
        self.slots.limit(operation)
    }
}
