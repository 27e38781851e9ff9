//! What several of the programs in `src/bin` need. `cargo xtask proof` runs them.

pub mod spread;
pub mod victim;
