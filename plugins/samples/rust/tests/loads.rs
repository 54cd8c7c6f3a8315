//! The sample as a library: the host loads it, and both methods give the bits that they give when they are linked in.

use std::path::PathBuf;

use fusion_core::host::load;
// Links the library in, so that cargo builds it.
use fusion_sample_consensus::{Consensus, GeometricMedian};
use fusion_sdk::testing::{run, tensor};
use fusion_sdk::{Method, RawGroup, TILE, method, rng};
use serde_json::json;

fn library() -> PathBuf {
    let folder = std::env::current_exe().unwrap().parent().unwrap().to_owned();
    let name =
        format!("{}fusion_sample_consensus{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    [folder.join(&name), folder.parent().unwrap().join(&name)]
        .into_iter()
        .find(|path| path.is_file())
        .expect("cargo builds the cdylib beside its tests")
}

#[test]
fn both_methods_give_the_same_bits_behind_the_contract() {
    let plugin = load(&library()).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(plugin.id, "org.fusion.samples.consensus");
    let linked: [Box<dyn Method>; 2] =
        [method::elementwise::<Consensus>(), method::whole_tensor::<GeometricMedian>()];
    assert_eq!(plugin.methods.len(), linked.len());
    let n = TILE + 19;
    let params = [json!({ "agreement": 0.75 }), json!({ "iterations": 30, "smoothing": 1e-3 })];
    for ((dynamic, linked), params) in plugin.methods.iter().zip(&linked).zip(&params) {
        let (found, expected) = (dynamic.describe(), linked.describe());
        assert_eq!((found.about.id, found.params), (expected.about.id, expected.params));
        let based = expected.about.ports.len() == 2;
        let mut inputs = vec![("from", json!({})); 4];
        if based {
            inputs.insert(0, ("base", json!({})));
        }
        let data: Vec<Vec<f32>> = (0..inputs.len() as u64)
            .map(|input| {
                let key = rng::Key::new(1, "loads", input);
                (0..n as u64).map(|i| key.uniform(i) - 0.5).collect()
            })
            .collect();
        let group = RawGroup { tensors: vec![tensor("w", &[n], params, &inputs)], seed: 0 };
        let run = |method: &dyn Method| run(method, &group, std::slice::from_ref(&data)).unwrap();
        assert_eq!(run(&**dynamic), run(&**linked), "{}", expected.about.id);
    }
}
