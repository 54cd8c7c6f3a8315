//! CIFAR-10 and CIFAR-100 in their binary form: records of a label (two for CIFAR-100: coarse and fine, of which the fine one is taken) and
//! 3072 bytes as [channel, row, column]; as files, or inside the `.tar.gz` as it is published.

use std::path::Path;

use super::Outline;
use super::bytes::Stream;
use crate::error::DataError;
use crate::places::Watch;
use crate::raw::{Answers, Inputs, Raw};
use crate::sets::{CIFAR10, CIFAR100};
use crate::source::CifarFiles;

const IMAGE: usize = 3 * 32 * 32;

struct Layout {
    /// Bytes before the image.
    labels: usize,
    names: &'static [&'static str],
}

impl Layout {
    fn of(hundred: bool) -> Self {
        match hundred {
            true => Layout { labels: 2, names: CIFAR100 },
            false => Layout { labels: 1, names: CIFAR10 },
        }
    }

    fn record(&self) -> usize {
        self.labels + IMAGE
    }

    /// How many records so many bytes are.
    fn count(&self, path: &Path, bytes: u64) -> Result<usize, DataError> {
        let record = self.record() as u64;
        if bytes == 0 || !bytes.is_multiple_of(record) {
            return Err(DataError::malformed(
                path,
                format!(
                    "{bytes} bytes are no whole number of records of {record} ({} of labels, {IMAGE} of a 32x32 colour image)",
                    self.labels
                ),
                "it is cut off, or not CIFAR's binary version; get it again",
            ));
        }
        Ok((bytes / record) as usize)
    }

    /// Takes records apart.
    fn add(&self, path: &Path, records: &[u8], raw: &mut (Vec<u8>, Vec<u32>)) -> Result<(), DataError> {
        self.count(path, records.len() as u64)?;
        for record in records.chunks_exact(self.record()) {
            let label = record[self.labels - 1];
            if usize::from(label) >= self.names.len() {
                return Err(DataError::malformed(
                    path,
                    format!(
                        "image {} has label {label}, and there are {} classes",
                        raw.1.len(),
                        self.names.len()
                    ),
                    "get it again, and check that it is the binary version",
                ));
            }
            raw.1.push(u32::from(label));
            raw.0.extend_from_slice(&record[self.labels..]);
        }
        Ok(())
    }
}

pub(super) fn load(files: &CifarFiles, hundred: bool, watch: &dyn Watch) -> Result<Raw, DataError> {
    let layout = Layout::of(hundred);
    let mut raw = (Vec::new(), Vec::new());
    match files {
        CifarFiles::Plain(paths) => {
            for (at, path) in paths.iter().enumerate() {
                if watch.cancelled() {
                    return Err(DataError::Cancelled);
                }
                watch.progress(at as u64, paths.len() as u64, "reading CIFAR");
                let records = std::fs::read(path).map_err(|error| DataError::io(path, "read", error))?;
                layout.add(path, &records, &mut raw)?;
            }
        }
        CifarFiles::Archive { path, members } => {
            // The order of the members, not that of the archive.
            let mut found: Vec<Option<Vec<u8>>> = vec![None; members.len()];
            tar(path, watch, |name, stream, size| {
                match members.iter().position(|member| name.rsplit('/').next() == Some(member)) {
                    Some(at) if found[at].is_none() => {
                        found[at] = Some(stream.take(size, &format!("its member `{name}`"))?);
                        Ok(true)
                    }
                    _ => Ok(false),
                }
            })?;
            for (member, records) in members.iter().zip(found) {
                let records = records.ok_or_else(|| {
                    DataError::malformed(
                        path,
                        format!("it has no member `{member}`"),
                        "take the binary version of CIFAR (cifar-10-binary.tar.gz, cifar-100-binary.tar.gz)",
                    )
                })?;
                layout.add(path, &records, &mut raw)?;
            }
        }
    }
    let (bytes, labels) = raw;
    let inputs = Inputs::Images { bytes, channels: 3, height: 32, width: 32 };
    Ok(Raw {
        inputs,
        answers: Answers::Classes(labels),
        classes: layout.names.len(),
        names: owned(layout.names),
    })
}

pub(super) fn outline(files: &CifarFiles, hundred: bool) -> Result<Outline, DataError> {
    let layout = Layout::of(hundred);
    let len = match files {
        CifarFiles::Plain(paths) => {
            let mut len = 0;
            for path in paths {
                let bytes =
                    std::fs::metadata(path).map_err(|error| DataError::io(path, "open", error))?.len();
                len += layout.count(path, bytes)?;
            }
            Some(len)
        }
        CifarFiles::Archive { path, .. } => {
            Stream::open(path)?.take(512, "the first header of a tar archive")?;
            None
        }
    };
    Ok(Outline {
        len,
        shape: vec![3, 32, 32],
        classes: Some(layout.names.len()),
        names: owned(layout.names),
        labels: None,
    })
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

/// Walks over a gzipped tar: `member` is told the name and size of each file, and says whether it has read it.
fn tar(
    path: &Path,
    watch: &dyn Watch,
    mut member: impl FnMut(&str, &mut Stream<'_>, u64) -> Result<bool, DataError>,
) -> Result<(), DataError> {
    let mut stream = Stream::open(path)?;
    loop {
        if watch.cancelled() {
            return Err(DataError::Cancelled);
        }
        let header = stream.take(512, "a header of a tar archive")?;
        if header.iter().all(|&byte| byte == 0) {
            return Ok(());
        }
        let wrong = |offence: &str| {
            DataError::malformed(path, offence, "expected a gzipped tar archive; get it again")
        };
        let sum: u64 = header
            .iter()
            .enumerate()
            // The checksum counts itself as blanks.
            .map(|(at, &byte)| if (148..156).contains(&at) { 32 } else { u64::from(byte) })
            .sum();
        if octal(&header[148..156]) != Some(sum) {
            return Err(wrong("a header has a wrong checksum"));
        }
        let size = octal(&header[124..136]).filter(|&size| size <= stream.most());
        let size = size.ok_or_else(|| wrong("a member has an impossible size"))?;
        let name = String::from_utf8_lossy(&header[..100]);
        let name = name.split('\0').next().unwrap_or_default();
        let padding = size.next_multiple_of(512) - size;
        if matches!(header[156], b'0' | 0) && member(name, &mut stream, size)? {
            stream.skip(padding)?;
        } else {
            stream.skip(size + padding)?;
        }
    }
}

/// Octal digits up to a blank or zero byte.
fn octal(field: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(field).ok()?;
    u64::from_str_radix(text.trim_matches(['\0', ' ']), 8).ok()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;
    use crate::places::Unwatched;

    /// Records with these labels; image i is filled with byte i.
    fn records(labels: &[u8], hundred: bool) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (at, &label) in labels.iter().enumerate() {
            bytes.extend(hundred.then_some(19));
            bytes.push(label);
            bytes.extend([at as u8; IMAGE]);
        }
        bytes
    }

    fn tar_of(members: &[(&str, Vec<u8>)]) -> Vec<u8> {
        let mut tar = Vec::new();
        for (name, body) in members {
            let mut header = [0_u8; 512];
            header[..name.len()].copy_from_slice(name.as_bytes());
            header[124..135].copy_from_slice(format!("{:011o}", body.len()).as_bytes());
            header[156] = b'0';
            header[148..156].fill(b' ');
            let sum: u64 = header.iter().map(|&byte| u64::from(byte)).sum();
            header[148..154].copy_from_slice(format!("{sum:06o}").as_bytes());
            header[154] = 0;
            tar.extend(header);
            tar.extend(body);
            tar.resize(tar.len().next_multiple_of(512), 0);
        }
        tar.resize(tar.len() + 1024, 0);
        tar
    }

    fn gzipped(bytes: &[u8]) -> Vec<u8> {
        let mut writer = GzEncoder::new(Vec::new(), Compression::fast());
        writer.write_all(bytes).unwrap();
        writer.finish().unwrap()
    }

    #[test]
    fn files_and_archives_load_alike() {
        let folder = tempfile::tempdir().unwrap();
        for hundred in [false, true] {
            let parts = [records(&[3, 9], hundred), records(&[0], hundred)];
            let paths: Vec<_> = ["a.bin", "b.bin"].map(|name| folder.path().join(name)).into();
            paths.iter().zip(&parts).for_each(|(path, part)| std::fs::write(path, part).unwrap());
            let plain = CifarFiles::Plain(paths);
            let raw = load(&plain, hundred, &Unwatched).unwrap();
            assert_eq!(raw.labels().unwrap(), [3, 9, 0]);
            let Inputs::Images { bytes, channels: 3, height: 32, width: 32 } = &raw.inputs else { panic!() };
            assert_eq!((bytes[0], bytes[IMAGE], bytes[IMAGE * 2]), (0, 1, 0));
            assert_eq!(raw.classes, if hundred { 100 } else { 10 });
            assert_eq!(outline(&plain, hundred).unwrap().len, Some(3));

            let path = folder.path().join("x.tar.gz");
            // In another order, in a folder, with something else between.
            let tar = tar_of(&[
                ("x/readme", vec![1; 700]),
                ("x/b.bin", parts[1].clone()),
                ("x/a.bin", parts[0].clone()),
            ]);
            std::fs::write(&path, gzipped(&tar)).unwrap();
            let files = CifarFiles::Archive { path, members: vec!["a.bin", "b.bin"] };
            assert_eq!(load(&files, hundred, &Unwatched).unwrap(), raw);
            assert_eq!(outline(&files, hundred).unwrap().shape, [3, 32, 32]);
        }
    }

    #[test]
    fn damaged_files_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.bin");
        let error = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            let files = CifarFiles::Plain(vec![path.clone()]);
            load(&files, false, &Unwatched).unwrap_err().to_string()
        };
        assert!(error(&[]).contains("0 bytes are no whole number of records of 3073"));
        assert!(error(&records(&[3, 9], false)[1..]).contains("no whole number"));
        assert!(error(&records(&[3, 10], false)).contains("image 1 has label 10"));
        let path = folder.path().join("x.tar.gz");
        let error = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            let files = CifarFiles::Archive { path: path.clone(), members: vec!["a.bin"] };
            load(&files, false, &Unwatched).unwrap_err().to_string()
        };
        let good = tar_of(&[("a.bin", records(&[1], false))]);
        assert!(error(&gzipped(&tar_of(&[("b.bin", vec![1])]))).contains("no member `a.bin`"));
        for at in [0, 124, 130, 150] {
            let mut changed = good.clone();
            changed[at] = b'7';
            let error = error(&gzipped(&changed));
            assert!(error.contains("checksum"), "{at}: {error}");
        }
        for cut in [1, 511, 600, 3000] {
            assert!(error(&gzipped(&good[..cut])).contains("damaged"), "{cut}");
        }
        let packed = gzipped(&good);
        for cut in 0..packed.len() - 20 {
            error(&packed[..cut]);
        }
    }
}
