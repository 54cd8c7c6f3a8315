use super::*;

/// The rules in f64, one weight at a time, written from the papers' formulas in another arrangement (m̂, v̂ spelled out).
struct Reference {
    rule: Rule,
    time: i32,
    first: Vec<f64>,
    second: Vec<f64>,
}

impl Reference {
    fn new(rule: Rule, len: usize) -> Self {
        Reference { rule, time: 0, first: vec![0.0; len], second: vec![0.0; len] }
    }

    fn step(&mut self, rate: f64, weights: &mut [f64], gradient: &[f32]) {
        self.time += 1;
        for i in 0..weights.len() {
            let mut g = f64::from(gradient[i]);
            match self.rule {
                Rule::Sgd { momentum, nesterov, weight_decay } => {
                    let (mu, lambda) = (f64::from(momentum), f64::from(weight_decay));
                    g += lambda * weights[i];
                    self.first[i] = if self.time == 1 { g } else { mu * self.first[i] + g };
                    let step = if nesterov { g + mu * self.first[i] } else { self.first[i] };
                    weights[i] -= rate * step;
                }
                Rule::Adam { beta1, beta2, epsilon, weight_decay, decoupled } => {
                    let (b1, b2, lambda) = (f64::from(beta1), f64::from(beta2), f64::from(weight_decay));
                    if decoupled {
                        weights[i] -= rate * lambda * weights[i];
                    } else {
                        g += lambda * weights[i];
                    }
                    self.first[i] = b1 * self.first[i] + (1.0 - b1) * g;
                    self.second[i] = b2 * self.second[i] + (1.0 - b2) * g.powi(2);
                    let mean = self.first[i] / (1.0 - b1.powi(self.time));
                    let square = self.second[i] / (1.0 - b2.powi(self.time));
                    weights[i] -= rate * mean / (square.sqrt() + f64::from(epsilon));
                }
                Rule::Lion { beta1, beta2, weight_decay } => {
                    let (b1, b2, lambda) = (f64::from(beta1), f64::from(beta2), f64::from(weight_decay));
                    let mixed = b1 * self.first[i] + (1.0 - b1) * g;
                    let sign = if mixed == 0.0 { 0.0 } else { mixed.signum() };
                    weights[i] -= rate * (sign + lambda * weights[i]);
                    self.first[i] = b2 * self.first[i] + (1.0 - b2) * g;
                }
            }
        }
    }
}

const RULES: [Rule; 8] = [
    Rule::PLAIN,
    Rule::Sgd { momentum: 0.0, nesterov: false, weight_decay: 0.01 },
    Rule::Sgd { momentum: 0.9, nesterov: false, weight_decay: 0.01 },
    Rule::Sgd { momentum: 0.9, nesterov: true, weight_decay: 0.01 },
    Rule::ADAM,
    Rule::Adam { beta1: 0.8, beta2: 0.99, epsilon: 1e-4, weight_decay: 0.1, decoupled: false },
    Rule::Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.1, decoupled: true },
    Rule::Lion { beta1: 0.9, beta2: 0.99, weight_decay: 0.1 },
];

fn numbers(n: usize, salt: u64) -> Vec<f32> {
    let key = crate::rng::Key::new(salt, "optimiser", 0);
    (0..n as u64).map(|i| key.normal(i)).collect()
}

/// 60 steps on a quadratic with noise; lengths that do and do not fill vector registers. The state is f32, so errors are some
/// units in the last place of weights of about 1 for each step: 60 · 2⁻²³ ≈ 7·10⁻⁶. Lion's signs are equal as long as no direction
/// comes within rounding of 0, which these draws do not.
#[test]
fn every_rule_follows_its_formula() {
    for rule in RULES {
        for n in [1_usize, 15, 37] {
            let (mut weights, goal) = (numbers(n, 1), numbers(n, 2));
            let mut exact: Vec<f64> = weights.iter().map(|&w| f64::from(w)).collect();
            let (mut optimizer, mut reference) = (Optimizer::new(rule, n), Reference::new(rule, n));
            for step in 0..60 {
                let noise = numbers(n, 10 + step);
                let gradient: Vec<f32> = (0..n).map(|i| weights[i] - goal[i] + 0.3 * noise[i]).collect();
                let rate = 0.05 / (1.0 + 0.02 * step as f64);
                optimizer.step(rate, &mut weights, &gradient);
                reference.step(rate, &mut exact, &gradient);
            }
            for (w, exact) in weights.iter().zip(&exact) {
                assert!((f64::from(*w) - exact).abs() < 2e-5, "{rule:?}: {w} is not {exact}");
            }
            assert_eq!(optimizer.steps(), 60);
        }
    }
}

/// Adam's first step is η·sign(g) up to ε, whatever the gradient's size.
#[test]
fn first_steps_are_known() {
    let mut weights = [0.0, 0.0, 0.0];
    Optimizer::new(Rule::ADAM, 3).step(0.5, &mut weights, &[1e-3, -7.0, 0.0]);
    assert!((weights[0] + 0.5).abs() < 1e-5 && (weights[1] - 0.5).abs() < 1e-6 && weights[2] == 0.0);
    let mut weights = [1.0, 1.0, 1.0];
    let lion = Rule::Lion { beta1: 0.9, beta2: 0.99, weight_decay: 0.5 };
    Optimizer::new(lion, 3).step(0.5, &mut weights, &[3.0, -4.0, 0.0]);
    assert_eq!(weights, [0.25, 1.25, 0.75]);
}

#[test]
fn a_restored_state_goes_on_as_if_nothing_had_happened() {
    for rule in RULES {
        let (mut a, mut b) = (numbers(20, 1), numbers(20, 1));
        let (mut through, mut first) = (Optimizer::new(rule, 20), Optimizer::new(rule, 20));
        for step in 0..3 {
            through.step(0.1, &mut a, &numbers(20, step));
            first.step(0.1, &mut b, &numbers(20, step));
        }
        let mut second = Optimizer::new(rule, 20);
        second.restore(first.state()).unwrap();
        drop(first);
        for step in 3..6 {
            through.step(0.1, &mut a, &numbers(20, step));
            second.step(0.1, &mut b, &numbers(20, step));
        }
        assert_eq!((a, through.state()), (b, second.state()));
        second.reset();
        assert_eq!(second, Optimizer::new(rule, 20));
    }
    let wrong = OptimizerState { steps: 1, first: vec![0.0; 3], second: Vec::new() };
    let error = Optimizer::new(Rule::ADAM, 3).restore(wrong).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Shape);
    assert!(error.message.contains("3 and 0"), "{error}");
}

#[test]
fn nan_and_nothing() {
    for rule in RULES {
        let mut weights = [1.0, 1.0];
        Optimizer::new(rule, 2).step(0.1, &mut weights, &[f32::NAN, 1.0]);
        assert!(weights[0].is_nan() && weights[1] < 1.0, "{rule:?}");
        Optimizer::new(rule, 0).step(0.1, &mut [], &[]);
    }
}

#[test]
fn constants_are_checked() {
    for rule in RULES {
        assert_eq!(rule.check(), Ok(()));
    }
    let sgd = |momentum, nesterov, weight_decay| Rule::Sgd { momentum, nesterov, weight_decay }.check();
    assert_eq!(sgd(1.0, false, 0.0).unwrap_err().parameter, Some("momentum"));
    assert_eq!(sgd(f32::NAN, false, 0.0).unwrap_err().parameter, Some("momentum"));
    assert_eq!(sgd(0.0, true, 0.0).unwrap_err().parameter, Some("nesterov"));
    assert_eq!(sgd(0.9, true, -1.0).unwrap_err().parameter, Some("weight_decay"));
    let lion = Rule::Lion { beta1: 0.9, beta2: -0.1, weight_decay: 0.0 };
    assert_eq!(lion.check().unwrap_err().parameter, Some("beta2"));
}
