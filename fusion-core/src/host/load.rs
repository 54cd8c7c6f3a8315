//! Loading and negotiation, in a fixed order; each step that fails has an error of its own.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use fusion_abi::{FUSION_ABI_MINOR, fusion_entry_fn, fusion_method, fusion_plugin};
use fusion_sdk::Method;
use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};

use super::HostError;
use super::callbacks::{Host, owned};
use super::describe::{MANY, described};
use super::method::DynamicMethod;
use super::services::SERVICES;

/// One at a time: not every system's loader is thread-safe.
static LOADING: Mutex<()> = Mutex::new(());

/// No later version of `fusion_method` is larger.
const LARGEST: u64 = 64 << 10;

/// Other majors that a library may have been built for, to say so.
const MAJORS: [(&[u8], u32); 2] = [(b"fusion_plugin_entry_v2\0", 2), (b"fusion_plugin_entry_v3\0", 3)];

/// A loaded plugin.
pub struct Plugin {
    /// Reverse domain name.
    pub id: String,
    /// Its version.
    pub version: String,
    /// SPDX expression.
    pub license: String,
    /// What it was built with.
    pub build_info: String,
    /// The header that it was built with, major and minor.
    pub built: (u32, u32),
    /// The lowest minor version of the contract that it can run on.
    pub needs_minor: u32,
    /// Services without which it cannot run.
    pub services: Vec<String>,
    /// Its methods, ready for the registry.
    pub methods: Vec<Box<dyn Method>>,
}

/// Loads a library and checks all that it says of itself. The library stays until the process ends.
///
/// This runs code of the library: the caller has made sure that the user wants that.
///
/// # Errors
/// See [`HostError`].
pub fn load(path: &Path) -> Result<Plugin, HostError> {
    let shown = path.display().to_string();
    let open = |reason: String| HostError::Open { path: shown.clone(), reason };
    // A bare name would be looked up in the system's folders.
    let absolute = path.canonicalize().map_err(|error| open(error.to_string()))?;
    let _one = LOADING.lock().unwrap_or_else(PoisonError::into_inner);
    // SAFETY: loading runs the library's initialisers, which is what the user asked for; all symbols are bound now, so that a missing one
    // fails here and not in the middle of a run.
    let library = unsafe { Library::open(Some(&absolute), RTLD_NOW | RTLD_LOCAL) }.map_err(|error| {
        let source =
            std::error::Error::source(&error).map(|source| format!(": {source}")).unwrap_or_default();
        open(format!("{error}{source}"))
    })?;
    // Libraries with thread-locals cannot be unloaded soundly (rust-lang/rust#59629).
    let library: &'static Library = Box::leak(Box::new(library));
    // SAFETY: the symbol's type is the contract's.
    let entry: fusion_entry_fn = match unsafe { library.get(c"fusion_plugin_entry_v1".to_bytes_with_nul()) } {
        Ok(symbol) => *symbol,
        Err(_) => {
            let other = MAJORS.into_iter().find(|(name, _)| {
                // SAFETY: the address is looked at, not called.
                unsafe { library.get::<*const ()>(*name) }.is_ok()
            });
            return Err(match other {
                Some((_, found)) => HostError::OtherMajor { path: shown, found },
                None => HostError::NoEntry { path: shown },
            });
        }
    };
    let Some(entry) = entry else { return Err(HostError::NoEntry { path: shown }) };
    // Plugins may keep the table of the entry's call.
    let host: &'static Host = Box::leak(Host::new());
    // SAFETY: a valid host for ever.
    let plugin = unsafe { entry(host.table()) };
    if plugin.is_null() {
        let reason = host.take().map_or_else(|| "it did not say why".to_owned(), |report| report.message);
        return Err(HostError::Refused { path: shown, reason });
    }
    // SAFETY: the contract: a static description.
    unsafe { negotiate(plugin, &shown) }
}

/// # Safety
/// `plugin` is the pointer that an entry of version 1 returned.
unsafe fn negotiate(plugin: *const fusion_plugin, path: &str) -> Result<Plugin, HostError> {
    let wrong = |reason: String| HostError::Descriptor { path: path.to_owned(), reason };
    // SAFETY: every plugin has at least the first field.
    let size = unsafe { (*plugin).struct_size };
    if size < size_of::<fusion_plugin>() as u64 {
        return Err(wrong(format!("its struct_size is {size}")));
    }
    // SAFETY: as large as it says.
    let plugin = unsafe { &*plugin };
    if plugin.needs_minor > FUSION_ABI_MINOR {
        return Err(HostError::TooNew {
            path: path.to_owned(),
            needs: plugin.needs_minor,
            have: FUSION_ABI_MINOR,
        });
    }
    if plugin.n_services > MANY || plugin.n_methods == 0 || plugin.n_methods > MANY {
        return Err(wrong(format!("{} methods, {} services", plugin.n_methods, plugin.n_services)));
    }
    if plugin.methods.is_null() || (plugin.n_services > 0 && plugin.services.is_null()) {
        return Err(wrong("its lists of methods and services are broken".to_owned()));
    }
    let mut services = Vec::new();
    for index in 0..plugin.n_services as usize {
        // SAFETY: within the count that the plugin states.
        let service = unsafe { owned(*plugin.services.add(index)) };
        if !SERVICES.contains(&service.as_str()) {
            return Err(HostError::NoService { path: path.to_owned(), service });
        }
        services.push(service);
    }
    // SAFETY: texts of a static description.
    let (id, version, license, build_info) =
        unsafe { (owned(plugin.id), owned(plugin.version), owned(plugin.license), owned(plugin.build_info)) };
    let plain =
        |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || ".-_".contains(letter);
    if id.is_empty() || !id.chars().all(plain) {
        return Err(wrong(format!("its id `{id}` is not a lower-case domain name")));
    }
    let mut methods: Vec<Box<dyn Method>> = Vec::new();
    let mut ids = BTreeSet::new();
    let mut at: *const fusion_method = plugin.methods;
    for _ in 0..plugin.n_methods {
        // SAFETY: every method has at least the first field.
        let size = unsafe { (&raw const (*at).struct_size).read_unaligned() };
        if size < size_of::<fusion_method>() as u64 || size > LARGEST || size % 8 != 0 {
            return Err(wrong(format!("a method's struct_size is {size}")));
        }
        // SAFETY: the plugin's methods are as large as the first field of each says.
        let method: &'static fusion_method = unsafe { &*at };
        // SAFETY: a static descriptor.
        let described = unsafe { described(method) }.map_err(wrong)?;
        if !ids.insert(described.about.id) {
            return Err(wrong(format!("two methods are called `{}`", described.about.id)));
        }
        methods.push(Box::new(DynamicMethod::new(method, described)));
        // SAFETY: the next one starts where this one ends, in its own version's size.
        at = unsafe { at.byte_add(method.struct_size as usize) };
    }
    Ok(Plugin {
        id,
        version,
        license,
        build_info,
        built: (plugin.built_major, plugin.built_minor),
        needs_minor: plugin.needs_minor,
        services,
        methods,
    })
}
