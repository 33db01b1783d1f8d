//! Programs that must not compile, with the exact error texts.

#[test]
fn each_mistake_has_its_text() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
