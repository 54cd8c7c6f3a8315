//! Descriptions and errors on their way between the processes: with texts of their own, where methods have static ones.

use fusion_sdk::{About, Category, Claim, Class, Described, ErrorKind, MethodError, Port, Space};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::host::Plugin;
use crate::host::instance::known;

/// A plugin.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Told {
    pub(super) id: String,
    pub(super) version: String,
    pub(super) license: String,
    pub(super) build_info: String,
    pub(super) built: (u32, u32),
    pub(super) needs_minor: u32,
    pub(super) services: Vec<String>,
    pub(super) methods: Vec<ToldMethod>,
}

/// A method of it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ToldMethod {
    id: String,
    version: u32,
    category: Category,
    summary: String,
    formula: String,
    citation: String,
    ports: Vec<ToldPort>,
    random: bool,
    claims: Vec<Claim>,
    class: Class,
    passes: u32,
    params: Json,
}

#[derive(Debug, Serialize, Deserialize)]
struct ToldPort {
    role: String,
    space: Space,
    min: u32,
    max: Option<u32>,
    settings: bool,
    doc: String,
}

impl Told {
    pub(super) fn of(plugin: &Plugin) -> Self {
        Told {
            id: plugin.id.clone(),
            version: plugin.version.clone(),
            license: plugin.license.clone(),
            build_info: plugin.build_info.clone(),
            built: plugin.built,
            needs_minor: plugin.needs_minor,
            services: plugin.services.clone(),
            methods: plugin.methods.iter().map(|method| ToldMethod::of(method.describe())).collect(),
        }
    }
}

impl ToldMethod {
    fn of(described: Described) -> Self {
        let Described { about, class, passes, params } = described;
        let port = |port: &Port| ToldPort {
            role: port.role.to_owned(),
            space: port.space,
            min: port.min,
            max: port.max,
            settings: port.settings,
            doc: port.doc.to_owned(),
        };
        ToldMethod {
            id: about.id.to_owned(),
            version: about.version,
            category: about.category,
            summary: about.summary.to_owned(),
            formula: about.formula.to_owned(),
            citation: about.citation.to_owned(),
            ports: about.ports.iter().map(port).collect(),
            random: about.random,
            claims: about.claims.to_vec(),
            class,
            passes,
            params,
        }
    }

    /// As the registry wants it. Its texts stay for good, as those of a loaded library do.
    pub(super) fn described(self) -> Described {
        let port = |port: ToldPort| Port {
            role: port.role.leak(),
            space: port.space,
            min: port.min,
            max: port.max,
            settings: port.settings,
            doc: port.doc.leak(),
        };
        let about = About {
            id: self.id.leak(),
            version: self.version,
            category: self.category,
            summary: self.summary.leak(),
            formula: self.formula.leak(),
            citation: self.citation.leak(),
            ports: self.ports.into_iter().map(port).collect(),
            random: self.random,
            claims: self.claims.leak(),
        };
        Described { about, class: self.class, passes: self.passes, params: self.params }
    }
}

/// An error of a method.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Fault {
    kind: ErrorKind,
    message: String,
    parameter: Option<String>,
    input: Option<usize>,
    help: Option<String>,
}

impl From<MethodError> for Fault {
    fn from(error: MethodError) -> Self {
        Fault {
            kind: error.kind,
            message: error.message,
            parameter: error.parameter.map(str::to_owned),
            input: error.input,
            help: error.help,
        }
    }
}

impl Fault {
    /// The error again. The parameter is the schema's; without a schema, none is blamed.
    pub(super) fn error(self, described: Option<&Described>) -> MethodError {
        let parameter =
            self.parameter.as_deref().and_then(|name| described.and_then(|described| known(described, name)));
        MethodError { kind: self.kind, message: self.message, parameter, input: self.input, help: self.help }
    }
}
