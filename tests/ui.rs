//! What must not compile, with its exact text; what must, does.
#![cfg(feature = "alloc")]

#[test]
fn each_mistake_has_its_text() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/ui/fail/*.rs");
    cases.pass("tests/ui/pass/*.rs");
}
