//! Recordings that are whole, cut off, damaged, foreign and newer, through the reader and through `tcpstate report`, without
//! root.

mod bombs;
mod counts;
mod damage;
mod generate;
mod hostile;
mod made;
mod mutated;
mod reports;
mod v1;
