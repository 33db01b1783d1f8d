//! The names of a handler and of its layers, which are parts of one type name.

#[cfg(feature = "async")]
use crate::handler::AtOnce;
use crate::handler::Function;
use crate::layer::{STACK, WRAPPED};
use core::{any::type_name, fmt};

/// The type name of a handler; for a function, the name of the function.
#[inline]
pub(crate) fn handler_name<H>() -> &'static str {
    of::<H>().0
}

/// The type name of a handler, and those of its layers.
///
/// Without layers the compiler knows the result.
#[inline]
pub(super) fn of<H>() -> (&'static str, Layers) {
    let name = type_name::<H>();
    #[cfg(feature = "async")]
    let name = without(AtOnce::<()>::PATH, name);
    if name.starts_with(WRAPPED) {
        first(name)
    } else {
        (without(Function::<()>::PATH, name), Layers::NONE)
    }
}
#[inline]
fn without(wrapper: &str, name: &'static str) -> &'static str {
    name.strip_prefix(wrapper)
        .and_then(|rest| rest.strip_suffix('>'))
        .unwrap_or(name)
}

/// The type names of the layers around a handler, the innermost first.
///
/// An iterator; `Display` prints the names with commas.
///
/// ```
/// use static_bus::{layer::{AroundQuery, Layer}, prelude::*, wiring::Registration};
/// struct Inner;
/// struct Outer;
/// # macro_rules! layers { ($($L:ident),*) => { $(
/// # impl Layer for $L { type Around = $L; fn around(&self, _: Registration) -> $L { $L } }
/// # impl<Q: Query, B: ?Sized> AroundQuery<Q, B> for $L {
/// #     fn query(&self, query: Q, _bus: &B, next: impl Fn(Q) -> Q::Response) -> Q::Response { next(query) }
/// # }
/// # )* } }
/// # layers!(Inner, Outer);
/// struct Ping;
/// query!(Ping -> u8);
/// let bus = BusBuilder::new().register_query_fn(|_: Ping| 1).layer(Inner).layer(Outer).build();
/// let layers: Vec<_> = bus.wiring().registrations()[0].layers().collect();
/// assert!(layers[0].ends_with("::Inner") && layers[1].ends_with("::Outer"));
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Layers(&'static str);

impl Layers {
    pub(super) const NONE: Layers = Layers("");

    /// True if there are no layers, or no more of them.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
impl Iterator for Layers {
    type Item = &'static str;
    fn next(&mut self) -> Option<&'static str> {
        if self.is_empty() {
            return None;
        }
        let (name, rest) = first(self.0);
        *self = rest;
        Some(name)
    }
}
impl fmt::Display for Layers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, layer) in self.enumerate() {
            let separator = if i == 0 { "" } else { ", " };
            write!(f, "{separator}{layer}")?;
        }
        Ok(())
    }
}
impl fmt::Debug for Layers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(*self).finish()
    }
}

/// The first type that is not one of ours, and the rest of the name.
///
/// `Wrapped<Wrapped<Function<f>, A>, Stack<B, C>>` has the parts `f`, `A`, `B` and `C`.
fn first(name: &'static str) -> (&'static str, Layers) {
    let mut name = name;
    while let Some(inner) = ours().into_iter().find_map(|it| name.strip_prefix(it)) {
        name = inner;
    }
    let (name, rest) = name.split_at(end(name));
    (name, Layers(rest.trim_start_matches([',', ' ', '>'])))
}
fn ours() -> impl IntoIterator<Item = &'static str> {
    [
        WRAPPED,
        STACK,
        Function::<()>::PATH,
        #[cfg(feature = "async")]
        AtOnce::<()>::PATH,
    ]
}

/// The length of the type name at the beginning of a list of arguments.
fn end(list: &str) -> usize {
    let (mut depth, mut before) = (0, ' ');
    for (i, c) in list.char_indices() {
        match c {
            '<' | '(' | '[' | '{' => depth += 1,
            // The arrow of a function's type.
            '>' if before == '-' => {}
            ',' | '>' if depth == 0 => return i,
            '>' | ')' | ']' | '}' => depth -= 1,
            _ => {}
        }
        before = c;
    }
    list.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::{Layer, Stack, Wrapped};
    use crate::wiring::Registration;

    struct A;
    struct B<T>(T);
    macro_rules! layers {
        ($($L:ty),*) => { $(
            impl Layer for $L {
                type Around = ();
                fn around(&self, _: Registration) {}
            }
        )* };
    }
    layers!(A, B<(u8, fn(u8, u16) -> [B<u8>; 2])>);

    #[test]
    fn a_name_is_taken_apart_into_the_handler_and_its_layers_from_the_inside() {
        type Odd = B<(u8, fn(u8, u16) -> [B<u8>; 2])>;
        type Handler = Function<B<fn(&str, u8) -> Option<u8>>>;
        let (handler, mut layers) = of::<Wrapped<Wrapped<Handler, Odd>, Stack<Stack<A, Odd>, A>>>();
        assert_eq!(handler, type_name::<B<fn(&str, u8) -> Option<u8>>>());
        for layer in [
            type_name::<Odd>(),
            type_name::<A>(),
            type_name::<Odd>(),
            type_name::<A>(),
        ] {
            assert_eq!(layers.next(), Some(layer));
        }
        assert_eq!(layers.next(), None);
    }

    #[test]
    fn a_handler_without_layers_has_its_own_name() {
        for (name, expected) in [
            (of::<A>(), type_name::<A>()),
            (of::<&A>(), type_name::<&A>()),
            (of::<fn(u8) -> u8>(), "fn(u8) -> u8"),
            (of::<Function<fn(u8) -> u8>>(), "fn(u8) -> u8"),
        ] {
            assert_eq!(name, (expected, Layers("")));
        }
    }
}
