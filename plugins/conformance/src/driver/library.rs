//! Loading, and reading what a library says of itself: counts and sizes are checked, everything else is copied as it is.

use std::path::Path;

use fusion_abi::{fusion_entry_fn, fusion_method, fusion_plugin, fusion_port, fusion_str};
use fusion_dsl::descriptor::{KernelClass, MethodDescriptor, ParamSpec, Verb};
use libloading::os::unix::{Library as Opened, RTLD_LOCAL, RTLD_NOW};
use serde_json::Value as Json;

use super::host::{Host, Offer, bytes};
use super::memory::{Kind, Memory};

/// Why there is no description to test.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum OpenError {
    /// The system's loader refused the file.
    #[error("the library cannot be loaded: {0}")]
    Load(String),
    /// It has no entry.
    #[error("the library has no `fusion_plugin_entry_v1`")]
    NoEntry,
    /// The entry gave nothing.
    #[error("the entry returned NULL{}", .0.as_ref().map_or(" and did not say why".to_owned(), |said| format!(": {said}")))]
    Refused(Option<String>),
    /// A count or a size is out of bounds.
    #[error("the description is broken: {0}")]
    Broken(String),
}

/// A loaded library, never unloaded.
pub(crate) struct Library {
    entry: unsafe extern "C" fn(host: *const fusion_abi::fusion_host) -> *const fusion_plugin,
}

/// A port as it is described.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PortFacts {
    /// The edge word.
    pub(crate) name: Vec<u8>,
    /// What it takes.
    pub(crate) doc: Vec<u8>,
    /// `FUSION_SPACE_*`.
    pub(crate) space: u32,
    /// `FUSION_PORT_*`.
    pub(crate) flags: u32,
    /// Fewest inputs.
    pub(crate) min: u32,
    /// Most inputs.
    pub(crate) max: u32,
}

impl PortFacts {
    /// The edge word as text.
    pub(crate) fn word(&self) -> String {
        String::from_utf8_lossy(&self.name).into_owned()
    }
}

/// A method as it is described.
#[derive(Clone, Debug)]
pub(crate) struct Method {
    /// The descriptor itself: functions and numbers.
    pub(super) raw: fusion_method,
    pub(crate) id: String,
    /// The texts by name, as bytes.
    pub(crate) texts: Vec<(&'static str, Vec<u8>)>,
    pub(crate) ports: Vec<PortFacts>,
    pub(crate) numbers: Vec<Vec<u8>>,
    /// The parameters' schema, if it is JSON.
    pub(crate) schema: Option<Json>,
}

// SAFETY: a copy of a static descriptor; its functions say themselves which thread may call them.
unsafe impl Send for Method {}
// SAFETY: as above.
unsafe impl Sync for Method {}

/// A plugin as it describes itself.
#[derive(Clone, Debug)]
pub(crate) struct Plugin {
    /// Where the description lies.
    pub(crate) address: usize,
    pub(crate) needs_minor: u32,
    pub(crate) flags: u32,
    pub(crate) texts: Vec<(&'static str, Vec<u8>)>,
    pub(crate) services: Vec<Vec<u8>>,
    pub(crate) methods: Vec<Method>,
}

/// Most methods of a plugin, ports of a method and so on: more is a broken description.
const MANY: u64 = 1000;

/// No version of `fusion_method` is larger.
const LARGEST: u64 = 64 << 10;

impl Library {
    /// Loads a library as the host does: all symbols at once, none shown to others.
    pub(crate) fn open(path: &Path) -> Result<Self, OpenError> {
        let absolute = path.canonicalize().map_err(|error| OpenError::Load(error.to_string()))?;
        // SAFETY: runs the library's initialisers, which is what a check is asked to do, in a process of its own.
        let library = unsafe { Opened::open(Some(&absolute), RTLD_NOW | RTLD_LOCAL) }.map_err(|error| {
            let source = std::error::Error::source(&error).map(|s| format!(": {s}")).unwrap_or_default();
            OpenError::Load(format!("{error}{source}"))
        })?;
        let library: &'static Opened = Box::leak(Box::new(library));
        // SAFETY: the symbol's type is the contract's.
        let entry: fusion_entry_fn = *unsafe { library.get(c"fusion_plugin_entry_v1".to_bytes_with_nul()) }
            .map_err(|_| OpenError::NoEntry)?;
        Ok(Library { entry: entry.ok_or(OpenError::NoEntry)? })
    }

    /// Whether any symbol of this process that all can see has this name.
    pub(crate) fn is_global(name: &str) -> bool {
        // SAFETY: the address is looked up, not used.
        unsafe { Opened::this().get::<*const ()>(name.as_bytes()) }.is_ok()
    }

    /// Calls the entry and reads what it gives.
    pub(crate) fn entry(&self, host: &Host, kind: Kind) -> Result<Plugin, OpenError> {
        let mut memory = Memory::new(kind);
        let table = host.table(&mut memory);
        // SAFETY: a valid host for the call.
        let plugin = unsafe { (self.entry)(table) };
        memory.retire();
        if plugin.is_null() {
            return Err(OpenError::Refused(host.take().map(|report| report.message)));
        }
        // SAFETY: the contract: a static description.
        unsafe { read(plugin) }.map_err(OpenError::Broken)
    }

    /// Loads a library and calls its entry.
    pub(crate) fn described(path: &Path) -> Result<Plugin, OpenError> {
        Library::open(path)?.entry(&Host::new(Offer::default(), 1), Kind::Canaries)
    }
}

/// # Safety
/// What a plugin's entry returned.
unsafe fn read(plugin: *const fusion_plugin) -> Result<Plugin, String> {
    // SAFETY: every plugin has at least the first field.
    let size = unsafe { (*plugin).struct_size };
    if size < size_of::<fusion_plugin>() as u64 {
        return Err(format!("`fusion_plugin.struct_size` is {size}"));
    }
    // SAFETY: as large as it says.
    let raw = unsafe { *plugin };
    if raw.n_methods == 0 || raw.n_methods > MANY || raw.methods.is_null() {
        return Err(format!("it has {} methods", raw.n_methods));
    }
    let mut methods = Vec::with_capacity(raw.n_methods as usize);
    let mut at = raw.methods;
    for _ in 0..raw.n_methods {
        // SAFETY: every method has at least the first field.
        let size = unsafe { (&raw const (*at).struct_size).read_unaligned() };
        if size < size_of::<fusion_method>() as u64 || size > LARGEST || size % 8 != 0 {
            return Err(format!("a method's `struct_size` is {size}"));
        }
        // SAFETY: as large as it says, and the next one starts where it ends.
        unsafe {
            methods.push(method(*at)?);
            at = at.byte_add(size as usize);
        }
    }
    // SAFETY: texts and lists of a static description.
    unsafe {
        Ok(Plugin {
            address: plugin as usize,
            needs_minor: raw.needs_minor,
            flags: raw.flags,
            texts: vec![
                ("id", bytes(raw.id)),
                ("version", bytes(raw.version)),
                ("license", bytes(raw.license)),
                ("build_info", bytes(raw.build_info)),
            ],
            services: texts(raw.services, raw.n_services, "services")?,
            methods,
        })
    }
}

/// # Safety
/// A list of a static description.
unsafe fn texts(first: *const fusion_str, count: u64, what: &str) -> Result<Vec<Vec<u8>>, String> {
    if count > MANY || (count > 0 && first.is_null()) {
        return Err(format!("its list of {count} {what} is broken"));
    }
    // SAFETY: as promised.
    Ok((0..count as usize).map(|i| unsafe { bytes(*first.add(i)) }).collect())
}

/// # Safety
/// A method of a static description.
unsafe fn method(raw: fusion_method) -> Result<Method, String> {
    // SAFETY: as promised.
    let (id, schema) = unsafe { (bytes(raw.id), bytes(raw.params_schema)) };
    let name = String::from_utf8_lossy(&id).into_owned();
    if raw.n_ports > MANY || (raw.n_ports > 0 && raw.ports.is_null()) {
        return Err(format!("`{name}`: its list of {} ports is broken", raw.n_ports));
    }
    let mut ports = Vec::with_capacity(raw.n_ports as usize);
    for i in 0..raw.n_ports as usize {
        // SAFETY: within the list.
        let port: fusion_port = unsafe { *raw.ports.add(i) };
        if port.struct_size != size_of::<fusion_port>() as u64 {
            return Err(format!("`{name}`: a port's `struct_size` is {}", port.struct_size));
        }
        // SAFETY: as promised.
        let (name, doc) = unsafe { (bytes(port.name), bytes(port.doc)) };
        ports.push(PortFacts {
            name,
            doc,
            space: port.space,
            flags: port.flags,
            min: port.min,
            max: port.max,
        });
    }
    // SAFETY: as promised.
    unsafe {
        Ok(Method {
            raw,
            id: name,
            texts: vec![
                ("id", id),
                ("title", bytes(raw.title)),
                ("formula", bytes(raw.formula)),
                ("citation", bytes(raw.citation)),
                ("params_schema", schema.clone()),
            ],
            ports,
            numbers: texts(raw.numbers, raw.n_numbers, "numbers")?,
            schema: serde_json::from_slice(&schema).ok(),
        })
    }
}

/// The functions of a method by name, and whether they are there.
pub(crate) type Functions = [(&'static str, bool); 14];

impl Method {
    pub(crate) fn text(&self, name: &str) -> &[u8] {
        self.texts.iter().find(|(known, _)| *known == name).map_or(&[], |(_, text)| text)
    }

    pub(crate) fn kernel(&self) -> u32 {
        self.raw.kernel
    }

    pub(crate) fn threading(&self) -> u32 {
        self.raw.threading
    }

    pub(crate) fn claims(&self, claim: u64) -> bool {
        self.raw.traits & claim != 0
    }

    pub(crate) fn needs(&self, need: u64) -> bool {
        self.raw.needs & need != 0
    }

    /// Version, category, observe passes, reserved, needs and traits.
    pub(crate) fn plain(&self) -> (u32, u32, u32, u32, u64, u64) {
        let raw = &self.raw;
        (raw.version, raw.category, raw.observe_passes, raw.reserved, raw.needs, raw.traits)
    }

    /// Whether it looks at its inputs before it computes.
    pub(crate) fn observes(&self) -> bool {
        self.raw.observe_passes > 0 || self.raw.observing.is_some()
    }

    pub(crate) fn functions(&self) -> Functions {
        let raw = &self.raw;
        [
            ("scope", raw.scope.is_some()),
            ("create", raw.create.is_some()),
            ("destroy", raw.destroy.is_some()),
            ("plan", raw.plan.is_some()),
            ("observing", raw.observing.is_some()),
            ("wants", raw.wants.is_some()),
            ("state_new", raw.state_new.is_some()),
            ("observe", raw.observe.is_some()),
            ("absorb", raw.absorb.is_some()),
            ("pass_end", raw.pass_end.is_some()),
            ("state_free", raw.state_free.is_some()),
            ("state_bytes", raw.state_bytes.is_some()),
            ("apply", raw.apply.is_some()),
            ("run", raw.run.is_some()),
        ]
    }

    pub(crate) fn has(&self, function: &str) -> bool {
        self.functions().iter().any(|(name, there)| *name == function && *there)
    }

    /// The parameters as the language reads them; the seed is no setting of a tensor.
    pub(crate) fn parameters(&self) -> Vec<ParamSpec> {
        let descriptor = MethodDescriptor {
            id: self.id.clone(),
            version: 0,
            verb: Verb::Average,
            summary: String::new(),
            formula: String::new(),
            citation: String::new(),
            ports: Vec::new(),
            params: self.schema.clone().unwrap_or_default(),
            kernel: KernelClass::Elementwise,
            passes: 0,
            random: false,
            traits: Vec::new(),
        };
        let mut specs = descriptor.parameters();
        specs.retain(|spec| spec.name != "seed");
        specs
    }
}
