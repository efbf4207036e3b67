//! What was asked for on the command line, checked once and for all. What it names on the machine is asked of [`crate::host`];
//! nothing is read here.

pub mod allow;
pub mod buffer;
mod color;
pub mod doctor;
mod error;
pub mod filter;
pub mod hunt;
pub mod leaks;
mod link;
pub mod record;
pub mod report;
pub mod run;
pub mod states;
pub mod trace;

pub use self::error::SettingsError;
