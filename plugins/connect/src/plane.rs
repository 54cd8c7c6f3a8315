//! `plane`: the plane through three models, for landscapes.
//!
//! With û = (b−a)/‖b−a‖ and v̂ the unit vector along what remains of c−a beside û (Gram and Schmidt), the plane is a + xû + yv̂: a lies at
//! the origin, b on the x axis. Three solutions, or two and the bend of a curve between them, show how valleys are connected.
//!
//! Garipov, Izmailov, Podoprikhin, Vetrov, Wilson, "Loss surfaces, mode connectivity, and fast ensembling of DNNs", NeurIPS 2018.

use fusion_sdk::connect::{Connect, Search};
use fusion_sdk::path::{Geometry, Path};
use fusion_sdk::{About, Category, Claim, MethodError, NoParams};

use crate::ports;

/// The kernel of `plane`.
#[derive(Clone, Copy, Debug)]
pub struct Plane;

impl Connect for Plane {
    type Params = NoParams;

    fn about() -> About {
        About {
            id: "plane",
            version: 1,
            category: Category::Connect,
            summary: "the plane through three models",
            formula: "a + xû + yv̂, û = (b−a)/‖b−a‖, v̂ ∝ (c−a) − ((c−a)·û)û",
            citation: "Garipov et al., Loss surfaces, mode connectivity, and fast ensembling of DNNs, NeurIPS 2018",
            ports: vec![ports::from(
                3,
                Some(3),
                "three models that do not lie on one line; the first is the origin",
            )],
            random: false,
            claims: &[Claim::Deterministic],
        }
    }

    fn prepare(_: NoParams, models: usize) -> Result<Self, MethodError> {
        ports::count("plane", models, 3, 3)?;
        Ok(Plane)
    }

    fn connect(&self, search: Search<'_>) -> Result<Path, MethodError> {
        let points = ports::exactly::<3>("plane", &search)?;
        let path = Path::new(Geometry::Plane, points.map(<[f32]>::to_vec).to_vec(), Vec::new())?;
        path.plane()?;
        Ok(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::toy::search;

    #[test]
    fn a_plane_needs_three_corners() {
        let plane = Plane::prepare(NoParams {}, 3).unwrap();
        let path = plane.connect(search(&[&[0.0, 0.0], &[2.0, 0.0], &[1.0, 1.0]], None, 0)).unwrap();
        assert_eq!(path.plane().unwrap().corners(), [[0.0, 0.0], [2.0, 0.0], [1.0, 1.0]]);
        let error = plane.connect(search(&[&[0.0, 0.0], &[2.0, 0.0], &[1.0, 0.0]], None, 0)).unwrap_err();
        assert!(error.message.contains("one line"), "{error}");
        assert!(Plane::prepare(NoParams {}, 2).is_err());
    }
}
