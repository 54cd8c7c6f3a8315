//! A run that is really killed, again and again, ends with the bytes of one that was not.

use std::env;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use super::*;

const TARGET: &str = "FUSION_TEST_TARGET";

/// The run that is killed: this test in a process of its own.
#[test]
#[ignore = "started by `thirty_kills`"]
fn run() {
    let Some(path) = env::var_os(TARGET).map(PathBuf::from) else { return };
    let sample = Sample::new(2, 200);
    let target = Target::Folder(path);
    let (transaction, resumed) = sample.begin(&target, true).unwrap();
    for tensor in (0..sample.data.len()).filter(|tensor| !resumed.done.contains_key(tensor)) {
        sleep(Duration::from_millis(2));
        sample.write(&transaction, tensor);
    }
    transaction.commit(&slots(), &record()).unwrap();
}

fn start(target: &Target) -> std::process::Child {
    let (_, module) = module_path!().split_once("::").unwrap();
    Command::new(env::current_exe().unwrap())
        .args(["--exact", "--ignored", &format!("{module}::run")])
        .env(TARGET, target.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn thirty_kills() {
    let root = tempfile::tempdir().unwrap();
    let expected =
        listing(&Sample::new(2, 200).finish(&Target::Folder(root.path().join("whole")), false).path);
    let mut unfinished = 0;
    for round in 0..10u64 {
        let target = Target::Folder(root.path().join("merged"));
        let before = listing(&Sample::new(1, 90).finish(&target, false).path);
        for kill in 0..3 {
            let mut child = start(&target);
            // Spread over start-up, writing and commit; a multiplier that meets them in no particular order.
            sleep(Duration::from_micros(1000 + (round * 3 + kill) * 7919 % 31 * 900));
            child.kill().unwrap();
            unfinished += u32::from(!child.wait().unwrap().success());
            let now = listing(target.path());
            assert!(now == before || now == expected, "after kill {kill} of round {round}: {:?}", now.keys());
        }
        assert!(start(&target).wait().unwrap().success());
        assert!(listing(target.path()) == expected);
        assert_eq!(names(root.path()), ["merged", "whole"]);
        fs::remove_dir_all(target.path()).unwrap();
    }
    assert!(unfinished > 0, "all runs came through: the kills were too late");
}
