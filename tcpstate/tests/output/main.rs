//! What users and their programs read, byte for byte. Needs neither root nor a kernel.

mod doctor;
mod golden;
mod help;
mod json;
mod probes;
mod sample;
mod schema;
mod shell;
mod states;
mod strategy;
mod summary;
mod text;
