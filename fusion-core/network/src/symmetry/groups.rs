//! Which axes of a reshape belong together: the shortest runs of input and output axes with equal products.

/// Input axes that become output axes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Group {
    pub inputs: Vec<usize>,
    pub outputs: Vec<usize>,
}

/// The groups of a reshape between shapes of one number of elements, none of them 0.
pub(super) fn groups(from: &[usize], to: &[usize]) -> Vec<Group> {
    let (mut i, mut j) = (0, 0);
    let mut found = Vec::new();
    while i < from.len() || j < to.len() {
        let (start, begin) = (i, j);
        let (mut a, mut b) = (1, 1);
        if i < from.len() {
            a = from[i];
            i += 1;
        }
        if j < to.len() {
            b = to[j];
            j += 1;
        }
        while a != b {
            if a < b && i < from.len() {
                a *= from[i];
                i += 1;
            } else if b < a && j < to.len() {
                b *= to[j];
                j += 1;
            } else {
                break;
            }
        }
        found.push(Group { inputs: (start..i).collect(), outputs: (begin..j).collect() });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_equal_products() {
        let group = |inputs: &[usize], outputs: &[usize]| Group {
            inputs: inputs.to_vec(),
            outputs: outputs.to_vec(),
        };
        assert_eq!(groups(&[2, 3, 4], &[2, 12]), [group(&[0], &[0]), group(&[1, 2], &[1])]);
        assert_eq!(groups(&[6], &[1, 6]), [group(&[0], &[0, 1])]);
        assert_eq!(groups(&[2, 3], &[2, 3, 1]), [group(&[0], &[0]), group(&[1], &[1]), group(&[], &[2])]);
        assert_eq!(groups(&[4, 6], &[2, 3, 4]), [group(&[0, 1], &[0, 1, 2])]);
    }
}
