//! How a body grows: the tail.
//!
//! A body is fixed fields, then one tail: a length in bytes (varint) and optional fields. Fields are only ever appended to a
//! tail. An old reader skips the ones that it does not know, a new reader gives the missing ones their default, and the body is
//! consumed whole either way. An empty tail is one byte, 0.

/// Declares a tail: a struct whose fields are all `Option`s, in the order in which they were added to the protocol.
#[macro_export]
macro_rules! tail {
    ($(#[$meta:meta])* pub struct $name:ident { $($(#[$field_meta:meta])* pub $field:ident: $ty:ty,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Default, PartialEq, Eq)]
        pub struct $name { $($(#[$field_meta])* pub $field: Option<$ty>,)* }

        impl $crate::codec::Encode for $name {
            #[allow(unused_variables, unused_mut, unused_assignments)]
            fn encode<E: $crate::codec::library::Encoder>(
                &self,
                encoder: &mut E,
            ) -> Result<(), $crate::codec::library::EncodeError> {
                let mut bytes: Vec<u8> = Vec::new();
                let mut used = 0;
                $(
                    $crate::codec::encode_into(&self.$field, &mut bytes);
                    if self.$field.is_some() {
                        used = bytes.len();
                    }
                )*
                bytes.truncate(used);
                bytes.encode(encoder)
            }
        }

        impl<Context> $crate::codec::Decode<Context> for $name {
            #[allow(unused_variables, unused_mut, unused_assignments)]
            fn decode<D: $crate::codec::library::Decoder<Context = Context>>(
                decoder: &mut D,
            ) -> Result<Self, $crate::codec::library::DecodeError> {
                let bytes = <Vec<u8> as $crate::codec::Decode<Context>>::decode(decoder)?;
                let mut rest: &[u8] = &bytes;
                let mut tail = Self::default();
                $(
                    if !rest.is_empty() {
                        let (value, used) = $crate::codec::decode_prefix::<Option<$ty>>(rest)
                            .map_err(|error| $crate::codec::library::DecodeError::OtherString(error.to_string()))?;
                        tail.$field = value;
                        rest = &rest[used..];
                    }
                )*
                // What remains was added by a later version: skipped.
                Ok(tail)
            }
        }

        $crate::codec::library::impl_borrow_decode!($name);
    };
}

tail! {
    /// A tail to which nothing has been added yet.
    pub struct EmptyTail {}
}
