//! Recordings: what the aggregators were told, in a file that can be read elsewhere. The format is documented in
//! `schema/recording-v1.md`.
//!
//! [`frame`], [`events`] and [`census`] are the bytes, [`record`] what they mean; [`writer`] and [`reader`] are the file.

pub mod census;
mod dictionary;
pub mod events;
pub mod frame;
pub mod reader;
pub mod record;
pub mod writer;
