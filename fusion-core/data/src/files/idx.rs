//! IDX: the format of MNIST and its successors. Big-endian: two zero bytes, the element type (8: unsigned byte), the number of dimensions,
//! each dimension in four bytes, then the elements.

use std::path::Path;

use super::Outline;
use super::bytes::Stream;
use crate::error::DataError;
use crate::raw::{Answers, Inputs, Raw, numbered};
use crate::sets::Set;

/// Reads the header of `dims` dimensions.
fn header<const DIMS: usize>(
    stream: &mut Stream<'_>,
    path: &Path,
    what: &str,
) -> Result<[usize; DIMS], DataError> {
    let expected = format!("expected {what}: 00 00 08 {DIMS:02x} and {DIMS} sizes of 4 bytes");
    let wrong = |found: String| {
        DataError::malformed(
            path,
            format!("{found}; {expected}"),
            "check that images and labels are not swapped, or get it again",
        )
    };
    let magic = stream.take(4, "the magic number")?;
    if magic[..2] != [0, 0] {
        return Err(wrong(format!(
            "it starts with {:02x} {:02x} {:02x} {:02x}",
            magic[0], magic[1], magic[2], magic[3]
        )));
    }
    if magic[2] != 8 {
        return Err(wrong(format!("its elements have type {:#04x}, not unsigned bytes", magic[2])));
    }
    if usize::from(magic[3]) != DIMS {
        return Err(wrong(format!("it has {} dimensions", magic[3])));
    }
    let sizes = stream.take(4 * DIMS as u64, "the sizes")?;
    let mut dims = [0; DIMS];
    for (dim, bytes) in dims.iter_mut().zip(sizes.chunks_exact(4)) {
        *dim = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize;
    }
    Ok(dims)
}

/// What follows the header, all of it.
fn body(stream: &mut Stream<'_>, path: &Path, dims: &[usize]) -> Result<Vec<u8>, DataError> {
    let size = dims.iter().try_fold(1_u64, |size, &dim| size.checked_mul(dim as u64));
    let size = size.ok_or_else(|| {
        DataError::malformed(
            path,
            format!("its header declares {dims:?} elements"),
            "no such file exists; get it again",
        )
    })?;
    let bytes = stream.take(size, &format!("{dims:?} elements"))?;
    if !stream.at_end()? {
        return Err(DataError::malformed(
            path,
            format!("it goes on after the {dims:?} elements that its header declares"),
            "get it again",
        ));
    }
    Ok(bytes)
}

const IMAGES: &str = "images";
const LABELS: &str = "labels";

fn labels_of(path: &Path, set: Option<&Set>) -> Result<Vec<u32>, DataError> {
    let mut stream = Stream::open(path)?;
    let dims = header::<1>(&mut stream, path, LABELS)?;
    let labels = body(&mut stream, path, &dims)?;
    if let Some(set) = set
        && let Some(at) = labels.iter().position(|&label| usize::from(label) >= set.classes.len())
    {
        return Err(DataError::malformed(
            path,
            format!(
                "label {at} is {}, and `{}` has classes 0 to {}",
                labels[at],
                set.name,
                set.classes.len() - 1
            ),
            "get it again",
        ));
    }
    Ok(labels.into_iter().map(u32::from).collect())
}

/// Shape of an image and number of images.
fn images_header(stream: &mut Stream<'_>, path: &Path) -> Result<[usize; 3], DataError> {
    let dims = header::<3>(stream, path, IMAGES)?;
    if dims[1] == 0 || dims[2] == 0 {
        return Err(DataError::malformed(
            path,
            format!("its images are {}x{}", dims[1], dims[2]),
            "get it again",
        ));
    }
    Ok(dims)
}

fn same_number(images: &Path, labels: &Path, n: usize, m: usize) -> Result<(), DataError> {
    if n == m {
        return Ok(());
    }
    Err(DataError::malformed(
        labels,
        format!("it holds {m} labels, and `{}` {n} images", images.display()),
        "the two files belong to different sets or parts",
    ))
}

fn classes(labels: &[u32], set: Option<&Set>) -> (usize, Vec<String>) {
    match set {
        Some(set) => (set.classes.len(), set.classes.iter().map(|&name| name.to_owned()).collect()),
        None => {
            let classes = labels.iter().max().map_or(0, |&most| most as usize + 1);
            (classes, numbered(classes))
        }
    }
}

pub(super) fn load(images: &Path, labels: &Path, set: Option<&Set>) -> Result<Raw, DataError> {
    let mut stream = Stream::open(images)?;
    let [n, height, width] = images_header(&mut stream, images)?;
    let truth = labels_of(labels, set)?;
    same_number(images, labels, n, truth.len())?;
    let bytes = body(&mut stream, images, &[n, height, width])?;
    let (classes, names) = classes(&truth, set);
    let inputs = Inputs::Images { bytes, channels: 1, height, width };
    Ok(Raw { inputs, answers: Answers::Classes(truth), classes, names })
}

pub(super) fn outline(images: &Path, labels: &Path, set: Option<&Set>) -> Result<Outline, DataError> {
    let [n, height, width] = images_header(&mut Stream::open(images)?, images)?;
    let truth = labels_of(labels, set)?;
    same_number(images, labels, n, truth.len())?;
    let (classes, names) = classes(&truth, set);
    Ok(Outline {
        len: Some(n),
        shape: vec![1, height, width],
        classes: Some(classes),
        names,
        labels: Some(truth),
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;
    use crate::sets::set;

    fn idx(dims: &[u32], elements: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0, 0, 8, dims.len() as u8];
        dims.iter().for_each(|dim| bytes.extend_from_slice(&dim.to_be_bytes()));
        bytes.extend_from_slice(elements);
        bytes
    }

    fn gzipped(bytes: &[u8]) -> Vec<u8> {
        let mut writer = GzEncoder::new(Vec::new(), Compression::fast());
        writer.write_all(bytes).unwrap();
        writer.finish().unwrap()
    }

    /// Writes and loads a pair.
    fn pair(images: &[u8], labels: &[u8], set: Option<&Set>) -> Result<Raw, String> {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (folder.path().join("images"), folder.path().join("labels"));
        std::fs::write(&a, images).unwrap();
        std::fs::write(&b, labels).unwrap();
        let text = |error: DataError| {
            let text = error.to_string();
            assert!(
                text.contains(&a.display().to_string()) || text.contains(&b.display().to_string()),
                "{text}"
            );
            text
        };
        let loaded = load(&a, &b, set).map_err(text);
        if let Ok(raw) = &loaded {
            let outline = outline(&a, &b, set).unwrap();
            assert_eq!((outline.len, outline.classes), (Some(raw.len()), Some(raw.classes)));
        }
        loaded
    }

    #[test]
    fn pairs_load_packed_or_not() {
        let (images, labels) = (idx(&[2, 2, 3], &(0..12).collect::<Vec<u8>>()), idx(&[2], &[7, 0]));
        for (images, labels) in [(images.clone(), labels.clone()), (gzipped(&images), gzipped(&labels))] {
            let raw = pair(&images, &labels, None).unwrap();
            assert_eq!(
                raw.inputs,
                Inputs::Images { bytes: (0..12).collect(), channels: 1, height: 2, width: 3 }
            );
            assert_eq!(raw.answers, Answers::Classes(vec![7, 0]));
            assert_eq!(raw.classes, 8);
            assert_eq!(pair(&images, &labels, set("mnist")).unwrap().classes, 10);
        }
    }

    #[test]
    fn what_headers_lie_about_is_found() {
        let (images, labels) = (idx(&[2, 2, 3], &[1; 12]), idx(&[2], &[7, 0]));
        let huge = idx(&[u32::MAX, u32::MAX, u32::MAX], &[1; 12]);
        let large = idx(&[1 << 20, 1 << 10, 3], &[1; 12]);
        for (images, labels, part) in [
            (labels.clone(), labels.clone(), "it has 1 dimensions; expected images: 00 00 08 03"),
            (images.clone(), images.clone(), "it has 3 dimensions; expected labels"),
            (b"\x89PNG....".to_vec(), labels.clone(), "it starts with 89 50 4e 47"),
            (vec![0, 0, 13, 3], labels.clone(), "type 0x0d"),
            (vec![], labels.clone(), "the magic number should take 4 bytes"),
            (huge, idx(&[u32::MAX], &[]), "[4294967295] elements should take"),
            (large.clone(), labels.clone(), "it holds 2 labels"),
            (gzipped(&large), gzipped(&idx(&[1 << 20], &vec![0; 1 << 20])), "no more than"),
            (images.clone(), idx(&[3], &[1, 2, 3]), "it holds 3 labels"),
            (idx(&[2, 2, 3], &[1; 13]), labels.clone(), "it goes on after"),
            (idx(&[2, 0, 3], &[]), labels.clone(), "its images are 0x3"),
        ] {
            let error = pair(&images, &labels, None).unwrap_err();
            assert!(error.contains(part), "{part}: {error}");
        }
        let error = pair(&images, &idx(&[2], &[7, 10]), set("mnist")).unwrap_err();
        assert!(error.contains("label 1 is 10, and `mnist` has classes 0 to 9"), "{error}");
    }

    /// Every cut of a good file is an error, packed or not; so is every changed byte of a header, but for those that make another good file.
    #[test]
    fn cut_and_changed_files_never_pass() {
        let (images, labels) = (idx(&[2, 2, 3], &[1; 12]), idx(&[2], &[7, 0]));
        for cut in 0..images.len() {
            assert!(pair(&images[..cut], &labels, None).is_err(), "{cut}");
        }
        for cut in 0..labels.len() {
            assert!(pair(&images, &labels[..cut], None).is_err(), "{cut}");
        }
        let packed = gzipped(&images);
        for cut in 0..packed.len() {
            assert!(pair(&packed[..cut], &labels, None).is_err(), "{cut}");
        }
        for at in 0..16 {
            for value in [0, 1, 2, 3, 8, 0x7f, 0xff] {
                let mut changed = images.clone();
                changed[at] = value;
                if changed != images {
                    assert!(pair(&changed, &labels, None).is_err(), "{at} {value}");
                }
            }
        }
    }
}
