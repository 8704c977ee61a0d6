//! `[[models]]`: what clients may ask for, and who can answer.
//!
//! Targets of skipped providers are dropped, and a model that loses all of them is not offered; both are
//! said in one warning per model. Two passes: fallbacks may name models that come later.

use std::collections::BTreeSet;

use super::providers::{ProviderStatus, Providers};
use crate::config::{
    Model, Strategy, TargetName, keyword::Keyword, reader::section::Section, reader::value::Value,
    suggest::did_you_mean,
};

/// What `[[models]]` says.
pub struct Models {
    /// Those with at least one target.
    pub offered: Vec<Model>,
    /// Every name and alias written, offered or not.
    pub names: BTreeSet<String>,
}

/// A model as written, its own keys checked; what names others or is named knows where it stands.
struct Draft<'a> {
    table: Section<'a>,
    model: Model,
    alias: Vec<(Value<'a>, String)>,
    targets: Vec<(Value<'a>, TargetName)>,
    fallbacks: Vec<(Value<'a>, String)>,
}

/// Reads every `[[models]]`; `strategy` is what models without their own use.
pub fn read(root: &Section<'_>, providers: &Providers, strategy: Strategy) -> Models {
    let drafts: Vec<Draft> =
        root.tables("models").into_iter().filter_map(|table| draft(table, strategy)).collect();
    let names = check_names(&drafts);
    let mut offered: Vec<Model> = drafts
        .iter()
        .filter_map(|draft| {
            let fallbacks = fallbacks(draft, &drafts, &names);
            offer(draft, providers).map(|model| Model { fallbacks, ..model })
        })
        .collect();
    let usable: BTreeSet<String> = offered.iter().map(|model| model.name.clone()).collect();
    for model in &mut offered {
        model.fallbacks.retain(|name| usable.contains(name));
    }
    Models { offered, names }
}

fn draft(table: Section<'_>, usual: Strategy) -> Option<Draft<'_>> {
    let name = table.required("name", Value::name);
    let targets = table.required("targets", targets);
    let alias = table.or("alias", Vec::new(), names);
    let fallbacks = table.or("fallbacks", Vec::new(), names);
    let strategy = table.opt("strategy", Value::keyword);
    let model = Model {
        name: name.unwrap_or_default(),
        alias: alias.iter().map(|(_, alias)| alias.clone()).collect(),
        targets: Vec::new(),
        fallbacks: Vec::new(),
        context_window: table.opt("context_window", Value::count),
        first_token_timeout: table.opt("first_token_timeout", Value::timeout),
        weights: weights(&table, strategy.unwrap_or(usual)),
        strategy,
    };
    table.refuse_unknown();
    // Without targets it is faulty, but others may still name it: one mistake is one problem.
    let targets = targets.unwrap_or_default();
    let named = !model.name.is_empty();
    named.then_some(Draft { table, model, alias, targets, fallbacks })
}

fn names<'a>(value: &Value<'a>) -> Option<Vec<(Value<'a>, String)>> {
    value.list(|element| Some((element.clone(), element.name()?)))
}

fn targets<'a>(value: &Value<'a>) -> Option<Vec<(Value<'a>, TargetName)>> {
    if value.raw().as_array().is_some_and(|array| array.is_empty()) {
        return value.fail("a model needs at least one target, written \"provider/model\"");
    }
    value.list(|element| {
        let text = element.name()?;
        let target = TargetName::parse(&text);
        let target = target.or_else(|| element.expected(r#"a target "provider/model""#, ""))?;
        Some((element.clone(), target))
    })
}

/// One weight per target as written, or none at all.
fn weights(table: &Section<'_>, strategy: Strategy) -> Vec<f64> {
    let length = |key| table.value(key).and_then(|value| value.raw().as_array().map(|array| array.len()));
    let (targets, written) = (length("targets"), length("weights"));
    let weights = table.opt("weights", |value| {
        let weights = value.list(|element| element.number(0.0..=f64::MAX))?;
        if let (Some(targets), Some(written)) = (targets, written.filter(|written| Some(*written) != targets))
        {
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
    });
    weights.unwrap_or_default()
}

/// Every name and alias means one model; answers them all.
fn check_names(drafts: &[Draft<'_>]) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for draft in drafts {
        if !names.insert(draft.model.name.clone()) {
            let message =
                format!("there is already a model `{}`; put its targets together", draft.model.name);
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
    for (value, name) in &draft.fallbacks {
        let is_meant =
            |other: &&Draft<'_>| other.model.name == *name || other.alias.iter().any(|(_, a)| a == name);
        match drafts.iter().find(is_meant) {
            Some(other) if other.model.name == draft.model.name => {
                value.error(format!("`{name}` cannot fall back to itself"));
            }
            Some(other) if found.contains(&other.model.name) => {
                value.error(format!("`{name}` is listed twice"));
            }
            Some(other) => found.push(other.model.name.clone()),
            None => {
                let hint = did_you_mean(name, names.iter().map(String::as_str));
                value.error(format!("there is no model `{name}` under [[models]]{hint}"));
            }
        }
    }
    found
}

/// `draft` with the targets and weights that are left; `None` when there are none.
fn offer(draft: &Draft<'_>, providers: &Providers) -> Option<Model> {
    let mut model = Model { weights: Vec::new(), ..draft.model.clone() };
    let mut dropped = Dropped::default();
    for (i, (value, target)) in draft.targets.iter().enumerate() {
        if draft.targets.iter().take(i).any(|(_, earlier)| earlier == target) {
            value.error(format!("`{target}` is listed twice; use `weights` to give it more"));
        }
        match providers.status(&target.provider) {
            None => value.error(providers.unknown(&target.provider)),
            Some(ProviderStatus::Live(_) | ProviderStatus::Faulty) => {
                model.targets.push(target.clone());
                model.weights.extend(draft.model.weights.get(i));
            }
            Some(status) => dropped.note(target, status),
        }
    }
    if model.weights.iter().all(|weight| *weight == 0.0) {
        model.weights.clear();
    }
    dropped.warn(draft, model.targets.is_empty());
    (!model.targets.is_empty()).then_some(model)
}

/// The targets one model loses, and why.
#[derive(Default)]
struct Dropped {
    targets: Vec<String>,
    unset: BTreeSet<String>,
    disabled: BTreeSet<String>,
}

impl Dropped {
    fn note(&mut self, target: &TargetName, status: &ProviderStatus) {
        self.targets.push(target.to_string());
        match status {
            ProviderStatus::Unset(names) => self.unset.extend(names.iter().cloned()),
            _ => _ = self.disabled.insert(target.provider.clone()),
        }
    }

    fn warn(&self, draft: &Draft<'_>, nothing_left: bool) {
        if self.targets.is_empty() {
            return;
        }
        let listed = |names: &BTreeSet<String>| names.iter().cloned().collect::<Vec<_>>().join(", ");
        let reasons = [(&self.unset, "not set"), (&self.disabled, "disabled")]
            .into_iter()
            .filter(|(names, _)| !names.is_empty())
            .map(|(names, what)| format!("{} {what}", listed(names)));
        let reasons = reasons.collect::<Vec<_>>().join("; ");
        let message = if nothing_left {
            format!("the model `{}` is not offered, for no target is left: {reasons}", draft.model.name)
        } else {
            format!("dropped {}: {reasons}", self.targets.join(", "))
        };
        draft.table.warn_at("targets", message);
    }
}
