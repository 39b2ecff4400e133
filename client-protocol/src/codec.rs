//! The encoding of bodies: the only file that knows the encoding library.
//!
//! Bodies are bincode 2 with its standard configuration: little endian, variable-length integers, `u8` tags for `Option`.
//! Enum tags never cross the wire (see [`crate::frame`]). What is decoded is bounded before it is decoded: the frame by
//! [`crate::limits::FRAME_BYTES_MAX`], what the frame makes the decoder allocate by [`crate::limits::DECODE_BYTES_MAX`], and every
//! byte must be used.

use crate::limits::DECODE_BYTES_MAX;
pub use bincode::{Decode, Encode};

/// A body that cannot be decoded, or not be encoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The bytes end inside a value, claim more than the bounds allow, or hold a value of no meaning.
    #[error("malformed: {0}")]
    Malformed(String),
    /// A value was decoded and bytes remained.
    #[error("{0} bytes left over after the value")]
    TrailingBytes(usize),
}

const fn config() -> impl bincode::config::Config {
    bincode::config::standard().with_limit::<DECODE_BYTES_MAX>()
}

/// Appends the encoding of `value` to `out`.
pub fn encode_into<T: Encode>(value: &T, out: &mut Vec<u8>) {
    // Writing to a `Vec` fails only for types that refuse to be encoded, and no wire type does.
    let written = bincode::encode_into_std_write(value, out, bincode::config::standard());
    debug_assert!(written.is_ok(), "a wire type refused to be encoded: {written:?}");
}

/// The encoding of `value`.
#[must_use]
pub fn encode<T: Encode>(value: &T) -> Vec<u8> {
    let mut out = Vec::new();
    encode_into(value, &mut out);
    out
}

/// Decodes a value that fills `bytes` exactly.
///
/// # Errors
///
/// [`CodecError`] where the bytes are no such value, or where some are left over.
pub fn decode<T: Decode<()>>(bytes: &[u8]) -> Result<T, CodecError> {
    let (value, used) = decode_prefix(bytes)?;
    match bytes.len() - used {
        0 => Ok(value),
        rest => Err(CodecError::TrailingBytes(rest)),
    }
}

/// Decodes a value from the front of `bytes` and says how many bytes it took.
///
/// # Errors
///
/// [`CodecError::Malformed`] where the bytes do not start with such a value.
pub fn decode_prefix<T: Decode<()>>(bytes: &[u8]) -> Result<(T, usize), CodecError> {
    bincode::decode_from_slice(bytes, config()).map_err(|error| CodecError::Malformed(error.to_string()))
}

/// For `#[bincode(crate = "client_protocol::codec::encoding")]`: crates above derive the same encoding without a dependency of their own.
pub use bincode as encoding;

/// Errors of the encoding library, named so that [`crate::tail!`] needs no other path to it.
#[doc(hidden)]
pub mod library {
    pub use bincode::de::Decoder;
    pub use bincode::enc::Encoder;
    pub use bincode::error::{DecodeError, EncodeError};
    pub use bincode::impl_borrow_decode;
}
