//! What users and their programs read, byte for byte. Needs neither root nor a kernel.

mod doctor;
#[path = "../support/faults.rs"]
mod faults;
mod golden;
mod help;
mod json;
mod probes;
mod sample;
mod schema;
mod shell;
mod states;
mod strategy;
mod streams;
mod summary;
mod text;
