//! The names of the mailbox without the feature `alloc`, so that the prelude has the same names with it.

/// Needs the feature `alloc`.
#[macro_export]
macro_rules! mailbox {
    ($($any:tt)*) => {
        ::core::compile_error!(
            "`mailbox!` needs the feature `alloc` of `static-bus`, which is one of its default features"
        );
    };
}
