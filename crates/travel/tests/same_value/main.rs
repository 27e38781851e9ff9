//! I9: what is got equals what was put, or the put failed with an error that says what to do.
//!
//! A row of the table in `docs/codec.md` is a test here.

mod attributes;
mod constructs;
mod converted;
mod handles;
mod hostile;
mod identity;
mod library;
mod plain;
mod random;
mod refused;
mod tried;

use multiproc_travel::pass;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;

/// What is got after a put of this value.
fn travel<T: Serialize + DeserializeOwned>(value: &T) -> Result<T, String> {
    let mut bytes = b"before".to_vec();
    match pass::encode_plain(value, &mut bytes) {
        Ok(()) => Ok(pass::decode_plain(&bytes[6..]).unwrap_or_else(|error| panic!("put, and lost at the get: {error}"))),
        Err(error) => {
            assert_eq!(bytes, b"before", "a put that failed left something behind");
            assert!(error.to_string().contains(std::any::type_name::<T>()), "which type? {error}");
            Err(error.to_string())
        }
    }
}

/// The value comes back as it was put: the first time, which is tried out, and the second, which may not be.
#[track_caller]
fn comes_back<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: T) {
    for _ in 0..2 {
        assert_eq!(travel(&value).as_ref(), Ok(&value));
    }
}

/// The put is refused, each time, with these words.
#[track_caller]
fn is_refused<T: Serialize + DeserializeOwned>(value: T, words: &str) {
    for _ in 0..2 {
        let error = travel(&value).err().expect("it was not refused");
        assert!(error.contains(words), "{error:?} does not say {words:?}");
    }
}
