//! Name keys: the name of a message as a type.
//!
//! Stable Rust cannot test two types for equality, but digits can be compared, because there is a
//! finite number of pairs. So a name is hashed, and its key is the hash as a list of digits, each a
//! const parameter: `Digits<7, Digits<12, Digits<30, … KeyEnd>>>`. The first two digits are of base 16
//! and choose a bucket of the [table](crate::table). The others, the [`Rest`], are of base 32 and
//! distinguish the entries of a bucket. The compiler evaluates one constant for each digit, so there
//! are no more of them than needed.
//!
//! `K::Is<L>` compares two rests. If `K` begins with 3, it is `L::At3<…>`, which is [`Other`] unless
//! `L` also begins with 3; in that case the digits after it are compared. Most pairs differ in their
//! first digit and are compared in one step.

use crate::message::Message;
use crate::table::InsertInto;
use core::marker::PhantomData;

/// A digit and the digits that follow it.
pub struct Digits<const DIGIT: u8, Next>(PhantomData<Next>);
/// The end of a key.
pub struct KeyEnd;
/// A single digit.
pub struct Digit<const DIGIT: u8>;

/// A complete name key; made by [`name_key!`](crate::name_key!).
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a message's key",
    note = "write it with the message's name: `type NameKey = name_key!(\"the.name\");`"
)]
pub trait Key {
    /// The first digit.
    type First;
    /// The digits after the first one.
    type Tail;
    /// The digits after the two that choose the bucket.
    type Rest: Rest;
}
impl<const A: u8, const B: u8, R: Rest> Key for Digits<A, Digits<B, R>> {
    type First = Digit<A>;
    type Tail = Digits<B, R>;
    type Rest = R;
}

/// The name key of a message with lifetimes: its name's key `K`, and `S`, the message with `'static` for
/// each lifetime. So the key is the same for all lifetimes.
pub struct Borrowed<K, S>(PhantomData<(K, S)>);
#[diagnostic::do_not_recommend]
impl<K: Key, S> Key for Borrowed<K, S> {
    type First = K::First;
    type Tail = K::Tail;
    type Rest = K::Rest;
}

/// A name key of both `M` and `N`, which are one message, apart from lifetimes.
#[diagnostic::on_unimplemented(
    message = "`{N}` is not registered on this bus, but `{M}` has its name and is",
    label = "nobody handles `{N}`",
    note = "give one of the two messages a name of its own with `name = \"…\"`",
    note = "two versions of a crate of messages on one bus cause this, too: `cargo tree -d` lists such crates"
)]
#[doc(hidden)]
pub trait Of<M, N> {}
impl<const DIGIT: u8, Next, M> Of<M, M> for Digits<DIGIT, Next> {}
#[diagnostic::do_not_recommend]
impl<K, S, M, N: Message<NameKey = Self>> Of<M, N> for Borrowed<K, S> {}

impl<K: InsertInto<T, W>, S, T, W> InsertInto<T, W> for Borrowed<K, S> {
    type Out = K::Out;
    #[inline]
    fn insert(table: T, entry: W) -> K::Out {
        K::insert(table, entry)
    }
}

/// The keys are equal.
pub struct Same;
/// The keys differ.
pub struct Other;

macro_rules! rest {
    ($($digit:literal $at:ident)*) => {
        /// The digits that distinguish the entries of one bucket.
        pub trait Rest {
            /// [`Same`] or [`Other`].
            type Is<K: Rest>;
            $(#[doc(hidden)] type $at<R: Rest>;)*
        }
        impl Rest for KeyEnd {
            type Is<K: Rest> = Same;
            $(type $at<R: Rest> = Other;)*
        }
        rest!(@each [] [$($digit $at)*]);
    };
    (@each [$($before:ident)*] []) => {};
    (@each [$($before:ident)*] [$digit:literal $at:ident $($d:literal $after:ident)*]) => {
        impl<Next: Rest> Rest for Digits<$digit, Next> {
            type Is<K: Rest> = K::$at<Next>;
            type $at<R: Rest> = R::Is<Next>;
            $(type $before<R: Rest> = Other;)*
            $(type $after<R: Rest> = Other;)*
        }
        rest!(@each [$($before)* $at] [$($d $after)*]);
    };
}
rest!(0 At0 1 At1 2 At2 3 At3 4 At4 5 At5 6 At6 7 At7
      8 At8 9 At9 10 At10 11 At11 12 At12 13 At13 14 At14 15 At15
      16 At16 17 At17 18 At18 19 At19 20 At20 21 At21 22 At22 23 At23
      24 At24 25 At25 26 At26 27 At27 28 At28 29 At29 30 At30 31 At31);

/// The FNV-1a hash of a name, with the high bits folded into the low ones, which become the digits.
pub const fn hash(name: &str) -> u64 {
    let bytes = name.as_bytes();
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    let mut i = 0;
    while i < bytes.len() {
        hash = (hash ^ bytes[i] as u64).wrapping_mul(0x0100_0000_01b3);
        i += 1;
    }
    hash ^ (hash >> 29) ^ (hash >> 47)
}

/// Digit `i` of a hash, from the low end: two digits of four bits for the table, then six of five bits
/// for the bucket. Eight digits make 38 bits.
pub const fn digit(hash: u64, i: u32) -> u8 {
    let (shift, bits) = if i < 2 { (4 * i, 4) } else { (5 * i - 2, 5) };
    ((hash >> shift) & ((1 << bits) - 1)) as u8
}
