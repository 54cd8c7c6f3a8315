//! Tensor hashes in blocks, so that hashing can run in parallel and out of order yet never depend on threads.
//!
//! The hash of a tensor is the BLAKE3 hash of the concatenated BLAKE3 hashes of its consecutive blocks of
//! [`BLOCK_ELEMENTS`] elements; the last block may be shorter. A tensor without elements has no blocks: its hash is
//! that of no bytes.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use rayon::prelude::*;

use crate::tensor::Dtype;

/// Elements per hashed block.
pub const BLOCK_ELEMENTS: usize = 65536;

/// A BLAKE3 hash.
pub type Hash = [u8; 32];

/// Bytes of a full block of this element type.
#[must_use]
pub const fn block_bytes(dtype: Dtype) -> usize {
    BLOCK_ELEMENTS * dtype.size()
}

/// BLAKE3 of one block.
#[must_use]
pub fn hash_block(bytes: &[u8]) -> Hash {
    *blake3::hash(bytes).as_bytes()
}

/// The tensor's hash from the hashes of all its blocks, in their order.
#[must_use]
pub fn combine(blocks: &[Hash]) -> Hash {
    *blake3::hash(blocks.as_flattened()).as_bytes()
}

/// The hash of a whole tensor in memory, on the calling thread.
#[must_use]
pub fn hash_blocks(dtype: Dtype, bytes: &[u8]) -> Hash {
    let mut hash = TensorHash::new(dtype);
    hash.update(bytes);
    hash.finish()
}

/// The hash of a tensor of `bytes` bytes at `offset` in a file, in parallel on the current rayon pool.
///
/// Memory: one block per thread.
///
/// # Errors
/// If the file cannot be read or is too short ([`io::ErrorKind::UnexpectedEof`]).
pub fn hash_file(file: &File, offset: u64, bytes: u64, dtype: Dtype) -> io::Result<Hash> {
    let step = block_bytes(dtype) as u64;
    let hashes: Vec<Hash> = (0..bytes.div_ceil(step))
        .into_par_iter()
        .map_init(Vec::new, |buffer, block| {
            let start = block * step;
            // At most a block, so it fits.
            buffer.resize((bytes - start).min(step) as usize, 0);
            file.read_exact_at(buffer, offset + start)?;
            Ok(hash_block(buffer))
        })
        .collect::<io::Result<_>>()?;
    Ok(combine(&hashes))
}

/// The same hash for bytes that arrive in order, in pieces of any length.
#[derive(Debug, Clone)]
pub struct TensorHash {
    outer: blake3::Hasher,
    block: blake3::Hasher,
    filled: usize,
    block_bytes: usize,
}

impl TensorHash {
    /// The hash of no bytes yet, of a tensor with this element type.
    #[must_use]
    pub fn new(dtype: Dtype) -> Self {
        Self {
            outer: blake3::Hasher::new(),
            block: blake3::Hasher::new(),
            filled: 0,
            block_bytes: block_bytes(dtype),
        }
    }

    /// Appends bytes.
    pub fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (now, rest) = bytes.split_at(bytes.len().min(self.block_bytes - self.filled));
            self.block.update(now);
            self.filled += now.len();
            bytes = rest;
            if self.filled == self.block_bytes {
                self.close();
            }
        }
    }

    /// The hash of all bytes given.
    #[must_use]
    pub fn finish(mut self) -> Hash {
        if self.filled > 0 {
            self.close();
        }
        *self.outer.finalize().as_bytes()
    }

    fn close(&mut self) {
        self.outer.update(self.block.finalize().as_bytes());
        self.block.reset();
        self.filled = 0;
    }
}

/// Lower-case hexadecimal.
#[must_use]
pub fn hex(hash: &Hash) -> String {
    blake3::Hash::from_bytes(*hash).to_hex().to_string()
}

/// The hash that [`hex`] wrote, or `None` for anything but 64 hex digits.
#[must_use]
pub fn parse_hex(text: &str) -> Option<Hash> {
    blake3::Hash::from_hex(text).ok().map(|hash| *hash.as_bytes())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn all_forms_agree_with_the_definition() {
        let bytes: Vec<u8> = (0..block_bytes(Dtype::BF16) * 2 + 4321).map(|i| (i * 7 % 251) as u8).collect();
        let blocks: Vec<Hash> = bytes.chunks(131_072).map(|b| *blake3::hash(b).as_bytes()).collect();
        let expected = *blake3::hash(&blocks.concat()).as_bytes();
        assert_eq!(combine(&blocks), expected);
        assert_eq!(hash_blocks(Dtype::BF16, &bytes), expected);
        let mut pieces = TensorHash::new(Dtype::BF16);
        bytes.chunks(9999).for_each(|piece| pieces.update(piece));
        assert_eq!(pieces.finish(), expected);
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"head").unwrap();
        file.write_all(&bytes).unwrap();
        assert_eq!(hash_file(&file, 4, bytes.len() as u64, Dtype::BF16).unwrap(), expected);
        assert!(hash_file(&file, 5, bytes.len() as u64, Dtype::BF16).is_err());
        assert_eq!(hash_blocks(Dtype::F32, &[]), *blake3::hash(b"").as_bytes());
        assert_eq!(parse_hex(&hex(&expected)), Some(expected));
        assert_eq!(parse_hex("0"), None);
    }
}
