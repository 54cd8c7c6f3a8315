//! `repair` end to end: what averaging lost comes back, is reported layer by layer, and what cannot be repaired says why.

use crate::common::Space;

/// Two small networks that were trained apart, and their average.
const NETS: &str = r#"fusion 1

data train_set from "digits:train" { samples = 400; seed = 1; flatten = true }
model a of mlp(inputs: 784, hidden: [32, 32], outputs: 10) { seed = 1 }
model b of mlp(inputs: 784, hidden: [32, 32], outputs: 10) { seed = 2 }
train net_a using adam { start a; data train_set; epochs = 3; batch = 100; rate = 3e-3; seed = 1 }
train net_b using adam { start b; data train_set; epochs = 3; batch = 100; rate = 3e-3; seed = 2 }
average plain using linear { from [net_a, net_b] }
"#;

#[test]
fn statistics_of_an_average_are_repaired() {
    let space = Space::new();
    let rest = r#"repair both   using repair  { from plain; endpoints [net_a, net_b]; data train_set; batch = 400; seed = 1 }
repair closed using repair  { from plain; endpoints [net_a, net_b]; data train_set; form = closed; goal = variance }
repair spread using rescale { from plain; endpoints [net_a, net_b]; data train_set; weights = [0.5, 0.5]; passes = 2 }
repair means  using reshift { from plain; endpoints [net_a, net_b]; data train_set; batches = 1 }
repair biases using bias_correction { from plain; endpoints [net_a, net_b] }
repair alone  using bias_correction { from plain; alpha = 0.5 }

expect both.corrected == 2 and both.dead < 8
expect both.variance_before < 0.9
expect both.variance_after > 0.999 and both.variance_after < 1.001
expect closed.variance_after > both.variance_before
expect spread.variance_after > 0.99
expect means.corrected == 2
expect biases.ratio < 0.5
expect alone.corrected == 3
report [both, biases] to "out/report"
"#;
    space.write("repair.fusion", format!("{NETS}{rest}"));
    space.ok(&["run", "repair.fusion"]);
    let page = space.read("out/report/index.html");
    assert!(page.contains("repair repair") && page.contains("spread before"), "no section of the repair");
    assert!(page.contains("length of the bias"), "no section of the biases");
}

#[test]
fn what_cannot_be_repaired_says_why() {
    let space = Space::new();
    let cases = [
        (
            "repair { from plain; endpoints [net_a, net_b]; data train_set; weights = [0.5, 0.6] }",
            "add up to 1.1",
        ),
        (
            "repair { from plain; endpoints [net_a, net_b]; data train_set; weights = [1.0] }",
            "1 `weights` for 2",
        ),
        ("repair { from plain; endpoints net_a; data train_set }", "endpoints"),
        (
            "rescale { from plain; endpoints [net_a, net_b]; data train_set; passes = 2; batches = 3 }",
            "exclude",
        ),
        ("bias_correction { from plain; endpoints [net_a, net_b]; alpha = 0.5 }", "without `endpoints`"),
    ];
    for (stage, words) in cases {
        space.write("repair.fusion", format!("{NETS}repair wrong using {stage}\n"));
        let failed = space.fusion(&["check", "repair.fusion"]);
        assert!(failed.err.contains(words), "{stage}: {}", failed.err);
    }
}
