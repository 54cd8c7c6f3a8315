//! Every kernel class through a whole run: what the engine hands to a method is what the recipe says, for any threads, chunk and budget.

mod support;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use fusion_core::engine::{self, Event, RunError, RunReport};
use fusion_core::method::Registry;
use fusion_core::plan::{Options, plan};
use fusion_dsl::codes::Code;
use fusion_dsl::diag::Diagnostic;
use fusion_dsl::world::NoFiles;
use fusion_sdk::{
    About, Category, Context, Elementwise, Group, Member, MethodError, Models, NoParams, Observe, Port,
    Scope, TILE, Tasks, Tile, WholeModel, WholeTensor, method, rng,
};

fn about(id: &'static str, ports: Vec<Port>) -> About {
    About {
        id,
        version: 1,
        category: Category::Average,
        summary: "a test's method",
        formula: "see the test",
        citation: "none",
        ports,
        random: false,
        claims: &[],
    }
}

type None2 = Tasks<NoParams, NoParams>;

/// Each row of the first model, with the norm of the second's.
struct RowNorms;

impl WholeTensor for RowNorms {
    type Params = NoParams;
    type Input = NoParams;

    fn about() -> About {
        about("row_norms", vec![Port { settings: false, ..Port::from(2, Some(2), "two models") }])
    }

    fn prepare(tasks: None2) -> Result<Self, MethodError> {
        match tasks.tensors.as_slice() {
            [one] if one.name.contains("refused") => Err(MethodError::invalid("not this one")),
            [_] => Ok(RowNorms),
            more => Err(MethodError::invalid(format!("{} tensors", more.len()))),
        }
    }

    fn apply(&self, tensor: &mut Member<'_>, context: &Context<'_>) -> Result<(), MethodError> {
        let [a, b] = tensor.inputs else { return Err(MethodError::invalid("two models")) };
        let width = tensor.shape.last().copied().unwrap_or(1).max(1);
        for ((out, a), b) in tensor.out.chunks_mut(width).zip(a.chunks(width)).zip(b.chunks(width)) {
            context.check()?;
            row(a, b, out);
        }
        Ok(())
    }
}

fn row(a: &[f32], b: &[f32], out: &mut [f32]) {
    let norm = |row: &[f32]| row.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
    let factor = norm(b) / norm(a);
    for (out, a) in out.iter_mut().zip(a) {
        *out = (f64::from(*a) * factor) as f32;
    }
}

/// The first model, divided by the largest magnitude in its group.
struct LargestOfLayer(Vec<String>);

impl Group for LargestOfLayer {
    type Params = NoParams;
    type Input = NoParams;

    fn about() -> About {
        about("largest_of_layer", vec![Port::from(1, Some(1), "a model")])
    }

    fn prepare(tasks: None2) -> Result<Self, MethodError> {
        let layers: Vec<_> = tasks.tensors.iter().map(|tensor| tensor.layer).collect();
        if layers.windows(2).any(|pair| pair[0] != pair[1] || pair[0].is_none()) {
            return Err(MethodError::invalid("a group crosses layers"));
        }
        Ok(LargestOfLayer(tasks.tensors.into_iter().map(|tensor| tensor.name).collect()))
    }

    fn apply(&self, tensors: &mut [Member<'_>], context: &Context<'_>) -> Result<(), MethodError> {
        assert!(tensors.iter().map(|tensor| tensor.name).eq(self.0.iter().map(String::as_str)));
        context.progress(1, 2, "half");
        let all = || tensors.iter().flat_map(|tensor| tensor.inputs[0]);
        let largest = all().fold(0.0_f32, |most, x| most.max(x.abs()));
        for tensor in tensors {
            for (out, x) in tensor.out.iter_mut().zip(tensor.inputs[0]) {
                *out = x / largest;
            }
        }
        Ok(())
    }
}

/// The first model plus the mean of all elements of the second; members are written in reverse.
struct ShiftByMean;

impl WholeModel for ShiftByMean {
    type Params = NoParams;
    type Input = NoParams;

    fn about() -> About {
        about("shift_by_mean", vec![Port { settings: false, ..Port::from(2, Some(2), "two models") }])
    }

    fn prepare(_: None2) -> Result<Self, MethodError> {
        Ok(ShiftByMean)
    }

    fn run(&self, models: &dyn Models, context: &Context<'_>) -> Result<(), MethodError> {
        assert_eq!(models.models(), 2);
        assert!(models.read(2, 0).is_err() && models.read(0, models.members()).is_err());
        let (mut sum, mut count) = (0.0, 0);
        for member in 0..models.members() {
            context.check()?;
            let values = models.read(1, member)?;
            assert_eq!(values.len(), models.shape(member).iter().product::<usize>());
            assert_eq!(models.find(models.name(member)), Some(member));
            sum += values.iter().map(|x| f64::from(*x)).sum::<f64>();
            count += values.len();
        }
        let mean = (sum / count as f64) as f32;
        context.for_each(models.members(), |index| {
            let member = models.members() - 1 - index;
            let shifted: Vec<f32> = models.read(0, member)?.iter().map(|x| x + mean).collect();
            models.write(member, &shifted)
        })
    }
}

/// Does what its first tensor's name says, wrongly.
struct Careless;

impl WholeModel for Careless {
    type Params = NoParams;
    type Input = NoParams;

    fn about() -> About {
        about("careless", vec![Port::from(1, Some(1), "a model")])
    }

    fn prepare(_: None2) -> Result<Self, MethodError> {
        Ok(Careless)
    }

    fn run(&self, models: &dyn Models, _: &Context<'_>) -> Result<(), MethodError> {
        let data = models.read(0, 0)?;
        match models.name(0) {
            "short" => models.write(0, &data[1..]),
            "twice" => models.write(0, &data).and_then(|()| models.write(0, &data)),
            "nowhere" => models.write(7, &data),
            _ => Ok(()), // writes nothing
        }
    }
}

/// A path, which nothing runs yet.
struct Path;

impl WholeTensor for Path {
    type Params = NoParams;
    type Input = NoParams;

    fn about() -> About {
        About { category: Category::Connect, ..about("path", vec![Port::from(1, Some(1), "a model")]) }
    }

    fn prepare(_: None2) -> Result<Self, MethodError> {
        Ok(Path)
    }

    fn apply(&self, _: &mut Member<'_>, _: &Context<'_>) -> Result<(), MethodError> {
        Ok(())
    }
}

/// Half of each task vector, over the largest magnitude of all of them.
struct HalfDeltas {
    largest: f32,
    due: bool,
}

impl Elementwise for HalfDeltas {
    type Params = NoParams;
    type Input = NoParams;

    fn about() -> About {
        about("half_deltas", vec![Port::base("the ancestor"), Port::deltas(1, None, "fine-tuned models")])
    }

    fn prepare(_: None2) -> Result<Self, MethodError> {
        Ok(HalfDeltas { largest: 0.0, due: true })
    }

    fn apply(&self, tile: &Tile<'_>, out: &mut [f32]) {
        out.fill(0.0);
        for delta in &tile.inputs[1..] {
            for (out, d) in out.iter_mut().zip(*delta) {
                *out += 0.5 * d / self.largest;
            }
        }
    }
}

impl Observe for HalfDeltas {
    type Partial = f32;

    fn observing(&self) -> bool {
        self.due
    }

    fn partial(&self) -> f32 {
        0.0
    }

    fn observe(&self, partial: &mut f32, tile: &Tile<'_>) {
        for delta in &tile.inputs[1..] {
            *partial = delta.iter().fold(*partial, |most, d| most.max(d.abs()));
        }
    }

    fn absorb(&mut self, partial: &mut f32) {
        self.largest = self.largest.max(std::mem::take(partial));
    }

    fn finish_pass(&mut self) -> Result<(), MethodError> {
        self.due = false;
        Ok(())
    }
}

/// The group's result on whole task vectors: δ₁ reversed.
struct Backwards;

impl Group for Backwards {
    type Params = NoParams;
    type Input = NoParams;

    fn about() -> About {
        about("backwards", vec![Port::base("the ancestor"), Port::deltas(1, Some(1), "a fine-tuned model")])
    }

    fn scope(_: &NoParams) -> Scope {
        Scope::Tensor
    }

    fn prepare(_: None2) -> Result<Self, MethodError> {
        Ok(Backwards)
    }

    fn apply(&self, tensors: &mut [Member<'_>], _: &Context<'_>) -> Result<(), MethodError> {
        for tensor in tensors {
            for (out, d) in tensor.out.iter_mut().zip(tensor.inputs[1].iter().rev()) {
                *out = *d;
            }
        }
        Ok(())
    }
}

fn registry() -> Registry {
    let mut registry = Registry::new();
    registry.add_method(method::whole_tensor::<RowNorms>());
    registry.add_method(method::group::<LargestOfLayer>());
    registry.add_method(method::group::<Backwards>());
    registry.add_method(method::whole_model::<ShiftByMean>());
    registry.add_method(method::whole_model::<Careless>());
    registry.add_method(method::observing::<HalfDeltas>());
    registry.add_method(method::whole_tensor::<Path>());
    registry
}

type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// Two layers of three tensors, an embedding, a norm of one element and an empty tensor.
fn tensors(seed: u64) -> Tensors {
    let mut all = Tensors::new();
    let mut add = |name: &str, shape: &[usize]| {
        let key = rng::Key::new(seed, name, 0);
        let n: usize = shape.iter().product();
        let values = (0..n as u64).map(|i| key.uniform(i) - 0.4).collect();
        all.insert(name.to_owned(), (shape.to_vec(), values));
    };
    add("model.embed_tokens.weight", &[130, 2 * TILE / 64 + 1]);
    for layer in 0..2 {
        add(&format!("model.layers.{layer}.a.weight"), &[70, 50]);
        add(&format!("model.layers.{layer}.b.weight"), &[3, TILE]);
        add(&format!("model.layers.{layer}.norm.weight"), &[50]);
    }
    add("model.norm.weight", &[1]);
    add("model.void", &[0, 4]);
    all
}

fn save(folder: &std::path::Path, name: &str, tensors: &Tensors) {
    let entries: Vec<support::Entry<'_>> =
        tensors.iter().map(|(name, (shape, values))| support::f32s(name, shape, values)).collect();
    support::write(folder, &format!("{name}/model.safetensors"), support::safetensors(&entries));
}

fn planned(
    folder: &std::path::Path,
    recipe: &str,
    options: &Options,
) -> Result<fusion_core::plan::Plan, Vec<Diagnostic>> {
    let registry = registry();
    let text = format!("fusion 1\n\n{recipe}");
    let compiled = fusion_dsl::compile(&NoFiles(registry.descriptors()), "r.fusion", &text, &[]);
    assert!(!compiled.has_errors(), "{:?}", compiled.diagnostics);
    assert!(options.root == folder);
    let (plan, diagnostics) = plan(&compiled.variants[0].graph, &registry, options);
    plan.ok_or(diagnostics)
}

fn run(
    options: &Options,
    recipe: &str,
    listener: engine::Listener<'_>,
    cancel: &AtomicBool,
) -> Result<RunReport, RunError> {
    let plan = planned(&options.root, recipe, options).unwrap_or_else(|found| panic!("{found:?}"));
    engine::run(&plan, &registry(), options, recipe, listener, cancel)
}

fn read(path: &std::path::Path) -> Tensors {
    let bytes = std::fs::read(path).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    file.tensors()
        .into_iter()
        .map(|(name, view)| {
            let values = view
                .data()
                .chunks_exact(4)
                .map(|four| f32::from_le_bytes(four.try_into().unwrap()))
                .collect();
            (name, (view.shape().to_vec(), values))
        })
        .collect()
}

const MODELS: &str = "model a from \"a\"\nmodel b from \"b\"\n\n";

/// Runs a recipe under several budgets and compares the result with `expected`, bit for bit.
fn agrees(recipe: &str, expected: impl Fn(&Tensors, &Tensors) -> Tensors) {
    let (a, b) = (tensors(1), tensors(2));
    let expected = expected(&a, &b);
    for (threads, chunk, memory) in [(1, 64 << 10, 512 << 20), (3, 256 << 10, 16 << 20)] {
        let folder = tempfile::tempdir().unwrap();
        save(folder.path(), "a", &a);
        save(folder.path(), "b", &b);
        let options = Options { threads, chunk, memory, ..Options::new(folder.path()) };
        let recipe = format!("{MODELS}{recipe}\n\nsave m to \"out\"\n");
        run(&options, &recipe, &|_| {}, &AtomicBool::new(false)).unwrap_or_else(|error| panic!("{error}"));
        let found = read(&folder.path().join("out/model.safetensors"));
        assert_eq!(found.len(), expected.len());
        for (name, (shape, values)) in &expected {
            let (found_shape, found_values) = &found[name];
            assert_eq!(found_shape, shape, "{name}");
            let bits = |values: &[f32]| values.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            assert!(bits(found_values) == bits(values), "`{name}` differs in {recipe}");
        }
        // The spill of a whole model has no name.
        let left: Vec<_> =
            std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left.len(), 3, "{left:?}");
    }
}

fn map(tensors: &Tensors, mut f: impl FnMut(&str, &[usize], &[f32]) -> Vec<f32>) -> Tensors {
    tensors
        .iter()
        .map(|(name, (shape, values))| (name.clone(), (shape.clone(), f(name, shape, values))))
        .collect()
}

fn rows(a: &Tensors, b: &Tensors) -> Tensors {
    map(a, |name, shape, values| {
        let width = shape.last().copied().unwrap_or(1).max(1);
        let mut out = vec![0.0; values.len()];
        let other = b[name].1.chunks(width);
        for ((out, a), b) in out.chunks_mut(width).zip(values.chunks(width)).zip(other) {
            row(a, b, out);
        }
        out
    })
}

fn shifted(a: &Tensors, b: &Tensors) -> Tensors {
    // As the engine orders members: by name.
    let sums: f64 = b.values().map(|(_, v)| v.iter().map(|x| f64::from(*x)).sum::<f64>()).sum();
    let count: usize = b.values().map(|(_, v)| v.len()).sum();
    let mean = (sums / count as f64) as f32;
    map(a, |_, _, values| values.iter().map(|x| x + mean).collect())
}

fn largest(a: &Tensors) -> Tensors {
    let layer = |name: &str| name.strip_prefix("model.layers.").map(|rest| rest[..1].to_owned());
    map(a, |name, _, values| {
        let own = |other: &str| match layer(name) {
            Some(index) => layer(other) == Some(index),
            None => other == name,
        };
        let all = a.iter().filter(|(other, _)| own(other)).flat_map(|(_, (_, values))| values);
        let most = all.fold(0.0_f32, |most, x| most.max(x.abs()));
        values.iter().map(|x| x / most).collect()
    })
}

#[test]
fn whole_tensors_come_whole() {
    agrees("average m using row_norms {\n  from a\n  from b\n}", rows);
}

#[test]
fn groups_are_layers() {
    agrees("average m using largest_of_layer {\n  from a\n}", |a, _| largest(a));
}

#[test]
fn whole_models_are_read_and_written_by_member() {
    agrees("average m using shift_by_mean {\n  from a\n  from b\n}", shifted);
}

#[test]
fn deltas_are_subtracted_and_added() {
    let recipe = "average m using half_deltas {\n  base a\n  from b\n  from b\n}";
    agrees(recipe, |a, b| {
        map(a, |name, _, base| {
            let deltas: Vec<f32> = b[name].1.iter().zip(base).map(|(x, y)| x - y).collect();
            let most = deltas.iter().fold(0.0_f32, |most, d| most.max(d.abs()));
            let one = |d: &f32| 0.5 * d / most;
            base.iter().zip(&deltas).map(|(base, d)| ((0.0 + one(d)) + one(d)) + base).collect()
        })
    });
    agrees("average m using backwards {\n  base a\n  from b\n}", |a, b| {
        map(a, |name, _, base| {
            let deltas: Vec<f32> = b[name].1.iter().zip(base).map(|(x, y)| x - y).collect();
            base.iter().zip(deltas.iter().rev()).map(|(base, d)| d + base).collect()
        })
    });
}

/// Classes in any order: nothing is rounded between stages, and a result of one class is an input like any other.
#[test]
fn classes_follow_each_other() {
    let recipe = "average r using row_norms {\n  from a\n  from b\n}\n\n\
                  average d using half_deltas {\n  base b\n  from r\n}\n\n\
                  average s using shift_by_mean {\n  from d\n  from r\n}\n\n\
                  average m using largest_of_layer {\n  from s\n}";
    agrees(recipe, |a, b| {
        let r = rows(a, b);
        let d = map(b, |name, _, base| {
            let deltas: Vec<f32> = r[name].1.iter().zip(base).map(|(x, y)| x - y).collect();
            let most = deltas.iter().fold(0.0_f32, |most, d| most.max(d.abs()));
            base.iter().zip(&deltas).map(|(base, d)| (0.0 + 0.5 * d / most) + base).collect()
        });
        largest(&shifted(&d, &r))
    });
}

#[test]
fn what_does_not_fit_the_budget_is_an_error_of_the_plan() {
    let folder = tempfile::tempdir().unwrap();
    save(folder.path(), "a", &tensors(1));
    save(folder.path(), "b", &tensors(2));
    let options = Options { memory: 100_000, ..Options::new(folder.path()) };
    let recipe =
        format!("{MODELS}average m using row_norms {{\n  from a\n  from b\n}}\n\nsave m to \"out\"\n");
    let Err(found) = planned(folder.path(), &recipe, &options) else { panic!("it was planned") };
    let one = found.iter().find(|one| one.code == Code::NotEnoughMemory).unwrap();
    // 130 x 65 elements of two inputs and an output.
    assert!(
        one.message.contains("`model.embed_tokens.weight` at once, which takes 101.4 kB"),
        "{}",
        one.message
    );
}

/// An input's hash covers what a whole-model method has read, saved or not.
#[test]
fn input_hashes_cover_all_members_of_a_group() {
    let hash_and_result = |last: f32| {
        let folder = tempfile::tempdir().unwrap();
        let mut b = tensors(2);
        b.insert("model.norm.weight".to_owned(), (vec![1], vec![last]));
        save(folder.path(), "a", &tensors(1));
        save(folder.path(), "b", &b);
        let recipe = format!(
            "{MODELS}average s using shift_by_mean {{\n  from a\n  from b\n}}\n\n\
             average m using row_norms {{\n  from s\n  from a\n  on \"model.norm.weight\" {{ copy = a }}\n}}\n\n\
             save m to \"out\"\n"
        );
        let options = Options::new(folder.path());
        run(&options, &recipe, &|_| {}, &AtomicBool::new(false)).unwrap();
        let record = std::fs::read_to_string(folder.path().join("out/fusion.json")).unwrap();
        let record: serde_json::Value = serde_json::from_str(&record).unwrap();
        let inputs = record["record"]["inputs"].as_array().unwrap();
        let of_b = inputs.iter().find(|input| input["name"] == "b").unwrap();
        let result = read(&folder.path().join("out/model.safetensors"));
        (of_b["hash"].as_str().unwrap().to_owned(), result["model.embed_tokens.weight"].1.clone())
    };
    let (one, other) = (hash_and_result(1.0), hash_and_result(90.0));
    assert!(one.1 != other.1, "the member that is not saved decides the mean");
    assert_ne!(one.0, other.0);
    assert_eq!(one.0, hash_and_result(1.0).0);
}

#[test]
fn verbs_without_a_model_as_result_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    save(folder.path(), "a", &tensors(1));
    let recipe = "model a from \"a\"\n\nconnect m using path {\n  from a\n}\n\nexpect a.layers == 2\n";
    let Err(found) = planned(folder.path(), recipe, &Options::new(folder.path())) else {
        panic!("it was planned")
    };
    assert_eq!(found[0].code, Code::VerbWithoutMethods);
    assert!(found[0].message.starts_with("`path`, whose result is no model"), "{}", found[0].message);
}

#[test]
fn a_careless_method_is_told_off_and_gives_no_result() {
    for (name, said) in [
        ("short", "`short` has 4 elements, 3 were written"),
        ("twice", "`twice` was written twice"),
        ("nowhere", "there is no member 7"),
        ("unwritten", "it did not write `unwritten`"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        save(folder.path(), "a", &[(name.to_owned(), (vec![4], vec![1.0; 4]))].into());
        let options = Options::new(folder.path());
        let recipe = "model a from \"a\"\n\naverage m using careless {\n  from a\n}\n\nsave m to \"out\"\n";
        let error = run(&options, recipe, &|_| {}, &AtomicBool::new(false)).unwrap_err();
        let RunError::Method { stage, message, .. } = &error else { panic!("{error}") };
        assert_eq!((stage.as_str(), message.as_str()), ("m", said));
        assert!(!folder.path().join("out").exists());
    }
}

/// Ctrl-C within a long call stops it, and the same command ends with the same bytes.
#[test]
fn a_long_call_can_be_stopped_and_the_run_resumed() {
    let folder = tempfile::tempdir().unwrap();
    save(folder.path(), "a", &tensors(1));
    save(folder.path(), "b", &tensors(2));
    let options = Options { threads: 1, ..Options::new(folder.path()) };
    let recipe = format!(
        "{MODELS}average l using largest_of_layer {{\n  from a\n}}\n\n\
         average m using row_norms {{\n  from l\n  from b\n}}\n\nsave m to \"out\"\n"
    );
    let (cancel, told) = (AtomicBool::new(false), AtomicUsize::new(0));
    let listener = |event: &Event| {
        if let Event::Working { stage, done: 1, total: 2, note } = event {
            assert_eq!((stage.as_str(), note.as_str()), ("l", "half"));
            told.fetch_add(1, Ordering::Relaxed);
            cancel.store(true, Ordering::Relaxed);
        }
    };
    assert!(matches!(run(&options, &recipe, &listener, &cancel), Err(RunError::Cancelled)));
    assert_eq!(told.load(Ordering::Relaxed), 1);
    assert!(!folder.path().join("out").exists());
    run(&options, &recipe, &|_| {}, &AtomicBool::new(false)).unwrap();
    let expected = rows(&largest(&tensors(1)), &tensors(2));
    assert_eq!(
        read(&folder.path().join("out/model.safetensors"))["model.norm.weight"],
        expected["model.norm.weight"]
    );
}
