//! Figures over many events. No I/O, no clock: time comes with the events, or as an argument.

pub mod doctor;
pub mod dwell;
pub mod event_loop;
pub mod leaks;
pub mod stack_book;
pub mod states;
pub mod verdict;
