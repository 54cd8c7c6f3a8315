//! What goes wrong: an error that names file and offence, the right exit code, no panic, nothing left behind.

use std::io::Write as _;
use std::process::Command;

use crate::common::{SOUP, Space, decoder};

#[test]
fn a_missing_model_is_an_error_of_the_machine() {
    let space = Space::new();
    space.soup();
    std::fs::remove_dir_all(space.path("b")).unwrap();
    let done = space.fails(&["run", "soup.fusion"], 3, "F0401");
    assert!(done.err.contains("soup.fusion:4:"), "{}", done.err);
    assert_eq!(space.names("out"), [""; 0]);
}

#[test]
fn models_that_do_not_fit_are_named_before_a_weight_is_read() {
    let space = Space::new();
    space.soup();
    space.model_of("b", 3, &decoder(2, 3, 8));
    let done = space.fails(&["plan", "soup.fusion"], 1, "F0402");
    assert!(done.err.contains("no weights were"), "{}", done.err);
    space.model_of("b", 2, &decoder(2, 2, 16));
    space.fails(&["run", "soup.fusion"], 1, "F0403");
    let mut fewer = decoder(2, 2, 8);
    fewer.remove(1);
    space.model_of("b", 2, &fewer);
    let done = space.fails(&["run", "soup.fusion"], 1, "F0404");
    assert!(done.err.contains("model.norm.weight"), "{}", done.err);
}

#[test]
fn a_truncated_file_is_damaged() {
    let space = Space::new();
    space.soup();
    let path = space.path("b/model.safetensors");
    let bytes = std::fs::read(&path).unwrap();
    for keep in [0, 5, 8, 100, bytes.len() - 1] {
        std::fs::write(&path, &bytes[..keep]).unwrap();
        let done = space.fails(&["run", "soup.fusion"], 3, "F0408");
        assert!(done.err.contains("model.safetensors"), "{}", done.err);
    }
    assert_eq!(space.names("out"), [""; 0]);
}

/// `header` as the header of a file with 8 bytes of data.
fn file(header: &[u8]) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header);
    bytes.extend([0; 8]);
    bytes
}

#[test]
fn hostile_safetensors_are_refused() {
    let space = Space::new();
    space.soup();
    let tensor = |name: &str, offsets: &str| {
        format!("\"{name}\":{{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":{offsets}}}")
    };
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("giant header", [u64::MAX.to_le_bytes().to_vec(), vec![b'{'; 32]].concat()),
        ("overlap", file(format!("{{{},{}}}", tensor("a", "[0,4]"), tensor("b", "[2,6]")).as_bytes())),
        ("out of range", file(format!("{{{}}}", tensor("a", "[0,4000]")).as_bytes())),
        ("backwards", file(format!("{{{}}}", tensor("a", "[4,0]")).as_bytes())),
        ("twice", file(format!("{{{},{}}}", tensor("a", "[0,4]"), tensor("a", "[4,8]")).as_bytes())),
        ("not text", file(b"{\"\xff\xfe\":{}}")),
        ("not JSON", file(b"nonsense")),
        ("deep", file("[".repeat(100_000).as_bytes())),
        (
            "huge shape",
            file(br#"{"a":{"dtype":"F32","shape":[4294967295,4294967295,16],"data_offsets":[0,8]}}"#),
        ),
    ];
    for (what, bytes) in cases {
        std::fs::write(space.path("b/model.safetensors"), bytes).unwrap();
        let done = space.fusion(&["run", "soup.fusion"]);
        assert_eq!(done.code, 3, "{what}: {}", done.err);
        assert!(done.err.contains("error[F04"), "{what}: {}", done.err);
        assert!(done.err.contains("model.safetensors"), "{what}: {}", done.err);
        let done = space.fusion(&["inspect", "b", "--stats"]);
        assert_eq!(done.code, 3, "{what}: {}", done.err);
    }
    assert_eq!(space.names("out"), [""; 0]);
}

#[test]
fn hostile_pickles_are_never_run() {
    let space = Space::new();
    space.soup();
    let marker = space.path("executed");
    let calls = [
        format!("cos\nsystem\n(X{}touch {}tR.", "\u{1}", marker.display()),
        "cbuiltins\neval\n(V1/0\ntR.".to_owned(),
        "(".repeat(200_000),
        format!("\u{80}\u{2}]{}.", "]".repeat(100_000)),
    ];
    for (index, pickle) in calls.into_iter().enumerate() {
        let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        let options = zip::write::SimpleFileOptions::default();
        for (name, bytes) in [("archive/data.pkl", pickle.as_bytes()), ("archive/byteorder", b"little")] {
            zip.start_file(name, options.compression_method(zip::CompressionMethod::Stored)).unwrap();
            zip.write_all(bytes).unwrap();
        }
        let folder = format!("evil-{index}");
        space.write(&format!("{folder}/pytorch_model.bin"), zip.finish().unwrap().into_inner());
        space.write("soup.fusion", SOUP.replace("\"b\"", &format!("\"{folder}\"")));
        let done = space.fusion(&["run", "soup.fusion"]);
        assert_eq!(done.code, 3, "{index}: {}", done.err);
        assert!(done.err.contains("pytorch_model.bin"), "{index}: {}", done.err);
    }
    assert!(!marker.exists());
    assert_eq!(space.names("out"), [""; 0]);
}

/// A small file system at `name`, or `None` where this user may not mount one.
struct Mounted(std::path::PathBuf);

impl Mounted {
    fn new(space: &Space, name: &str, options: &str) -> Option<Mounted> {
        let path = space.path(name);
        std::fs::create_dir_all(&path).unwrap();
        let done =
            Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(&path).output().ok()?;
        done.status.success().then_some(Mounted(path))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_is_seen_before_it_is_full() {
    let space = Space::new();
    space.model_of("a", 2, &decoder(1, 2, 256));
    space.model_of("b", 2, &decoder(2, 2, 256));
    space.write("soup.fusion", SOUP);
    let Some(disk) = Mounted::new(&space, "out", "size=256k") else {
        eprintln!("skipped: this user may not mount a tmpfs");
        return;
    };
    let done = space.fails(&["run", "soup.fusion"], 3, "F0502");
    assert!(done.err.contains("free"), "{}", done.err);
    assert_eq!(space.names("out"), [""; 0]);
    drop(disk);
}

#[test]
fn a_target_that_may_not_be_written_is_an_error_of_the_machine() {
    let space = Space::new();
    space.soup();
    let root = Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout.starts_with(b"0"));
    let mounted = if root {
        let Some(disk) = Mounted::new(&space, "out", "ro") else {
            eprintln!("skipped: root writes everywhere, and no tmpfs can be mounted");
            return;
        };
        Some(disk)
    } else {
        std::fs::create_dir(space.path("out")).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o555);
        std::fs::set_permissions(space.path("out"), mode).unwrap();
        None
    };
    let done = space.fails(&["run", "soup.fusion"], 3, "F0503");
    assert!(done.err.contains("out"), "{}", done.err);
    drop(mounted);
}

#[test]
fn an_output_inside_an_input_is_refused() {
    let space = Space::new();
    space.soup();
    space.write("soup.fusion", SOUP.replace("out/soup", "a/soup"));
    space.fails(&["run", "soup.fusion"], 1, "F0504");
}

#[test]
fn a_recipe_that_cannot_be_read_is_told() {
    let space = Space::new();
    space.fails(&["run", "no.fusion"], 3, "F0511");
    space.write("binary.fusion", [0xff, 0xfe, 0x00]);
    space.fails(&["plan", "binary.fusion"], 3, "F0511");
    space.fails(&["check", "."], 3, "F0511");
}
