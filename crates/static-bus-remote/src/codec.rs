//! The formats of message bodies.

use std::error::Error;

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

/// The format of a message body. A reader chooses it by the attribute `datacontenttype`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Codec {
    /// `application/json`.
    #[default]
    Json,
    /// `application/msgpack`, structs as maps, so that fields can be added.
    #[cfg(feature = "msgpack")]
    MessagePack,
}

type CodecError = Box<dyn Error + Send + Sync>;

impl Codec {
    /// The value of `datacontenttype`.
    pub const fn content_type(self) -> &'static str {
        match self {
            Codec::Json => "application/json",
            #[cfg(feature = "msgpack")]
            Codec::MessagePack => "application/msgpack",
        }
    }

    /// The codec for a content type.
    ///
    /// # Errors
    /// When there is none; the text names the remedy.
    pub fn of(content_type: &str) -> Result<Self, CodecError> {
        match content_type {
            "application/json" => Ok(Codec::Json),
            #[cfg(feature = "msgpack")]
            "application/msgpack" => Ok(Codec::MessagePack),
            #[cfg(not(feature = "msgpack"))]
            "application/msgpack" => {
                Err("the content type application/msgpack needs the feature `msgpack`".into())
            }
            other => Err(format!("no codec reads the content type {other:?}").into()),
        }
    }

    /// Encodes a value.
    ///
    /// # Errors
    /// The error of the format.
    pub fn encode<V: Serialize + ?Sized>(self, value: &V) -> Result<Bytes, CodecError> {
        Ok(match self {
            Codec::Json => serde_json::to_vec(value)?.into(),
            #[cfg(feature = "msgpack")]
            Codec::MessagePack => rmp_serde::to_vec_named(value)?.into(),
        })
    }

    /// Decodes a value.
    ///
    /// # Errors
    /// The error of the format.
    pub fn decode<V: DeserializeOwned>(self, body: &[u8]) -> Result<V, CodecError> {
        Ok(match self {
            Codec::Json => serde_json::from_slice(body)?,
            #[cfg(feature = "msgpack")]
            Codec::MessagePack => rmp_serde::from_slice(body)?,
        })
    }
}
