//! Sorts the Python names in a pickle: those that would run code are refused wherever they stand.

use crate::tensor::Dtype;

/// Modules from which nothing belongs in a model: processes, files, networks, code objects, import machinery. Matched
/// against every dotted part, since `torch.os.system` reaches the same function.
const DANGEROUS_MODULES: [&str; 42] = [
    "os",
    "posix",
    "nt",
    "subprocess",
    "sys",
    "shutil",
    "socket",
    "pty",
    "commands",
    "popen2",
    "importlib",
    "imp",
    "runpy",
    "zipimport",
    "pkgutil",
    "ctypes",
    "_ctypes",
    "cffi",
    "marshal",
    "code",
    "codeop",
    "pdb",
    "bdb",
    "cProfile",
    "profile",
    "timeit",
    "trace",
    "webbrowser",
    "platform",
    "multiprocessing",
    "_posixsubprocess",
    "asyncio",
    "pip",
    "requests",
    "urllib",
    "urllib2",
    "httplib",
    "aiohttp",
    "ftplib",
    "smtplib",
    "telnetlib",
    "operator",
];

/// Functions that run code or reach others that do, whatever module they are taken from.
const DANGEROUS_NAMES: [&str; 22] = [
    "eval",
    "exec",
    "execfile",
    "compile",
    "__import__",
    "import_module",
    "system",
    "popen",
    "spawn",
    "getattr",
    "setattr",
    "delattr",
    "globals",
    "__globals__",
    "__builtins__",
    "__subclasses__",
    "__reduce__",
    "breakpoint",
    "attrgetter",
    "methodcaller",
    "open",
    "input",
];

/// The only names of `builtins` that are plain types.
const SAFE_BUILTINS: [&str; 20] = [
    "bool",
    "bytearray",
    "bytes",
    "complex",
    "dict",
    "float",
    "frozenset",
    "int",
    "list",
    "object",
    "range",
    "set",
    "slice",
    "str",
    "tuple",
    "long",
    "unicode",
    "NoneType",
    "Ellipsis",
    "type",
];

/// Whether a global would run code when Python loads it.
pub(super) fn is_dangerous(module: &str, name: &str) -> bool {
    if matches!(module, "builtins" | "__builtin__" | "__builtins__") {
        return !SAFE_BUILTINS.contains(&name);
    }
    if matches!((module, name), ("types", "FunctionType" | "CodeType" | "LambdaType" | "MethodType")) {
        return true;
    }
    // `torch.jit`'s and `numpy`'s test helpers that evaluate text.
    if matches!(name, "runstring" | "_run_code" | "run_code") {
        return true;
    }
    let roots = module.split('.').next().into_iter();
    // A dotted name walks attributes; modules that a module imported are attributes too.
    let walked = name.split('.').rev().skip(1);
    roots.chain(walked).any(|part| DANGEROUS_MODULES.contains(&part))
        || name.split('.').any(|part| DANGEROUS_NAMES.contains(&part))
        || matches!((module, name), ("torch.hub", _) | ("torch", "load") | ("torch.serialization", "load"))
}

/// Whether this function builds a tensor (or an array that stands for one) in a way that is not read here.
pub(super) fn builds_tensors(module: &str, name: &str) -> bool {
    match module {
        "torch._utils" | "torch._tensor" => name.starts_with("_rebuild"),
        "torch.storage" => name == "_load_from_bytes",
        "numpy.core.multiarray" | "numpy._core.multiarray" => name == "_reconstruct",
        "numpy" => name == "ndarray",
        "numpy.core.numeric" | "numpy._core.numeric" => name == "_frombuffer",
        "jax._src.array" => name == "_reconstruct_array",
        _ => false,
    }
}

/// Element type of a storage class such as `torch.HalfStorage`; `Some(None)` for one that is not supported, `None` if the
/// global is no storage class.
pub(super) fn storage_dtype(module: &str, name: &str) -> Option<Option<Dtype>> {
    if !matches!(module, "torch" | "torch.storage" | "torch.cuda") {
        return None;
    }
    let dtype = match name {
        "DoubleStorage" => Dtype::F64,
        "FloatStorage" => Dtype::F32,
        "HalfStorage" => Dtype::F16,
        "BFloat16Storage" => Dtype::BF16,
        "LongStorage" => Dtype::I64,
        "IntStorage" => Dtype::I32,
        "ShortStorage" => Dtype::I16,
        "CharStorage" => Dtype::I8,
        "ByteStorage" | "UntypedStorage" => Dtype::U8,
        "BoolStorage" => Dtype::Bool,
        "Float8_e4m3fnStorage" => Dtype::F8E4M3,
        "Float8_e5m2Storage" => Dtype::F8E5M2,
        other => return other.ends_with("Storage").then_some(None),
    };
    Some(Some(dtype))
}

/// Element type of a `torch.dtype` global such as `torch.float8_e4m3fn`; `None` for anything else.
pub(super) fn torch_dtype(module: &str, name: &str) -> Option<Dtype> {
    if module == "torch" { Dtype::from_torch_name(name) } else { None }
}
