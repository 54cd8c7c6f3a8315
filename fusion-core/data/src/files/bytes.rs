//! Files that may be gzipped, read to an exact length.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

use crate::error::DataError;

/// Deflate makes at most 1032 bytes from one.
const EXPANSION: u64 = 1032;

/// A file that is read from start to end, unpacked where it is gzip.
pub(crate) struct Stream<'a> {
    path: &'a Path,
    reader: Box<dyn Read>,
    /// The most that it can hold.
    most: u64,
    zipped: bool,
}

impl<'a> Stream<'a> {
    /// Opens a file; gzip is told by its first two bytes, not by its name.
    pub(crate) fn open(path: &'a Path) -> Result<Self, DataError> {
        let io = |action| move |error| DataError::io(path, action, error);
        let mut file = File::open(path).map_err(io("open"))?;
        let len = file.metadata().map_err(io("read"))?.len();
        let mut magic = Vec::with_capacity(2);
        file.by_ref().take(2).read_to_end(&mut magic).map_err(io("read"))?;
        file.seek(SeekFrom::Start(0)).map_err(io("read"))?;
        let zipped = magic == [0x1f, 0x8b];
        let file = BufReader::with_capacity(1 << 17, file);
        Ok(if zipped {
            let most = len.saturating_mul(EXPANSION);
            Stream { path, reader: Box::new(MultiGzDecoder::new(file)), most, zipped }
        } else {
            Stream { path, reader: Box::new(file), most: len, zipped }
        })
    }

    /// The next `n` bytes, which are `what`.
    pub(crate) fn take(&mut self, n: u64, what: &str) -> Result<Vec<u8>, DataError> {
        let short = |has: u64| {
            DataError::malformed(
                self.path,
                format!("{what} should take {n} bytes, and there are no more than {has}"),
                "the file is cut off or not what its header says; get it again",
            )
        };
        if n > self.most {
            return Err(short(self.most));
        }
        let wanted = usize::try_from(n).map_err(|_| short(self.most))?;
        let mut bytes = Vec::new();
        bytes
            .try_reserve_exact(wanted)
            .map_err(|_| DataError::TooLarge { name: self.path.display().to_string(), bytes: n })?;
        self.reader.by_ref().take(n).read_to_end(&mut bytes).map_err(|error| self.refusal(error))?;
        if bytes.len() < wanted {
            return Err(short(bytes.len() as u64));
        }
        Ok(bytes)
    }

    /// Skips `n` bytes.
    pub(crate) fn skip(&mut self, n: u64) -> Result<(), DataError> {
        let skipped = std::io::copy(&mut self.reader.by_ref().take(n), &mut std::io::sink());
        match skipped.map_err(|error| self.refusal(error))? {
            done if done == n => Ok(()),
            done => Err(DataError::malformed(
                self.path,
                format!("it ends {} bytes early", n - done),
                "the file is cut off; get it again",
            )),
        }
    }

    /// Whether all was read; for gzip this checks the checksum, too.
    pub(crate) fn at_end(&mut self) -> Result<bool, DataError> {
        let mut byte = [0];
        loop {
            match self.reader.read(&mut byte) {
                Ok(read) => return Ok(read == 0),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.refusal(error)),
            }
        }
    }

    /// The most bytes that can still come.
    pub(crate) fn most(&self) -> u64 {
        self.most
    }

    fn refusal(&self, error: std::io::Error) -> DataError {
        // Anything that the decoder does not like is the file's fault.
        if self.zipped {
            DataError::malformed(self.path, format!("its gzip data end in an error: {error}"), "get it again")
        } else {
            DataError::io(self.path, "read", error)
        }
    }
}
