//! Copies of messages, where their types allow it.
//!
//! The macros that declare a message know its type. So `(&&Probe(message)).copy()` is the method of [`Copied`] if the
//! message is `Clone`, and otherwise that of [`NotCopied`], which is one dereference further away.

use std::any::Any;
use std::fmt::Debug;
use std::format;
use std::string::String;
use std::sync::Arc;

/// A copy of a message.
pub type Value = Arc<dyn Any + Send + Sync>;

/// What is kept of a message.
#[derive(Default)]
pub struct Kept {
    /// A copy, if the message is `Clone`, `Send` and `Sync` and does not borrow.
    pub value: Option<Value>,
    /// Its `Debug` text, if it has one.
    pub text: Option<String>,
}

#[doc(hidden)]
pub struct Probe<'a, T>(pub &'a T);

#[doc(hidden)]
pub trait Copied {
    fn copy(&self) -> Option<Value>;
}
impl<T: Clone + Send + Sync + 'static> Copied for &Probe<'_, T> {
    fn copy(&self) -> Option<Value> {
        Some(Arc::new(self.0.clone()))
    }
}
#[doc(hidden)]
pub trait NotCopied {
    fn copy(&self) -> Option<Value> {
        None
    }
}
impl<T> NotCopied for Probe<'_, T> {}

#[doc(hidden)]
pub trait Printed {
    fn print(&self) -> Option<String>;
}
impl<T: Debug> Printed for &Probe<'_, T> {
    fn print(&self) -> Option<String> {
        Some(format!("{:?}", self.0))
    }
}
#[doc(hidden)]
pub trait NotPrinted {
    fn print(&self) -> Option<String> {
        None
    }
}
impl<T> NotPrinted for Probe<'_, T> {}

/// The method of a message that a [`Recorder`](super::Recorder) calls. A message that borrows is printed only.
#[doc(hidden)]
#[macro_export]
macro_rules! __keep {
    () => {
        fn __keep(&self) -> $crate::testing::Kept {
            // Of each pair one trait applies.
            #[allow(unused_imports)]
            use $crate::testing::{Copied as _, NotCopied as _, NotPrinted as _, Printed as _};
            $crate::testing::Kept {
                value: (&&$crate::testing::Probe(self)).copy(),
                text: (&&$crate::testing::Probe(self)).print(),
            }
        }
    };
    ($static:ty) => {
        fn __keep(&self) -> $crate::testing::Kept {
            // Of each pair one trait applies.
            #[allow(unused_imports)]
            use $crate::testing::{NotPrinted as _, Printed as _};
            $crate::testing::Kept {
                value: ::core::option::Option::None,
                text: (&&$crate::testing::Probe(self)).print(),
            }
        }
    };
}
