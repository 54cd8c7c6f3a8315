//! Apply passes on a burn device: whole chunks go over, statistics stay on the CPU. What burn says in panics becomes an error.

use super::error::RunError;
use super::program::{Arena, TileProgram, Watch};
use crate::method::{DeviceName, Registry};
use crate::plan::ir::Program;

#[cfg(feature = "burn")]
use crate::method::device;

/// Which stages run on which device.
pub(super) struct Placement<'a> {
    name: DeviceName,
    #[cfg(feature = "burn")]
    device: Option<burn::tensor::Device>,
    /// Per stage: its form on the device.
    #[cfg(feature = "burn")]
    stages: Vec<Option<device::Apply>>,
    program: &'a Program,
}

impl<'a> Placement<'a> {
    #[cfg(feature = "burn")]
    pub(super) fn new(program: &'a Program, registry: &Registry, name: DeviceName) -> Result<Self, RunError> {
        let opened = std::panic::catch_unwind(|| device::open(name)).map_err(|panic| RunError::Device {
            device: name.to_string(),
            stage: "opening".to_owned(),
            message: text(&*panic),
        })?;
        let stages = program
            .stages
            .iter()
            .map(|stage| {
                registry.get(&stage.method).filter(|_| opened.is_some()).and_then(|entry| entry.on_device)
            })
            .collect();
        Ok(Placement { name, device: opened, stages, program })
    }

    #[cfg(not(feature = "burn"))]
    pub(super) fn new(program: &'a Program, _: &Registry, name: DeviceName) -> Result<Self, RunError> {
        Ok(Placement { name, program })
    }

    /// Whether a program has a step for the device.
    pub(super) fn takes(&self, program: &TileProgram<'_>) -> bool {
        #[cfg(feature = "burn")]
        return self.stages.iter().enumerate().any(|(stage, form)| form.is_some() && program.computes(stage));
        #[cfg(not(feature = "burn"))]
        {
            let _ = (self.name, self.program, program.computes(0));
            false
        }
    }
}

#[cfg(not(feature = "burn"))]
pub(super) fn run_span(
    _: &Placement<'_>,
    _: &TileProgram<'_>,
    _: u64,
    _: usize,
    _: &mut Arena,
    _: &impl Watch,
) -> Result<(), RunError> {
    Ok(()) // never called: `takes` is false without a device
}

/// Computes a whole chunk: steps with a device form go over as one tensor, the others run tile by tile.
#[cfg(feature = "burn")]
pub(super) fn run_span(
    placement: &Placement<'_>,
    program: &TileProgram<'_>,
    offset: u64,
    len: usize,
    arena: &mut Arena,
    watch: &impl Watch,
) -> Result<(), RunError> {
    use super::program::{Action, run_step};
    use burn::tensor::{Tensor, TensorData};
    use fusion_sdk::TILE;

    for step in &program.steps {
        let form = match step.action {
            Action::Compute { stage, .. } => placement.stages.get(stage).copied().flatten(),
            _ => None,
        };
        let mut out = std::mem::take(&mut arena.slots[step.slot]);
        match (form, &step.action, &placement.device) {
            (Some(form), Action::Compute { kernel, stage, member }, Some(target)) => {
                let run = || -> Result<Vec<f32>, String> {
                    let inputs: Vec<Tensor<1>> = step
                        .inputs
                        .iter()
                        .map(|slot| {
                            Tensor::from_data(
                                TensorData::new(arena.slots[*slot][..len].to_vec(), [len]),
                                target,
                            )
                        })
                        .collect();
                    let tile =
                        device::DeviceTile { tensor: *member, offset, inputs: &inputs, device: target };
                    let result = form(kernel.as_any(), &tile).map_err(|error| error.message)?;
                    result.into_data().try_to_vec::<f32>().map_err(|error| format!("{error:?}"))
                };
                let failed = |message| RunError::Device {
                    device: placement.name.to_string(),
                    stage: placement.program.stages[*stage].name.clone(),
                    message,
                };
                let values = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run))
                    .map_err(|panic| failed(text(&*panic)))?
                    .map_err(failed)?;
                if values.len() != len {
                    return Err(failed(format!("gave {} elements for {len}", values.len())));
                }
                out[..len].copy_from_slice(&values);
            }
            _ => {
                for tile in (0..len).step_by(TILE) {
                    let count = (len - tile).min(TILE);
                    run_step(step, offset + tile as u64, tile, count, &mut out, arena, watch);
                }
            }
        }
        arena.slots[step.slot] = out;
    }
    Ok(())
}

#[cfg(feature = "burn")]
fn text(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_else(|| "unknown panic".to_owned())
}
