use super::*;
use crate::oracle::uniform;
use crate::rows::Rows;
use fusion_sdk::Context;
use fusion_sdk::context::Alone;

const EXACT: Coupling = Coupling {
    metric: Metric::Euclidean,
    scaling: Scaling::None,
    solver: Solver::Exact,
    reg: 0.01,
    iterations: 5000,
    mass: Mass::Uniform,
};

fn distances(a: &Rows, b: &Rows) -> Distances {
    let mut distances = Distances::new(a.rows, b.rows);
    distances.add(Context::new(&Alone), a, b).unwrap();
    distances
}

/// Oracle O7 of the reference notes (POT): three layers without biases, the output layer transported too. Costs, rows and norms of the fused
/// layers to all digits given.
#[test]
fn layers_are_fused_as_in_the_reference() {
    let dims = [8, 16, 12, 5];
    let costs = [1.476_463_517_420, 2.681_581_556_989, 2.312_702_220_666];
    let norms = [5.529_093_102_695, 6.739_103_363_479, 3.569_775_191_858];
    let slots: [&[usize]; 3] = [
        &[4, 10, 9, 8, 0, 13, 12, 14, 7, 1, 6, 15, 2, 5, 3, 11],
        &[9, 6, 0, 1, 7, 5, 8, 11, 10, 4, 3, 2],
        &[4, 2, 0, 1, 3],
    ];
    let mut before: Option<Mix> = None;
    for layer in 0..3 {
        let weights = |seed: u64| {
            let values = uniform(100 * seed + 2 * layer as u64, dims[layer + 1] * dims[layer]);
            Matrix { rows: dims[layer + 1], columns: dims[layer], values }
        };
        let rows = |matrix: &Matrix| Rows {
            rows: matrix.rows,
            columns: matrix.columns,
            values: matrix.values.clone(),
        };
        let b = weights(4);
        let a = before.as_ref().map_or(weights(3), |mix| weights(3).times(&mix.unmerge));
        let distances = distances(&rows(&a), &rows(&b));
        let (units, others) = (0..a.rows, 0..b.rows);
        let found = EXACT.solve(&distances, units.clone(), others.clone()).unwrap();
        assert!((found.cost - costs[layer]).abs() < 1e-12, "{}", found.cost);
        let Coupled::Table(table) = &found.coupled else { panic!("no permutation") };
        for (unit, slot) in slots[layer].iter().enumerate() {
            assert_eq!(table[*slot], unit as u32);
        }
        // The network simplex finds the same plan, and maps made of it are the permutation.
        let costs = distances.costs(units, others, Metric::Euclidean);
        let uniform = vec![1.0 / a.rows as f64; a.rows];
        let plan = emd(&costs, &uniform, &uniform).unwrap();
        let plan = Coupled::Plan(Matrix { rows: a.rows, columns: b.rows, values: plan.values });
        let mix = plan.mix(Readers::Mean);
        assert_eq!((&mix, &mix), (&plan.mix(Readers::Spread), &found.coupled.mix(Readers::Mean)));
        let fused = mix.merge.times(&a);
        let squares = fused.values.iter().zip(&b.values).map(|(a, b)| (0.5 * a + 0.5 * b).powi(2));
        let norm = squares.sum::<f64>().sqrt();
        assert!((norm - norms[layer]).abs() < 1e-12, "{norm}");
        before = Some(mix);
    }
}

/// Six units into four slots, exact and entropic: columns of the plan over their sums, rows over theirs.
#[test]
fn rectangular_plans_become_stochastic_matrices() {
    let rows = |seed, rows| Rows { rows, columns: 3, values: uniform(seed, 3 * rows) };
    let distances = distances(&rows(1, 6), &rows(2, 4));
    for solver in [Solver::Exact, Solver::Sinkhorn] {
        for mass in [Mass::Uniform, Mass::L1, Mass::L2] {
            let coupling = Coupling { solver, mass, reg: 0.1, ..EXACT };
            let found = coupling.solve(&distances, 0..6, 0..4).unwrap();
            assert!(found.error < 2e-9, "{found:?}");
            let near = |sums: &[f64]| sums.iter().all(|sum| (sum - 1.0).abs() < 1e-12);
            let sums = |matrix: &Matrix| {
                matrix.values.chunks(matrix.columns).map(|row| row.iter().sum()).collect::<Vec<f64>>()
            };
            for readers in [Readers::Spread, Readers::Mean] {
                let mix = found.coupled.mix(readers);
                assert_eq!((mix.merge.rows, mix.merge.columns, mix.unmerge.rows), (4, 6, 6));
                assert!(near(&sums(&mix.merge)));
                match readers {
                    Readers::Spread => assert!(near(&sums(&mix.unmerge))),
                    Readers::Mean => assert!(near(&sums(&mix.unmerge.transposed()))),
                }
            }
        }
    }
}

#[test]
fn means_of_plans_and_units_without_mass() {
    let table = |table: &[u32]| Found { cost: 1.0, error: 0.0, coupled: Coupled::Table(table.to_vec()) };
    let same = Found::mean(vec![table(&[1, 0]), table(&[1, 0])], 2, 2);
    assert_eq!(same, table(&[1, 0]));
    let mixed = Found::mean(vec![table(&[1, 0]), table(&[0, 1])], 2, 2);
    assert_eq!(mixed.coupled.mix(Readers::Spread).merge.values, [0.5; 4]);
    // Unit 1 and slot 0 have no weights at all.
    let a = Rows { rows: 2, columns: 1, values: vec![3.0, 0.0] };
    let b = Rows { rows: 3, columns: 1, values: vec![0.0, 1.0, -2.0] };
    let found = Coupling { mass: Mass::L1, ..EXACT }.solve(&distances(&a, &b), 0..2, 0..3).unwrap();
    let mix = found.coupled.mix(Readers::Spread);
    assert_eq!(mix.merge.values, [0.0, 0.0, 1.0, 0.0, 1.0, 0.0]);
    let near = mix.unmerge.values.iter().zip([0.0, 1.0 / 3.0, 2.0 / 3.0, 0.0, 0.0, 0.0]);
    near.for_each(|(found, wanted)| assert!((found - wanted).abs() < 1e-15));
    // Dead units everywhere: masses are uniform, and all stay.
    let dead = Rows { rows: 2, columns: 1, values: vec![0.0; 2] };
    let found = Coupling { mass: Mass::L2, ..EXACT }.solve(&distances(&dead, &dead), 0..2, 0..2).unwrap();
    assert!((found.coupled.mix(Readers::Mean).merge.values.iter().sum::<f64>() - 2.0).abs() < 1e-15);
    assert_eq!(transform(&[Coupled::Table(vec![0, 1])], Readers::Mean), Transform::Identity);
}
