//! What a test asks of a method: tensors, inputs with settings, and the numbers in them.

use fusion_abi::FUSION_SPACE_DELTA;
use fusion_sdk::rng::Key;
use serde_json::{Map, Value as Json};

use crate::driver::{Meta, Method};

/// Settings as the plugin gets them; a test may send what is no JSON.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    /// The text.
    pub(crate) text: Vec<u8>,
    /// The values, for the table of numbers; empty where the text is garbage.
    pub(crate) map: Map<String, Json>,
}

impl From<Map<String, Json>> for Settings {
    fn from(map: Map<String, Json>) -> Self {
        Settings { text: Json::Object(map.clone()).to_string().into_bytes(), map }
    }
}

impl Settings {
    /// A text that need not be JSON.
    pub(crate) fn garbage(text: Vec<u8>) -> Self {
        Settings { text, map: Map::new() }
    }
}

/// One input.
#[derive(Clone, Debug)]
pub(crate) struct Input {
    /// Index of its port.
    pub(crate) port: usize,
    /// The port's word.
    pub(crate) role: String,
    /// Its settings.
    pub(crate) settings: Settings,
}

/// One output tensor.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    /// Its name.
    pub(crate) name: String,
    /// Its shape.
    pub(crate) shape: Vec<i64>,
    /// Its place in the stack.
    pub(crate) layer: Option<u32>,
    /// The stage's settings for it.
    pub(crate) settings: Settings,
    /// Its inputs.
    pub(crate) inputs: Vec<Input>,
}

/// The tensors of one instance.
#[derive(Clone, Debug)]
pub(crate) struct Task {
    /// Never empty.
    pub(crate) members: Vec<Member>,
    /// Layers of the model.
    pub(crate) layers: u32,
    /// The stage's seed.
    pub(crate) seed: u64,
}

/// `data[member][input]`.
pub(crate) type Data = Vec<Vec<Vec<f32>>>;

impl Member {
    /// Elements.
    pub(crate) fn total(&self) -> u64 {
        self.shape.iter().product::<i64>() as u64
    }
}

impl Task {
    /// A member's key.
    pub(crate) fn key(&self, member: usize) -> u64 {
        Key::new(self.seed, &self.members[member].name, 0).value()
    }

    /// A view of `len` elements of a member from `first` on, or all of it in its own shape.
    pub(crate) fn meta(&self, member: usize, stretch: Option<(u64, u64)>) -> Meta {
        let of = &self.members[member];
        Meta {
            member: member as u64,
            name: of.name.clone(),
            key: self.key(member),
            shape: stretch.map_or_else(|| of.shape.clone(), |(_, len)| vec![len as i64]),
            first: stretch.map_or(0, |(first, _)| first),
            total: of.total(),
        }
    }

    /// The table of numbers of a member.
    pub(crate) fn table(&self, method: &Method, member: usize) -> Vec<f64> {
        let member = &self.members[member];
        let value = |input: &Input, name: &Vec<u8>| {
            let name = String::from_utf8_lossy(name);
            let found = input.settings.map.get(&*name).or_else(|| member.settings.map.get(&*name));
            found.and_then(Json::as_f64).unwrap_or(f64::NAN)
        };
        member
            .inputs
            .iter()
            .flat_map(|input| method.numbers.iter().map(move |name| value(input, name)))
            .collect()
    }

    /// Index of the `base` input.
    pub(crate) fn base(&self, method: &Method) -> Option<usize> {
        let inputs = &self.members[0].inputs;
        inputs.iter().position(|input| method.ports[input.port].name == b"base")
    }

    /// Whether the method sees an input minus the base.
    pub(crate) fn is_delta(&self, method: &Method, input: usize) -> bool {
        method.ports[self.members[0].inputs[input].port].space == FUSION_SPACE_DELTA
    }

    /// Whether any input is one.
    pub(crate) fn has_deltas(&self, method: &Method) -> bool {
        (0..self.members[0].inputs.len()).any(|input| self.is_delta(method, input))
    }

    /// Changes the settings of all members.
    pub(crate) fn set(&mut self, stage: &Settings, inputs: &[Settings]) {
        for member in &mut self.members {
            member.settings = stage.clone();
            for (input, settings) in member.inputs.iter_mut().zip(inputs) {
                input.settings = settings.clone();
            }
        }
    }
}

/// Numbers that look like the weights of fine-tuned models: a shared part and a smaller part of each input's own.
pub(crate) fn weights(task: &Task, seed: u64) -> Data {
    let uniform = |name: &str, stream: u64, i: u64| Key::new(seed, name, stream).uniform(i) - 0.5;
    task.members
        .iter()
        .map(|member| {
            let shared: Vec<f32> = (0..member.total()).map(|i| 0.2 * uniform(&member.name, 0, i)).collect();
            (0..member.inputs.len() as u64)
                .map(|input| {
                    let own = |i: usize| 0.02 * uniform(&member.name, 1 + input, i as u64);
                    shared.iter().enumerate().map(|(i, x)| x + own(i)).collect()
                })
                .collect()
        })
        .collect()
}

/// The same function of place for every value.
pub(crate) fn filled(task: &Task, value: impl Fn(usize, usize, usize) -> f32) -> Data {
    task.members
        .iter()
        .enumerate()
        .map(|(m, member)| {
            (0..member.inputs.len())
                .map(|input| (0..member.total() as usize).map(|i| value(m, input, i)).collect())
                .collect()
        })
        .collect()
}
