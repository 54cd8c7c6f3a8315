//! From a plugin's descriptors to the language's: everything is checked before anything is believed.

use std::collections::BTreeSet;

use fusion_abi::{
    FUSION_KERNEL_ELEMENTWISE, FUSION_KERNEL_GROUP, FUSION_KERNEL_MODEL, FUSION_KERNEL_TENSOR,
    FUSION_NEEDS_RNG, FUSION_PORT_SETTINGS, FUSION_SPACE_DATASET, FUSION_SPACE_DELTA, FUSION_SPACE_WEIGHTS,
    FUSION_THREADING_PROCESS, fusion_method, fusion_port, fusion_str,
};
use fusion_sdk::{About, Category, Claim, Class, Described, Port, Space};

use super::callbacks::owned;

const CATEGORIES: [Category; 9] = [
    Category::Align,
    Category::Repair,
    Category::Connect,
    Category::Average,
    Category::Select,
    Category::Stitch,
    Category::Ensemble,
    Category::Distill,
    Category::Evaluate,
];

/// Most methods of a plugin, ports of a method and so on: more is a broken descriptor.
pub(super) const MANY: u64 = 1000;

/// Copies a text for good: descriptors live as long as their library, which is never unloaded.
///
/// # Safety
/// `text` is valid.
unsafe fn kept(text: fusion_str) -> &'static str {
    // SAFETY: as promised.
    unsafe { owned(text) }.leak()
}

/// Whether a word may stand in a recipe.
fn is_word(word: &str) -> bool {
    let mut letters = word.chars();
    letters.next().is_some_and(|first| first.is_ascii_lowercase())
        && letters.all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_')
}

/// Reads and checks one descriptor of this host's own version.
///
/// # Safety
/// `method` and what it points to are as the contract says.
pub(super) unsafe fn described(method: &fusion_method) -> Result<Described, String> {
    if method.struct_size < size_of::<fusion_method>() as u64 {
        return Err(format!("a method's struct_size is {}", method.struct_size));
    }
    // SAFETY: as promised.
    let (id, summary, formula, citation, schema) = unsafe {
        (
            kept(method.id),
            kept(method.title),
            kept(method.formula),
            kept(method.citation),
            owned(method.params_schema),
        )
    };
    let fail = |what: String| Err(format!("method `{id}`: {what}"));
    if !is_word(id) {
        return fail("its id is not a lower-case word".to_owned());
    }
    let Some(&category) = CATEGORIES.get(method.category as usize) else {
        return fail(format!("there is no category {}", method.category));
    };
    let class = match method.kernel {
        FUSION_KERNEL_ELEMENTWISE => Class::Elementwise,
        FUSION_KERNEL_TENSOR => Class::WholeTensor,
        FUSION_KERNEL_GROUP => Class::Group,
        FUSION_KERNEL_MODEL => Class::WholeModel,
        other => return fail(format!("kernel class {other} is not run by this version of fusion")),
    };
    if method.needs & !FUSION_NEEDS_RNG != 0 {
        return fail(format!("it needs {:#x}, which this version of fusion does not know", method.needs));
    }
    if method.threading > FUSION_THREADING_PROCESS {
        return fail(format!("there is no threading class {}", method.threading));
    }
    if schema.len() as u64 >= super::callbacks::LONGEST {
        return fail("its parameter schema is longer than 64 KiB".to_owned());
    }
    let params: serde_json::Value = match serde_json::from_str(&schema) {
        Ok(params @ serde_json::Value::Object(_)) => params,
        Ok(_) => return fail("its parameter schema is no object".to_owned()),
        Err(error) => return fail(format!("its parameter schema is not JSON: {error}")),
    };
    if method.n_numbers > MANY || (method.n_numbers > 0 && method.numbers.is_null()) {
        return fail(format!("its list of {} numbers is broken", method.n_numbers));
    }
    let needed = [
        ("create", method.create.is_some()),
        ("destroy", method.destroy.is_some()),
        ("apply", method.apply.is_some() || class == Class::WholeModel),
        ("run", method.run.is_some() || class != Class::WholeModel),
    ];
    let observes = [
        ("state_new", method.state_new.is_some()),
        ("observe", method.observe.is_some()),
        ("absorb", method.absorb.is_some()),
        ("pass_end", method.pass_end.is_some()),
        ("state_free", method.state_free.is_some()),
    ];
    let observing = method.observe_passes > 0 || method.observing.is_some();
    if observing && class != Class::Elementwise {
        return fail("it has observe passes, which only element-wise methods can have".to_owned());
    }
    let missing =
        needed.into_iter().chain(observes.into_iter().filter(|_| observing)).find(|(_, there)| !there);
    if let Some((name, _)) = missing {
        return fail(format!("the function `{name}` is missing"));
    }
    if method.n_ports == 0 || method.n_ports > MANY || method.ports.is_null() {
        return fail(format!("it has {} ports", method.n_ports));
    }
    // SAFETY: as promised, and the count is sane.
    let ports = unsafe { std::slice::from_raw_parts(method.ports, method.n_ports as usize) };
    let mut roles = BTreeSet::new();
    let mut read = Vec::with_capacity(ports.len());
    for port in ports {
        // SAFETY: as promised.
        let port = unsafe { one_port(port) }.map_err(|what| format!("method `{id}`: {what}"))?;
        if !roles.insert(port.role) {
            return fail(format!("two ports are called `{}`", port.role));
        }
        read.push(port);
    }
    if read.iter().any(|port| port.space == Space::Delta) {
        let based = read.iter().any(|port| {
            port.role == "base" && port.space == Space::Model && (port.min, port.max) == (1, Some(1))
        });
        if !based || class == Class::WholeModel {
            return fail(
                "it takes task vectors, so it needs a port `base` for exactly one model, and cannot be a \
                 whole-model method"
                    .to_owned(),
            );
        }
    }
    let claims: Vec<Claim> =
        Claim::ALL.iter().filter(|(_, bit)| method.traits & bit != 0).map(|(claim, _)| *claim).collect();
    let about = About {
        id,
        version: method.version,
        category,
        summary,
        formula,
        citation,
        ports: read,
        random: method.needs & FUSION_NEEDS_RNG != 0,
        claims: claims.leak(),
    };
    Ok(Described { about, class, passes: method.observe_passes, params })
}

/// # Safety
/// As [`described`].
unsafe fn one_port(port: &fusion_port) -> Result<Port, String> {
    if port.struct_size != size_of::<fusion_port>() as u64 {
        return Err(format!("a port's struct_size is {}", port.struct_size));
    }
    // SAFETY: as promised.
    let (role, doc) = unsafe { (kept(port.name), kept(port.doc)) };
    if !is_word(role) {
        return Err(format!("the port name `{role}` is not a lower-case word"));
    }
    let space = match port.space {
        FUSION_SPACE_WEIGHTS => Space::Model,
        FUSION_SPACE_DELTA => Space::Delta,
        FUSION_SPACE_DATASET => Space::Dataset,
        other => return Err(format!("port `{role}`: space {other} is not run by this version of fusion")),
    };
    if port.min > port.max {
        return Err(format!("port `{role}` takes at least {} and at most {} inputs", port.min, port.max));
    }
    Ok(Port {
        role,
        space,
        min: port.min,
        max: (port.max != u32::MAX).then_some(port.max),
        settings: port.flags & FUSION_PORT_SETTINGS != 0,
        doc,
    })
}
