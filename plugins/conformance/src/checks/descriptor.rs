//! What a plugin says of itself.

use std::collections::BTreeSet;
use std::path::PathBuf;

use fusion_abi::{
    FUSION_KERNEL_ELEMENTWISE, FUSION_KERNEL_MODEL, FUSION_NEEDS_RNG, FUSION_PORT_ORDERED,
    FUSION_PORT_SETTINGS, FUSION_SPACE_DATASET, FUSION_SPACE_DELTA, FUSION_SPACE_WEIGHTS,
    FUSION_THREADING_PROCESS, FUSION_TRAIT_AFFINE, FUSION_TRAIT_COMMUTATIVE, FUSION_TRAIT_DETERMINISTIC,
    FUSION_TRAIT_IDEMPOTENT, FUSION_TRAIT_SCALE_EQUIVARIANT,
};
use fusion_dsl::descriptor::ParamKind;
use serde_json::Value as Json;

use crate::driver::{Host, Instance, Kind, Method, Offer};
use crate::kit::Kit;
use crate::params::bounds;
use crate::verdict::{Check, fail, skip};

/// Whether a word may stand in a recipe.
fn is_word(word: &[u8]) -> bool {
    word.first().is_some_and(u8::is_ascii_lowercase)
        && word.iter().all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || *letter == b'_')
}

fn shown(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}

pub(crate) fn ids_unique(kit: &Kit) -> Check {
    let plugin = kit.plugin()?;
    let id = &plugin.texts[0].1;
    let plain =
        |letter: &u8| letter.is_ascii_lowercase() || letter.is_ascii_digit() || b".-_".contains(letter);
    if !id.contains(&b'.') || !id.iter().all(plain) {
        return fail(format!("the plugin's id `{}` is not a reverse domain name in lower case", shown(id)));
    }
    let mut methods = BTreeSet::new();
    for method in &plugin.methods {
        if !is_word(method.id.as_bytes()) {
            return fail(format!("the method id `{}` is not a lower-case word", method.id));
        }
        if !methods.insert(&method.id) {
            return fail(format!("two methods are called `{}`", method.id));
        }
        for (what, names) in [
            ("port", method.ports.iter().map(|port| &port.name).collect::<Vec<_>>()),
            ("number", method.numbers.iter().collect()),
        ] {
            let mut seen = BTreeSet::new();
            for name in names {
                if !is_word(name) {
                    return fail(format!(
                        "`{}`: the {what} `{}` is not a lower-case word",
                        method.id,
                        shown(name)
                    ));
                }
                if !seen.insert(name) {
                    return fail(format!("`{}`: two {what}s are called `{}`", method.id, shown(name)));
                }
            }
        }
        let specs = method.parameters();
        for number in &method.numbers {
            let of = specs.iter().find(|spec| spec.name.as_bytes() == number.as_slice());
            if of.is_none_or(|spec| {
                matches!(spec.kind, ParamKind::Text | ParamKind::Word(_) | ParamKind::List(_))
            }) {
                return fail(format!(
                    "`{}`: the number `{}` is no number of the schema",
                    method.id,
                    shown(number)
                ));
            }
        }
    }
    Ok(())
}

pub(crate) fn text_utf8(kit: &Kit) -> Check {
    let plugin = kit.plugin()?;
    let look = |what: &str, name: &str, text: &[u8], needed: bool| match std::str::from_utf8(text) {
        Err(_) => fail(format!("{what}: `{name}` is not UTF-8")),
        Ok("") if needed => fail(format!("{what}: `{name}` is empty")),
        Ok(text) if text.chars().any(|letter| letter.is_control() && !matches!(letter, '\n' | '\t')) => {
            fail(format!("{what}: `{name}` holds a control character"))
        }
        Ok(_) => Ok(()),
    };
    for (name, text) in &plugin.texts {
        look("the plugin", name, text, matches!(*name, "id" | "version" | "license"))?;
    }
    for service in &plugin.services {
        look("the plugin", "services", service, true)?;
    }
    for method in &plugin.methods {
        let what = format!("`{}`", method.id);
        for (name, text) in &method.texts {
            look(&what, name, text, matches!(*name, "id" | "title" | "formula" | "params_schema"))?;
        }
        for port in &method.ports {
            look(&what, "port.name", &port.name, true)?;
            look(&what, "port.doc", &port.doc, true)?;
        }
    }
    Ok(())
}

/// Words of a schema that the profile knows, wherever a type may stand.
const KNOWN: &[&str] = &[
    "type",
    "title",
    "description",
    "default",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "format",
    "enum",
    "const",
    "oneOf",
    "anyOf",
    "allOf",
    "$ref",
    "items",
    "minItems",
    "maxItems",
    "pattern",
    "minLength",
    "maxLength",
];

/// Units that the language knows.
const UNITS: &[&str] =
    &["fraction", "seed", "bytes", "span", "samples", "tokens", "range", "schedule", "model"];

pub(crate) fn schema_in_profile(_: &Kit, method: &Method) -> Check {
    let text = method.text("params_schema");
    let schema: Json = match serde_json::from_slice(text) {
        Ok(schema) => schema,
        Err(error) => return fail(format!("the schema is not JSON: {error}")),
    };
    if text.len() >= 64 << 10 {
        return fail("the schema is longer than 64 KiB");
    }
    if schema.get("type") != Some(&Json::from("object")) {
        return fail("the schema's `type` is not `object`");
    }
    if schema.get("additionalProperties") != Some(&Json::Bool(false)) {
        return fail("the schema does not say `\"additionalProperties\": false`");
    }
    let outer = [
        "type",
        "title",
        "description",
        "default",
        "properties",
        "required",
        "additionalProperties",
        "$defs",
        "$schema",
    ];
    for key in schema.as_object().into_iter().flat_map(serde_json::Map::keys) {
        if !outer.contains(&key.as_str()) && !key.starts_with("x-") {
            return fail(format!("the schema holds `{key}`, which the profile does not have"));
        }
    }
    let properties = schema.get("properties").and_then(Json::as_object);
    for (name, property) in properties.into_iter().flatten() {
        if !is_word(name.as_bytes()) {
            return fail(format!("the parameter `{name}` is not a lower-case word"));
        }
        if let Err(what) = value_schema(&schema, property, 0) {
            return fail(format!("the parameter `{name}`: {what}"));
        }
    }
    for required in schema.get("required").and_then(Json::as_array).into_iter().flatten() {
        if !required.as_str().is_some_and(|name| properties.is_some_and(|all| all.contains_key(name))) {
            return fail(format!("`required` names {required}, which is no parameter"));
        }
    }
    Ok(())
}

/// Looks at the schema of one value.
fn value_schema(root: &Json, schema: &Json, depth: usize) -> Result<(), String> {
    let Some(object) = schema.as_object() else { return Err("its schema is no object".to_owned()) };
    if depth > 8 {
        return Err("its schema is too deep, or refers to itself".to_owned());
    }
    for (key, value) in object {
        match key.as_str() {
            "x-unit" if !value.as_str().is_some_and(|unit| UNITS.contains(&unit)) => {
                return Err(format!("the unit {value} is not known"));
            }
            "x-varies" | "x-input" if !value.is_boolean() => {
                return Err(format!("`{key}` is not true or false"));
            }
            "minimum" | "maximum" | "exclusiveMinimum" if !value.is_number() => {
                return Err(format!("`{key}` is no number"));
            }
            key if KNOWN.contains(&key) || key.starts_with("x-") => {}
            other => return Err(format!("it holds `{other}`, which the profile does not have")),
        }
    }
    if let Some(path) = object.get("$ref").and_then(Json::as_str) {
        let target = path.strip_prefix('#').and_then(|pointer| root.pointer(pointer));
        return value_schema(root, target.ok_or_else(|| format!("`{path}` leads nowhere"))?, depth + 1);
    }
    for key in ["oneOf", "anyOf", "allOf"] {
        let Some(branches) = object.get(key) else { continue };
        let Some(branches) = branches.as_array().filter(|branches| !branches.is_empty()) else {
            return Err(format!("`{key}` is no list of schemas"));
        };
        let constants = |branch: &Json| {
            branch.get("const").is_some_and(Json::is_string) || branch.get("enum").is_some_and(Json::is_array)
        };
        if key == "oneOf" && branches.iter().all(constants) {
            return Ok(());
        }
        let real: Vec<&Json> =
            branches.iter().filter(|branch| branch.get("type") != Some(&Json::from("null"))).collect();
        return match real.as_slice() {
            [one] if key != "oneOf" => value_schema(root, one, depth + 1),
            _ => Err(format!("`{key}` is neither a list of constants nor one type that may be null")),
        };
    }
    if let Some(words) = object.get("enum") {
        let fine =
            words.as_array().is_some_and(|words| !words.is_empty() && words.iter().all(Json::is_string));
        return if fine { Ok(()) } else { Err("`enum` is no list of words".to_owned()) };
    }
    let named: Vec<&str> = match object.get("type") {
        Some(Json::String(one)) => vec![one],
        Some(Json::Array(several)) => {
            several.iter().filter_map(Json::as_str).filter(|name| *name != "null").collect()
        }
        // A span of training is a value with a unit, which JSON Schema calls an object.
        None if object.get("x-unit").is_some() => return Ok(()),
        _ => return Err("it has no `type`".to_owned()),
    };
    match named.as_slice() {
        ["boolean" | "integer" | "number" | "string"] => Ok(()),
        ["object"] if object.get("x-unit") == Some(&Json::from("span")) => Ok(()),
        ["array"] => match object.get("items") {
            Some(items) => value_schema(root, items, depth + 1),
            None => Err("a list without `items`".to_owned()),
        },
        other => Err(format!("the type {other:?} is not in the profile")),
    }
}

pub(crate) fn schema_has_docs_and_defaults(_: &Kit, method: &Method) -> Check {
    let specs = method.specs()?;
    let schema = method.schema.as_ref().and_then(|schema| schema.get("properties"));
    for spec in &specs {
        let name = &spec.name;
        if spec.doc.trim().is_empty() {
            return fail(format!("the parameter `{name}` has no description"));
        }
        let own = schema.and_then(|all| all.get(name));
        let optional = own.is_some_and(|own| {
            own.get("default") == Some(&Json::Null)
                || own
                    .get("type")
                    .and_then(Json::as_array)
                    .is_some_and(|types| types.contains(&"null".into()))
                || own.get("anyOf").and_then(Json::as_array).is_some_and(|branches| {
                    branches.iter().any(|branch| branch.get("type") == Some(&"null".into()))
                })
        });
        let Some(default) = &spec.default else {
            if spec.required || optional {
                continue;
            }
            return fail(format!(
                "the parameter `{name}` has no default and is neither required nor optional"
            ));
        };
        let (min, max) = bounds(spec);
        let fits = match (&spec.kind, default) {
            (ParamKind::Bool, Json::Bool(_)) | (ParamKind::Text | ParamKind::Model, Json::String(_)) => true,
            (ParamKind::Word(words), Json::String(word)) => words.iter().any(|(known, _)| known == word),
            (ParamKind::List(_), Json::Array(_)) | (ParamKind::Span, Json::Object(_)) => true,
            (ParamKind::Bool | ParamKind::Text | ParamKind::Word(_) | ParamKind::List(_), _) => false,
            (_, Json::Number(number)) => number.as_f64().is_some_and(|x| {
                min.is_none_or(|min| x > min || (x == min && !spec.min_exclusive))
                    && max.is_none_or(|max| x <= max)
            }),
            _ => false,
        };
        if !fits {
            return fail(format!("the default {default} of `{name}` does not fit its own schema"));
        }
    }
    Ok(())
}

pub(crate) fn defaults_accepted_by_create(kit: &Kit, method: &Method) -> Check {
    method.specs()?;
    let (task, ..) = method.fitting(kit)?;
    let host = Host::new(Offer::default(), 1);
    match Instance::create(method, &host, &task, Kind::Canaries) {
        Ok(instance) => {
            instance.state_bytes();
            Ok(())
        }
        Err(trouble) => fail(trouble.to_string()),
    }
}

pub(crate) fn ports_fit_category(_: &Kit, method: &Method) -> Check {
    let (_, category, ..) = method.plain();
    if category > 8 {
        return fail(format!("there is no category {category}"));
    }
    if method.ports.is_empty() {
        return fail("it has no ports");
    }
    for port in &method.ports {
        let name = port.word();
        if port.space > FUSION_SPACE_DATASET {
            return fail(format!("port `{name}`: there is no space {}", port.space));
        }
        if port.flags & !(FUSION_PORT_SETTINGS | FUSION_PORT_ORDERED) != 0 {
            return fail(format!("port `{name}`: there are no flags {:#x}", port.flags));
        }
        if port.min > port.max || port.max == 0 {
            return fail(format!(
                "port `{name}` takes at least {} and at most {} inputs",
                port.min, port.max
            ));
        }
    }
    let most: u64 = method
        .ports
        .iter()
        .filter(|port| matches!(port.space, FUSION_SPACE_WEIGHTS | FUSION_SPACE_DELTA))
        .map(|port| u64::from(port.max))
        .sum();
    // To align, connect, average, select or combine takes two.
    let needed = if matches!(category, 0 | 2..=6) { 2 } else { 1 };
    if most < needed {
        return fail(format!("its category works on {needed} models or more, its ports take at most {most}"));
    }
    if method.ports.iter().any(|port| port.space == FUSION_SPACE_DELTA) {
        let fits = |port: &&crate::driver::PortFacts| {
            port.name == b"base" && (port.space, port.min, port.max) == (FUSION_SPACE_WEIGHTS, 1, 1)
        };
        if method.ports.iter().find(fits).is_none() {
            return fail("a port of deltas needs a port `base` of weights with exactly one input");
        }
        if method.kernel() == FUSION_KERNEL_MODEL {
            return fail("a whole-model method has a port of deltas, which nobody computes for it");
        }
    }
    if method.specs().is_ok_and(|specs| specs.iter().any(|spec| spec.per_input))
        && !method.ports.iter().any(|port| port.flags & FUSION_PORT_SETTINGS != 0)
    {
        return fail("it has parameters of edges, and no port whose edges take settings");
    }
    Ok(())
}

pub(crate) fn functions_fit_kernel(kit: &Kit, method: &Method) -> Check {
    let flags = kit.plugin()?.flags;
    if flags != 0 {
        return fail(format!("the plugin's flags are {flags:#x} and not 0"));
    }
    let kernel = method.kernel();
    let (_, _, passes, reserved, needs, traits) = method.plain();
    if !(FUSION_KERNEL_ELEMENTWISE..=FUSION_KERNEL_MODEL).contains(&kernel) {
        return fail(format!("there is no kernel class {kernel}"));
    }
    if method.threading() > FUSION_THREADING_PROCESS {
        return fail(format!("there is no threading class {}", method.threading()));
    }
    let known = FUSION_TRAIT_DETERMINISTIC
        | FUSION_TRAIT_COMMUTATIVE
        | FUSION_TRAIT_IDEMPOTENT
        | FUSION_TRAIT_AFFINE
        | FUSION_TRAIT_SCALE_EQUIVARIANT;
    if reserved != 0 || needs & !FUSION_NEEDS_RNG != 0 || traits & !known != 0 {
        return fail(format!("unknown bits: reserved {reserved:#x}, needs {needs:#x}, traits {traits:#x}"));
    }
    let mut needed = vec!["create", "destroy"];
    needed.push(if kernel == FUSION_KERNEL_MODEL { "run" } else { "apply" });
    if kernel == FUSION_KERNEL_ELEMENTWISE {
        if method.observes() {
            needed.extend(["state_new", "observe", "absorb", "pass_end", "state_free"]);
        }
    } else if passes > 0 {
        return fail(format!("it wants {passes} observe passes, which only element-wise methods get"));
    }
    if let Some(name) = needed.into_iter().find(|name| !method.has(name)) {
        return fail(format!("the function `{name}` is missing"));
    }
    if method.has("wants") && !method.observes() && kernel != FUSION_KERNEL_ELEMENTWISE {
        return fail("it has `wants` and no observe passes");
    }
    if method.has("state_new") != method.has("state_free") {
        return fail("it has one of `state_new` and `state_free` without the other");
    }
    Ok(())
}

/// Where `fusion plugin pack` puts a manifest: beside the library, or beside the folder of its target.
fn manifest(kit: &Kit) -> Option<PathBuf> {
    let folder = kit.path.canonicalize().ok()?.parent()?.to_owned();
    [Some(folder.as_path()), folder.parent()]
        .into_iter()
        .flatten()
        .map(|folder| folder.join("plugin.json"))
        .find(|path| path.is_file())
}

pub(crate) fn manifest_equal(kit: &Kit) -> Check {
    let Some(path) = manifest(kit) else { return skip("there is no `plugin.json` beside it") };
    let read = std::fs::read(&path).map_err(|error| error.to_string());
    let json: Json =
        match read.and_then(|text| serde_json::from_slice(&text).map_err(|error| error.to_string())) {
            Ok(json) => json,
            Err(error) => return fail(format!("`{}` cannot be read: {error}", path.display())),
        };
    let plugin = kit.plugin()?;
    let stale = "make it anew with `fusion plugin pack`";
    for (name, text) in plugin.texts.iter().filter(|(name, _)| matches!(*name, "id" | "version")) {
        if json.get(*name).and_then(Json::as_str) != Some(&shown(text)) {
            return fail(format!("the manifest's `{name}` is not `{}`; {stale}", shown(text)));
        }
    }
    let methods = json.get("methods").and_then(Json::as_array).cloned().unwrap_or_default();
    if methods.len() != plugin.methods.len() {
        let (told, there) = (methods.len(), plugin.methods.len());
        return fail(format!("the manifest tells of {told} methods, the library has {there}; {stale}"));
    }
    for method in &plugin.methods {
        let id = method.id.as_str();
        let Some(told) = methods.iter().find(|told| told.get("id").and_then(Json::as_str) == Some(id)) else {
            return fail(format!("the manifest does not tell of `{id}`; {stale}"));
        };
        if told.get("version").and_then(Json::as_u64) != Some(u64::from(method.plain().0)) {
            return fail(format!("the manifest tells of another version of `{id}`; {stale}"));
        }
        if told.get("params").or_else(|| told.get("params_schema")) != method.schema.as_ref() {
            return fail(format!("the manifest tells of other parameters of `{id}`; {stale}"));
        }
    }
    Ok(())
}

pub(crate) fn citation_present(_: &Kit, method: &Method) -> Check {
    match method.text("citation").iter().any(|byte| !byte.is_ascii_whitespace()) {
        true => Ok(()),
        false => fail("it has no citation: authors, title or venue, year"),
    }
}
