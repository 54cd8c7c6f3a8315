//! Random damage to valid files: any answer will do but a panic, a hang, or bytes from outside of the file.

mod support;

use fusion_core::checkpoint::Checkpoint;
use proptest::prelude::*;
use support::{f32s, safetensors, small_torch, torch_file, write};

/// Opens and reads everything there is to read.
fn read_all(name: &str, bytes: &[u8]) {
    let folder = tempfile::tempdir().unwrap();
    let Ok(checkpoint) = Checkpoint::open(&write(folder.path(), name, bytes)) else { return };
    let _ = checkpoint.layout();
    for (index, info) in checkpoint.tensors().iter().enumerate() {
        // Expanded views can be larger than the file: read a bounded stretch of those.
        if info.len() <= 1 << 16 {
            let read = checkpoint.bytes(index);
            if let Ok(bytes) = read {
                assert_eq!(bytes.len(), info.bytes());
            }
        } else {
            let mut out = vec![0; 64 * info.dtype.size()];
            let _ = checkpoint.read(index, info.len() - 64..info.len(), &mut out);
        }
    }
}

#[derive(Debug, Clone)]
enum Damage {
    Set(prop::sample::Index, u8),
    Insert(prop::sample::Index, Vec<u8>),
    Remove(prop::sample::Index, u8),
    Repeat(prop::sample::Index, u8),
}

fn damage() -> impl Strategy<Value = Vec<Damage>> {
    let one = prop_oneof![
        (any::<prop::sample::Index>(), any::<u8>()).prop_map(|(at, byte)| Damage::Set(at, byte)),
        (any::<prop::sample::Index>(), prop::collection::vec(any::<u8>(), 1..9))
            .prop_map(|(at, bytes)| Damage::Insert(at, bytes)),
        (any::<prop::sample::Index>(), any::<u8>()).prop_map(|(at, count)| Damage::Remove(at, count)),
        (any::<prop::sample::Index>(), any::<u8>()).prop_map(|(at, count)| Damage::Repeat(at, count)),
    ];
    prop::collection::vec(one, 1..6)
}

fn apply(bytes: &mut Vec<u8>, damage: &[Damage]) {
    for one in damage {
        if bytes.is_empty() {
            return;
        }
        match one {
            Damage::Set(at, byte) => {
                let at = at.index(bytes.len());
                bytes[at] = *byte;
            }
            Damage::Insert(at, new) => {
                let at = at.index(bytes.len());
                bytes.splice(at..at, new.iter().copied());
            }
            Damage::Remove(at, count) => {
                let at = at.index(bytes.len());
                let end = (at + usize::from(*count)).min(bytes.len());
                bytes.drain(at..end);
            }
            Damage::Repeat(at, count) => {
                let at = at.index(bytes.len());
                let end = (at + usize::from(*count)).min(bytes.len());
                let again = bytes[at..end].to_vec();
                bytes.splice(at..at, again);
            }
        }
    }
}

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/torch").join(name))
        .unwrap()
}

/// The pickle of a fixture, taken out of its archive.
fn pickle_of(name: &str) -> Vec<u8> {
    let mut zip = zip::ZipArchive::new(std::io::Cursor::new(fixture(name))).unwrap();
    let index =
        (0..zip.len()).find(|&i| zip.by_index(i).unwrap().name().unwrap().ends_with("data.pkl")).unwrap();
    let mut out = Vec::new();
    std::io::Read::read_to_end(&mut zip.by_index(index).unwrap(), &mut out).unwrap();
    out
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn damaged_safetensors(damage in damage()) {
        let mut bytes = safetensors(&[f32s("model.layers.0.w", &[2, 2], &[1.0; 4]), f32s("model.layers.1.w", &[1], &[1.0])]);
        apply(&mut bytes, &damage);
        read_all("model.safetensors", &bytes);
    }

    #[test]
    fn damaged_archives(damage in damage()) {
        let mut bytes = small_torch();
        apply(&mut bytes, &damage);
        read_all("model.pt", &bytes);
    }

    /// The pickle alone is damaged and packed anew, so that no checksum stops it on the way to the machine.
    #[test]
    fn damaged_pickles(damage in damage(), which in 0..3usize) {
        let mut pickle = pickle_of(["state_dict.pt", "lightning.ckpt", "module.pt"][which]);
        apply(&mut pickle, &damage);
        let data = [0u8; 120];
        let storages: Vec<(&str, &[u8])> = ["0", "1", "2", "3", "4"].into_iter().map(|key| (key, &data[..24])).collect();
        read_all("model.pt", &torch_file(&pickle, &storages));
    }

    #[test]
    fn arbitrary_pickles(pickle in prop::collection::vec(prop_oneof![
        any::<u8>(),
        prop::sample::select(b"().0}]NKMJqhcRtbusealdX\x85\x86\x87\x88\x93\x94Q2".to_vec()),
    ], 0..200)) {
        read_all("model.pt", &torch_file(&pickle, &[("0", &[0; 24])]));
    }

    #[test]
    fn arbitrary_indices(text in ".{0,60}", damage in damage()) {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "a.safetensors", safetensors(&[f32s("w", &[1], &[1.0])]));
        let mut index = b"{\"metadata\":{},\"weight_map\":{\"w\":\"a.safetensors\"}}".to_vec();
        apply(&mut index, &damage);
        write(folder.path(), "model.safetensors.index.json", &index);
        write(folder.path(), "config.json", text);
        let _ = Checkpoint::open(folder.path());
    }
}
