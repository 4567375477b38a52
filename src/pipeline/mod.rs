//! Byte streams on their way to and from a store: digest, compress, encrypt.
