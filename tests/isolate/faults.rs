//! What plugin code can do to its process.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fusion_core::host::HostError;
use fusion_core::host::isolate::isolate;
use fusion_sdk::context::{Alone, Host};
use fusion_sdk::testing::run;
use fusion_sdk::{Context, ErrorKind, Member, MethodError, Prepared};

use crate::{build, faulty, group, host, isolated, method};

/// Runs one method on one tensor of this name, with a child of its own.
fn fails(library: &Path, id: &str, name: &str) -> MethodError {
    let plugin = isolated(library, &Arc::default());
    let roles: &[&str] = if id == "shift" { &["from", "from"] } else { &["from"] };
    let (task, data) = group(&[(name, &[100, 50])], roles);
    let error = run(method(&plugin, id), &task, &data).expect_err(name);
    // This process lives, and a new child of the same library works.
    let (task, data) = group(&[("w", &[100, 50])], roles);
    if error.message.contains("crashed") || error.message.contains("ended") {
        let again = run(method(&plugin, id), &task, &data).expect_err("its process is gone");
        assert_eq!(again, error, "a dead child gives the same error for everything");
    }
    drop(plugin);
    let plugin = isolated(library, &Arc::default());
    run(method(&plugin, id), &task, &data).unwrap_or_else(|error| panic!("{error}"));
    error
}

const CALLS: [(&str, &str); 9] = [
    ("spread", "create"),
    ("spread", "state_new"),
    ("spread", "observe"),
    ("spread", "absorb"),
    ("spread", "pass_end"),
    ("spread", "apply"),
    ("centre", "apply"),
    ("balance", "apply"),
    ("shift", "run"),
];

#[test]
fn a_crash_in_any_call_is_an_error_that_says_where_and_how() {
    let built = faulty();
    for (id, call) in CALLS {
        let error = fails(&built.library, id, &format!("{call}.segfault"));
        let said = format!("the plugin `org.fusion.tests.faulty` crashed in `{call}` (signal 11, SIGSEGV)");
        assert_eq!((error.kind, error.message), (ErrorKind::Failed, said));
        assert!(error.help.unwrap().contains("tell the plugin's author"));
    }
}

#[test]
fn an_abort_comes_with_its_last_words_and_an_exit_with_its_code() {
    let built = faulty();
    for (id, call) in [("spread", "create"), ("spread", "apply"), ("shift", "run")] {
        let error = fails(&built.library, id, &format!("{call}.abort"));
        let said = format!("the plugin `org.fusion.tests.faulty` crashed in `{call}` (signal 6, SIGABRT)");
        assert_eq!(error.message, said);
        let help = error.help.unwrap();
        assert!(help.starts_with("its last words: `free(): invalid pointer`; the rest of fusion"), "{help}");
        let error = fails(&built.library, id, &format!("{call}.exit"));
        let said =
            format!("the plugin `org.fusion.tests.faulty` ended its process in `{call}` (exit code 3)");
        assert_eq!(error.message, said);
    }
}

/// A process that the plugin started holds the child's sockets open; its crash is seen all the same.
#[test]
fn a_crash_is_seen_behind_a_process_that_the_plugin_left() {
    let built = faulty();
    let since = Instant::now();
    let error = fails(&built.library, "spread", "apply.fork");
    assert!(error.message.contains("crashed in `apply` (signal 6, SIGABRT)"), "{}", error.message);
    assert!(since.elapsed() < Duration::from_secs(15), "{:?}", since.elapsed());
}

#[test]
fn a_failed_call_is_the_same_error_as_in_process() {
    let built = faulty();
    for (id, call) in CALLS {
        let error = fails(&built.library, id, &format!("{call}.fail"));
        let found = (error.kind, error.message.as_str(), error.parameter, error.help.as_deref());
        assert_eq!(found, (ErrorKind::Invalid, "out of luck", Some("strength"), Some("try again")), "{call}");
    }
    for (name, said) in [
        ("run.short", "`run.short` was written with another length"),
        ("run.nowhere", "there is no member 0 of model 7"),
    ] {
        assert_eq!(fails(&built.library, "shift", name).message, said);
    }
}

/// Neither what a plugin prints nor what it reads touches what the processes say to each other.
#[test]
fn a_plugin_that_prints_and_reads_disturbs_nobody() {
    let built = faulty();
    let plugin = isolated(&built.library, &Arc::default());
    for (id, call) in CALLS {
        let roles: &[&str] = if id == "shift" { &["from", "from"] } else { &["from"] };
        let (task, data) = group(&[(&format!("{call}.print"), &[100, 50])], roles);
        run(method(&plugin, id), &task, &data).unwrap_or_else(|error| panic!("{call}: {error}"));
    }
}

#[test]
fn a_library_that_dies_at_once_is_refused() {
    let built = build("tests/isolate/faulty.c", &["DIES"]);
    let Err(error) = isolate(host(), &built.library, Arc::default()) else { panic!("it was loaded") };
    assert!(matches!(error, HostError::Process { .. }));
    let said =
        "cannot be run in a process of its own: the plugin `libtest.so` crashed in `load` (signal 4, SIGILL)";
    assert!(error.to_string().ends_with(said), "{error}");
    // A program that is no host of plugins.
    let Err(error) = isolate(Command::new("true"), &built.library, Arc::default()) else {
        panic!("`true` serves plugins")
    };
    assert!(error.to_string().ends_with("ended its process in `load` (exit code 0)"), "{error}");
    let Err(error) = isolate(Command::new("/no/such/program"), &built.library, Arc::default()) else {
        panic!("nothing serves plugins")
    };
    assert!(error.to_string().contains("it cannot be started"), "{error}");
}

/// Sets the flag a little later.
fn soon(flag: &Arc<AtomicBool>) {
    let flag = flag.clone();
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(150));
        flag.store(true, Ordering::Relaxed);
    });
}

#[test]
fn calls_that_never_return_end_when_the_user_stops() {
    let built = faulty();
    for (id, name) in [
        ("spread", "create.loop"),
        ("spread", "observe.loop"),
        ("spread", "apply.loop"),
        ("spread", "apply.stop"),
        ("centre", "apply.loop"),
        ("shift", "run.loop"),
        ("shift", "run.stop"),
    ] {
        let stop = Arc::default();
        let plugin = isolated(&built.library, &stop);
        let roles: &[&str] = if id == "shift" { &["from", "from"] } else { &["from"] };
        let (task, data) = group(&[(name, &[100, 50])], roles);
        soon(&stop);
        let since = Instant::now();
        let error = run(method(&plugin, id), &task, &data).expect_err(name);
        assert_eq!((error.kind, error.message.as_str()), (ErrorKind::Cancelled, "stopped"), "{name}");
        assert!(since.elapsed() < Duration::from_secs(5), "{name}: {:?}", since.elapsed());
    }
    // A child that never says a word.
    let stop = Arc::default();
    soon(&stop);
    let mut silent = Command::new("sh");
    silent.args(["-c", "exec sleep 60"]);
    let Err(error) = isolate(silent, &built.library, stop) else { panic!("`sleep` serves plugins") };
    assert!(error.to_string().ends_with("its own: stopped"), "{error}");
}

/// The engine's side of a long call, with a button.
struct Button(Arc<AtomicBool>);

impl Host for Button {
    fn cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn progress(&self, _: u64, _: u64, _: &str) {}

    fn for_each(&self, n: usize, body: &(dyn Fn(usize) + Sync)) {
        (0..n).for_each(body);
    }
}

/// A call that stops when it is asked to leaves its process alive; the flag is not left behind for the next call.
#[test]
fn a_call_that_stops_by_itself_is_given_the_time() {
    let built = faulty();
    let plugin = isolated(&built.library, &Arc::default());
    let apply = |name: &str, host: &dyn Host| {
        let (task, data) = group(&[(name, &[100, 50])], &["from"]);
        let Ok(Prepared::Whole(kernel)) = method(&plugin, "centre").prepare(&task) else {
            panic!("it is a whole-tensor method")
        };
        let mut out = vec![0.0; 5000];
        let inputs = [data[0][0].as_slice()];
        let mut members = [Member { name, shape: &[100, 50], inputs: &inputs, out: &mut out }];
        kernel.apply(&mut members, &Context::new(host))
    };
    let button = Button(Arc::default());
    soon(&button.0);
    assert_eq!(apply("apply.wait", &button).unwrap_err().kind, ErrorKind::Cancelled);
    apply("w", &Alone).unwrap_or_else(|error| panic!("{error}"));
    let again = Button(Arc::default());
    soon(&again.0);
    let since = Instant::now();
    assert_eq!(apply("apply.wait", &again).unwrap_err().kind, ErrorKind::Cancelled);
    assert!(since.elapsed() > Duration::from_millis(100), "it was not asked before");
}

/// The child of a plugin that is no longer needed is gone, and nothing of it is left.
#[test]
fn the_last_method_takes_the_child_with_it() {
    let built = faulty();
    let plugin = isolated(&built.library, &Arc::default());
    let (task, data) = group(&[("apply.pid", &[5])], &["from"]);
    let pid = run(method(&plugin, "centre"), &task, &data).unwrap_err().message;
    let process = Path::new("/proc").join(&pid);
    assert!(process.exists(), "{pid}");
    let (task, _) = group(&[("w", &[5])], &["from"]);
    let kernel = method(&plugin, "centre").prepare(&task);
    drop(plugin);
    assert!(process.exists(), "a kernel is left");
    drop(kernel);
    assert!(!process.exists(), "the child was not reaped");
    // A child that dies in its last call is no trouble.
    let plugin = isolated(&built.library, &Arc::default());
    let (task, _) = group(&[("destroy.segfault", &[5])], &["from"]);
    drop(method(&plugin, "centre").prepare(&task));
    let error = method(&plugin, "centre").prepare(&task).err().unwrap();
    assert!(error.message.contains("crashed in `destroy`"), "{}", error.message);
}

/// The child ends with its parent, whose end of the socket closes whatever became of it.
#[test]
fn a_child_without_a_parent_ends() {
    let built = faulty();
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let stdin = Stdio::from(std::os::fd::OwnedFd::from(theirs));
    let mut child = host().arg(&built.library).stdin(stdin).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(100));
    assert!(child.try_wait().unwrap().is_none(), "it ended before its parent");
    drop(ours);
    assert!(child.wait().unwrap().success());
    // Somebody tries it by hand.
    let output = host().arg(&built.library).stdin(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(4));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("this command is for fusion itself"), "{said}");
}
