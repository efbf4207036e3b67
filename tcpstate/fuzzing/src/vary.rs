//! Variations of what is kept in a corpus: always the same ones, so that a failure comes again.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use crate::noise::Noise;

/// Bytes that are limits of numbers, as one byte, as a varint and as a word.
const LIMITS: [&[u8]; 7] = [
    &[0],
    &[0x7f],
    &[0x80],
    &[0xff],
    &[0xff, 0xff, 0xff, 0xff, 0x0f],
    &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
    &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
];

/// Hands the function every file of `tcpstate/fuzz/corpus/NAME`, then so many variations of them, fewer where these take longer than
/// that. Where the function panics, says which file it was, and the bytes.
///
/// # Panics
///
/// When the function does, or there is no such corpus.
pub fn vary(name: &str, variations: u64, time: Duration, function: impl Fn(&[u8])) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(name);
    let mut seeds: Vec<_> = fs::read_dir(&directory)
        .unwrap_or_else(|error| panic!("{}: {error}", directory.display()))
        .map(|entry| entry.expect("an entry").path())
        .collect();
    // Whatever the file system's order.
    seeds.sort();
    let seeds: Vec<_> = seeds.iter().map(|path| (path, fs::read(path).expect("a file"))).collect();
    assert!(!seeds.is_empty(), "{} is empty", directory.display());
    let began = Instant::now();
    for (path, bytes) in &seeds {
        let _seed = Told { what: format!("the seed {}", path.display()), bytes };
        function(bytes);
    }
    for number in 0..variations {
        if began.elapsed() > time {
            break;
        }
        let mut noise = Noise(number);
        let (path, seed) = &seeds[noise.index(seeds.len())];
        let (_, other) = &seeds[noise.index(seeds.len())];
        let bytes = varied(seed, other, &mut noise);
        let _variation = Told { what: format!("variation {number} of {}", path.display()), bytes: &bytes };
        function(&bytes);
    }
}

/// The variation of this number of some bytes, with something of others in it.
#[must_use]
pub fn variation(seed: &[u8], other: &[u8], number: u64) -> Vec<u8> {
    varied(seed, other, &mut Noise(number))
}

/// One to four changes.
fn varied(seed: &[u8], other: &[u8], noise: &mut Noise) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..=noise.index(4) {
        let at = noise.index(bytes.len() + 1);
        let end = (at + 1 + noise.index(16)).min(bytes.len());
        match noise.index(6) {
            0 if at < bytes.len() => bytes[at] = noise.draw() as u8,
            1 if at < bytes.len() => bytes[at] ^= 1 << noise.index(8),
            2 => drop(bytes.splice(at..end, LIMITS[noise.index(LIMITS.len())].iter().copied())),
            3 => drop(bytes.drain(at..end)),
            4 => bytes.truncate(at),
            _ if !other.is_empty() => {
                let from = noise.index(other.len());
                let to = (from + 1 + noise.index(64)).min(other.len());
                bytes.splice(at..at, other[from..to].iter().copied());
            }
            _ => {}
        }
    }
    bytes
}

/// Says what it was where the thread panics.
struct Told<'a> {
    what: String,
    bytes: &'a [u8],
}

impl Drop for Told<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}: \"{}\"", self.what, self.bytes.escape_ascii());
        }
    }
}
