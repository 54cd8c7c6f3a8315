//! A method is exported by the trait that it implements, with settings that are `Params`.

use fusion_sdk::{
    About, Context, Elementwise, Member, MethodError, NoParams, Tasks, Tile, WholeTensor,
};

pub struct Rows;

impl WholeTensor for Rows {
    type Params = NoParams;
    type Input = NoParams;

    fn about() -> About {
        unimplemented!()
    }

    fn prepare(_: Tasks<NoParams, NoParams>) -> Result<Self, MethodError> {
        Ok(Rows)
    }

    fn apply(&self, _: &mut Member<'_>, _: &Context<'_>) -> Result<(), MethodError> {
        Ok(())
    }
}

pub struct Settings;

pub struct Untyped;

impl Elementwise for Untyped {
    type Params = Settings;
    type Input = NoParams;

    fn about() -> About {
        unimplemented!()
    }

    fn prepare(_: Tasks<Settings, NoParams>) -> Result<Self, MethodError> {
        Ok(Untyped)
    }

    fn apply(&self, _: &Tile<'_>, _: &mut [f32]) {}
}

fusion_sdk::export_plugin! {
    id = "org.example.wrong",
    methods = [Rows: Elementwise, Untyped: Observe],
}

fn main() {}
