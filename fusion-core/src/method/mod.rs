//! The registry: every method the engine can run, with the descriptor that the language checks recipes against.

mod describe;
pub mod device;

use std::collections::BTreeMap;

use fusion_dsl::descriptor::MethodDescriptor;
use fusion_sdk::{Class, Described, Method};

pub use device::DeviceName;

/// A registered method.
pub struct Entry {
    /// What the language sees.
    pub descriptor: MethodDescriptor,
    /// What the engine runs; `None` for methods that only route tensors (`stitch`).
    pub method: Option<Box<dyn Method>>,
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

/// Methods by id, in order.
#[derive(Default)]
pub struct Registry {
    entries: BTreeMap<String, Entry>,
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
            #[cfg(feature = "burn")]
            on_device: None,
        });
    }

    /// Adds an element-wise method whose kernel `K` also has a form on burn devices.
    #[cfg(feature = "burn")]
    pub fn add_on_device<K: device::OnDevice>(&mut self, method: Box<dyn Method>) {
        let descriptor = describe::descriptor(&method.describe());
        self.insert(Entry { descriptor, method: Some(method), on_device: Some(device::apply::<K>) });
    }

    /// Adds a method without arithmetic: the planner routes its tensors.
    pub fn add_route(&mut self, described: &Described) {
        debug_assert_eq!(described.class, Class::Route);
        self.insert(Entry {
            descriptor: describe::descriptor(described),
            method: None,
            #[cfg(feature = "burn")]
            on_device: None,
        });
    }

    fn insert(&mut self, entry: Entry) {
        self.entries.insert(entry.descriptor.id.clone(), entry);
    }

    /// The method of this id.
    pub fn get(&self, id: &str) -> Option<&Entry> {
        self.entries.get(id)
    }

    /// All descriptors, by id.
    pub fn descriptors(&self) -> Vec<MethodDescriptor> {
        self.entries.values().map(|entry| entry.descriptor.clone()).collect()
    }
}
