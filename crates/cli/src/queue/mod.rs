//! Commands on queues, a file for each that is not tiny.

pub(crate) mod create;
pub(crate) mod dead;
mod end;
mod export;
mod get;
pub(crate) mod json;
pub(crate) mod list;
pub(crate) mod number;
pub(crate) mod put;

pub(crate) use create::Create;
pub(crate) use dead::Dead;
pub(crate) use end::{Clear, Join, Rm, Shutdown};
pub(crate) use export::{Export, Import};
pub(crate) use get::{Get, Peek};
pub(crate) use json::Ended;
pub(crate) use list::{Ls, Stat};
pub(crate) use put::Put;
