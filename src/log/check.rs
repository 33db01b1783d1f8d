//! Finds values that a log cannot hold, or that are read back as others.
//!
//! [`Check`] is a serializer that writes nothing. For JSON its result is whether the value is `null`,
//! because `Some` of such a value is read back as `None`. In binary, the reader has to know of each value
//! whether it is there.

use alloc::string::String;
use core::{any, fmt};
use serde::ser::{self, Serialize, Serializer};
use std::format;

/// Checks an input of a JSON log, which is one array deep in its line.
pub(super) fn check_json(input: &impl Serialize) -> Result<(), Unfit> {
    let check = Check::<true> {
        depth: 1,
        is_key: false,
    };
    input.serialize(check).map(drop)
}

/// Checks an input of a binary log. Takes no instruction for most types.
#[inline]
pub(super) fn check_binary(input: &impl Serialize) -> Result<(), Unfit> {
    let check = Check::<false> {
        depth: 0,
        is_key: false,
    };
    input.serialize(check).map(drop)
}

/// A value that a log cannot hold.
#[derive(Debug)]
pub(super) struct Unfit {
    /// The names of the variants and fields that lead to the value, with dots between them.
    path: String,
    reason: String,
}

impl Unfit {
    fn new(reason: impl fmt::Display) -> Self {
        Unfit {
            path: String::new(),
            reason: format!("{reason}"),
        }
    }

    pub(super) fn line_break() -> Self {
        Unfit::new("it contains JSON with line breaks; record that JSON in compact form")
    }

    pub(super) fn too_large() -> Self {
        Unfit::new("it is larger than 1 GiB; record it in parts, or where it is stored")
    }

    /// The path, or the type of the input if there is none, and the reason.
    pub(super) fn in_input<M>(self) -> (String, String) {
        let Unfit { path, reason } = self;
        if path.is_empty() {
            return (any::type_name::<M>().into(), reason);
        }
        (path, reason)
    }

    fn inside(mut self, name: &str) -> Self {
        let dot = if self.path.is_empty() { "" } else { "." };
        self.path.insert_str(0, dot);
        self.path.insert_str(0, name);
        self
    }
}

impl ser::Error for Unfit {
    fn custom<T: fmt::Display>(error: T) -> Self {
        Unfit::new(format_args!("its `Serialize` fails ({error}); mend that"))
    }
}
impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reason.fmt(f)
    }
}
impl core::error::Error for Unfit {}

/// The deepest nesting that `serde_json` reads.
const DEEPEST: u32 = 127;

/// The JSON of a value; in binary without meaning.
enum Json {
    Null,
    Other,
}

#[derive(Clone, Copy)]
struct Check<const JSON: bool> {
    /// The number of arrays and objects around the value.
    depth: u32,
    /// The value is a key of a map.
    is_key: bool,
}

impl<const JSON: bool> Check<JSON> {
    /// The check of what is in an array or object, or in several inside each other.
    #[inline]
    fn open(self, brackets: u32) -> Result<Self, Unfit> {
        if !JSON {
            return Ok(self);
        }
        if self.is_key {
            return Err(Unfit::new(
                "a key of a map is neither a text nor a number; record the map as a list of pairs",
            ));
        }
        let depth = self.depth + brackets;
        if depth > DEEPEST {
            return Err(Unfit::new(format_args!(
                "it is nested more than {} deep and could not be read back; record it as a flat list",
                DEEPEST - 1
            )));
        }
        Ok(Check { depth, ..self })
    }

    fn null(self) -> Result<Json, Unfit> {
        self.open(0).map(|_| Json::Null)
    }

    #[inline]
    fn float(self, finite: bool, value: impl fmt::Display) -> Result<Json, Unfit> {
        if finite || !JSON {
            return Ok(Json::Other);
        }
        Err(Unfit::new(format_args!(
            "JSON has no {value}; record `None` or a text in its place"
        )))
    }

    /// The check of a sequence or map of some length.
    #[inline]
    fn open_list(self, length: Option<usize>) -> Result<Self, Unfit> {
        if !JSON && length.is_none() {
            return Err(Unfit::new(
                "its length is not known when it begins; record a list, and use no `flatten`",
            ));
        }
        self.open(1)
    }
}

/// The check of a field that a `skip_serializing_if` left out.
#[inline]
fn skip_field<const JSON: bool>(name: &'static str) -> Result<(), Unfit> {
    if JSON {
        return Ok(());
    }
    let left_out = "it is left out, and what follows would be read in its place; \
                    record it without `skip_serializing_if`";
    Err(Unfit::new(left_out).inside(name))
}

macro_rules! fit {
    ($($method:ident($value:ty))*) => {
        $(#[inline] fn $method(self, _: $value) -> Result<Json, Unfit> { Ok(Json::Other) })*
    };
}

impl<const JSON: bool> Serializer for Check<JSON> {
    type Ok = Json;
    type Error = Unfit;
    type SerializeSeq = Self;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Self;
    type SerializeTupleVariant = Inside<JSON>;
    type SerializeMap = Self;
    type SerializeStruct = Self;
    type SerializeStructVariant = Inside<JSON>;

    fit! {
        serialize_bool(bool) serialize_char(char) serialize_str(&str)
        serialize_i8(i8) serialize_i16(i16) serialize_i32(i32) serialize_i64(i64) serialize_i128(i128)
        serialize_u8(u8) serialize_u16(u16) serialize_u32(u32) serialize_u64(u64) serialize_u128(u128)
    }
    fn is_human_readable(&self) -> bool {
        JSON
    }
    fn collect_str<T: fmt::Display + ?Sized>(self, _: &T) -> Result<Json, Unfit> {
        Ok(Json::Other)
    }
    fn serialize_f32(self, value: f32) -> Result<Json, Unfit> {
        self.float(value.is_finite(), value)
    }
    fn serialize_f64(self, value: f64) -> Result<Json, Unfit> {
        self.float(value.is_finite(), value)
    }
    fn serialize_bytes(self, _: &[u8]) -> Result<Json, Unfit> {
        self.open(1).map(|_| Json::Other)
    }
    fn serialize_none(self) -> Result<Json, Unfit> {
        self.null()
    }
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Json, Unfit> {
        match value.serialize(self)? {
            Json::Null if JSON => Err(Unfit::new(
                "JSON has the same `null` for this `Some` as for `None`; record an enum with a variant for each",
            )),
            _ => Ok(Json::Other),
        }
    }
    fn serialize_unit(self) -> Result<Json, Unfit> {
        self.null()
    }
    fn serialize_unit_struct(self, _: &'static str) -> Result<Json, Unfit> {
        self.null()
    }
    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
    ) -> Result<Json, Unfit> {
        Ok(Json::Other)
    }
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<Json, Unfit> {
        value.serialize(self)
    }
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<Json, Unfit> {
        let inside = self.open(1).and_then(|check| value.serialize(check));
        inside.map_err(|unfit| unfit.inside(variant))?;
        Ok(Json::Other)
    }
    fn serialize_seq(self, length: Option<usize>) -> Result<Self, Unfit> {
        self.open_list(length)
    }
    fn serialize_tuple(self, _: usize) -> Result<Self, Unfit> {
        self.open(1)
    }
    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self, Unfit> {
        self.open(1)
    }
    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Inside<JSON>, Unfit> {
        Inside::new(self, variant)
    }
    fn serialize_map(self, length: Option<usize>) -> Result<Self, Unfit> {
        self.open_list(length)
    }
    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self, Unfit> {
        self.open(1)
    }
    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Inside<JSON>, Unfit> {
        Inside::new(self, variant)
    }
}

/// The elements or fields of a value.
macro_rules! parts {
    ($($Parts:ident $method:ident)*) => {
        $(impl<const JSON: bool> ser::$Parts for Check<JSON> {
            type Ok = Json;
            type Error = Unfit;
            fn $method<T: Serialize + ?Sized>(&mut self, part: &T) -> Result<(), Unfit> {
                part.serialize(*self).map(drop)
            }
            fn end(self) -> Result<Json, Unfit> {
                Ok(Json::Other)
            }
        })*
    };
}
parts! {
    SerializeSeq serialize_element
    SerializeTuple serialize_element
    SerializeTupleStruct serialize_field
}

impl<const JSON: bool> ser::SerializeMap for Check<JSON> {
    type Ok = Json;
    type Error = Unfit;
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Unfit> {
        let check = Check {
            is_key: true,
            ..*self
        };
        key.serialize(check).map(drop)
    }
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unfit> {
        value.serialize(*self).map(drop)
    }
    fn end(self) -> Result<Json, Unfit> {
        Ok(Json::Other)
    }
}

impl<const JSON: bool> ser::SerializeStruct for Check<JSON> {
    type Ok = Json;
    type Error = Unfit;
    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), Unfit> {
        let field = value.serialize(*self);
        field.map(drop).map_err(|unfit| unfit.inside(name))
    }
    fn skip_field(&mut self, name: &'static str) -> Result<(), Unfit> {
        skip_field::<JSON>(name)
    }
    fn end(self) -> Result<Json, Unfit> {
        Ok(Json::Other)
    }
}

/// The fields of an enum's variant.
struct Inside<const JSON: bool> {
    check: Check<JSON>,
    variant: &'static str,
}

impl<const JSON: bool> Inside<JSON> {
    /// A variant with fields is an object or an array in an object.
    fn new(check: Check<JSON>, variant: &'static str) -> Result<Self, Unfit> {
        match check.open(2) {
            Ok(check) => Ok(Inside { check, variant }),
            Err(unfit) => Err(unfit.inside(variant)),
        }
    }
}

impl<const JSON: bool> ser::SerializeTupleVariant for Inside<JSON> {
    type Ok = Json;
    type Error = Unfit;
    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unfit> {
        let field = ser::SerializeTupleStruct::serialize_field(&mut self.check, value);
        field.map_err(|unfit| unfit.inside(self.variant))
    }
    fn end(self) -> Result<Json, Unfit> {
        Ok(Json::Other)
    }
}

impl<const JSON: bool> ser::SerializeStructVariant for Inside<JSON> {
    type Ok = Json;
    type Error = Unfit;
    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), Unfit> {
        let field = ser::SerializeStruct::serialize_field(&mut self.check, name, value);
        field.map_err(|unfit| unfit.inside(self.variant))
    }
    fn skip_field(&mut self, name: &'static str) -> Result<(), Unfit> {
        skip_field::<JSON>(name).map_err(|unfit| unfit.inside(self.variant))
    }
    fn end(self) -> Result<Json, Unfit> {
        Ok(Json::Other)
    }
}
