//! An end inside one descriptor, for a process that the user starts.
//!
//! The descriptor is a socket whose other end is closed. One message waits in it: the descriptors of the end, and a sealed file with the
//! rest. A process that takes the message out has the end.

use crate::error::DescriptorError;
use crate::layout::MAX_MESSAGE;
use multiproc_prim::Deadline;
use multiproc_travel::{Wire, pass, read_own_file, write_own_file};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// The number of the one message.
const NUMBER: u64 = 1;

/// Puts an end with messages of these types into a descriptor.
pub(crate) fn pack<E, Types>(end: &E) -> Result<OwnedFd, DescriptorError>
where
    E: Serialize + DeserializeOwned,
    Types: DeserializeOwned,
{
    let name = pass::type_name::<E>();
    let parcel = pass::encode_as::<(u64, String, E), _>(&(pass::identity::<Types>(), name.as_str(), end))?;
    let file = write_own_file(&parcel.bytes)?;
    let (sending, waiting) = Wire::pair()?;
    // In one packet, which stays in the socket until the end was taken out.
    let count = parcel.descriptors.len() + 1;
    if count > Wire::MOST_IN_A_PACKET {
        let what = format!("{count} descriptors of a message that came in part don't fit: receive the message first");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, what).into());
    }
    let descriptors: Vec<_> = parcel.descriptors.iter().chain([&file]).map(AsFd::as_fd).collect();
    sending.send(NUMBER, &descriptors, Deadline::NOW, &mut || true)?;
    let packed = waiting.as_fd().try_clone_to_owned()?;
    parcel.sent();
    Ok(packed)
}

/// Takes the end out that [`pack`] put into a descriptor.
pub(crate) fn unpack<E, Types>(descriptor: impl AsFd) -> Result<E, DescriptorError>
where
    E: DeserializeOwned,
    Types: DeserializeOwned,
{
    let nothing = |_| DescriptorError::Nothing;
    let wire = Wire::from_descriptor(descriptor.as_fd().try_clone_to_owned()?).map_err(nothing)?;
    let mut descriptors = Vec::new();
    wire.fetch(NUMBER, &mut descriptors).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => DescriptorError::Nothing,
        _ => DescriptorError::System(error),
    })?;
    let file = descriptors.pop().ok_or(DescriptorError::Nothing)?;
    let bytes = read_own_file(&file, 2 * MAX_MESSAGE).map_err(nothing)?;
    let (identity, found, end) = pass::decode::<(u64, String, E)>(&bytes, descriptors)?;
    if identity != pass::identity::<Types>() {
        return Err(DescriptorError::OtherTypes { found, wanted: pass::type_name::<E>() });
    }
    // Only now: what could not be taken out is still there.
    wire.finish(NUMBER);
    Ok(end)
}
