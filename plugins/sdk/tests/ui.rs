//! The compiler's messages for mistakes in the derives, word by word. `TRYBUILD=overwrite` writes new ones.

#[test]
fn mistakes_are_explained_where_they_are_made() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
