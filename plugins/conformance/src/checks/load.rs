//! Loading and negotiation.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use fusion_abi::FUSION_ABI_MINOR;
use object::{Object as _, ObjectSymbol as _};

use crate::driver::{Host, Kind, Library, Method, Offer, OpenError, Told};
use crate::kit::{Kit, difference};
use crate::run::{How, run};
use crate::verdict::{Check, Stop, fail};

fn opened<T>(result: Result<T, OpenError>) -> Result<T, Stop> {
    result.map_err(|error| Stop::Fail(error.to_string()))
}

pub(crate) fn now_local(kit: &Kit) -> Check {
    opened(Library::open(&kit.path))?;
    if Library::is_global("fusion_plugin_entry_v1") {
        return fail("once it is loaded, its entry is visible to all libraries of the process");
    }
    Ok(())
}

pub(crate) fn single_entry_symbol(kit: &Kit) -> Check {
    let bytes = fs::read(&kit.path).map_err(|error| Stop::Fail(error.to_string()))?;
    let file =
        object::File::parse(&*bytes).map_err(|error| Stop::Fail(format!("no object file: {error}")))?;
    let names: BTreeSet<&str> = file
        .dynamic_symbols()
        .filter(|symbol| symbol.is_definition() && symbol.is_global())
        .filter_map(|symbol| symbol.name().ok())
        .map(|name| name.strip_prefix('_').filter(|rest| rest.starts_with("fusion_")).unwrap_or(name))
        .filter(|name| name.starts_with("fusion_"))
        .collect();
    if !names.contains("fusion_plugin_entry_v1") {
        return fail("it does not export `fusion_plugin_entry_v1`");
    }
    let is_entry = |name: &str| {
        name.strip_prefix("fusion_plugin_entry_v")
            .is_some_and(|major| !major.is_empty() && major.bytes().all(|digit| digit.is_ascii_digit()))
    };
    match names.iter().find(|name| !is_entry(name)) {
        Some(name) => fail(format!("it also exports `{name}`; make it static or hidden")),
        None => Ok(()),
    }
}

/// Time that loading and the entry may take.
const SOON: Duration = Duration::from_millis(50);

pub(crate) fn no_constructor_work(kit: &Kit) -> Check {
    let time = |path: &std::path::Path| -> Result<Duration, Stop> {
        let started = Instant::now();
        opened(opened(Library::open(path))?.entry(&Host::new(Offer::default(), 1), Kind::Canaries))?;
        Ok(started.elapsed())
    };
    let mut least = time(&kit.path)?;
    // A cold disk is not the plugin's work: copies are loaded anew. One that needs its own folder has the first time alone.
    let folder = tempfile::tempdir().map_err(|error| Stop::Fail(error.to_string()))?;
    for copy in ["1", "2"] {
        let path = folder.path().join(copy);
        if least >= SOON && fs::copy(&kit.path, &path).is_ok() {
            least = least.min(time(&path).unwrap_or(Duration::MAX));
        }
    }
    match least < SOON {
        true => Ok(()),
        false => fail(format!("it takes {} ms; move work into `create`", least.as_millis())),
    }
}

pub(crate) fn entry_twice_same_result(kit: &Kit) -> Check {
    let library = opened(Library::open(&kit.path))?;
    let host = Host::new(Offer::default(), 1);
    let first = opened(library.entry(&host, Kind::Canaries))?;
    let second = opened(library.entry(&host, Kind::Canaries))?;
    if first.address != second.address {
        return fail("the second call returns another pointer");
    }
    if format!("{first:?}") != format!("{second:?}") {
        return fail("the description changes between two calls");
    }
    Ok(())
}

pub(crate) fn no_host_call_before_create(kit: &Kit) -> Check {
    let host = Host::new(Offer::default(), 1);
    opened(opened(Library::open(&kit.path))?.entry(&host, Kind::Canaries))?;
    let told = host.told();
    match told == Told::default() {
        true => Ok(()),
        false => fail(format!("the entry works, and yet it calls the host: {told:?}")),
    }
}

/// The kit asks more than the engine in places, and less in others: an author wants both.
pub(crate) fn host_loads_it(kit: &Kit) -> Check {
    match fusion_core::host::load(&kit.path) {
        Ok(_) => Ok(()),
        Err(error) => fail(format!("{error}; {}", error.help())),
    }
}

pub(crate) fn old_host_minor(kit: &Kit) -> Check {
    let library = opened(Library::open(&kit.path))?;
    let host = Host::new(Offer { minor: 0, ..Offer::default() }, 1);
    match library.entry(&host, Kind::Canaries) {
        Ok(plugin) if plugin.needs_minor > FUSION_ABI_MINOR => {
            fail(format!("it needs version 1.{}, this kit knows 1.{FUSION_ABI_MINOR}", plugin.needs_minor))
        }
        Ok(_) | Err(OpenError::Refused(Some(_))) => Ok(()),
        Err(error) => fail(error.to_string()),
    }
}

pub(crate) fn short_structs(kit: &Kit, method: &Method) -> Check {
    let (task, data, expected) = method.fitting(kit)?;
    let host = Host::new(Offer::default(), 1);
    opened(opened(Library::open(&kit.path))?.entry(&host, Kind::Fenced))?;
    same(method, &task, &data, &expected.values, How { kind: Kind::Fenced, ..How::default() })
}

pub(crate) fn long_structs(kit: &Kit, method: &Method) -> Check {
    let (task, data, expected) = method.fitting(kit)?;
    let offer = Offer { minor: FUSION_ABI_MINOR + 7, extra: 256, services: true };
    opened(opened(Library::open(&kit.path))?.entry(&Host::new(offer, 1), Kind::Canaries))?;
    same(method, &task, &data, &expected.values, How { offer, ..How::default() })
}

/// Runs a task another way and wants the same bits.
fn same(
    method: &Method,
    task: &crate::task::Task,
    data: &crate::task::Data,
    expected: &[Vec<f32>],
    how: How,
) -> Check {
    let found = crate::kit::ran(run(method, task, data, &how))?;
    match difference(expected, &found.values) {
        Some(place) => fail(format!("the result is another one: {place}")),
        None => Ok(()),
    }
}

pub(crate) fn missing_service_refused_cleanly(kit: &Kit, method: &Method) -> Check {
    let (task, data, _) = method.fitting(kit)?;
    let offer = Offer { services: false, ..Offer::default() };
    match run(method, &task, &data, &How { offer, ..How::default() }) {
        Ok(_) => Ok(()),
        Err(trouble) if trouble.orderly() => Ok(()),
        Err(trouble) => fail(format!("without services, {trouble}")),
    }
}
