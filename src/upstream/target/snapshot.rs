//! One configuration and its targets, replaced as a whole; a call pins the one it was admitted under.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::AtomicUsize},
};

use foldhash::fast::RandomState;
use tokio::time::Instant;

use super::{Availability, RequestNeed, Target, TargetState, ad_hoc::AdHocTargets, model::Model};
use crate::{
    config::{self, Config, TargetName},
    events::Events,
    tasks::Tasks,
    telemetry::metrics::{ModelMeters, OTHER, TargetMeters},
    upstream::provider::Provider,
};

/// Longest name of an ad-hoc target, in bytes.
const MAX_NAME: usize = 256;

/// Models by name. The names come from the configuration, so no client can choose colliding ones.
type Models = HashMap<String, Arc<Model>, RandomState>;

/// A configuration and its targets.
pub struct Snapshot {
    /// The configuration of the snapshot.
    pub config: Config,
    providers: HashMap<String, Arc<Provider>>,
    models: Models,
    direct: AdHocTargets,
    /// The metrics of all ad-hoc targets together, and of the requests for them.
    others: Option<Others>,
    events: Events,
}

/// Metrics of names that clients use and the configuration does not have.
#[derive(Clone)]
struct Others {
    target: Arc<TargetMeters>,
    model: Arc<ModelMeters>,
}

impl Others {
    fn new() -> Self {
        Self { target: Arc::new(TargetMeters::new(OTHER.into())), model: Arc::default() }
    }
}

impl Snapshot {
    /// The targets of `config`; those that `before` had keep their state and their connections.
    pub fn new(
        config: Config,
        before: Option<&Snapshot>,
        events: &Events,
        tasks: &Tasks,
    ) -> Result<Self, String> {
        let mut providers = HashMap::new();
        for provider in &config.providers {
            let old = before.and_then(|before| before.providers.get(&provider.name));
            let provider = match old.filter(|old| old.is_same(provider)) {
                Some(kept) => kept.clone(),
                None => Provider::new(provider.clone(), &config.resilience, tasks.clone())
                    .map_err(|error| format!("providers.{}: {error}", provider.name))?,
            };
            provider.drain(old.is_some_and(|old| old.is_drained()));
            providers.insert(provider.config.name.clone(), provider);
        }
        let counted = before.and_then(|before| before.others.clone());
        let others = config.telemetry.metrics.then(|| counted.unwrap_or_else(Others::new));
        let events = events.clone();
        let (models, direct) = (Models::default(), AdHocTargets::default());
        let mut snapshot = Self { config, providers, models, direct, others, events };
        snapshot.models = snapshot.build_models(before);
        snapshot.keep_drained(before);
        Ok(snapshot)
    }

    fn build_models(&self, before: Option<&Snapshot>) -> Models {
        let mut known: HashMap<Arc<str>, Arc<TargetState>> = HashMap::new();
        let old = before.into_iter().flat_map(Snapshot::targets);
        let old: HashMap<_, _> = old.map(|target| (target.id.clone(), target)).collect();
        let mut meters: HashMap<Arc<str>, Option<Arc<TargetMeters>>> = HashMap::new();
        let mut models = Models::default();
        for config in &self.config.models {
            let target = |name: &TargetName| {
                let id: Arc<str> = Arc::from(name.to_string());
                let provider = self.providers.get(&name.provider)?.clone();
                let known = known.entry(id.clone()).or_insert_with(|| match old.get(&id) {
                    Some(old) => inherit(old, &provider),
                    None => self.new_known(&id, &provider),
                });
                let meters = meters.entry(id.clone()).or_insert_with(|| self.meters_of(&id, old.get(&id)));
                let (known, meters) = (known.clone(), meters.clone());
                Some(Arc::new(Target { id, name: name.clone(), provider, state: known, meters }))
            };
            let targets = config.targets.iter().filter_map(target).collect();
            let meters = self.meters_of_model(&config.name, before);
            let model = Arc::new(self.model_of(config.clone(), targets, (false, meters)));
            for alias in &config.alias {
                models.insert(alias.clone(), model.clone());
            }
            models.insert(config.name.clone(), model);
        }
        models
    }

    /// An operator's command holds until it is revoked, also for a target that is in no model (any more).
    fn keep_drained(&self, before: Option<&Snapshot>) {
        let old = before.into_iter().flat_map(Snapshot::targets);
        for old in old.filter(|old| old.state.is_drained() && self.find(&old.id).is_none()) {
            let Some(provider) = self.providers.get(&old.name.provider) else { continue };
            let known = inherit(&old, provider);
            self.direct.keep(self.ad_hoc_model(self.unlisted(&old.name, provider, known)));
        }
    }

    fn new_known(&self, id: &Arc<str>, provider: &Provider) -> Arc<TargetState> {
        TargetState::new(id.clone(), provider.is_drained(), &self.config, self.events.clone())
    }

    /// The metrics that `old` had, unless it was counted with the ad-hoc targets.
    fn meters_of(&self, id: &Arc<str>, old: Option<&Arc<Target>>) -> Option<Arc<TargetMeters>> {
        let counted = old.and_then(|old| old.meters.clone()).filter(|meters| meters.label == *id);
        let new = || Arc::new(TargetMeters::new(id.clone()));
        self.config.telemetry.metrics.then(|| counted.unwrap_or_else(new))
    }

    /// The metrics of the model that had this name before, not as an alias.
    fn meters_of_model(&self, name: &str, before: Option<&Snapshot>) -> Option<Arc<ModelMeters>> {
        let old = before.and_then(|before| before.models.get(name)).filter(|old| old.config.name == name);
        let counted = old.and_then(|old| old.meters.clone());
        self.config.telemetry.metrics.then(|| counted.unwrap_or_default())
    }

    fn model_of(
        &self,
        config: config::ModelConfig,
        targets: Vec<Arc<Target>>,
        (direct, meters): (bool, Option<Arc<ModelMeters>>),
    ) -> Model {
        let routing = &self.config.routing;
        let strategy = config.strategy.unwrap_or(routing.strategy);
        let turn = AtomicUsize::new(0);
        Model { config, targets, direct, meters, strategy, temperature: routing.temperature, turn }
    }

    /// The model of this name or alias.
    pub fn model(&self, name: &str) -> Option<&Arc<Model>> {
        self.models.get(name)
    }

    /// The model whose only target is `name`; `None` without such a provider.
    pub fn ad_hoc(&self, name: &TargetName) -> Option<Arc<Model>> {
        let id = name.to_string();
        if id.len() > MAX_NAME {
            return None;
        }
        if let Some(model) = self.direct.asked(&id) {
            return Some(model);
        }
        let model = self.new_ad_hoc(name)?;
        self.direct.keep(model.clone());
        Some(model)
    }

    /// The same without creating it: a name that was never requested leaves no trace.
    pub fn peek_ad_hoc(&self, name: &TargetName) -> Option<Arc<Model>> {
        self.direct.look(&name.to_string()).or_else(|| self.new_ad_hoc(name))
    }

    fn new_ad_hoc(&self, name: &TargetName) -> Option<Arc<Model>> {
        let id = name.to_string();
        let target = match self.find(&id) {
            Some(target) => target,
            None => {
                let provider = self.providers.get(&name.provider)?;
                self.unlisted(name, provider, self.new_known(&Arc::from(id), provider))
            }
        };
        Some(self.ad_hoc_model(target))
    }

    /// A target that is in no model.
    fn unlisted(&self, name: &TargetName, provider: &Arc<Provider>, known: Arc<TargetState>) -> Arc<Target> {
        let (id, provider) = (Arc::from(name.to_string()), provider.clone());
        let meters = self.others.as_ref().map(|others| others.target.clone());
        Arc::new(Target { id, name: name.clone(), provider, state: known, meters })
    }

    fn ad_hoc_model(&self, target: Arc<Target>) -> Arc<Model> {
        let config = config::ModelConfig {
            name: target.id.to_string(),
            alias: Vec::new(),
            targets: vec![target.name.clone()],
            fallbacks: Vec::new(),
            context_window: None,
            first_token_timeout: None,
            weights: Vec::new(),
            strategy: None,
        };
        let meters = self.others.as_ref().map(|others| others.model.clone());
        Arc::new(self.model_of(config, vec![target], (true, meters)))
    }

    /// The requested model and its fallbacks, in the order in which they are tried, each once.
    pub fn chain(&self, asked: &Arc<Model>) -> Vec<Arc<Model>> {
        let mut chain = vec![asked.clone()];
        let mut at = 0;
        while let Some(model) = chain.get(at).cloned() {
            for fallback in model.config.fallbacks.iter().filter_map(|name| self.models.get(name)) {
                if !chain.iter().any(|known| Arc::ptr_eq(known, fallback)) {
                    chain.push(fallback.clone());
                }
            }
            at += 1;
        }
        chain
    }

    /// The provider of this name.
    pub fn provider(&self, name: &str) -> Option<&Arc<Provider>> {
        self.providers.get(name)
    }

    /// The configured providers.
    pub fn providers(&self) -> impl Iterator<Item = &Arc<Provider>> {
        self.providers.values()
    }

    /// The models, in the order of the configuration.
    pub fn models(&self) -> impl Iterator<Item = &Arc<Model>> {
        self.config.models.iter().filter_map(|model| self.models.get(&model.name))
    }

    /// The metrics of ad-hoc targets, and of the requests for them.
    pub fn others(&self) -> Option<(&TargetMeters, &ModelMeters)> {
        self.others.as_ref().map(|others| (&*others.target, &*others.model))
    }

    /// Every target of every model once, in the order of the configuration, then the ad-hoc targets.
    pub fn targets(&self) -> Vec<Arc<Target>> {
        self.targets_in_models().into_iter().map(|(_, target)| target).collect()
    }

    /// Every target with the first model it is in.
    pub fn targets_in_models(&self) -> Vec<(Arc<Model>, Arc<Target>)> {
        let mut seen = std::collections::HashSet::new();
        let models = self.models().cloned().chain(self.direct.all());
        let each =
            models.flat_map(|model| model.targets.clone().into_iter().map(move |t| (model.clone(), t)));
        each.filter(|(_, target)| seen.insert(target.id.clone())).collect()
    }

    /// The target `provider/model`, if it is in a model or an ad-hoc target.
    pub fn find(&self, id: &str) -> Option<Arc<Target>> {
        let in_models = self.models().flat_map(|model| &model.targets).find(|target| &*target.id == id);
        in_models.cloned().or_else(|| self.direct.look(id)?.targets.first().cloned())
    }

    /// Whether any target may be tried now.
    pub fn can_serve(&self, now: Instant) -> bool {
        let need = RequestNeed::default();
        self.models()
            .any(|model| model.eligibilities(&need, now).iter().any(|s| s.access != Availability::Out))
    }

    /// The name most similar to `asked`, for "did you mean".
    pub fn nearest_model(&self, asked: &str) -> Option<String> {
        let close = |name: &&String| strsim::jaro_winkler(name, asked) > 0.8;
        let rank = |a: &&String, b: &&String| {
            strsim::jaro_winkler(a, asked).total_cmp(&strsim::jaro_winkler(b, asked))
        };
        self.models.keys().filter(close).max_by(rank).cloned()
    }
}

/// The state of a target survives a reload; a misconfiguration does not survive a change of its provider.
fn inherit(old: &Target, provider: &Arc<Provider>) -> Arc<TargetState> {
    if !Arc::ptr_eq(&old.provider, provider) {
        old.state.clear_misconfiguration();
    }
    old.state.clone()
}
