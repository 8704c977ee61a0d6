//! `[[models]]`: what clients may ask for, and who can answer.
//!
//! Targets of skipped providers are dropped, and a model that loses all of them is not offered; both are
//! said in one warning per model. Two passes: fallbacks may name models that come later.

use std::collections::BTreeSet;

use super::providers::{Fate, Providers};
use crate::config::{
    Model, Strategy, TargetName, Timeout, choice::Choice, document::Section, nearest::did_you_mean,
    value::Value,
};

/// What `[[models]]` says.
pub struct Models {
    /// Those with at least one target.
    pub offered: Vec<Model>,
    /// Every name and alias written, offered or not.
    pub names: BTreeSet<String>,
}

/// A model as written, its own keys checked.
struct Draft<'a> {
    table: Section<'a>,
    name: String,
    alias: Vec<(Value<'a>, String)>,
    targets: Vec<(Value<'a>, TargetName)>,
    fallbacks: Vec<(Value<'a>, String)>,
    context_window: Option<u64>,
    first_token_timeout: Option<Timeout>,
    weights: Vec<f64>,
    strategy: Option<Strategy>,
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
            offer(draft, providers, fallbacks)
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
    let alias = table.or("alias", Vec::new(), names);
    let targets = table.required("targets", |value| value.list(|item| Some((item.clone(), target(item)?))));
    let fallbacks = table.or("fallbacks", Vec::new(), names);
    let context_window = table.opt("context_window", Value::count);
    let first_token_timeout = table.opt("first_token_timeout", Value::timeout);
    let strategy = table.opt("strategy", Value::choice);
    let count = table.value("targets").and_then(|value| value.raw().as_array().map(|array| array.len()));
    let weights = table.or("weights", Vec::new(), |value| weights(value, count));
    table.refuse_unknown();
    if count == Some(0) {
        table.error_at("targets", "a model needs at least one target, written \"provider/model\"");
    }
    let strategy_used = strategy.unwrap_or(usual);
    if !weights.is_empty() && strategy_used != Strategy::Weighted {
        let message = format!(
            "has no effect, for the strategy is {:?}; write strategy = \"weighted\"",
            strategy_used.word()
        );
        table.warn_at("weights", message);
    }
    let (name, targets) = (name?, targets?);
    Some(Draft {
        table,
        name,
        alias,
        targets,
        fallbacks,
        context_window,
        first_token_timeout,
        weights,
        strategy,
    })
}

fn names<'a>(value: &Value<'a>) -> Option<Vec<(Value<'a>, String)>> {
    value.list(|element| Some((element.clone(), element.name()?)))
}

fn target(value: &Value<'_>) -> Option<TargetName> {
    let text = value.name()?;
    TargetName::parse(&text).or_else(|| value.expected(r#"a target "provider/model""#, ""))
}

fn weights(value: &Value<'_>, targets: Option<usize>) -> Option<Vec<f64>> {
    let weights = value.list(|element| element.number(0.0..=f64::MAX))?;
    let written = value.raw().as_array().map_or(0, |array| array.len());
    if let Some(targets) = targets.filter(|targets| *targets != written) {
        return value.fail(format!("needs one weight per target: {targets}, found {written}"));
    }
    if !weights.is_empty() && weights.iter().all(|weight| *weight == 0.0) {
        return value.fail("at least one weight must be more than 0");
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
    for (value, name) in &draft.fallbacks {
        let is_meant = |other: &&Draft<'_>| other.name == *name || other.alias.iter().any(|(_, a)| a == name);
        match drafts.iter().find(is_meant) {
            Some(other) if other.name == draft.name => {
                value.error(format!("`{name}` cannot fall back to itself"));
            }
            Some(other) if found.contains(&other.name) => {
                value.error(format!("`{name}` is listed twice"));
            }
            Some(other) => found.push(other.name.clone()),
            None => {
                let hint = did_you_mean(name, names.iter().map(String::as_str));
                value.error(format!("there is no model `{name}` under [[models]]{hint}"));
            }
        }
    }
    found
}

/// `draft` with the targets that are left; `None` when there are none.
fn offer(draft: &Draft<'_>, providers: &Providers, fallbacks: Vec<String>) -> Option<Model> {
    let mut targets = Vec::new();
    let mut weights = Vec::new();
    let mut dropped = Dropped::default();
    for (i, (value, target)) in draft.targets.iter().enumerate() {
        if draft.targets.iter().take(i).any(|(_, earlier)| earlier == target) {
            value.error(format!("`{target}` is listed twice; use `weights` to give it more"));
        }
        match providers.fate(&target.provider) {
            None => value.error(providers.unknown(&target.provider)),
            Some(Fate::Live(_) | Fate::Faulty) => {
                targets.push(target.clone());
                weights.extend(draft.weights.get(i));
            }
            Some(fate) => dropped.note(target, fate),
        }
    }
    dropped.warn(draft, targets.is_empty());
    if weights.iter().all(|weight| *weight == 0.0) {
        weights.clear();
    }
    let Draft { name, context_window, first_token_timeout, strategy, .. } = draft;
    let (name, alias) = (name.clone(), draft.alias.iter().map(|(_, alias)| alias.clone()).collect());
    let (context_window, first_token_timeout) = (*context_window, *first_token_timeout);
    let offered = !targets.is_empty();
    let strategy = *strategy;
    offered.then_some(Model {
        name,
        alias,
        targets,
        fallbacks,
        context_window,
        first_token_timeout,
        weights,
        strategy,
    })
}

/// The targets one model loses, and why.
#[derive(Default)]
struct Dropped {
    targets: Vec<String>,
    reasons: BTreeSet<String>,
}

impl Dropped {
    fn note(&mut self, target: &TargetName, fate: &Fate) {
        self.targets.push(target.to_string());
        self.reasons.insert(match fate {
            Fate::Unset(names) => format!("{} not set", names.join(", ")),
            _ => format!("{} is disabled", target.provider),
        });
    }

    fn warn(&self, draft: &Draft<'_>, nothing_left: bool) {
        if self.targets.is_empty() {
            return;
        }
        let reasons = self.reasons.iter().map(String::as_str).collect::<Vec<_>>().join("; ");
        draft.table.warn_at(
            "targets",
            if nothing_left {
                format!("the model `{}` is not offered, for no target is left: {reasons}", draft.name)
            } else {
                format!("dropped {}: {reasons}", self.targets.join(", "))
            },
        );
    }
}
