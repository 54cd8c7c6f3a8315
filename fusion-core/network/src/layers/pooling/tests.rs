use burn::tensor::{Device, Tensor, TensorData};
use fusion_sdk::rng::Key;

use super::{flex, max_pool};

fn read(tensor: Tensor<4>) -> Vec<f32> {
    tensor.into_data().try_into_vec().unwrap()
}

/// Against the definition, exactly: nothing is computed. Numbers are drawn from few, so that many are equal.
#[test]
fn the_first_of_the_largest_is_taken() {
    let device = Device::flex().autodiff();
    for (shape, size) in [
        ([2, 3, 8, 8], 2),
        ([1, 2, 7, 9], 2),
        ([2, 1, 9, 10], 3),
        ([1, 1, 5, 5], 5),
        ([1, 2, 9, 8], 4),
        ([1, 1, 3, 3], 1),
    ] {
        let key = Key::new(1, "pooling", size as u64);
        let len = shape.iter().product::<usize>();
        let x: Vec<f32> = (0..len as u64).map(|index| (key.uniform(index) * 5.0).floor() - 2.0).collect();
        let input = Tensor::<4>::from_data(TensorData::new(x.clone(), shape), &device).require_grad();
        let y = flex::max_pool(&input, size).expect("it is ours");
        let (down, across) = (shape[2] / size, shape[3] / size);
        assert_eq!(y.dims(), [shape[0], shape[1], down, across]);
        let count = y.shape().num_elements();
        let slope: Vec<f32> = (0..count).map(|index| index as f32 + 1.0).collect();
        let (mut wanted, mut by_x) = (vec![0.0; count], vec![0.0; len]);
        for output in 0..count {
            let (column, row, plane) = (output % across, output / across % down, output / across / down);
            let pixel = |place: usize| {
                let (i, j) = (place / size, place % size);
                (plane * shape[2] + row * size + i) * shape[3] + column * size + j
            };
            let mut best = pixel(0);
            for place in 1..size * size {
                if x[pixel(place)] > x[best] {
                    best = pixel(place);
                }
            }
            (wanted[output], by_x[best]) = (x[best], slope[output]);
        }
        assert_eq!(read(y.clone()), wanted);
        let slope = Tensor::<4>::from_data(TensorData::new(slope, y.shape()), &device);
        let gradients = (y * slope).sum().backward();
        assert_eq!(read(input.grad(&gradients).unwrap()), by_x);
        let plain = Tensor::<4>::from_data(TensorData::new(x, shape), &Device::flex());
        assert_eq!(read(max_pool(plain, size)), wanted);
    }
}

#[test]
fn nan_wins() {
    let x = [
        f32::NEG_INFINITY,
        f32::NAN,
        1.0,
        2.0,
        f32::NEG_INFINITY,
        f32::NEG_INFINITY,
        f32::NEG_INFINITY,
        f32::NEG_INFINITY,
    ];
    let x = Tensor::<4>::from_data(TensorData::new(x.to_vec(), [1, 2, 2, 2]), &Device::flex());
    let y = read(flex::max_pool(&x, 2).unwrap());
    assert!(y[0].is_nan() && y[1] == f32::NEG_INFINITY);
}
