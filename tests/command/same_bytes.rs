//! The same recipe gives the same bytes, whatever it runs on and with.

#[cfg(all(feature = "flex", feature = "ndarray"))]
use crate::common::load;
use crate::common::{SOUP, Space, decoder, listing};

/// Models whose tensors span several chunks.
fn wide(space: &Space) {
    space.model_of("a", 1, &decoder(1, 1, 400));
    space.model_of("b", 1, &decoder(2, 1, 400));
    space.write("soup.fusion", SOUP);
}

#[test]
fn threads_chunks_memory_and_repetition_do_not_matter() {
    let space = Space::new();
    wide(&space);
    space.ok(&["run", "soup.fusion", "--threads", "1"]);
    let first = listing(&space.path("out/soup"));
    assert!(first.contains_key("model.safetensors"));
    for arguments in [
        &["--threads", "1"][..],
        &["--threads", "2"],
        &["--threads", "5"],
        &["--chunk", "65536"],
        &["--chunk", "1048576", "--threads", "3"],
        &["--memory", "64MB"],
    ] {
        std::fs::remove_dir_all(space.path("out")).unwrap();
        let mut all = vec!["run", "soup.fusion"];
        all.extend(arguments);
        space.ok(&all);
        let again = listing(&space.path("out/soup"));
        assert_eq!(first.keys().collect::<Vec<_>>(), again.keys().collect::<Vec<_>>());
        for (name, bytes) in &first {
            assert!(again[name] == *bytes, "{name} differs with {arguments:?}");
        }
    }
}

#[test]
#[cfg(all(feature = "flex", feature = "ndarray"))]
fn burn_devices_agree_with_the_fused_kernels() {
    let space = Space::new();
    wide(&space);
    space.ok(&["run", "soup.fusion"]);
    let cpu = load(&space.path("out/soup"));
    for device in ["flex", "ndarray"] {
        std::fs::remove_dir_all(space.path("out")).unwrap();
        space.ok(&["run", "soup.fusion", "--device", device]);
        for (name, (_, _, values)) in load(&space.path("out/soup")) {
            for (is, should) in values.iter().zip(&cpu[&name].2) {
                assert!(
                    (is - should).abs() <= 1e-6 * should.abs().max(1e-3),
                    "{device} {name}: {is} {should}"
                );
            }
        }
    }
}

#[test]
fn a_device_that_is_not_there_is_an_error_of_the_machine() {
    let space = Space::new();
    space.soup();
    if !cfg!(feature = "cuda") {
        let done = space.fails(&["run", "soup.fusion", "--device", "cuda:1"], 3, "F0509");
        assert!(done.err.contains("--features cuda"), "{}", done.err);
    }
    let done = space.fusion(&["run", "soup.fusion", "--device", "gpu"]);
    assert_eq!(done.code, 2);
    assert!(done.err.contains("unknown device `gpu`"), "{}", done.err);
}
