//! Folders and zips of PNG and JPEG images, `CLASS/NAME.png` or `train|test/CLASS/NAME.png`. Classes are numbered in the order of their
//! names, over all parts. The first image decides size and colour; all others must be alike.

use std::fs::File;
use std::io::{BufReader, Cursor, Read};
use std::path::{Path, PathBuf};

use image::{DynamicImage, ImageReader, Limits};
use zip::ZipArchive;

use super::Outline;
use crate::error::DataError;
use crate::parallel;
use crate::places::Watch;
use crate::raw::{Answers, Inputs, Raw};
use crate::source::Part;

/// Bytes of a packed image, at most.
const LARGEST_FILE: u64 = 1 << 28;
/// Pixels of a side, at most.
const LARGEST_SIDE: u32 = 1 << 14;
/// Folders inside of each other, at most.
const DEEPEST: usize = 4;

/// An image, and where it is.
#[derive(Clone, Debug, PartialEq)]
struct Entry {
    /// Folder by folder, below the source.
    name: String,
    /// In the zip.
    index: usize,
    class: u32,
}

/// A source of packed images.
enum Reader {
    Folder(PathBuf),
    Zip(Box<ZipArchive<BufReader<File>>>),
}

impl Reader {
    fn open(path: &Path, zip: bool) -> Result<Self, DataError> {
        if !zip {
            return Ok(Reader::Folder(path.to_owned()));
        }
        let file = File::open(path).map_err(|error| DataError::io(path, "open", error))?;
        let archive = ZipArchive::new(BufReader::new(file)).map_err(|error| {
            DataError::malformed(path, format!("it is no readable zip archive: {error}"), "get it again")
        })?;
        Ok(Reader::Zip(Box::new(archive)))
    }

    /// Names of all files, with `/` between folders.
    fn names(&self) -> Result<Vec<String>, DataError> {
        match self {
            Reader::Folder(path) => {
                let mut names = Vec::new();
                walk(path, "", 0, &mut names)?;
                Ok(names)
            }
            // A name that is no text stays in the list, so that positions are those of the archive; it is no image.
            Reader::Zip(archive) => Ok((0..archive.len())
                .map(|index| match archive.name_for_index(index) {
                    Some(Ok(name)) => name.into_owned(),
                    _ => String::new(),
                })
                .collect()),
        }
    }

    /// The packed image into `bytes`.
    fn read(&mut self, source: &Path, entry: &Entry, bytes: &mut Vec<u8>) -> Result<(), DataError> {
        bytes.clear();
        let path = place(source, entry);
        let io = |error| DataError::io(&path, "read", error);
        match self {
            Reader::Folder(_) => {
                let file = File::open(&path).map_err(|error| DataError::io(&path, "open", error))?;
                file.take(LARGEST_FILE + 1).read_to_end(bytes).map_err(io)?;
            }
            Reader::Zip(archive) => {
                let damaged = |offence: String| DataError::malformed(&path, offence, "get the archive again");
                let file = archive.by_index(entry.index).map_err(|error| damaged(error.to_string()))?;
                let read = file.take(LARGEST_FILE + 1).read_to_end(bytes);
                read.map_err(|error| damaged(error.to_string()))?;
            }
        }
        if bytes.len() as u64 > LARGEST_FILE {
            let fix = "leave it out, or make it smaller";
            return Err(DataError::unsupported(
                &path,
                format!("it is larger than {LARGEST_FILE} bytes"),
                fix,
            ));
        }
        Ok(())
    }
}

fn place(source: &Path, entry: &Entry) -> PathBuf {
    source.join(&entry.name)
}

/// Lists files below a folder.
fn walk(folder: &Path, prefix: &str, depth: usize, names: &mut Vec<String>) -> Result<(), DataError> {
    let list = |error| DataError::io(folder, "list", error);
    for entry in folder.read_dir().map_err(list)? {
        let entry = entry.map_err(list)?;
        // A name that is no text cannot be that of a class.
        let Some(name) = entry.file_name().to_str().map(|name| format!("{prefix}{name}")) else { continue };
        let path = entry.path();
        if path.is_dir() {
            if depth < DEEPEST {
                walk(&path, &format!("{name}/"), depth + 1, names)?;
            }
        } else {
            names.push(name);
        }
    }
    Ok(())
}

/// The images of a part.
#[derive(Debug)]
struct Listing {
    entries: Vec<Entry>,
    classes: Vec<String>,
}

const LAYOUT: &str =
    "expected CLASS/NAME.png, or train/CLASS/NAME.png and test/CLASS/NAME.png (or .jpg, .jpeg)";

fn is_image(name: &str) -> bool {
    let extension = name.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase());
    let hidden = name.split('/').any(|part| part.starts_with('.') || part == "__MACOSX");
    !hidden && matches!(extension.as_deref(), Some("png" | "jpg" | "jpeg"))
}

fn part_of(name: &str) -> Option<Part> {
    match name {
        "train" | "training" => Some(Part::Train),
        "test" | "testing" => Some(Part::Test),
        _ => None,
    }
}

/// Finds classes and parts in names.
fn listing(path: &Path, names: Vec<String>, part: Option<Part>) -> Result<Listing, DataError> {
    let mut images: Vec<(Vec<&str>, usize)> = names
        .iter()
        .enumerate()
        .filter(|(_, name)| is_image(name))
        .map(|(index, name)| (name.split('/').collect(), index))
        .collect();
    if images.is_empty() {
        return Err(DataError::unsupported(path, "it holds no PNG or JPEG images", LAYOUT));
    }
    // Folders that all share say nothing: an archive of one folder, for instance.
    let shared = |images: &[(Vec<&str>, usize)]| {
        let first = images[0].0[0];
        images.iter().all(|(parts, _)| parts.len() > 2 && parts[0] == first) && part_of(first).is_none()
    };
    while shared(&images) {
        images.iter_mut().for_each(|(parts, _)| {
            parts.remove(0);
        });
    }
    let has_parts = images.iter().all(|(parts, _)| parts.len() == 3 && part_of(parts[0]).is_some());
    if !has_parts {
        if let Some((parts, _)) = images.iter().find(|(parts, _)| parts.len() != 2) {
            let offence = format!("`{}` does not lie in a folder that names its class", parts.join("/"));
            return Err(DataError::unsupported(path, offence, LAYOUT));
        }
        if let Some(part) = part {
            let offence = format!("it has no part `{}`", part.word());
            return Err(DataError::unsupported(
                path,
                offence,
                "take a share of it with `split` and `shuffle`",
            ));
        }
    }
    let class_of = |parts: &[&str]| parts[parts.len() - 2].to_owned();
    let mut classes: Vec<String> = images.iter().map(|(parts, _)| class_of(parts)).collect();
    classes.sort_unstable();
    classes.dedup();
    let wanted = part.unwrap_or(Part::Train);
    let mut entries: Vec<Entry> = images
        .iter()
        .filter(|(parts, _)| !has_parts || part_of(parts[0]) == Some(wanted))
        .map(|(parts, index)| Entry {
            name: names[*index].clone(),
            index: *index,
            class: classes.binary_search(&class_of(parts)).unwrap_or(0) as u32,
        })
        .collect();
    if entries.is_empty() {
        return Err(DataError::unsupported(path, format!("it has no part `{}`", wanted.word()), LAYOUT));
    }
    // Archives and folders list files in any order.
    entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    if let Some(pair) = entries.windows(2).find(|pair| pair[0].name == pair[1].name) {
        return Err(DataError::malformed(path, format!("`{}` is in it twice", pair[0].name), "get it again"));
    }
    Ok(Listing { entries, classes })
}

/// Unpacks an image.
fn decode(path: &Path, bytes: &[u8]) -> Result<DynamicImage, DataError> {
    let damaged = |error: &dyn std::fmt::Display| {
        DataError::malformed(
            path,
            format!("it is no readable PNG or JPEG image: {error}"),
            "replace or remove it",
        )
    };
    let mut reader =
        ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(|error| damaged(&error))?;
    let mut limits = Limits::default();
    limits.max_image_width = Some(LARGEST_SIDE);
    limits.max_image_height = Some(LARGEST_SIDE);
    reader.limits(limits);
    reader.decode().map_err(|error| damaged(&error))
}

/// Shape of an image: [channels, height, width].
fn shape(image: &DynamicImage) -> [usize; 3] {
    let channels = if image.color().has_color() { 3 } else { 1 };
    [channels, image.height() as usize, image.width() as usize]
}

/// The first image's shape.
fn first(reader: &mut Reader, path: &Path, entry: &Entry) -> Result<[usize; 3], DataError> {
    let mut bytes = Vec::new();
    reader.read(path, entry, &mut bytes)?;
    Ok(shape(&decode(&place(path, entry), &bytes)?))
}

/// Writes an image as [channel, row, column].
fn planes(image: DynamicImage, out: &mut [u8]) {
    if !image.color().has_color() {
        out.copy_from_slice(image.into_luma8().as_raw());
        return;
    }
    let pixels = image.into_rgb8();
    let plane = out.len() / 3;
    for (at, pixel) in pixels.as_raw().chunks_exact(3).enumerate() {
        for (channel, &value) in pixel.iter().enumerate() {
            out[channel * plane + at] = value;
        }
    }
}

pub(super) fn load(path: &Path, zip: bool, part: Option<Part>, watch: &dyn Watch) -> Result<Raw, DataError> {
    let mut reader = Reader::open(path, zip)?;
    let Listing { entries, classes } = listing(path, reader.names()?, part)?;
    let wanted = first(&mut reader, path, &entries[0])?;
    let [channels, height, width] = wanted;
    let size = channels * height * width;
    let bytes = (entries.len() as u64).saturating_mul(size as u64);
    let too_large = || DataError::TooLarge { name: path.display().to_string(), bytes };
    let mut pixels = Vec::new();
    let total = usize::try_from(bytes).map_err(|_| too_large())?;
    pixels.try_reserve_exact(total).map_err(|_| too_large())?;
    pixels.resize(total, 0);
    let start = || Ok((Reader::open(path, zip)?, Vec::new()));
    parallel::fill(&mut pixels, size, (watch, "reading images"), start, |(reader, bytes), index, out| {
        let entry = &entries[index];
        reader.read(path, entry, bytes)?;
        let image = decode(&place(path, entry), bytes)?;
        let found = shape(&image);
        if found != wanted {
            return Err(DataError::unsupported(
                &place(path, entry),
                format!(
                    "its channels, height and width are {found:?}, and those of `{}` are {wanted:?}",
                    entries[0].name
                ),
                "bring all images to one size and colour",
            ));
        }
        planes(image, out);
        Ok(())
    })?;
    let labels = entries.iter().map(|entry| entry.class).collect();
    let inputs = Inputs::Images { bytes: pixels, channels, height, width };
    Ok(Raw { inputs, answers: Answers::Classes(labels), classes: classes.len(), names: classes })
}

pub(super) fn outline(path: &Path, zip: bool, part: Option<Part>) -> Result<Outline, DataError> {
    let mut reader = Reader::open(path, zip)?;
    let Listing { entries, classes } = listing(path, reader.names()?, part)?;
    let shape = first(&mut reader, path, &entries[0])?;
    Ok(Outline {
        len: Some(entries.len()),
        shape: shape.to_vec(),
        classes: Some(classes.len()),
        labels: Some(entries.iter().map(|entry| entry.class).collect()),
        names: classes,
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;

    use image::{GrayImage, ImageFormat, RgbImage};
    use zip::write::SimpleFileOptions;
    use zip::{CompressionMethod, ZipWriter};

    use super::*;
    use crate::places::Unwatched;

    fn packed(image: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        image.into().write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    }

    fn colour(seed: u8) -> RgbImage {
        RgbImage::from_fn(3, 2, |x, y| image::Rgb([seed, x as u8 * 10, y as u8 * 100]))
    }

    /// As files and as a zip of both kinds.
    fn all(files: &[(&str, Vec<u8>)], part: Option<Part>) -> Vec<Result<Raw, String>> {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("set");
        for (name, bytes) in files {
            let path = root.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        let mut sources = vec![(root, false)];
        for method in [CompressionMethod::Stored, CompressionMethod::Deflated] {
            let path = folder.path().join(format!("{method}.zip"));
            let mut zip = ZipWriter::new(File::create(&path).unwrap());
            for (name, bytes) in files.iter().rev() {
                zip.start_file(
                    format!("all/{name}"),
                    SimpleFileOptions::default().compression_method(method),
                )
                .unwrap();
                zip.write_all(bytes).unwrap();
            }
            zip.finish().unwrap();
            sources.push((path, true));
        }
        let load = |(path, zip): &(PathBuf, bool)| {
            let raw = load(path, *zip, part, &Unwatched).map_err(|error| error.to_string())?;
            let outline = outline(path, *zip, part).unwrap();
            assert_eq!((outline.len, outline.labels.as_deref()), (Some(raw.len()), raw.labels()));
            Ok(raw)
        };
        sources.iter().map(load).collect()
    }

    #[test]
    fn folders_and_zips_load_alike() {
        let files = [
            ("train/cat/2.png", packed(colour(2), ImageFormat::Png)),
            ("train/cat/1.PNG", packed(colour(1), ImageFormat::Png)),
            ("train/dog/1.png", packed(colour(3), ImageFormat::Png)),
            ("test/ant/1.png", packed(colour(4), ImageFormat::Png)),
            ("readme.txt", b"not an image".to_vec()),
        ];
        for raw in all(&files, Some(Part::Train)) {
            let raw = raw.unwrap();
            // `ant` is a class, though it is in the other part only.
            assert_eq!(raw.names, ["ant", "cat", "dog"]);
            assert_eq!(raw.labels().unwrap(), [1, 1, 2]);
            let Inputs::Images { bytes, channels: 3, height: 2, width: 3 } = &raw.inputs else { panic!() };
            assert_eq!(bytes[..18], [1, 1, 1, 1, 1, 1, 0, 10, 20, 0, 10, 20, 0, 0, 0, 100, 100, 100]);
        }
        for raw in all(&files, Some(Part::Test)) {
            assert_eq!(raw.unwrap().labels().unwrap(), [0]);
        }
    }

    #[test]
    fn grey_images_have_one_channel_and_jpeg_is_close() {
        let grey = GrayImage::from_fn(16, 8, |x, y| image::Luma([(x * 9 + y * 3) as u8]));
        let files = [
            ("a/1.jpg", packed(grey.clone(), ImageFormat::Jpeg)),
            ("b/1.png", packed(grey, ImageFormat::Png)),
        ];
        for raw in all(&files, None) {
            let Inputs::Images { bytes, channels: 1, height: 8, width: 16 } = raw.unwrap().inputs else {
                panic!()
            };
            // A smooth ramp at the encoder's quality of 75: off by a few steps.
            let (lossy, exact) = bytes.split_at(128);
            assert!(lossy.iter().zip(exact).all(|(a, b)| a.abs_diff(*b) <= 6));
            assert_eq!(exact[17], 12);
        }
    }

    #[test]
    fn other_layouts_and_sizes_are_errors_with_names() {
        let png = || packed(colour(1), ImageFormat::Png);
        let other = packed(RgbImage::new(4, 2), ImageFormat::Png);
        let grey = packed(GrayImage::new(3, 2), ImageFormat::Png);
        for (files, part, text) in [
            (vec![("a/1.png", png()), ("b/1.png", other)], None, "are [3, 2, 4], and those of"),
            (vec![("a/1.png", png()), ("b/1.png", grey)], None, "bring all images to one size and colour"),
            (vec![("a/1.png", png())], Some(Part::Test), "it has no part `test`"),
            (vec![("train/a/1.png", png())], Some(Part::Test), "it has no part `test`"),
            (vec![("a/1.txt", png())], None, "it holds no PNG or JPEG images"),
            (
                vec![("a/x/1.png", png()), ("b/1.png", png())],
                None,
                "does not lie in a folder that names its class",
            ),
            (vec![("a/1.png", png()), ("b/1.png", b"GIF89a....".to_vec())], None, "b/1.png"),
            (vec![("a/1.png", png()[..40].to_vec())], None, "it is no readable PNG or JPEG image"),
        ] {
            for result in all(&files, part) {
                let error = result.unwrap_err();
                assert!(error.contains(text), "{text}: {error}");
            }
        }
    }

    /// A header that claims 16384 × 16384 pixels in some bytes of PNG, and one with more than is allowed.
    #[test]
    fn images_that_lie_about_their_size_are_errors() {
        for side in [1_u32 << 14, 1 << 20] {
            let mut png = packed(colour(1), ImageFormat::Png);
            png[16..20].copy_from_slice(&side.to_be_bytes());
            png[20..24].copy_from_slice(&side.to_be_bytes());
            for result in all(&[("a/1.png", png)], None) {
                assert!(result.unwrap_err().contains("no readable PNG"));
            }
        }
    }

    /// No cut of a zip passes, and none panics.
    #[test]
    fn cut_zips_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.zip");
        let mut zip = ZipWriter::new(File::create(&path).unwrap());
        zip.start_file("a/1.png", SimpleFileOptions::default()).unwrap();
        zip.write_all(&packed(colour(1), ImageFormat::Png)).unwrap();
        zip.finish().unwrap();
        let bytes = fs::read(&path).unwrap();
        assert!(load(&path, true, None, &Unwatched).is_ok());
        for cut in 0..bytes.len() {
            fs::write(&path, &bytes[..cut]).unwrap();
            assert!(load(&path, true, None, &Unwatched).is_err(), "{cut}");
        }
        // Changed bytes give an error or an image, but no panic; the checksum of the zip finds changes of the image.
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 0x55;
            fs::write(&path, &changed).unwrap();
            let _ = load(&path, true, None, &Unwatched);
        }
    }
}
