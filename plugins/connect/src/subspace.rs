//! `subspace`: a line, a curve or a simplex of good networks, learned from scratch.
//!
//! All control points ω learn at once: in each step α is drawn, uniformly in the geometry (t ∼ U(0,1) on a line (1−t)ω₁ + tω₂ or a
//! quadratic Bézier curve, uniform barycentric coordinates in a simplex), and ωⱼ follows αⱼ∇𝓛(Σ αᵢωᵢ). A penalty keeps the
//! points apart: β·cos²(ωⱼ, ωₖ) for a random pair j ≠ k, where cos is taken over all weights of layers together (biases and normalisations
//! left out): ∂cos²/∂ωⱼ = 2c(ωₖ/(‖ωⱼ‖‖ωₖ‖) − c ωⱼ/‖ωⱼ‖²). With `layer_wise` every layer draws an α of its own.
//!
//! The first point is the network of the port `start` (or, where that has no weights yet, its initialisation), the others are fresh
//! ones: the method trains from scratch. The middle of the result is a single model, points of it an ensemble.
//!
//! Differences from learning-subspaces: weight decay is that of the rule on each control point, as there; no warm-up by itself (a
//! schedule such as `one_cycle` has one); all control points of a curve take part in the penalty; 30 epochs rather than 160 by default.
//!
//! Wortsman, Horton, Guestrin, Farhadi, Rastegari, "Learning neural network subspaces", ICML 2021; code apple/learning-subspaces.

use fusion_sdk::connect::{Connect, Search};
use fusion_sdk::objective::{Segment, SegmentKind};
use fusion_sdk::path::{Geometry, Path, blend_into};
use fusion_sdk::rng::Key;
use fusion_sdk::schedule::Schedule;
use fusion_sdk::stats::dots;
use fusion_sdk::{About, Category, Claim, MethodError, Params, Words};

use crate::descent::{Anneal, Descent, Method, Slope, Terms, add_scaled, scale_into};
use crate::ports;

/// What is learned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Words)]
pub enum Shape {
    /// a line between two points
    Line,
    /// a quadratic Bézier curve of three points
    Curve,
    /// the convex hull of `vertices` points
    Simplex,
}

/// Stage parameters of `subspace`.
#[derive(Clone, Debug, PartialEq, Params)]
pub struct SubspaceParams {
    /// what is learned
    #[param(default = Shape::Line)]
    pub shape: Shape,
    /// points of a simplex (default: 3)
    #[param(range = 2..=64)]
    pub vertices: Option<u32>,
    /// weight β of the penalty that keeps points apart
    #[param(range = 0.., default = 1.0)]
    pub beta: f64,
    /// draw a place for every layer rather than for the whole network
    #[param(default = false)]
    pub layer_wise: bool,
    /// passes over the data
    #[param(above = 0, default = 30.0)]
    pub epochs: f64,
    /// steps, instead of `epochs`
    #[param(range = 1..)]
    pub steps: Option<u64>,
    /// update rule
    #[param(default = Method::Sgd)]
    pub optimizer: Method,
    /// learning rate
    #[param(default = Schedule::Cosine { from: 0.1, to: 0.0, cycle: None })]
    pub rate: Schedule,
    /// what becomes of the rate towards the end (default: `late` where `rate` is a number, `none` where it is a schedule)
    pub anneal: Option<Anneal>,
    /// momentum of `sgd` (default: 0.9)
    #[param(range = 0..=1)]
    pub momentum: Option<f64>,
    /// penalty λ of every control point
    #[param(range = 0.., default = 1e-4)]
    pub weight_decay: f64,
    /// largest norm of the gradient at the place that was drawn (default: no limit)
    #[param(above = 0)]
    pub clip: Option<f64>,
}

/// The kernel of `subspace`.
#[derive(Clone, Debug)]
pub struct Subspace {
    geometry: Geometry,
    vertices: usize,
    beta: f64,
    layer_wise: bool,
    descent: Descent,
}

impl Connect for Subspace {
    type Params = SubspaceParams;

    fn about() -> About {
        About {
            id: "subspace",
            version: 1,
            category: Category::Connect,
            summary: "a line, curve or simplex of good networks, learned from scratch",
            formula: "min over ω of E[𝓛(Σ αⱼωⱼ)] + β·E[cos²(ωⱼ, ωₖ)], α uniform in the shape, j ≠ k",
            citation: "Wortsman et al., Learning neural network subspaces, ICML 2021",
            ports: vec![
                ports::start("the network to learn; its weights are the first point, the others are fresh"),
                ports::data(),
            ],
            random: true,
            claims: &[Claim::Deterministic],
        }
    }

    fn prepare(params: SubspaceParams, models: usize) -> Result<Self, MethodError> {
        ports::count("subspace", models, 1, 1)?;
        let (geometry, vertices) = match (params.shape, params.vertices) {
            (Shape::Simplex, vertices) => (Geometry::Simplex, vertices.unwrap_or(3)),
            (Shape::Line, None) => (Geometry::Chain, 2),
            (Shape::Curve, None) => (Geometry::Bezier, 3),
            (_, Some(_)) => {
                return Err(MethodError::invalid(
                    "`vertices` belongs to `shape = simplex`: a line has 2, a curve 3",
                )
                .at("vertices")
                .help("remove it, or set `shape = simplex`"));
            }
        };
        let descent = Descent::new(Terms {
            optimizer: params.optimizer,
            rate: params.rate,
            anneal: params.anneal,
            momentum: params.momentum,
            weight_decay: params.weight_decay,
            clip: params.clip,
            epochs: params.epochs,
            steps: params.steps,
        })?;
        Ok(Subspace {
            geometry,
            vertices: vertices as usize,
            beta: params.beta,
            layer_wise: params.layer_wise,
            descent,
        })
    }

    fn connect(&self, search: Search<'_>) -> Result<Path, MethodError> {
        let start = ports::starting("subspace", &search)?;
        let fresh = search.fresh.ok_or_else(|| {
            MethodError::invalid(
                "`subspace` draws the weights of its other corners, and there is no network to draw them for",
            )
            .help("start from a network whose architecture is known: `model NAME of mlp(…)`")
        })?;
        let mut slope = Slope::new(search.objective, search.context, &[&start])?;
        let len = slope.len();
        let mut points = vec![start];
        for vertex in 1..self.vertices {
            let weights = fresh(Key::new(search.seed, "subspace.fresh", vertex as u64).value());
            if weights.len() != len {
                return Err(MethodError::invalid(format!(
                    "fresh weights are {} numbers, the network has {len}",
                    weights.len()
                )));
            }
            points.push(weights);
        }
        let places = self.places(slope.objective().segments());
        let apart = Apart::new(self.beta, slope.objective().segments())?;
        let mut path = Path::new(self.geometry, points, Vec::new())?;
        self.learn(&mut path, &mut slope, &places, &apart, search.seed)?;
        Ok(Path::new(self.geometry, path.points, Vec::new())?)
    }
}

impl Subspace {
    /// Ranges of weights that draw a place together, with the number of their draw: the whole vector, or tensors by layer.
    fn places(&self, segments: &[Segment]) -> Vec<(std::ops::Range<usize>, u64)> {
        match (self.layer_wise, segments.last()) {
            (true, _) => segments.iter().map(|segment| (segment.range(), u64::from(segment.layer))).collect(),
            (false, Some(last)) => vec![(0..last.start + last.len, 0)],
            (false, None) => Vec::new(),
        }
    }

    /// Coefficients of draw `place` in step `step`.
    fn draw(&self, path: &Path, seed: u64, step: u64, place: u64) -> Vec<f64> {
        let key = Key::derived(place, Key::new(seed, "subspace.place", step).value());
        match self.geometry {
            Geometry::Simplex => key.barycentric(0, self.vertices),
            _ => path.coefficients(key.open_uniform(0)),
        }
    }

    fn learn(
        &self,
        path: &mut Path,
        slope: &mut Slope<'_>,
        places: &[(std::ops::Range<usize>, u64)],
        apart: &Apart,
        seed: u64,
    ) -> Result<(), MethodError> {
        let (len, per_epoch) = (slope.len(), slope.steps_per_epoch());
        let total = self.descent.total(per_epoch);
        slope.expect(total);
        let pairs = Key::new(seed, "subspace.pair", 0);
        let mut optimizers: Vec<_> = (0..self.vertices).map(|_| self.descent.optimizer(len)).collect();
        let (mut theta, mut gradient) = (vec![0.0; len], vec![0.0; len]);
        // One for each point of the pair whose angle is looked at: both are needed before either point moves.
        let mut shares = [vec![0.0; len], vec![0.0; len]];
        for step in 0..total {
            let drawn: Vec<Vec<f64>> =
                places.iter().map(|(_, place)| self.draw(path, seed, step, *place)).collect();
            for ((range, _), c) in places.iter().zip(&drawn) {
                let points: Vec<&[f32]> = path.points.iter().map(|point| &point[range.clone()]).collect();
                blend_into(c, &points, &mut theta[range.clone()]);
            }
            slope.gradient(step, &theta, &mut gradient)?;
            self.descent.clip(&mut gradient);
            let rate = self.descent.rate(step, total, per_epoch);
            let share_of = |point: usize, out: &mut [f32]| {
                for ((range, _), c) in places.iter().zip(&drawn) {
                    scale_into(&gradient[range.clone()], c[point], &mut out[range.clone()]);
                }
            };
            let pair = pair(pairs, step, self.vertices);
            for (share, &point) in shares.iter_mut().zip(&pair) {
                share_of(point, share);
            }
            apart.add([&path.points[pair[0]], &path.points[pair[1]]], &mut shares);
            for (share, &point) in shares.iter().zip(&pair) {
                optimizers[point].step(rate, &mut path.points[point], share);
            }
            for point in (0..self.vertices).filter(|point| !pair.contains(point)) {
                share_of(point, &mut shares[0]);
                optimizers[point].step(rate, &mut path.points[point], &shares[0]);
            }
        }
        Ok(())
    }
}

/// Two different points of `n` ≥ 2, all pairs with the same chance.
fn pair(key: Key, step: u64, n: usize) -> [usize; 2] {
    let below = |draw: u64, n: usize| ((key.open_uniform(2 * step + draw) * n as f64) as usize).min(n - 1);
    let (first, other) = (below(0, n), below(1, n - 1));
    [first, if other >= first { other + 1 } else { other }]
}

/// The penalty β·cos² between two points, over the weights of layers.
#[derive(Clone, Debug)]
struct Apart {
    beta: f64,
    ranges: Vec<std::ops::Range<usize>>,
}

impl Apart {
    fn new(beta: f64, segments: &[Segment]) -> Result<Self, MethodError> {
        let weights = segments.iter().filter(|segment| segment.kind == SegmentKind::Weight);
        let ranges: Vec<_> = weights.map(Segment::range).collect();
        if ranges.is_empty() && beta > 0.0 {
            return Err(MethodError::invalid(
                "the network has no weights whose angle the penalty could look at",
            )
            .at("beta")
            .help("set `beta = 0`"));
        }
        Ok(Apart { beta, ranges })
    }

    /// a·a, b·b and a·b.
    fn dots(&self, a: &[f32], b: &[f32]) -> [f64; 3] {
        self.ranges.iter().fold([0.0; 3], |sum, range| {
            let part = dots(&a[range.clone()], &b[range.clone()]);
            [0, 1, 2].map(|i| sum[i] + part[i])
        })
    }

    /// Adds the penalty's gradient for two points to theirs. Points without length have no angle, and none is added.
    fn add(&self, points: [&[f32]; 2], gradients: &mut [Vec<f32>; 2]) {
        let [aa, bb, ab] = self.dots(points[0], points[1]);
        if self.beta == 0.0 || aa <= 0.0 || bb <= 0.0 {
            return;
        }
        let product = (aa * bb).sqrt();
        let cos = ab / product;
        for (own, square) in [(0, aa), (1, bb)] {
            for range in &self.ranges {
                let out = &mut gradients[own][range.clone()];
                add_scaled(&points[1 - own][range.clone()], 2.0 * self.beta * cos / product, out);
                add_scaled(&points[own][range.clone()], -2.0 * self.beta * cos * cos / square, out);
            }
        }
    }
}

#[cfg(test)]
mod tests;
