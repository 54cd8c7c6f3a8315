//! `fge`: fast geometric ensembling, several good models from one trained model in little time.
//!
//! The rate goes in triangles from `high` down to `low` and back, one triangle a `cycle`: with t = (i mod c)/c for step i it is
//! (1−2t)·high + 2t·low in the first half and (2t−1)·high + (2−2t)·low in the second. One member is taken per cycle, where the rate is
//! lowest: after the first half. Training ends with the last member. The result are the members as points.
//!
//! Differences from dnn-mode-connectivity: none in rates and places; cycles can be given in steps. That code's other defect (members of
//! close modes only, arXiv 2505.02604) is one of the method. The model that it sets out from is not a member.
//!
//! Garipov, Izmailov, Podoprikhin, Vetrov, Wilson, "Loss surfaces, mode connectivity, and fast ensembling of DNNs", NeurIPS 2018;
//! code timgaripov/dnn-mode-connectivity.

use fusion_sdk::connect::{Connect, Search};
use fusion_sdk::path::{Geometry, Path};
use fusion_sdk::schedule::{Schedule, Span, Unit};
use fusion_sdk::{About, Category, Claim, MethodError, Params};

use crate::descent::{Anneal, Descent, Method, Slope, Terms};
use crate::ports;

/// Stage parameters of `fge`.
#[derive(Clone, Debug, PartialEq, Params)]
pub struct FgeParams {
    /// models that are taken
    #[param(range = 1..=1000, default = 5)]
    pub members: u32,
    /// time from one member to the next, at least 2 steps
    #[param(default = Span::epochs(4.0))]
    pub cycle: Span,
    /// highest rate, where a cycle starts and ends
    #[param(above = 0, default = 0.05)]
    pub high: f64,
    /// lowest rate, in its middle
    #[param(range = 0.., default = 1e-4)]
    pub low: f64,
    /// update rule
    #[param(default = Method::Sgd)]
    pub optimizer: Method,
    /// momentum of `sgd` (default: 0.9)
    #[param(range = 0..=1)]
    pub momentum: Option<f64>,
    /// penalty λ of the weights
    #[param(range = 0.., default = 1e-4)]
    pub weight_decay: f64,
    /// largest norm of a gradient (default: no limit)
    #[param(above = 0)]
    pub clip: Option<f64>,
}

/// The kernel of `fge`.
#[derive(Clone, Debug)]
pub struct Fge {
    params: FgeParams,
}

impl Connect for Fge {
    type Params = FgeParams;

    fn about() -> About {
        About {
            id: "fge",
            version: 1,
            category: Category::Connect,
            summary: "several models from one, taken at the low points of a cyclic rate (fast geometric ensembling)",
            formula: "t = (i mod c)/c; η = (1−2t)·high + 2t·low for t < ½, (2t−1)·high + (2−2t)·low after\n\
                      a member after the first half of each cycle",
            citation: "Garipov et al., Loss surfaces, mode connectivity, and fast ensembling of DNNs, NeurIPS 2018",
            ports: vec![ports::start("the trained model to set out from"), ports::data()],
            random: true,
            claims: &[Claim::Deterministic],
        }
    }

    fn prepare(params: FgeParams, models: usize) -> Result<Self, MethodError> {
        ports::count("fge", models, 1, 1)?;
        if params.low > params.high {
            return Err(MethodError::invalid(format!(
                "`low = {}` is above `high = {}`: a cycle falls first",
                params.low, params.high
            ))
            .at("low"));
        }
        if params.cycle.unit == Unit::Sample {
            return Err(MethodError::invalid("a cycle is counted in epochs or steps").at("cycle"));
        }
        let kernel = Fge { params };
        kernel.descent(2)?;
        Ok(kernel)
    }

    fn connect(&self, search: Search<'_>) -> Result<Path, MethodError> {
        let start = ports::starting("fge", &search)?;
        let mut slope = Slope::new(search.objective, search.context, &[&start])?;
        let per_epoch = slope.steps_per_epoch();
        let cycle = self.params.cycle.steps(per_epoch, 1);
        if cycle < 2 {
            return Err(MethodError::invalid(format!("a cycle of {cycle} steps cannot fall and rise"))
                .at("cycle")
                .help("give it at least 2 steps"));
        }
        let descent = self.descent(cycle)?;
        let total = (u64::from(self.params.members) - 1) * cycle + cycle.div_ceil(2);
        slope.expect(total);
        let mut weights = start;
        let mut optimizer = descent.optimizer(weights.len());
        let mut gradient = vec![0.0; weights.len()];
        let mut members = Vec::with_capacity(self.params.members as usize);
        for step in 0..total {
            slope.gradient(step, &weights, &mut gradient)?;
            descent.clip(&mut gradient);
            optimizer.step(descent.rate(step, total, per_epoch), &mut weights, &gradient);
            if (step + 1) % cycle == cycle.div_ceil(2) % cycle {
                members.push(weights.clone());
            }
        }
        Ok(Path::new(Geometry::Points, members, Vec::new())?)
    }
}

impl Fge {
    fn descent(&self, cycle: u64) -> Result<Descent, MethodError> {
        let FgeParams { high, low, optimizer, momentum, weight_decay, clip, .. } = self.params;
        Descent::new(Terms {
            optimizer,
            rate: Schedule::Triangle { from: high, to: low, cycle: Span::of_steps(cycle) },
            anneal: Some(Anneal::None),
            momentum,
            weight_decay,
            clip,
            epochs: 1.0,
            steps: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::toy::{Quadratic, search};

    fn params(cycle: Span, members: u32) -> FgeParams {
        FgeParams {
            members,
            cycle,
            high: 0.05,
            low: 1e-4,
            optimizer: Method::Sgd,
            momentum: Some(0.0),
            weight_decay: 0.0,
            clip: None,
        }
    }

    /// Oracle O5 of the reference notes: a cycle of 4 epochs, rates at every half epoch.
    #[test]
    fn rates_are_those_of_the_reference_code() {
        let fge = Fge::prepare(params(Span::epochs(4.0), 1), 1).unwrap();
        let descent = fge.descent(8).unwrap();
        let wanted = [0.05, 0.037_525, 0.025_05, 0.012_575, 0.0001, 0.012_575, 0.025_05, 0.037_525, 0.05];
        for (step, wanted) in wanted.iter().enumerate() {
            assert!((descent.rate(step as u64, 100, 2) - wanted).abs() < 1e-12, "{step}");
        }
    }

    /// On ½aθ² plain descent multiplies θ by 1−ηa: members are known products of the rates.
    #[test]
    fn members_are_taken_at_the_low_points() {
        let mut toy = Quadratic::new(&[0.0], &[2.0]).with_steps(2);
        let fge = Fge::prepare(params(Span::epochs(4.0), 3), 1).unwrap();
        let path = fge.connect(search(&[&[1.0]], Some(&mut toy), 0)).unwrap();
        assert_eq!((path.geometry, path.points.len(), toy.looks()), (Geometry::Points, 3, 8 + 8 + 4));
        let rates = [0.05, 0.037_525, 0.025_05, 0.012_575, 0.0001, 0.012_575, 0.025_05, 0.037_525];
        let mut theta = 1.0_f64;
        for step in 0..20 {
            theta *= 1.0 - 2.0 * rates[step % 8];
            if step % 8 == 3 {
                // Twenty products in f32.
                assert!((f64::from(path.points[step / 8][0]) - theta).abs() < 1e-6);
            }
        }
    }

    #[test]
    fn short_and_odd_cycles() {
        let run = |cycle| {
            let mut toy = Quadratic::new(&[0.0], &[1.0]).with_steps(2);
            let path = Fge::prepare(params(Span::of_steps(cycle), 2), 1).unwrap();
            path.connect(search(&[&[1.0]], Some(&mut toy), 0)).map(|path| (path.points.len(), toy.looks()))
        };
        assert_eq!(run(2).unwrap(), (2, 3));
        assert_eq!(run(3).unwrap(), (2, 5));
        assert_eq!(run(1).unwrap_err().parameter, Some("cycle"));
        let wrong = FgeParams { low: 0.1, ..params(Span::epochs(1.0), 1) };
        assert_eq!(Fge::prepare(wrong, 1).unwrap_err().parameter, Some("low"));
    }
}
