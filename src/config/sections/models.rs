//! `[[models]]`: what clients may ask for, and who can answer.
//!
//! Targets of skipped providers are dropped, and a model that loses all of them is not offered; both are
//! said in one warning per model. Two passes: fallbacks may name models that come later.

use std::collections::BTreeSet;

use serde_json::{Value as Json, json};

use super::providers::{ProviderStatus, Providers};
use crate::config::{
    Strategy, Timeout,
    keyword::Keyword,
    reader::{section::Section, value::Value},
    section_table::section,
    suggest::did_you_mean,
};

section! {
    /// `[[models]]`
    [[models]] pub struct ModelConfig(section, usual: Strategy) {
        /// What clients ask for.
        name: String;
        /// The targets that can answer; at least one.
        targets: Vec<TargetName>, read targets;
        /// Other models, by name, tried when every target has failed or is out.
        fallbacks: Vec<String> = [];
        /// Other names of it.
        alias: Vec<String> = [];
        /// Tokens that fit; `None`: not stated.
        context_window: Option<u64> = None;
        /// Overrides `resilience.first_token_timeout`.
        first_token_timeout: Option<Timeout> = None, stated "`resilience.first_token_timeout`";
        /// Overrides `routing.strategy`.
        strategy: Option<Strategy> = None, stated "`routing.strategy`";
        /// For `strategy = "weighted"`, one per target, not all zero; empty: all equal.
        weights: Vec<f64> = [],
            read |value| weights(value, section, strategy.unwrap_or(usual)),
            show |model, _| if model.weights.is_empty() { Json::Null } else { json!(model.weights) };
    }
}

/// `provider/model`, split at the first slash.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TargetName {
    /// Name of the provider.
    pub provider: String,
    /// The provider's name for the model; may hold slashes.
    pub model: String,
}

impl TargetName {
    /// Reads `provider/model`; `None` when there is no slash or one side is empty.
    pub fn parse(text: &str) -> Option<Self> {
        let (provider, model) = text.split_once('/')?;
        let whole = !provider.is_empty() && !model.is_empty();
        whole.then(|| Self { provider: provider.to_owned(), model: model.to_owned() })
    }
}

impl std::fmt::Display for TargetName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.provider, self.model)
    }
}

/// What `[[models]]` says.
pub(crate) struct ModelSections {
    /// Those with at least one target.
    pub offered: Vec<ModelConfig>,
    /// Every name and alias written, offered or not.
    pub names: BTreeSet<String>,
}

/// A model whose own keys are checked; without its targets there is none, but others may still name it: one mistake is
/// one problem.
struct Draft<'a> {
    table: Section<'a>,
    name: String,
    alias: Vec<(Value<'a>, String)>,
    model: Option<ModelConfig>,
}

/// Reads every `[[models]]`; `strategy` is what models without their own use.
pub(crate) fn read(root: &Section<'_>, providers: &Providers, strategy: Strategy) -> ModelSections {
    let drafts: Vec<Draft> =
        root.tables("models").into_iter().filter_map(|table| draft(table, strategy)).collect();
    let names = check_names(&drafts);
    let mut offered: Vec<ModelConfig> = drafts
        .iter()
        .filter_map(|draft| {
            let fallbacks = fallbacks(draft, &drafts, &names);
            offer(draft, providers).map(|model| ModelConfig { fallbacks, ..model })
        })
        .collect();
    let usable: BTreeSet<String> = offered.iter().map(|model| model.name.clone()).collect();
    for model in &mut offered {
        model.fallbacks.retain(|name| usable.contains(name));
    }
    ModelSections { offered, names }
}

fn draft(table: Section<'_>, usual: Strategy) -> Option<Draft<'_>> {
    let model = ModelConfig::read(&table, usual);
    table.refuse_unknown();
    let name = table.opt("name", Value::name)?;
    let alias = table.placed("alias", Value::name);
    Some(Draft { table, name, alias, model })
}

fn targets(value: &Value<'_>) -> Option<Vec<TargetName>> {
    if value.raw().as_array().is_some_and(|array| array.is_empty()) {
        return value.fail("a model needs at least one target, written \"provider/model\"");
    }
    value.list(Value::target)
}

/// One weight per target as written, or none at all.
fn weights(value: &Value<'_>, table: &Section<'_>, strategy: Strategy) -> Option<Vec<f64>> {
    let length = |value: &Value<'_>| value.raw().as_array().map(|array| array.len());
    let (targets, written) = (table.value("targets").as_ref().and_then(length), length(value));
    let weights = value.list(|element| element.number(0.0..=f64::MAX))?;
    if let (Some(targets), Some(written)) = (targets, written.filter(|written| Some(*written) != targets)) {
        return value.fail(format!("needs one weight per target: {targets}, found {written}"));
    }
    if Some(weights.len()) == written && weights.iter().all(|weight| *weight == 0.0) {
        return value.fail("at least one weight must be more than 0");
    }
    if strategy != Strategy::Weighted {
        let word = strategy.as_str();
        value.warn(format!("has no effect, for the strategy is {word:?}; write strategy = \"weighted\""));
    }
    Some(weights)
}

/// Every name and alias means one model; answers them all.
fn check_names(drafts: &[Draft<'_>]) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for draft in drafts {
        if !names.insert(draft.name.clone()) {
            let message = format!("there is already a model `{}`; put its targets together", draft.name);
            draft.table.error_at("name", message);
        }
    }
    let models = names.clone();
    for (value, alias) in drafts.iter().flat_map(|draft| &draft.alias) {
        if models.contains(alias) {
            value.error(format!("`{alias}` is a model of its own and cannot be an alias too"));
        } else if !names.insert(alias.clone()) {
            value.error(format!("`{alias}` is already an alias; it can mean only one model"));
        }
    }
    names
}

/// The models that `draft` falls back to, by their real names.
fn fallbacks(draft: &Draft<'_>, drafts: &[Draft<'_>], names: &BTreeSet<String>) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for (value, name) in draft.table.placed("fallbacks", Value::name) {
        let is_meant = |other: &&Draft<'_>| other.name == name || other.alias.iter().any(|(_, a)| *a == name);
        match drafts.iter().find(is_meant) {
            Some(other) if other.name == draft.name => {
                value.error(format!("`{name}` cannot fall back to itself"));
            }
            Some(other) if found.contains(&other.name) => {
                value.error(format!("`{name}` is listed twice"));
            }
            Some(other) => found.push(other.name.clone()),
            None => {
                let hint = did_you_mean(&name, names.iter().map(String::as_str));
                value.error(format!("there is no model `{name}` under [[models]]{hint}"));
            }
        }
    }
    found
}

/// `draft` with the targets and weights that are left; `None` when there are none.
fn offer(draft: &Draft<'_>, providers: &Providers) -> Option<ModelConfig> {
    let whole = draft.model.as_ref()?;
    let mut model = ModelConfig { targets: Vec::new(), weights: Vec::new(), ..whole.clone() };
    let mut lost = Vec::new();
    let targets = draft.table.placed("targets", Value::target);
    for (i, (value, target)) in targets.iter().enumerate() {
        if targets.iter().take(i).any(|(_, earlier)| earlier == target) {
            value.error(format!("`{target}` is listed twice; use `weights` to give it more"));
        }
        match providers.status(&target.provider) {
            None => value.error(providers.unknown(&target.provider)),
            Some(ProviderStatus::Live(_) | ProviderStatus::Faulty) => {
                model.targets.push(target.clone());
                model.weights.extend(whole.weights.get(i));
            }
            Some(status) => lost.push((target, status)),
        }
    }
    if model.weights.iter().all(|weight| *weight == 0.0) {
        model.weights.clear();
    }
    warn_of_loss(draft, &lost, model.targets.is_empty());
    (!model.targets.is_empty()).then_some(model)
}

/// Says which targets a model loses, and why.
fn warn_of_loss(draft: &Draft<'_>, lost: &[(&TargetName, &ProviderStatus)], nothing_left: bool) {
    if lost.is_empty() {
        return;
    }
    let (mut unset, mut disabled) = (BTreeSet::new(), BTreeSet::new());
    for (target, status) in lost {
        match status {
            ProviderStatus::Unset(names) => unset.extend(names.iter().map(String::as_str)),
            ProviderStatus::Live(_) | ProviderStatus::Disabled | ProviderStatus::Faulty => {
                disabled.insert(target.provider.as_str());
            }
        }
    }
    let reasons: Vec<String> = [(unset, "not set"), (disabled, "disabled")]
        .into_iter()
        .filter(|(names, _)| !names.is_empty())
        .map(|(names, what)| format!("{} {what}", Vec::from_iter(names).join(", ")))
        .collect();
    let reasons = reasons.join("; ");
    let message = if nothing_left {
        format!("the model `{}` is not offered, for no target is left: {reasons}", draft.name)
    } else {
        let targets: Vec<String> = lost.iter().map(|(target, _)| target.to_string()).collect();
        format!("dropped {}: {reasons}", targets.join(", "))
    };
    draft.table.warn_at("targets", message);
}
