//! Each method needs its class, and there are five.

pub struct Rows;

fusion_sdk::export_plugin! {
    id = "org.example.wrong",
    methods = [Rows: Rowwise],
}

fn main() {}
