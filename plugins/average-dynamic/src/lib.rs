//! The average family as a dynamic plugin, so that tests can compare it with the built-in one, byte by byte.

use fusion_average::{Dare, Linear, Mean, ModelStock, Slerp, TaskArithmetic, Ties};

fusion_sdk::export_plugin! {
    id = "org.fusion.average",
    methods = [
        Mean: Elementwise,
        Linear: Elementwise,
        Slerp: Observe,
        TaskArithmetic: Elementwise,
        Ties: Observe,
        Dare: Observe,
        ModelStock: Observe,
    ],
}
