//! Descriptors: what `About` and the schemas say, in the structs of the contract. Made once and never freed.

use fusion_abi::{
    FUSION_ABI_MAJOR, FUSION_ABI_MINOR, FUSION_NEEDS_RNG, FUSION_PORT_SETTINGS, FUSION_SPACE_ALIGNMENT,
    FUSION_SPACE_DATASET, FUSION_SPACE_DELTA, FUSION_SPACE_ENSEMBLE, FUSION_SPACE_PATH, FUSION_SPACE_WEIGHTS,
    FUSION_THREADING_PARALLEL, fusion_method, fusion_plugin, fusion_port, fusion_str,
};

use super::guard::text;
use super::{Identity, MakeMethod};
use crate::about::{Category, Claim, Described, Port, Space};

/// The description that the entry hands out.
pub struct Exported(fusion_plugin);

// SAFETY: everything it points to is static and never written to.
unsafe impl Sync for Exported {}
// SAFETY: as above.
unsafe impl Send for Exported {}

impl Exported {
    pub(super) fn new(identity: Identity, methods: &[MakeMethod]) -> Self {
        let methods: Vec<fusion_method> = methods.iter().map(|make| make()).collect();
        let methods: &'static [fusion_method] = methods.leak();
        Exported(fusion_plugin {
            struct_size: size_of::<fusion_plugin>() as u64,
            built_major: FUSION_ABI_MAJOR,
            built_minor: FUSION_ABI_MINOR,
            needs_minor: 0,
            flags: 0,
            id: text(identity.id),
            version: text(identity.version),
            license: text(identity.license),
            build_info: text(concat!("fusion-sdk ", env!("CARGO_PKG_VERSION"))),
            methods: methods.as_ptr(),
            n_methods: methods.len() as u64,
            services: std::ptr::null(),
            n_services: 0,
        })
    }

    pub(super) const fn plugin(&self) -> *const fusion_plugin {
        &raw const self.0
    }
}

fn leaked(owned: String) -> fusion_str {
    text(owned.leak())
}

const fn category(category: Category) -> u32 {
    match category {
        Category::Align => 0,
        Category::Repair => 1,
        Category::Connect => 2,
        Category::Average => 3,
        Category::Select => 4,
        Category::Stitch => 5,
        Category::Ensemble => 6,
        Category::Distill => 7,
        Category::Evaluate => 8,
        Category::Train => 9, // hosts of version 1.0 refuse it
    }
}

fn port(port: &Port) -> fusion_port {
    fusion_port {
        struct_size: size_of::<fusion_port>() as u64,
        name: text(port.role),
        doc: text(port.doc),
        space: match port.space {
            Space::Model => FUSION_SPACE_WEIGHTS,
            Space::Delta => FUSION_SPACE_DELTA,
            Space::Dataset => FUSION_SPACE_DATASET,
            Space::Path => FUSION_SPACE_PATH,
            Space::Ensemble => FUSION_SPACE_ENSEMBLE,
            Space::Alignment => FUSION_SPACE_ALIGNMENT,
        },
        flags: if port.settings { FUSION_PORT_SETTINGS } else { 0 },
        min: port.min,
        max: port.max.unwrap_or(u32::MAX),
    }
}

/// What a descriptor says; its functions are still to be filled in.
pub(super) fn table(described: &Described, kernel: u32) -> fusion_method {
    let about = &described.about;
    let ports: Vec<fusion_port> = about.ports.iter().map(port).collect();
    let ports: &'static [fusion_port] = ports.leak();
    let claim =
        |claim: &Claim| Claim::ALL.iter().find(|(known, _)| known == claim).map_or(0, |(_, bit)| *bit);
    fusion_method {
        struct_size: size_of::<fusion_method>() as u64,
        id: text(about.id),
        title: text(about.summary),
        formula: text(about.formula),
        citation: text(about.citation),
        params_schema: leaked(described.params.to_string()),
        version: about.version,
        category: category(about.category),
        kernel,
        observe_passes: described.passes,
        threading: FUSION_THREADING_PARALLEL,
        reserved: 0,
        needs: if about.random { FUSION_NEEDS_RNG } else { 0 },
        traits: about.claims.iter().map(claim).fold(0, |all, bit| all | bit),
        ports: ports.as_ptr(),
        n_ports: ports.len() as u64,
        numbers: std::ptr::null(),
        n_numbers: 0,
        scope: None,
        create: None,
        destroy: None,
        plan: None,
        observing: None,
        wants: None,
        state_new: None,
        observe: None,
        absorb: None,
        pass_end: None,
        state_free: None,
        state_bytes: None,
        apply: None,
        run: None,
    }
}
