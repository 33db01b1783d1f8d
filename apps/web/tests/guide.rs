//! The guide shows the code of this package.

const PAGE: &str = include_str!("../../../docs/guide/src/web-services.md");

#[test]
fn the_guide_shows_this_code() {
    for source in [
        include_str!("../src/users.rs"),
        include_str!("../src/routes.rs"),
        include_str!("../src/main.rs"),
    ] {
        let (_, code) = source.split_once("\n\n").expect("a header, then code");
        assert!(PAGE.contains(&format!("```rust\n{code}```\n")), "{code}");
    }
}

#[test]
fn the_guide_shows_one_of_the_tests() {
    let tests = include_str!("requests.rs");
    let (_, shown) = PAGE.rsplit_once("```rust\n").expect("code");
    let (shown, _) = shown.split_once("```\n").expect("its end");
    assert!(shown.contains("#[tokio::test]"));
    assert!(tests.contains(shown), "{shown}");
}
