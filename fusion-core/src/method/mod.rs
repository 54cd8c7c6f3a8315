//! The registry: every method the engine can run, with the descriptor that the language checks recipes against.

pub(crate) mod describe;
pub mod device;

use std::collections::BTreeMap;
use std::path::PathBuf;

use fusion_dsl::descriptor::{MethodDescriptor, Space, Verb};
use fusion_sdk::align::AlignMethod;
use fusion_sdk::connect::PathMethod;
use fusion_sdk::{Class, Described, Method};

pub use device::DeviceName;

/// Examples of a batch of a stage that learns, where it does not say.
pub const DEFAULT_BATCH: u64 = 128;

/// Parts that a batch is cut into, where a stage does not say.
pub const DEFAULT_SHARDS: u64 = 2;

/// The plugin that a method comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginInfo {
    /// Its id.
    pub id: String,
    /// Its version.
    pub version: String,
    /// Its library for this system.
    pub library: PathBuf,
    /// The library's hash, in hexadecimal digits: part of the key of what is made with it.
    pub blake3: String,
}

/// A registered method.
pub struct Entry {
    /// What the language sees.
    pub descriptor: MethodDescriptor,
    /// What the engine runs; `None` for methods that only route tensors (`stitch`), and for those of plugins that are not loaded.
    pub method: Option<Box<dyn Method>>,
    /// The plugin that it comes from; `None` for built-in ones.
    pub plugin: Option<PluginInfo>,
    /// The form on a burn device, where it has one.
    #[cfg(feature = "burn")]
    pub on_device: Option<device::Apply>,
}

impl Entry {
    /// Whether the apply pass runs on this device; otherwise it runs on the fused CPU kernels.
    pub fn on(&self, device: DeviceName) -> bool {
        #[cfg(feature = "burn")]
        return device != DeviceName::Cpu && self.on_device.is_some();
        #[cfg(not(feature = "burn"))]
        {
            let _ = device;
            false
        }
    }
}

/// A method on networks and data: it has no kernel that streams, a stage of it runs as a whole.
pub struct Learned {
    /// What the language sees.
    pub descriptor: MethodDescriptor,
    /// How the path is found, for methods that connect; the others are built into the engine and known by their id.
    pub path: Option<Box<dyn PathMethod>>,
    /// How units are matched, for methods that align.
    pub align: Option<Box<dyn AlignMethod>>,
}

/// Methods: those on tensors by id, those on networks by verb and id (`linear` averages and connects).
#[derive(Default)]
pub struct Registry {
    entries: BTreeMap<String, Entry>,
    learned: BTreeMap<(Verb, String), Learned>,
}

impl Registry {
    /// An empty registry.
    pub fn new() -> Registry {
        Registry::default()
    }

    /// Adds a method that runs on the CPU.
    pub fn add_method(&mut self, method: Box<dyn Method>) {
        let descriptor = describe::descriptor(&method.describe());
        self.insert(Entry {
            descriptor,
            method: Some(method),
            plugin: None,
            #[cfg(feature = "burn")]
            on_device: None,
        });
    }

    /// Adds an element-wise method whose kernel `K` also has a form on burn devices.
    #[cfg(feature = "burn")]
    pub fn add_on_device<K: device::OnDevice>(&mut self, method: Box<dyn Method>) {
        let descriptor = describe::descriptor(&method.describe());
        self.insert(Entry {
            descriptor,
            method: Some(method),
            plugin: None,
            on_device: Some(device::apply::<K>),
        });
    }

    /// Adds a method without arithmetic: the planner routes its tensors.
    pub fn add_route(&mut self, described: &Described) {
        debug_assert_eq!(described.class, Class::Route);
        self.insert(Entry {
            descriptor: describe::descriptor(described),
            method: None,
            plugin: None,
            #[cfg(feature = "burn")]
            on_device: None,
        });
    }

    /// Adds a method of a plugin that is not loaded: recipes can be checked and planned with it. The descriptor's id is
    /// `plugin-id.method`.
    pub fn declare(&mut self, descriptor: MethodDescriptor, plugin: PluginInfo) {
        self.insert(Entry {
            descriptor,
            method: None,
            plugin: Some(plugin),
            #[cfg(feature = "burn")]
            on_device: None,
        });
    }

    /// Adds a method of a loaded plugin, under the id `plugin-id.method`.
    pub fn add_plugin(&mut self, plugin: PluginInfo, method: Box<dyn Method>) {
        let own = describe::descriptor(&method.describe());
        let descriptor = MethodDescriptor { id: format!("{}.{}", plugin.id, own.id), ..own };
        self.insert(Entry {
            descriptor,
            method: Some(method),
            plugin: Some(plugin),
            #[cfg(feature = "burn")]
            on_device: None,
        });
    }

    /// Adds a method of the connect family.
    pub fn add_path(&mut self, path: Box<dyn PathMethod>) {
        let mut descriptor = describe::descriptor(&path.describe());
        if descriptor.ports.iter().any(|port| port.space == Space::Dataset) {
            describe::add_batch(&mut descriptor);
        }
        self.learned.insert(
            (descriptor.verb, descriptor.id.clone()),
            Learned { descriptor, path: Some(path), align: None },
        );
    }

    /// Adds a method of the align family.
    pub fn add_align(&mut self, align: Box<dyn AlignMethod>) {
        let mut descriptor = describe::descriptor(&align.describe());
        describe::add_symmetries(&mut descriptor);
        if descriptor.ports.iter().any(|port| port.space == Space::Dataset) {
            describe::add_batch(&mut descriptor);
        }
        self.learned.insert(
            (descriptor.verb, descriptor.id.clone()),
            Learned { descriptor, path: None, align: Some(align) },
        );
    }

    /// Adds a method on networks and data that is built into the engine.
    pub fn add_learned(&mut self, described: &Described) {
        debug_assert_eq!(described.class, Class::Learn);
        let descriptor = describe::descriptor(described);
        self.learned.insert(
            (descriptor.verb, descriptor.id.clone()),
            Learned { descriptor, path: None, align: None },
        );
    }

    fn insert(&mut self, entry: Entry) {
        self.entries.insert(entry.descriptor.id.clone(), entry);
    }

    /// The method on networks of this verb and id.
    pub fn learned(&self, verb: Verb, id: &str) -> Option<&Learned> {
        self.learned.get(&(verb, id.to_owned()))
    }

    /// The method on tensors of this id.
    pub fn get(&self, id: &str) -> Option<&Entry> {
        self.entries.get(id)
    }

    /// All descriptors: those on tensors by id, then those on networks by verb and id.
    pub fn descriptors(&self) -> Vec<MethodDescriptor> {
        let tensors = self.entries.values().map(|entry| &entry.descriptor);
        tensors.chain(self.learned.values().map(|entry| &entry.descriptor)).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use fusion_dsl::descriptor::KernelClass;

    use super::*;

    #[test]
    fn methods_of_plugins_are_known_without_code() {
        let descriptor = MethodDescriptor {
            id: "org.acme.fisher.diag".into(),
            version: 1,
            verb: Verb::Average,
            summary: String::new(),
            formula: String::new(),
            citation: String::new(),
            ports: Vec::new(),
            params: serde_json::json!({}),
            kernel: KernelClass::Elementwise,
            passes: 0,
            random: false,
            traits: Vec::new(),
        };
        let plugin = PluginInfo {
            id: "org.acme.fisher".into(),
            version: "1.0.0".into(),
            library: "plugin.so".into(),
            blake3: "00".into(),
        };
        let mut registry = Registry::new();
        registry.declare(descriptor.clone(), plugin.clone());
        let entry = registry.get("org.acme.fisher.diag").unwrap();
        assert!(entry.method.is_none() && !entry.on(DeviceName::Flex));
        assert_eq!(entry.plugin, Some(plugin));
        assert_eq!(registry.descriptors(), [descriptor]);
    }
}
