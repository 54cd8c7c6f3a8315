//! The border: panics and errors arrive as status and report, and nothing else crosses.

use std::ffi::c_void;
use std::sync::Mutex;

use fusion_abi::{
    FUSION_FAILED, FUSION_INVALID, FUSION_OK, FUSION_PANICKED, fusion_call, fusion_dltensor, fusion_group,
    fusion_host, fusion_member, fusion_status, fusion_str, fusion_tensor,
};

use crate::about::{About, Category, Port};
use crate::error::MethodError;
use crate::kernel::Tile;
use crate::task::{NoParams, Tasks};
use crate::{Elementwise, Observe, abi};

/// Panics in the function that the tensor's name says.
struct Faulty(String);

impl Elementwise for Faulty {
    type Params = NoParams;
    type Input = NoParams;

    fn about() -> About {
        About {
            id: "faulty",
            version: 1,
            category: Category::Average,
            summary: "fails",
            formula: "⊥",
            citation: "none",
            ports: vec![Port::from(0, None, "models")],
            random: false,
            claims: &[],
        }
    }

    fn prepare(tasks: Tasks<NoParams, NoParams>) -> Result<Self, MethodError> {
        let name = tasks.tensors.first().map(|tensor| tensor.name.clone()).unwrap_or_default();
        match name.as_str() {
            "prepare" => panic!("no {name}"),
            "error" => Err(MethodError::invalid("not today").at("density").help("try tomorrow")),
            _ => Ok(Faulty(name)),
        }
    }

    fn apply(&self, _: &Tile<'_>, out: &mut [f32]) {
        assert!(self.0 != "apply", "no {}", self.0);
        out.fill(7.0);
    }
}

impl Observe for Faulty {
    type Partial = ();

    fn observing(&self) -> bool {
        assert!(self.0 != "observing", "no observing");
        false
    }

    fn partial(&self) {}

    fn observe(&self, (): &mut (), _: &Tile<'_>) {}

    fn absorb(&mut self, (): &mut ()) {}

    fn finish_pass(&mut self) -> Result<(), MethodError> {
        Ok(())
    }
}

type Told = Mutex<Vec<(fusion_status, String, String)>>;

unsafe extern "C" fn report(ctx: *mut c_void, code: fusion_status, message: fusion_str, pointer: fusion_str) {
    // SAFETY: the test's own context, and texts that are valid for the call.
    unsafe {
        let told = &*ctx.cast::<Told>();
        told.lock().unwrap().push((
            code,
            super::guard::read(message).into(),
            super::guard::read(pointer).into(),
        ));
    }
}

fn host(told: &Told) -> fusion_host {
    fusion_host {
        struct_size: size_of::<fusion_host>() as u64,
        abi_major: 1,
        abi_minor: 0,
        ctx: std::ptr::from_ref(told).cast_mut().cast(),
        log: None,
        report: Some(report),
        progress: None,
        cancelled: None,
        service: None,
    }
}

fn create(method: &abi::fusion_method, host: &fusion_host, name: &str) -> (fusion_status, *mut c_void) {
    let shape = [4_i64];
    let member = fusion_member {
        struct_size: size_of::<fusion_member>() as u64,
        name: super::guard::text(name),
        key: 1,
        shape: shape.as_ptr(),
        ndim: 1,
        layer: u32::MAX,
        layers: 0,
        params: super::guard::text("{}"),
        inputs: std::ptr::null(),
        n_inputs: 0,
        settings: std::ptr::null(),
        n_settings: 0,
    };
    let group = fusion_group {
        struct_size: size_of::<fusion_group>() as u64,
        members: &raw const member,
        n_members: 1,
        seed: 0,
    };
    let mut instance = std::ptr::null_mut();
    // SAFETY: everything lives through the call.
    let status = unsafe { method.create.unwrap()(host, &raw const group, &raw mut instance) };
    (status, instance)
}

fn apply(
    method: &abi::fusion_method,
    host: &fusion_host,
    instance: *mut c_void,
) -> (fusion_status, [f32; 4]) {
    let (mut out, mut shape, mut strides) = ([0.0_f32; 4], [4_i64], [1_i64]);
    let output = fusion_tensor {
        struct_size: size_of::<fusion_tensor>() as u64,
        dl: fusion_dltensor {
            data: out.as_mut_ptr().cast(),
            device: abi::fusion_device { kind: 1, id: 0 },
            ndim: 1,
            dtype: abi::FUSION_F32,
            shape: shape.as_mut_ptr(),
            strides: strides.as_mut_ptr(),
            byte_offset: 0,
        },
        name: super::guard::text("w"),
        key: 1,
        first: 0,
        total: 4,
        member: 0,
    };
    let call = fusion_call {
        struct_size: size_of::<fusion_call>() as u64,
        host,
        inputs: std::ptr::null(),
        n_inputs: 0,
        outputs: &raw const output,
        n_outputs: 1,
        settings: std::ptr::null(),
        n_settings: 0,
        scratch: std::ptr::null_mut(),
        n_scratch: 0,
    };
    // SAFETY: everything lives through the call.
    let status = unsafe { method.apply.unwrap()(instance, &raw const call) };
    (status, out)
}

/// One test, because the panic hook belongs to the whole process.
#[test]
fn panics_and_errors_arrive_as_reports() {
    super::guard::install_hook();
    let told = Told::default();
    let host = host(&told);
    let method = super::classes::Observe::<Faulty>()();
    let last = || told.lock().unwrap().pop().unwrap();

    let (status, instance) = create(&method, &host, "fine");
    assert_eq!(status, FUSION_OK);
    assert_eq!(apply(&method, &host, instance), (FUSION_OK, [7.0; 4]));
    assert!(told.lock().unwrap().is_empty());
    // SAFETY: made above, and not used again.
    unsafe { method.destroy.unwrap()(instance) };

    let (status, instance) = create(&method, &host, "error");
    assert_eq!((status, instance), (FUSION_INVALID, std::ptr::null_mut()));
    assert_eq!(last(), (FUSION_INVALID, "not today\nhelp: try tomorrow".to_owned(), "/density".to_owned()));

    assert_eq!(create(&method, &host, "prepare").0, FUSION_PANICKED);
    let (code, message, pointer) = last();
    assert_eq!((code, pointer.as_str()), (FUSION_PANICKED, ""));
    assert!(message.starts_with("panicked at ") && message.ends_with(": no prepare"), "{message}");
    assert!(message.contains("tests.rs:"), "{message}");

    let (_, instance) = create(&method, &host, "apply");
    assert_eq!(apply(&method, &host, instance).0, FUSION_PANICKED);
    assert!(last().1.ends_with("no apply"));
    // SAFETY: as above.
    unsafe { method.destroy.unwrap()(instance) };

    // `observing` has no status: the panic is told by the next call that has one, and the result is never used.
    let (_, instance) = create(&method, &host, "observing");
    // SAFETY: a live instance.
    assert_eq!(unsafe { method.observing.unwrap()(instance) }, 0);
    assert_eq!(apply(&method, &host, instance), (FUSION_FAILED, [0.0; 4]));
    assert_eq!(last().1, "`observing` panicked");
    // SAFETY: as above.
    unsafe { method.destroy.unwrap()(instance) };
}
