//! Who would be asked now, and in which order: a real [`Plan`], followed with failures that are only imagined.
//!
//! Nobody is asked and nothing is learned. Where a real plan draws, the likeliest target is taken and its chance noted;
//! everything else is decided by the code that decides for requests, so that an explanation cannot differ from them.

use super::*;

/// Steps of one rehearsal, waits included: a plan has fewer.
const MAX_STEPS: u32 = 100;

/// What a plan would do if everybody it asked could not be reached.
pub struct Rehearsal {
    /// Whom it would ask, in order.
    pub asked: Vec<Rehearsed>,
    /// Every other target of the asked model and its fallbacks.
    pub passed_over: Vec<PassedOver>,
    /// The chance of each target to be the first to be asked, where there is one; together 1, if anybody is asked.
    pub shares: Vec<(Arc<str>, f64)>,
}

/// A target that would be asked.
pub struct Rehearsed {
    /// The target of this step.
    pub target: Arc<Target>,
    /// The model it would be asked for.
    pub model: Arc<Model>,
    /// 0..1, once all before it have failed.
    pub chance: f64,
    /// A request finds out whether it is back.
    pub probe: bool,
    /// It seems to have no room left, or to refuse such a request, and is asked for want of any other.
    pub reluctantly: bool,
    /// How long the plan would wait before it, all waits together.
    pub waited: Duration,
}

/// A target that would not be asked.
pub struct PassedOver {
    /// The target that is passed over.
    pub target: Arc<Target>,
    /// The model it belongs to.
    pub model: Arc<Model>,
    /// Why it is passed over.
    pub reason: Reason,
    /// When it may be asked again, if that is known.
    pub until: Option<Instant>,
}

/// Why a target would not be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// It is not eligible at the moment.
    Out(IneligibleReason),
    /// Its model's window seems too small for the prompt.
    TooSmall,
    /// All attempts of a request are used up before it.
    OutOfAttempts,
}

impl Plan {
    /// Follows the plan from `now` to its end.
    pub fn dry_run(mut self, now: Instant) -> Rehearsal {
        self.rehearsed = true;
        // Never drawn from: `pick` takes the likeliest.
        let mut rng = fastrand::Rng::with_seed(0);
        let (mut asked, mut shares) = (Vec::new(), Vec::new());
        let mut at = now;
        for _ in 0..MAX_STEPS {
            let chances = self.chances(at);
            match self.next(at, &mut rng) {
                Step::Wait(until) => at = until.max(at),
                Step::Refuse(_) => break,
                Step::Try(candidate) => {
                    let drawn = drawn(&chances, &candidate);
                    if asked.is_empty() {
                        shares = drawn.clone().unwrap_or_else(|| vec![(candidate.target.id.clone(), 1.0)]);
                    }
                    let chance = drawn.and_then(|drawn| share_of(&drawn, &candidate.target.id));
                    asked.push(self.predicted_step(&candidate, chance, at - now, at));
                    let unreachable = Failure::hard(HardKind::Connect, "it could not be reached");
                    if self.failed(&candidate, unreachable, at).is_err() {
                        break;
                    }
                }
            }
        }
        let passed_over = self.passed_over(&asked, now);
        Rehearsal { asked, passed_over, shares }
    }

    /// `chance`: `None` for a target that no draw chose.
    fn predicted_step(
        &self,
        candidate: &Candidate,
        chance: Option<f64>,
        waited: Duration,
        now: Instant,
    ) -> Rehearsed {
        let access = candidate.target.eligibility(&self.need, None, now).access;
        Rehearsed {
            target: candidate.target.clone(),
            model: candidate.model.clone(),
            chance: chance.unwrap_or(1.0),
            probe: access == Availability::Probe,
            reluctantly: chance.is_none(),
            waited,
        }
    }

    /// The chance of each target to be the next of its model, if that model is asked.
    fn chances(&self, now: Instant) -> Vec<(Arc<Model>, Arc<str>, f64)> {
        let of = |model: &Arc<Model>| {
            let RemainingTargets { standings, ready, probe } = self.choices(model, now);
            let chances = match probe {
                Some(probe) => vec![(probe, 1.0)],
                None => {
                    let chances = model.chances(&ready, &standings);
                    ready.into_iter().zip(chances).collect::<Vec<_>>()
                }
            };
            let named =
                |(index, chance): (usize, f64)| (model.clone(), model.targets[index].id.clone(), chance);
            chances.into_iter().map(named).collect::<Vec<_>>()
        };
        self.models.iter().flat_map(of).collect()
    }

    fn passed_over(&self, asked: &[Rehearsed], now: Instant) -> Vec<PassedOver> {
        let mut seen: Vec<&Arc<str>> = asked.iter().map(|step| &step.target.id).collect();
        let mut passed = Vec::new();
        for model in &self.models {
            for (target, standing) in model.targets.iter().zip(model.eligibilities(&self.need, now)) {
                if seen.contains(&&target.id) {
                    continue;
                }
                seen.push(&target.id);
                let reason = match standing.why {
                    Some(why) => Reason::Out(why),
                    None if !self.seems_to_fit(model) => Reason::TooSmall,
                    None => Reason::OutOfAttempts,
                };
                let (target, model, until) = (target.clone(), model.clone(), standing.until);
                passed.push(PassedOver { target, model, reason, until });
            }
        }
        passed
    }
}

impl Rehearsal {
    /// The chance of this target to be the first to be asked.
    pub fn share(&self, target: &Target) -> f64 {
        share_of(&self.shares, &target.id).unwrap_or(0.0)
    }
}

fn share_of(shares: &[(Arc<str>, f64)], id: &Arc<str>) -> Option<f64> {
    shares.iter().find(|(other, _)| other == id).map(|(_, share)| *share)
}

/// The draw that `candidate` came from; `None` if it came from none.
fn drawn(chances: &[(Arc<Model>, Arc<str>, f64)], candidate: &Candidate) -> Option<Vec<(Arc<str>, f64)>> {
    let of_model = chances.iter().filter(|(model, ..)| Arc::ptr_eq(model, &candidate.model));
    let drawn: Vec<_> = of_model.map(|(_, id, chance)| (id.clone(), *chance)).collect();
    share_of(&drawn, &candidate.target.id).map(|_| drawn)
}

#[cfg(test)]
mod tests;
