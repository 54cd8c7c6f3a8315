//! What a data set is, in 32 bytes.

use sha2::{Digest, Sha256};

use crate::dataset::Dataset;
use crate::raw::{Answers, Inputs};

impl Dataset {
    /// SHA-256 of all that batches can show of the set: inputs, targets, names, normalisation, augmentation. Two sets with the same
    /// fingerprint train a network alike; a cache can go by it. Computed once, in about a second for a gigabyte.
    pub fn fingerprint(&self) -> [u8; 32] {
        *self.fingerprint.get_or_init(|| {
            let mut hash = Sha256::new();
            hash.update(b"fusion data 1");
            for part in [self.raw.classes, self.shape().len(), usize::from(self.flatten), self.len()] {
                hash.update((part as u64).to_le_bytes());
            }
            self.shape().iter().for_each(|&part| hash.update((part as u64).to_le_bytes()));
            hash.update([self.augment as u8, self.background]);
            floats_into(&mut hash, &self.affine.scale);
            floats_into(&mut hash, &self.affine.shift);
            for name in &self.raw.names {
                hash.update((name.len() as u64).to_le_bytes());
                hash.update(name);
            }
            match &self.raw.inputs {
                Inputs::Images { bytes, channels, height, width } => {
                    // Known to the shape, but for flat images.
                    for &part in [channels, height, width] {
                        hash.update((part as u64).to_le_bytes());
                    }
                    hash.update(bytes);
                }
                Inputs::Rows { values, .. } => floats_into(&mut hash, values),
                Inputs::Text { tokens, starts, .. } => {
                    words_into(&mut hash, tokens, |id| id.to_le_bytes());
                    words_into(&mut hash, starts, |start| start.to_le_bytes());
                }
            }
            match &self.raw.answers {
                Answers::Classes(labels) => words_into(&mut hash, labels, |label| label.to_le_bytes()),
                Answers::Numbers { rows, .. } => floats_into(&mut hash, rows),
                Answers::Next => {}
            }
            hash.finalize().into()
        })
    }
}

fn floats_into(hash: &mut Sha256, floats: &[f32]) {
    words_into(hash, floats, |float| float.to_le_bytes());
}

/// In blocks, since hashing four bytes at a time is slow.
fn words_into<T: Copy, const N: usize>(hash: &mut Sha256, words: &[T], bytes: impl Fn(T) -> [u8; N]) {
    hash.update((words.len() as u64).to_le_bytes());
    let mut block = Vec::with_capacity(4096 * N);
    for words in words.chunks(4096) {
        block.clear();
        words.iter().for_each(|&word| block.extend_from_slice(&bytes(word)));
        hash.update(&block);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Augment;

    #[test]
    fn the_fingerprint_sees_every_part() {
        let make =
            |byte, label, classes| Dataset::of_images(vec![byte, 2], [1, 1, 1], vec![label, 1], classes);
        let plain = make(1, 0, 2).unwrap().fingerprint();
        assert_eq!(plain, make(1, 0, 2).unwrap().fingerprint());
        let mut others: Vec<Dataset> =
            [(9, 0, 2), (1, 1, 2), (1, 0, 3)].map(|(b, l, c)| make(b, l, c).unwrap()).into();
        others.push({
            let mut other = make(1, 0, 2).unwrap();
            other.affine.shift[0] = 0.5;
            other
        });
        others.push({
            let mut other = make(1, 0, 2).unwrap();
            other.augment = Augment::Standard;
            other
        });
        for other in others {
            assert_ne!(plain, other.fingerprint());
        }
    }
}
