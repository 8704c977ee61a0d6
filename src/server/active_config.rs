//! What a configuration makes of the server, and the one that is in force.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio_rustls::TlsAcceptor;

use super::{authn::Keyring, tls_acceptor::tls_acceptor};
use crate::{config::Config, events::Events, tasks::Tasks, upstream::Snapshot};

/// What a configuration makes of the server; replaced as a whole.
pub(crate) struct ActiveConfig {
    /// Configuration and targets.
    pub snapshot: Arc<Snapshot>,
    pub(super) keys: Keyring,
    pub(super) tls: Option<TlsAcceptor>,
}

impl ActiveConfig {
    /// What `config` makes of the server; targets that `before` had keep what is known of them.
    ///
    /// # Errors
    /// The files of the certificate or a provider's settings are of no use.
    pub(crate) fn new(
        config: Config,
        before: Option<&Snapshot>,
        events: &Events,
        tasks: &Tasks,
    ) -> Result<Self, String> {
        let keys = Keyring::new(&config.auth);
        let tls = config.server.tls.as_ref().map(tls_acceptor).transpose()?;
        let snapshot = Snapshot::new(config, before, events, tasks)?;
        Ok(Self { snapshot: Arc::new(snapshot), keys, tls })
    }
}

/// The configuration in force, for all that must not keep an old one.
#[derive(Clone)]
pub(crate) struct CurrentConfig(Arc<ArcSwap<ActiveConfig>>);

impl CurrentConfig {
    /// `active` is in force.
    pub(crate) fn new(active: ActiveConfig) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(active)))
    }

    /// What is in force now.
    pub(crate) fn load(&self) -> Arc<ActiveConfig> {
        self.0.load_full()
    }

    /// Its targets.
    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        self.0.load().snapshot.clone()
    }

    pub(super) fn tls(&self) -> Option<TlsAcceptor> {
        self.0.load().tls.clone()
    }

    /// Puts `active` in force. Calls in flight end under the old one.
    pub(crate) fn replace(&self, active: ActiveConfig) {
        self.0.store(Arc::new(active));
    }
}
