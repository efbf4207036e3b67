//! Recordings that are whole, cut off, damaged, foreign and newer, through the reader and through `tcpstate report`, without
//! root.

mod counts;
mod damage;
mod generate;
mod reports;
mod v1;
