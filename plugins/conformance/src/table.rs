//! The tests, in the order in which they run: one table that the command, the reference page and the kit's own tests read.

use std::fmt::Write as _;

use crate::checks::{control, descriptor, load, memory, numerics, parameters, traits};
use crate::driver::Method;
use crate::kit::Kit;
use crate::verdict::Check;

/// What a test is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Loading and negotiation.
    Load,
    /// What the plugin says of itself.
    Descriptor,
    /// How it takes settings.
    Parameters,
    /// What it computes.
    Numerics,
    /// How it treats memory that is lent to it.
    Memory,
    /// Stopping, failing, threads.
    Control,
}

impl Group {
    /// All groups, in order.
    pub const ALL: [Group; 6] =
        [Group::Load, Group::Descriptor, Group::Parameters, Group::Numerics, Group::Memory, Group::Control];

    /// One word, as tables show it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Group::Load => "load",
            Group::Descriptor => "descriptor",
            Group::Parameters => "parameters",
            Group::Numerics => "numerics",
            Group::Memory => "memory",
            Group::Control => "control",
        }
    }
}

/// What a test does.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Body {
    /// Once for the library.
    Library(fn(&Kit) -> Check),
    /// Once for every method.
    Method(fn(&Kit, &Method) -> Check),
}

/// A test.
#[derive(Clone, Copy, Debug)]
pub struct Test {
    /// Its id.
    pub id: &'static str,
    /// What it is about.
    pub group: Group,
    /// What holds where it passes, in one sentence.
    pub sentence: &'static str,
    /// Whether it warns rather than fails.
    pub warning: bool,
    pub(crate) body: Body,
}

impl Test {
    /// The test of this id.
    #[must_use]
    pub fn find(id: &str) -> Option<&'static Test> {
        TESTS.iter().find(|test| test.id == id)
    }
}

const fn library(group: Group, id: &'static str, sentence: &'static str, check: fn(&Kit) -> Check) -> Test {
    Test { id, group, sentence, warning: false, body: Body::Library(check) }
}

const fn method(
    group: Group,
    id: &'static str,
    sentence: &'static str,
    check: fn(&Kit, &Method) -> Check,
) -> Test {
    Test { id, group, sentence, warning: false, body: Body::Method(check) }
}

use Group::{Control, Descriptor, Load, Memory, Numerics, Parameters};

/// All tests. The contract of version 1 carries 32-bit floats alone, so there is no test of other element types; `f32-extremes` looks at
/// the ends of the one there is. Statistics of blocks are absorbed in order rather than merged in a tree, so `state-blank-after-absorb`
/// and `worker-invariant` take the place of tests of merging.
#[rustfmt::skip]
pub static TESTS: &[Test] = &[
    library(Load, "load-now-local", "it loads with all symbols bound at once, and shows none of them to other libraries", load::now_local),
    library(Load, "single-entry-symbol", "of all names that start with `fusion_`, it exports entries of the contract alone", load::single_entry_symbol),
    library(Load, "no-constructor-work", "loading it and calling its entry takes less than 50 ms", load::no_constructor_work),
    library(Load, "entry-twice-same-result", "its entry, called again, returns the same pointer to the same description", load::entry_twice_same_result),
    library(Load, "no-host-call-before-create", "its entry does not call the host", load::no_host_call_before_create),
    library(Load, "host-loads-it", "fusion itself loads it", load::host_loads_it),
    library(Load, "old-host-minor", "it runs on a host of minor version 0, or says that it cannot", load::old_host_minor),
    method(Load, "short-structs", "it reads no struct beyond the size that the struct states", load::short_structs),
    method(Load, "long-structs", "it runs on a host of a later minor version, whose structs are longer than it knows", load::long_structs),
    method(Load, "missing-service-refused-cleanly", "without the host's services it runs, or fails with a report", load::missing_service_refused_cleanly),

    library(Descriptor, "ids-unique", "ids of the plugin, its methods, ports and numbers are spelt as the contract wants and used once", descriptor::ids_unique),
    library(Descriptor, "text-utf8", "all texts are UTF-8 without control characters, and those that must be there are", descriptor::text_utf8),
    method(Descriptor, "schema-in-profile", "the parameter schema is an object schema of the profile that fusion reads", descriptor::schema_in_profile),
    method(Descriptor, "schema-has-docs-and-defaults", "every parameter has a description, and a default within its bounds unless it is required or optional", descriptor::schema_has_docs_and_defaults),
    method(Descriptor, "defaults-accepted-by-create", "`create` accepts the defaults of the schema", descriptor::defaults_accepted_by_create),
    method(Descriptor, "ports-fit-category", "ports, spaces and numbers of inputs are known and fit the category", descriptor::ports_fit_category),
    method(Descriptor, "functions-fit-kernel", "the functions that the kernel class needs are there, and no number is out of its range", descriptor::functions_fit_kernel),
    library(Descriptor, "manifest-equal", "`plugin.json` beside the library says what the library says", descriptor::manifest_equal),
    Test { id: "citation-present", group: Descriptor, sentence: "every method names its source", warning: true, body: Body::Method(descriptor::citation_present) },

    method(Parameters, "unknown-field-rejected", "a setting that the schema does not have is refused as invalid, on the stage and on edges", parameters::unknown_field_rejected),
    method(Parameters, "each-bound-enforced", "a value outside of its bounds or list of words is refused as invalid", parameters::each_bound_enforced),
    method(Parameters, "random-valid-accepted", "500 random settings that fit the schema are accepted, or refused as invalid with a report", parameters::random_valid_accepted),
    method(Parameters, "random-invalid-never-crashes", "500 random settings that do not fit end with a status, whatever their text", parameters::random_invalid_never_crashes),
    method(Parameters, "error-pointer-names-field", "the report about a value out of bounds points at its parameter", parameters::error_pointer_names_field),

    method(Numerics, "chunk-invariant", "stretches give the same bits in any order and of any length", numerics::chunk_invariant),
    method(Numerics, "worker-invariant", "1, 2 and 8 threads give the same bits", numerics::worker_invariant),
    method(Numerics, "state-blank-after-absorb", "a state that was absorbed works for the next block like a new one", numerics::state_blank_after_absorb),
    method(Numerics, "same-seed-same-bits", "a second instance gives the same bits", numerics::same_seed_same_bits),
    method(Numerics, "different-seed-differs", "a method that draws random numbers gives other bits for another seed", numerics::different_seed_differs),
    method(Numerics, "commutative", "claimed: the order of the inputs of the last port does not matter, up to rounding", traits::commutative),
    method(Numerics, "idempotent-on-equal-inputs", "claimed: equal inputs give that input, up to rounding", traits::idempotent),
    method(Numerics, "affine", "claimed: adding one tensor to all inputs adds it to the result, up to rounding", traits::affine),
    method(Numerics, "scale-equivariant", "claimed: scaling all inputs scales the result, up to rounding", traits::scale_equivariant),
    method(Numerics, "nan-and-inf-in", "NaN and infinities end with a result or a report", numerics::nan_and_inf_in),
    method(Numerics, "denormals", "denormal numbers are computed with, and the processor's way with them is left alone", numerics::denormals),
    method(Numerics, "f32-extremes", "the largest and smallest numbers end with a result or a report", numerics::f32_extremes),
    method(Numerics, "zero-sized", "tensors without elements end with a result or a report", numerics::zero_sized),
    method(Numerics, "one-element", "tensors of one element, with and without dimensions, end with a result or a report", numerics::one_element),
    method(Numerics, "least-aligned-inputs", "inputs that are aligned to 4 bytes alone give the same bits", numerics::least_aligned_inputs),
    method(Numerics, "plan-sane", "`plan` gives known answers, the same ones when asked again, and changes nothing else", numerics::plan_sane),
    method(Numerics, "every-member-written", "a whole-model method writes every member once, and nothing else", numerics::every_member_written),
    method(Numerics, "reference-vectors", "the results of `reference.json` beside the library come out", numerics::reference_vectors),

    method(Memory, "inputs-unchanged", "inputs, settings and structs are not written to", memory::inputs_unchanged),
    method(Memory, "canary-around-outputs", "nothing is written beside the outputs", memory::canary_around_outputs),
    method(Memory, "canary-around-scratch", "nothing is written beside the scratch", memory::canary_around_scratch),
    method(Memory, "no-growth-over-1000-calls", "the process does not grow over 1000 instances", memory::no_growth_over_1000_calls),
    method(Memory, "no-pointer-kept-after-call", "no pointer of a call is used after it", memory::no_pointer_kept_after_call),

    method(Control, "cancel-within-200ms", "a long call ends within 200 ms of the wish to stop; a stretch never lasts that long", control::cancel_within_200ms),
    method(Control, "error-then-usable-or-poisoned", "after a call that failed, other instances give the same bits as before", control::error_then_usable_or_poisoned),
    method(Control, "panic-contained", "a Rust plugin turns what breaks it into a status", control::panic_contained),
    method(Control, "parallel-calls", "calls that may run at the same time give the same bits", control::parallel_calls),
    method(Control, "destroy-after-failed-create", "a `create` that fails leaves nothing behind", control::destroy_after_failed_create),
];

/// The table of all tests as Markdown, for the reference.
#[must_use]
pub fn markdown() -> String {
    let mut out = "# Conformance tests\n\n\
        `fusion plugin check LIB` runs these tests, each in a process of its own. A test that does not apply to a plugin is skipped and\n\
        says why.\n"
        .to_owned();
    for group in Group::ALL {
        let mut letters = group.word().chars();
        let first = letters.next().map(|letter| letter.to_ascii_uppercase().to_string()).unwrap_or_default();
        let _ = write!(out, "\n## {first}{}\n\n| test | it passes where |\n|---|---|\n", letters.as_str());
        for test in TESTS.iter().filter(|test| test.group == group) {
            let note = if test.warning { " (a warning)" } else { "" };
            let _ = writeln!(out, "| `{}` | {}{note} |", test.id, test.sentence);
        }
    }
    out.push_str(crate::reference::GUIDE);
    out
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn ids_are_unique_kebab_words_in_the_order_of_groups() {
        let mut seen = BTreeSet::new();
        let mut at = 0;
        for test in TESTS {
            assert!(seen.insert(test.id), "{}", test.id);
            let plain =
                |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-';
            assert!(test.id.chars().all(plain), "{}", test.id);
            assert!(!test.sentence.is_empty() && !test.sentence.ends_with('.'), "{}", test.id);
            let place = Group::ALL.iter().position(|group| *group == test.group).unwrap();
            assert!(place >= at, "{} is out of its group", test.id);
            at = place;
            assert!(Test::find(test.id).is_some());
            assert!(markdown().contains(&format!("| `{}` |", test.id)));
        }
    }
}
