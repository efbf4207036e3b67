//! Whatever happens to a file: what is shown was recorded, and that something is missing is said.

use std::{env, fs, path::Path};

use proptest::prelude::*;
use tcpstate_recording::{Content, ReadError, Reader};
use tempfile::tempdir;

use crate::{generate, reports::report};

/// Bytes of the header of a file, and of that of a frame.
const HEADER: usize = 16;
const FRAME_HEADER: usize = 16;

fn recording(transitions: u64) -> Vec<u8> {
    let directory = tempdir().expect("a directory");
    let path = directory.path().join("a.tcps");
    generate::write(&path, transitions, 0);
    fs::read(&path).expect("just written")
}

/// All frames up to the first that cannot be read, and why that is.
fn read(bytes: &[u8]) -> (Vec<Content>, Option<ReadError>) {
    let mut reader = match Reader::new(bytes) {
        Ok(reader) => reader,
        Err(error) => return (Vec::new(), Some(error)),
    };
    let mut frames = Vec::new();
    loop {
        match reader.frame() {
            Ok(Some(content)) => frames.push(content),
            Ok(None) => return (frames, None),
            Err(error) => return (frames, Some(error)),
        }
    }
}

/// Where frames begin, and where the last ends.
fn boundaries(bytes: &[u8]) -> Vec<usize> {
    let mut reader = Reader::new(bytes).expect("a good file");
    let mut boundaries = vec![usize::try_from(reader.offset()).expect("small")];
    while reader.frame().expect("a good file").is_some() {
        boundaries.push(usize::try_from(reader.offset()).expect("small"));
    }
    boundaries
}

#[test]
fn cut_off_anywhere_all_whole_frames_are_read() {
    let bytes = recording(300);
    let (whole, error) = read(&bytes);
    assert!(error.is_none() && matches!(whole.last(), Some(Content::End(_))), "{error:?}");
    let boundaries = boundaries(&bytes);
    assert_eq!(boundaries.len(), whole.len() + 1);
    for length in HEADER..bytes.len() {
        let frames = boundaries.iter().filter(|&&boundary| boundary <= length).count() - 1;
        let (read, error) = read(&bytes[..length]);
        assert_eq!(read, whole[..frames], "{length} bytes");
        assert_eq!(error.is_none(), boundaries.contains(&length), "{length} bytes: {error:?}");
    }
    for length in 0..HEADER {
        assert!(matches!(read(&bytes[..length]), (none, Some(ReadError::Header(_))) if none.is_empty()));
    }
}

#[test]
fn a_report_of_what_is_left_says_so() {
    let directory = tempdir().expect("a directory");
    let path = directory.path().join("cut.tcps");
    let bytes = recording(200_000);
    let boundaries = boundaries(&bytes);
    let events: Vec<_> = boundaries.windows(2).filter(|pair| pair[1] - pair[0] > 100_000).collect();
    assert!(events.len() >= 3, "{boundaries:?}");
    fs::write(&path, &bytes[..events[1][0] + 1000]).expect("disk");
    let cut = report(&path, &["--show", "trace"]);
    assert!(
        cut.status.success() && cut.stderr.contains("is cut off") && cut.stderr.contains("until 2026-"),
        "{}",
        cut.stderr
    );
    assert!(cut.stdout.lines().count() > 10_000, "{} lines", cut.stdout.lines().count());

    fs::write(&path, &bytes[..events[1][0]]).expect("disk");
    let killed = report(&path, &["--show", "trace"]);
    assert!(killed.status.success() && killed.stderr.contains("was not ended"), "{}", killed.stderr);
    assert_eq!(killed.stdout, cut.stdout);
    for color in ["auto", "always"] {
        let told = report(&path, &["--show", "summary", "--color", color]);
        assert!(told.stderr.contains("WARN") && !told.stderr.contains('\x1b'), "{color}: {}", told.stderr);
    }

    let mut damaged = bytes.clone();
    damaged[events[1][0] + 1000] ^= 1;
    fs::write(&path, &damaged).expect("disk");
    let damaged = report(&path, &["--show", "trace"]);
    assert!(damaged.status.success() && damaged.stderr.contains("is damaged at byte"), "{}", damaged.stderr);
    assert_eq!(damaged.stdout, cut.stdout);
}

#[test]
fn foreign_older_and_newer_files_are_refused_by_name() {
    let directory = tempdir().expect("a directory");
    let path = directory.path().join("x.tcps");
    let good = recording(10);
    let [newer, older] = [9, 0].map(|format| [&good[..8], &[format, 0], &good[10..]].concat());
    for (bytes, words) in [
        (&b""[..], "holds nothing"),
        (&b"PERFILE2 and so on, for a while"[..], "no recording of tcpstate"),
        (&newer[..], "format 9, and this tcpstate reads up to 1"),
        (&older[..], "format 0, and this tcpstate reads from 1 on"),
        (&good[..HEADER], "holds nothing"),
    ] {
        fs::write(&path, bytes).expect("disk");
        let refused = report(&path, &[]);
        assert_eq!(refused.status.code(), Some(1), "{}", refused.stderr);
        assert!(refused.stdout.is_empty());
        assert!(refused.stderr.starts_with("error: ") && refused.stderr.contains(words), "{}", refused.stderr);
        assert!(refused.stderr.contains("x.tcps"), "{}", refused.stderr);
    }
}

/// Frames of kinds that later versions may add are skipped and counted.
#[test]
fn unknown_frames_are_skipped() {
    let bytes = recording(10);
    let after_start = boundaries(&bytes)[1];
    let mut frame = bytes[HEADER..after_start].to_vec();
    frame[8] = 200;
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&frame[..12]), &frame[FRAME_HEADER..]);
    frame[12..FRAME_HEADER].copy_from_slice(&checksum.to_le_bytes());
    let longer = [&bytes[..after_start], &frame[..], &bytes[after_start..]].concat();
    let (frames, error) = read(&longer);
    assert!(error.is_none(), "{error:?}");
    assert_eq!(frames, read(&bytes).0);
}

/// The first seed of the fuzzer is a recording of this format by a program of long ago. `UPDATE_GOLDEN=1` writes it anew: only
/// where nobody has recordings of this format yet.
#[test]
fn the_format_stays() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/recording/whole.tcps");
    let whole = recording(40);
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, &whole).expect("disk");
    }
    let (kept, error) = read(&fs::read(&path).expect("kept with the sources"));
    assert!(error.is_none(), "{error:?}");
    assert_eq!(kept, read(&whole).0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Bytes that are flipped, cut out or put in never make it panic, nor tell of what was not recorded.
    #[test]
    fn damage_does_no_harm(at in any::<prop::sample::Index>(), to in any::<u8>(), how in 0..3_u8) {
        thread_local!(static GOOD: (Vec<u8>, Vec<Content>) = {
            let bytes = recording(500);
            let frames = read(&bytes).0;
            (bytes, frames)
        });
        GOOD.with(|(good, whole)| {
            let mut bytes = good.clone();
            let at = at.index(bytes.len());
            match how {
                0 => bytes[at] = to,
                1 => bytes.insert(at, to),
                _ => drop(bytes.remove(at)),
            }
            let (frames, error) = read(&bytes);
            prop_assert!(whole.starts_with(&frames));
            prop_assert!(error.is_some() || frames.len() == whole.len());
            Ok(())
        })?;
    }

    /// A file that promises much and holds little takes no more memory than it is long, but for a fixed amount.
    #[test]
    fn promises_cost_nothing(compressed in any::<u32>(), payload in any::<u32>(), kind in 0..12_u16) {
        let mut bytes = b"\x89TCPST\r\n\x01\0\0\0\0\0\0\0".to_vec();
        bytes.extend(compressed.to_le_bytes());
        bytes.extend(payload.to_le_bytes());
        bytes.extend(kind.to_le_bytes());
        bytes.extend([0; 40]);
        let info = allocation_counter::measure(|| {
            let _ = read(&bytes);
        });
        prop_assert!(info.bytes_max < 4096, "{} bytes", info.bytes_max);
    }
}
