//! Runs that are stopped: they end at once, and the next run ends with the bytes of one that was not.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::common::{Space, Tensor, listing, safetensors};

/// Enough tensors that a kill meets a run in the middle.
fn large(space: &Space) {
    for (name, seed) in [("a", 1), ("b", 2)] {
        let tensors: Vec<Tensor> =
            (0..80).map(|layer| Tensor::new(seed, &format!("model.layers.{layer}.w"), &[256, 512])).collect();
        space.write(&format!("{name}/model.safetensors"), safetensors(&tensors));
    }
    space.write("soup.fusion", crate::common::SOUP);
}

fn start(space: &Space) -> Child {
    let mut command = space.command(&["run", "soup.fusion", "--threads", "1"]);
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// A random number, another one in each call; the seed is printed by whoever fails.
fn draw(state: &mut u64) -> f64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    (*state >> 11) as f64 / (1u64 << 53) as f64
}

#[test]
fn thirty_kills_end_with_the_bytes_of_a_run_that_was_left_alone() {
    let space = Space::new();
    large(&space);
    let begun = Instant::now();
    assert!(start(&space).wait().unwrap().success());
    let mut whole = begun.elapsed();
    let expected = listing(&space.path("out/soup"));
    assert!(expected.contains_key("model.safetensors"));
    std::fs::remove_dir_all(space.path("out")).unwrap();

    let seed = u64::from(std::process::id()) << 20 | 0x9e37;
    let mut state = seed;
    let (mut killed, mut resumed) = (0, 0);
    for kill in 0..120 {
        if killed == 30 {
            break;
        }
        let mut child = start(&space);
        let pause = whole.mul_f64(0.95 * draw(&mut state));
        std::thread::sleep(pause);
        child.kill().unwrap();
        let met = !child.wait().unwrap().success();
        killed += u32::from(met);
        if !met {
            whole = pause; // later runs are faster than the first, or the machine is less busy now
        }
        let now = listing(&space.path("out/soup"));
        assert!(now.is_empty() || now == expected, "kill {kill}, seed {seed}: half a result is visible");
        if !now.is_empty() {
            // It came through: there is nothing to resume, and at most the cleaning up is left for the next run.
            space.ok(&["run", "soup.fusion"]);
            assert_eq!(space.names("out"), ["soup"], "kill {kill}, seed {seed}");
            std::fs::remove_dir_all(space.path("out")).unwrap();
        } else if kill % 3 == 2 {
            let done = space.ok(&["run", "soup.fusion", "--threads", "1"]);
            resumed += u32::from(done.out.contains("resumed:"));
            assert!(listing(&space.path("out/soup")) == expected, "kill {kill}, seed {seed}: other bytes");
            assert_eq!(space.names("out"), ["soup"], "kill {kill}, seed {seed}");
            std::fs::remove_dir_all(space.path("out")).unwrap();
        }
    }
    assert!(killed >= 10, "only {killed} of 30 kills met a running process (seed {seed})");
    assert!(resumed >= 1, "no run was resumed (seed {seed})");
}

#[test]
fn ctrl_c_stops_within_a_second_and_the_next_run_goes_on() {
    let space = Space::new();
    large(&space);
    let begun = Instant::now();
    assert!(start(&space).wait().unwrap().success());
    let whole = begun.elapsed();
    let expected = listing(&space.path("out/soup"));
    let mut stopped = 0;
    // The first run may have been slowed down by other tests: then earlier signals are tried, until one meets a running process.
    for part in [0.3, 0.5, 0.7, 0.2, 0.1, 0.05] {
        if part < 0.3 && stopped > 0 {
            break;
        }
        std::fs::remove_dir_all(space.path("out")).unwrap();
        let mut child = start(&space);
        std::thread::sleep(whole.mul_f64(part));
        let told = Instant::now();
        let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
        let status = child.wait().unwrap();
        assert!(told.elapsed() < Duration::from_secs(3), "took {:?}", told.elapsed());
        if sent.success() && !status.success() {
            assert_eq!(status.code(), Some(130));
            assert!(listing(&space.path("out/soup")).is_empty());
            stopped += 1;
        } else {
            continue;
        }
        space.ok(&["run", "soup.fusion"]);
        assert!(listing(&space.path("out/soup")) == expected);
    }
    assert!(stopped > 0, "no signal met a running process");
}
