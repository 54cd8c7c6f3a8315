//! Downloads of the named sets, for users who are online: to a temporary file, checked against a known sum, then renamed.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::time::Duration;

use sha2::{Digest, Sha256};
use ureq::Agent;

use crate::error::DataError;
use crate::places::Watch;
use crate::sets::{self, File};

/// Downloads the set `name` (`mnist`, `fashion_mnist`, `kmnist`, `cifar10`, `cifar100`) into the folder `into`/`name`. Files that are there
/// and right are kept. `base` is another address to get the files from: that of the folder which holds them.
///
/// Proxies of the environment are not used: this library reads no environment variables.
///
/// # Errors
/// For an unknown name, an address that does not answer or not with the right file, and a folder that cannot be written. Nothing half
/// finished is left behind. [`DataError::Cancelled`] when `watch` says stop.
pub fn fetch(name: &str, into: &Path, base: Option<&str>, watch: &dyn Watch) -> Result<(), DataError> {
    let set = sets::set(name).ok_or_else(|| DataError::Missing {
        name: name.to_owned(),
        offence: "fusion knows no address for it".into(),
        fix: format!("the sets that it can fetch are {}", sets::listed()),
    })?;
    files(set.files, &into.join(name), base.unwrap_or(set.base), watch)
}

/// Downloads `files` from `base` into `folder`.
fn files(files: &[File], folder: &Path, base: &str, watch: &dyn Watch) -> Result<(), DataError> {
    fs::create_dir_all(folder).map_err(|error| DataError::io(folder, "create", error))?;
    let agent: Agent = Agent::config_builder()
        .proxy(None)
        .timeout_connect(Some(Duration::from_secs(30)))
        .timeout_per_read(Some(Duration::from_secs(60)))
        .user_agent("fusion")
        .build()
        .into();
    for file in files {
        let path = folder.join(file.name);
        if path.is_file() && sum_of(&path)? == file.sha256 {
            continue;
        }
        let url = format!("{}/{}", base.trim_end_matches('/'), file.name);
        // In the same folder, so that it can be renamed; with the process in its name, so that two downloads do not meet.
        let partial = folder.join(format!(".{}.{}.partial", file.name, std::process::id()));
        let result = download(&agent, &url, file, &partial, watch).and_then(|()| {
            fs::rename(&partial, &path).map_err(|error| DataError::io(&path, "rename", error))
        });
        if result.is_err() {
            // The first error matters more than this one.
            let _ = fs::remove_file(&partial);
        }
        result?;
    }
    Ok(())
}

fn download(agent: &Agent, url: &str, file: &File, path: &Path, watch: &dyn Watch) -> Result<(), DataError> {
    let failed =
        |offence: String, fix: &str| DataError::Fetch { url: url.to_owned(), offence, fix: fix.into() };
    let answer = agent.get(url).call().map_err(|error| match error {
        ureq::Error::StatusCode(code) => failed(
            format!("the server answers with status {code}"),
            "try again later, or give the address of a mirror",
        ),
        error => failed(error.to_string(), "check the connection, or give the address of a mirror"),
    })?;
    let mut body = answer.into_body().into_reader();
    let mut output = fs::File::create(path).map_err(|error| DataError::io(path, "create", error))?;
    let (mut sum, mut done) = (Sha256::new(), 0);
    let mut buffer = vec![0; 1 << 16];
    loop {
        if watch.cancelled() {
            return Err(DataError::Cancelled);
        }
        let read = match body.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => {
                return Err(failed(format!("the connection broke after {done} bytes: {error}"), "try again"));
            }
        };
        done += read as u64;
        if done > file.bytes {
            return Err(failed(
                format!("it goes on after the {} bytes that `{}` has", file.bytes, file.name),
                "the server has another file of this name; give the address of a mirror",
            ));
        }
        sum.update(&buffer[..read]);
        output.write_all(&buffer[..read]).map_err(|error| DataError::io(path, "write", error))?;
        watch.progress(done, file.bytes, file.name);
    }
    if done < file.bytes {
        return Err(failed(format!("it ends after {done} of {} bytes", file.bytes), "try again"));
    }
    let found = hex(&sum.finalize());
    if found != file.sha256 {
        return Err(failed(
            format!("its SHA-256 is {found}, and should be {}", file.sha256),
            "the server has another file of this name; give the address of a mirror",
        ));
    }
    output.sync_all().map_err(|error| DataError::io(path, "write", error))
}

fn sum_of(path: &Path) -> Result<String, DataError> {
    let read = |error| DataError::io(path, "read", error);
    let mut file = fs::File::open(path).map_err(|error| DataError::io(path, "open", error))?;
    let mut sum = Sha256::new();
    std::io::copy(&mut file, &mut sum).map_err(read)?;
    Ok(hex(&sum.finalize()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::net::TcpListener;
    use std::sync::Mutex;
    use std::thread;

    use super::*;
    use crate::places::Unwatched;

    const BODY: &[u8] = b"0123456789";
    /// sha256sum of the ten digits.
    const SUM: &str = "84d89877f0d4041efb6bf91a16f0248f2fd573e6af05c19f96bedb9f882f7882";
    const FILES: &[File] = &[File { name: "a.gz", bytes: 10, sha256: SUM }];

    /// Answers `answers.len()` requests on the loopback, and returns the paths that were asked for.
    fn served(answers: Vec<Vec<u8>>, body: impl FnOnce(&str)) -> Vec<String> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}/mirror", listener.local_addr().unwrap());
        let asked = Mutex::new(Vec::new());
        thread::scope(|scope| {
            scope.spawn(|| {
                for answer in answers {
                    let (mut stream, _) = listener.accept().unwrap();
                    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
                    let first = lines.next().unwrap().unwrap();
                    asked.lock().unwrap().push(first.split(' ').nth(1).unwrap().to_owned());
                    // Until the empty line.
                    lines.find(|line| line.as_ref().unwrap().is_empty());
                    stream.write_all(&answer).unwrap();
                }
            });
            body(&base);
        });
        asked.into_inner().unwrap()
    }

    fn answer(status: &str, length: usize, body: &[u8]) -> Vec<u8> {
        let mut answer =
            format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n")
                .into_bytes();
        answer.extend(body);
        answer
    }

    fn listed(folder: &Path) -> Vec<String> {
        folder.read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_good_file_is_fetched_once() {
        let temp = tempfile::tempdir().unwrap();
        let folder = temp.path().join("new/set");
        let asked = served(vec![answer("200 OK", 10, BODY)], |base| {
            files(FILES, &folder, &format!("{base}/"), &Unwatched).unwrap();
            // It is there: no second request.
            files(FILES, &folder, base, &Unwatched).unwrap();
        });
        assert_eq!(asked, ["/mirror/a.gz"]);
        assert_eq!(listed(&folder), ["a.gz"]);
        assert_eq!(fs::read(folder.join("a.gz")).unwrap(), BODY);
    }

    #[test]
    fn a_wrong_file_is_an_error_and_leaves_nothing_behind() {
        for (answer, part) in [
            (answer("200 OK", 10, b"0123456780"), "its SHA-256 is "),
            (answer("200 OK", 11, b"01234567890"), "it goes on after the 10 bytes"),
            (answer("200 OK", 9, b"012345678"), "it ends after 9 of 10 bytes"),
            (answer("200 OK", 10, b"01234"), "the connection broke after 5 bytes"),
            (answer("404 Not Found", 0, b""), "status 404"),
            (b"nonsense\r\n\r\n".to_vec(), "mirror"),
        ] {
            let temp = tempfile::tempdir().unwrap();
            // A damaged file of before is replaced or kept, never lost.
            fs::write(temp.path().join("a.gz"), "old").unwrap();
            served(vec![answer], |base| {
                let error = files(FILES, temp.path(), base, &Unwatched).unwrap_err().to_string();
                assert!(error.contains(part) && error.contains(base), "{part}: {error}");
            });
            assert_eq!(listed(temp.path()), ["a.gz"]);
            assert_eq!(fs::read(temp.path().join("a.gz")).unwrap(), b"old");
        }
    }

    #[test]
    fn nobody_there_and_unknown_names_are_errors() {
        let temp = tempfile::tempdir().unwrap();
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let error = files(FILES, temp.path(), &format!("http://{closed}"), &Unwatched).unwrap_err();
        assert!(error.to_string().contains("check the connection"), "{error}");
        assert!(listed(temp.path()).is_empty());
        let error = fetch("imagenet", temp.path(), None, &Unwatched).unwrap_err();
        assert!(error.to_string().contains("`mnist`, `fashion_mnist`"), "{error}");
    }

    struct Stopped;

    impl Watch for Stopped {
        fn progress(&self, _: u64, _: u64, _: &str) {}

        fn cancelled(&self) -> bool {
            true
        }
    }

    #[test]
    fn a_stopped_download_leaves_nothing_behind() {
        let temp = tempfile::tempdir().unwrap();
        served(vec![answer("200 OK", 10, BODY)], |base| {
            let error = files(FILES, temp.path(), base, &Stopped).unwrap_err();
            assert!(matches!(error, DataError::Cancelled));
        });
        assert!(listed(temp.path()).is_empty());
    }
}
