//! A message's name as a type.
//!
//! A name is hashed, and each hexadecimal digit of the hash is a type. The first two digits choose
//! a bucket of the table; the [`Rest`] tells the entries of a bucket apart, digit by digit:
//! `K::Is<L>` asks `L` for its `At3<…>` when `K` begins with a 3, and that is [`Other`] unless `L`
//! begins with a 3 as well. No proof is needed twice, so the cost grows with the number of digits.

use core::marker::PhantomData;

/// One hexadecimal digit.
pub struct Digit<const N: u8>;
/// A digit, and those that follow.
pub struct Key<D, R>(PhantomData<(D, R)>);
/// The end of a key.
pub struct End;

/// FNV-1a, with its high bits folded into the low ones.
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

/// Digit `i` of a hash, from the low end.
pub const fn digit(hash: u64, i: u32) -> u8 {
    ((hash >> (4 * i)) & 15) as u8
}

/// A key whose first two digits have been used.
pub trait InBucket {
    type Rest: Rest;
}
impl<A, B, R: Rest> InBucket for Key<A, Key<B, R>> {
    type Rest = R;
}

/// The keys are equal.
pub struct Same;
/// The keys differ.
pub struct Other;

macro_rules! rest {
    ($($digit:literal $at:ident)*) => {
        /// The digits that tell the entries of one bucket apart.
        pub trait Rest {
            type Is<K: Rest>;
            $(type $at<R: Rest>;)*
        }
        impl Rest for End {
            type Is<K: Rest> = Same;
            $(type $at<R: Rest> = Other;)*
        }
        rest!(@each [] [$($digit $at)*]);
    };
    (@each [$($before:ident)*] []) => {};
    (@each [$($before:ident)*] [$digit:literal $at:ident $($d:literal $after:ident)*]) => {
        impl<Own: Rest> Rest for Key<Digit<$digit>, Own> {
            type Is<K: Rest> = K::$at<Own>;
            type $at<R: Rest> = R::Is<Own>;
            $(type $before<R: Rest> = Other;)*
            $(type $after<R: Rest> = Other;)*
        }
        rest!(@each [$($before)* $at] [$($d $after)*]);
    };
}
rest!(0 At0 1 At1 2 At2 3 At3 4 At4 5 At5 6 At6 7 At7
      8 At8 9 At9 10 At10 11 At11 12 At12 13 At13 14 At14 15 At15);
