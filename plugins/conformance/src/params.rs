//! Settings by chance from a method's schema: such as fit it, such as break one bound, and plain garbage.

use fusion_abi::FUSION_PORT_SETTINGS;
use fusion_dsl::descriptor::{ParamKind, ParamSpec};
use fusion_sdk::rng::Key;
use serde_json::{Map, Value as Json, json};

use crate::driver::Method;
use crate::task::{Settings, Task};

/// A stream of draws.
pub(crate) struct Dice {
    key: Key,
    at: u64,
}

impl Dice {
    pub(crate) fn new(seed: u64, name: &str, case: u64) -> Self {
        Dice { key: Key::new(seed, name, case), at: 0 }
    }

    /// Uniform in [0, 1).
    pub(crate) fn unit(&mut self) -> f64 {
        self.at += 1;
        f64::from(self.key.bits(self.at)) / 4_294_967_296.0
    }

    /// Uniform in `0..n`.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        ((self.unit() * n as f64) as usize).min(n.saturating_sub(1))
    }

    /// True once in `n`.
    pub(crate) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

/// A value outside of a parameter's bounds.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Breach {
    /// The parameter.
    pub(crate) name: String,
    /// Whether it stands on an edge.
    pub(crate) per_input: bool,
    /// The value.
    pub(crate) value: Json,
    /// What it breaks, for messages.
    pub(crate) what: String,
}

/// The bounds that say something: schemas made from types also state the type's own.
pub(crate) fn bounds(spec: &ParamSpec) -> (Option<f64>, Option<f64>) {
    let own = (spec.kind == ParamKind::Fraction).then_some((0.0, 1.0));
    let min = spec.min.filter(|min| *min > -1e15).or(own.map(|(min, _)| min));
    (min, spec.max.filter(|max| *max < 1e15).or(own.map(|(_, max)| max)))
}

fn whole(kind: &ParamKind) -> bool {
    matches!(kind, ParamKind::Count | ParamKind::Seed | ParamKind::Bytes)
}

/// Every way to break a bound or a list of words, once.
pub(crate) fn breaches(specs: &[ParamSpec]) -> Vec<Breach> {
    let mut found = Vec::new();
    for spec in specs {
        let mut add = |value: Json, what: String| {
            let (name, per_input) = (spec.name.clone(), spec.per_input);
            found.push(Breach { name, per_input, value, what });
        };
        if let ParamKind::Word(words) = &spec.kind {
            let mut word = "no_such_word".to_owned();
            while words.iter().any(|(known, _)| *known == word) {
                word.push('_');
            }
            add(word.into(), "a word that is not in the list".to_owned());
            continue;
        }
        if matches!(spec.kind, ParamKind::List(_) | ParamKind::Text | ParamKind::Bool | ParamKind::Model) {
            continue;
        }
        let (min, max) = bounds(spec);
        let step = |bound: f64| if whole(&spec.kind) { 1.0 } else { (bound.abs() + 1.0) * 1e-3 };
        let number = |value: f64| if whole(&spec.kind) { json!(value as i64) } else { json!(value) };
        if let Some(min) = min {
            if spec.min_exclusive {
                add(number(min), format!("{min}, which is not above {min}"));
            }
            add(number(min - step(min)), format!("{}, which is below {min}", min - step(min)));
        }
        if let Some(max) = max {
            add(number(max + step(max)), format!("{}, which is above {max}", max + step(max)));
        }
    }
    found
}

/// A value that fits.
pub(crate) fn valid(spec: &ParamSpec, dice: &mut Dice) -> Json {
    of_kind(&spec.kind, spec, dice)
}

fn of_kind(kind: &ParamKind, spec: &ParamSpec, dice: &mut Dice) -> Json {
    let (min, max) = bounds(spec);
    match kind {
        ParamKind::Bool => dice.one_in(2).into(),
        ParamKind::Word(words) if words.is_empty() => Json::Null,
        ParamKind::Word(words) => words[dice.below(words.len())].0.clone().into(),
        ParamKind::Text | ParamKind::Model => {
            let pieces = ["a", "é", "模", " ", "\"", "\\", "\n", "0", "{", "layer"];
            (0..dice.below(6)).map(|_| pieces[dice.below(pieces.len())]).collect::<String>().into()
        }
        ParamKind::Span => json!({ "value": 1 + dice.below(100), "unit": "steps" }),
        ParamKind::Range => {
            let start = dice.unit() * 0.5;
            json!({ "start": start, "end": start + 0.1 + dice.unit() * 0.4 })
        }
        ParamKind::List(inner) => (0..dice.below(4)).map(|_| of_kind(inner, spec, dice)).collect(),
        ParamKind::Count | ParamKind::Seed | ParamKind::Bytes | ParamKind::Samples | ParamKind::Tokens => {
            let low = min.unwrap_or(0.0) + if spec.min_exclusive { 1.0 } else { 0.0 };
            let high = max.unwrap_or_else(|| if dice.one_in(4) { 1e9 } else { 16.0 }).max(low);
            json!((low + (dice.unit() * (high - low + 1.0)).floor()).min(high) as i64)
        }
        ParamKind::Number | ParamKind::Fraction | ParamKind::Schedule(_) => {
            let fraction = *kind == ParamKind::Fraction;
            let wide = [1.0, 2.0, 100.0][dice.below(3)];
            let low = min.unwrap_or(if fraction { 0.0 } else { max.map_or(-wide, |max| max - wide) });
            let high = max.unwrap_or(if fraction { 1.0 } else { low.abs() + wide });
            let at = match dice.below(8) {
                0 if !spec.min_exclusive => 0.0,
                1 => 1.0,
                _ => 1.0 - dice.unit(), // above 0
            };
            json!(low + at * (high - low))
        }
    }
}

/// Settings of a stage and of each of its inputs.
#[derive(Clone, Debug)]
pub(crate) struct Set {
    /// The stage's.
    pub(crate) stage: Map<String, Json>,
    /// Per input; empty where the port takes none.
    pub(crate) inputs: Vec<Map<String, Json>>,
}

/// Whether an input of a task takes settings.
pub(crate) fn tunable(method: &Method, task: &Task, input: usize) -> bool {
    method.ports[task.members[0].inputs[input].port].flags & FUSION_PORT_SETTINGS != 0
}

impl Set {
    /// Each parameter where `value` has one for it.
    fn of(
        method: &Method,
        task: &Task,
        specs: &[ParamSpec],
        mut value: impl FnMut(&ParamSpec) -> Option<Json>,
    ) -> Self {
        let mut fill = |per_input: bool| -> Map<String, Json> {
            specs
                .iter()
                .filter(|spec| spec.per_input == per_input)
                .filter_map(|spec| Some((spec.name.clone(), value(spec)?)))
                .collect()
        };
        let stage = fill(false);
        let inputs = (0..task.members[0].inputs.len())
            .map(|input| if tunable(method, task, input) { fill(true) } else { Map::new() })
            .collect();
        Set { stage, inputs }
    }

    /// What a recipe without settings sends; required ones get some value.
    pub(crate) fn defaults(method: &Method, task: &Task, specs: &[ParamSpec]) -> Self {
        let mut dice = Dice::new(0, "required", 0);
        Set::of(method, task, specs, |spec| {
            spec.default.clone().or_else(|| spec.required.then(|| valid(spec, &mut dice)))
        })
    }

    /// Values by chance that fit the schema.
    pub(crate) fn random(method: &Method, task: &Task, specs: &[ParamSpec], dice: &mut Dice) -> Self {
        Set::of(method, task, specs, |spec| match &spec.default {
            Some(default) if dice.one_in(4) => Some(default.clone()),
            None if !spec.required && dice.one_in(2) => None,
            _ => Some(valid(spec, dice)),
        })
    }

    /// Puts the settings into all members.
    pub(crate) fn into_task(self, task: &Task) -> Task {
        let mut task = task.clone();
        let inputs: Vec<Settings> = self.inputs.into_iter().map(Settings::from).collect();
        task.set(&Settings::from(self.stage), &inputs);
        task
    }

    /// With one value replaced; `input` says on which edge.
    pub(crate) fn with(mut self, input: Option<usize>, name: &str, value: Json) -> Self {
        let target = match input {
            Some(input) => &mut self.inputs[input],
            None => &mut self.stage,
        };
        target.insert(name.to_owned(), value);
        self
    }
}

/// Texts that no reader of settings may fall over.
pub(crate) fn garbage(dice: &mut Dice, valid: &[u8]) -> Vec<u8> {
    let deep = 1 << (4 + dice.below(14));
    match dice.below(16) {
        0 => Vec::new(),
        1 => b"{".to_vec(),
        2 => vec![0xff, 0xfe, b'{', 0x80, b'}'],
        3 => b"{\"\xc3\x28\": 1}".to_vec(),
        4 => [b"[".repeat(deep), b"]".repeat(deep)].concat(),
        5 => [b"{\"a\":".repeat(deep), b"1".to_vec(), b"}".repeat(deep)].concat(),
        6 => b"null".to_vec(),
        7 => b"[]".to_vec(),
        8 => b"{} {}".to_vec(),
        9 => b"{\"a\": 1e99999, \"b\": -1e99999}".to_vec(),
        10 => b"{\"\\ud800\": \"\\u0000\"}".to_vec(),
        11 => vec![0; 1 + dice.below(40)],
        12 => format!("{{\"a\": \"{}\"}}", "x".repeat(1 << 20)).into_bytes(),
        13 => valid[..dice.below(valid.len().max(1))].to_vec(),
        14 => b"{\"a\": 1, \"a\": 2,}".to_vec(),
        _ => {
            let mut text = valid.to_vec();
            for _ in 0..=dice.below(3) {
                if !text.is_empty() {
                    let at = dice.below(text.len());
                    text[at] = dice.below(256) as u8;
                }
            }
            text
        }
    }
}

/// A value of some type, mostly a wrong one.
pub(crate) fn odd(dice: &mut Dice) -> Json {
    let all = [
        Json::Null,
        json!(true),
        json!(-1),
        json!(0),
        json!(i64::MIN),
        json!(u64::MAX),
        json!(1e308),
        json!(-1e308),
        json!(5e-324),
        json!(0.5),
        json!(""),
        json!("no_such_word"),
        json!("1"),
        json!("x".repeat(70_000)),
        json!([]),
        json!([1, "a", null]),
        json!({}),
        json!({ "value": -1, "unit": "parsecs" }),
    ];
    all[dice.below(all.len())].clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(kind: ParamKind, min: Option<f64>, max: Option<f64>, min_exclusive: bool) -> ParamSpec {
        ParamSpec {
            name: "x".to_owned(),
            kind,
            doc: String::new(),
            default: None,
            required: false,
            min,
            max,
            min_exclusive,
            varies: false,
            per_input: false,
            bare: None,
        }
    }

    #[test]
    fn valid_values_keep_the_bounds() {
        for case in 0..2000 {
            let mut dice = Dice::new(7, "valid", case);
            let x = valid(&spec(ParamKind::Number, Some(0.0), Some(4.0), true), &mut dice).as_f64().unwrap();
            assert!(x > 0.0 && x <= 4.0, "{x}");
            let x = valid(&spec(ParamKind::Number, None, Some(-3.0), false), &mut dice).as_f64().unwrap();
            assert!(x <= -3.0, "{x}");
            let x = valid(&spec(ParamKind::Fraction, None, None, false), &mut dice).as_f64().unwrap();
            assert!((0.0..=1.0).contains(&x), "{x}");
            let x = valid(&spec(ParamKind::Count, Some(3.0), Some(5.0), false), &mut dice).as_i64().unwrap();
            assert!((3..=5).contains(&x), "{x}");
            let words = ParamKind::Word(vec![("a".into(), String::new()), ("b".into(), String::new())]);
            assert!(
                ["a", "b"].contains(&valid(&spec(words, None, None, false), &mut dice).as_str().unwrap())
            );
        }
    }

    #[test]
    fn every_bound_is_broken_once() {
        let values =
            |spec: ParamSpec| -> Vec<Json> { breaches(&[spec]).into_iter().map(|b| b.value).collect() };
        assert_eq!(values(spec(ParamKind::Count, Some(1.0), Some(9.0), false)), [json!(0), json!(10)]);
        assert_eq!(values(spec(ParamKind::Number, Some(0.0), None, true)), [json!(0.0), json!(-0.001)]);
        assert_eq!(values(spec(ParamKind::Number, Some(f64::MIN), Some(f64::MAX), false)), [] as [Json; 0]);
        assert_eq!(values(spec(ParamKind::Word(Vec::new()), None, None, false)), [json!("no_such_word")]);
        assert_eq!(values(spec(ParamKind::Bool, Some(0.0), None, false)), [] as [Json; 0]);
    }

    #[test]
    fn the_same_seed_gives_the_same_garbage() {
        let texts = |seed| -> Vec<Vec<u8>> {
            (0..50).map(|case| garbage(&mut Dice::new(seed, "garbage", case), b"{\"a\": 1}")).collect()
        };
        assert_eq!(texts(1), texts(1));
        assert_ne!(texts(1), texts(2));
    }
}
