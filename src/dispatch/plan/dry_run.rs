//! Which targets would be tried now, and in which order: a real [`Plan`], run with simulated failures.
//!
//! Nothing is sent and nothing is learned. Where a real plan draws, the likeliest target is taken and its chance noted.
//! The code that decides for requests decides everything else, so an explanation cannot differ from what they do.

use super::*;

/// Steps of one dry run, waits included; a plan has fewer.
const MAX_STEPS: u32 = 100;

/// What a plan would do if every target were unreachable.
pub struct DryRun {
    /// The targets it would try, in order.
    pub asked: Vec<PredictedStep>,
    /// Every other target of the requested model and its fallbacks.
    pub passed_over: Vec<PassedOver>,
    /// The chance of each target to be tried first, where it has one. The sum is 1 if any target may be tried.
    pub shares: Vec<(Arc<str>, f64)>,
}

/// A target that would be tried.
pub struct PredictedStep {
    /// The target of this step.
    pub target: Arc<Target>,
    /// The model it would be tried for.
    pub model: Arc<Model>,
    /// The chance to be drawn after all before it have failed, 0..1.
    pub chance: f64,
    /// The attempt would be a half-open probe.
    pub probe: bool,
    /// It seems to have no headroom, or to reject such a request, and is tried as a last resort.
    pub reluctantly: bool,
    /// The total time the plan would have waited by then.
    pub waited: Duration,
}

/// A target that would not be tried.
pub struct PassedOver {
    /// The target that is passed over.
    pub target: Arc<Target>,
    /// The model it belongs to.
    pub model: Arc<Model>,
    /// Why it would not be tried.
    pub reason: Reason,
    /// When it may be tried again, if that is known.
    pub until: Option<Instant>,
}

/// Why a target would not be tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    Out(IneligibleReason),
    /// Its model's window seems too small for the prompt.
    TooSmall,
    /// The call has no attempts left for it.
    OutOfAttempts,
}

impl Plan {
    /// Follows the plan from `now` to its end.
    pub fn dry_run(mut self, now: Instant) -> DryRun {
        self.rehearsed = true;
        // Never used: `pick` takes the likeliest target.
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
        DryRun { asked, passed_over, shares }
    }

    /// `chance`: `None` for a target that was not drawn.
    fn predicted_step(
        &self,
        candidate: &Candidate,
        chance: Option<f64>,
        waited: Duration,
        now: Instant,
    ) -> PredictedStep {
        let access = candidate.target.eligibility(&self.need, None, now).access;
        PredictedStep {
            target: candidate.target.clone(),
            model: candidate.model.clone(),
            chance: chance.unwrap_or(1.0),
            probe: access == Availability::Probe,
            reluctantly: chance.is_none(),
            waited,
        }
    }

    /// The chance of each target to be the next of its model, if that model is tried.
    fn chances(&self, now: Instant) -> Vec<(Arc<Model>, Arc<str>, f64)> {
        let of = |model: &Arc<Model>| {
            let RemainingTargets { eligibilities, ready, probe } = self.choices(model, now);
            let chances = match probe {
                Some(probe) => vec![(probe, 1.0)],
                None => {
                    let chances = model.chances(&ready, &eligibilities);
                    ready.into_iter().zip(chances).collect::<Vec<_>>()
                }
            };
            let named =
                |(index, chance): (usize, f64)| (model.clone(), model.targets[index].id.clone(), chance);
            chances.into_iter().map(named).collect::<Vec<_>>()
        };
        self.models.iter().flat_map(of).collect()
    }

    fn passed_over(&self, asked: &[PredictedStep], now: Instant) -> Vec<PassedOver> {
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

impl DryRun {
    /// The chance of this target to be tried first.
    pub fn share(&self, target: &Target) -> f64 {
        share_of(&self.shares, &target.id).unwrap_or(0.0)
    }
}

fn share_of(shares: &[(Arc<str>, f64)], id: &Arc<str>) -> Option<f64> {
    shares.iter().find(|(other, _)| other == id).map(|(_, share)| *share)
}

/// The draw that chose `candidate`; `None` if it was not drawn.
fn drawn(chances: &[(Arc<Model>, Arc<str>, f64)], candidate: &Candidate) -> Option<Vec<(Arc<str>, f64)>> {
    let of_model = chances.iter().filter(|(model, ..)| Arc::ptr_eq(model, &candidate.model));
    let drawn: Vec<_> = of_model.map(|(_, id, chance)| (id.clone(), *chance)).collect();
    share_of(&drawn, &candidate.target.id).map(|_| drawn)
}

#[cfg(test)]
mod tests;
