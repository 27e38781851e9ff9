//! Commands on queues, a file for each that is not tiny.

mod create;
mod end;
mod get;
mod number;
mod put;

pub(crate) use create::Create;
pub(crate) use end::{Clear, Join, Rm, Shutdown};
pub(crate) use get::Get;
pub(crate) use put::Put;
