//! The first bytes of a file: that it is a recording, and of which version of the format.

use thiserror::Error;

/// First bytes of every recording. The first is no text, the last two are changed by whatever takes the file for text.
const MAGIC: [u8; 8] = *b"\x89TCPST\r\n";
/// Features that a reader has to know to read the file at all. None yet.
const FEATURES: u32 = 0;
/// Bytes of the header.
pub(crate) const HEADER: usize = 16;

/// A version of the format that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    /// See [`v1`](crate::v1).
    V1,
}

impl Version {
    /// Every version that can be read, the oldest first.
    const ALL: [Self; 1] = [Self::V1];
    /// What is written.
    const CURRENT: Self = Self::V1;

    /// Its number in the header.
    const fn number(self) -> u16 {
        match self {
            Self::V1 => 1,
        }
    }

    fn from_number(found: u16) -> Result<Self, HeaderError> {
        let (oldest, newest) = (Self::ALL[0].number(), Self::CURRENT.number());
        let version = Self::ALL.into_iter().find(|version| version.number() == found);
        version.ok_or(if found < oldest {
            HeaderError::Older { found, oldest }
        } else {
            HeaderError::Newer { found, newest }
        })
    }
}

/// Why a file is no recording that can be read.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum HeaderError {
    /// It is something else.
    #[error("no recording of tcpstate: it does not begin as one; make one with `tcpstate record -o FILE`")]
    Foreign,
    /// It was transferred as text.
    #[error("this recording was changed by a transfer as text: copy the file again, as binary")]
    Text,
    /// Not even the header is there.
    #[error("the file is empty or ends in its header: it holds nothing")]
    Short,
    /// A later program wrote it.
    #[error(
        "a recording of format {found}, and this tcpstate reads up to {newest}: use the tcpstate that made it, or a later one"
    )]
    Newer {
        /// The version it says it has.
        found: u16,
        /// The newest that can be read.
        newest: u16,
    },
    /// An earlier program wrote it.
    #[error(
        "a recording of format {found}, and this tcpstate reads from {oldest} on: use the tcpstate that made it, or an earlier one"
    )]
    Older {
        /// The version it says it has.
        found: u16,
        /// The oldest that can be read.
        oldest: u16,
    },
    /// A later program wrote it.
    #[error(
        "a recording with features {unknown:#x} that this tcpstate does not know: use the tcpstate that made it, or a later one"
    )]
    Features {
        /// The bits that are not known.
        unknown: u32,
    },
}

/// The header of a new recording.
pub(crate) fn header() -> [u8; HEADER] {
    let mut bytes = [0; HEADER];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..10].copy_from_slice(&Version::CURRENT.number().to_le_bytes());
    bytes[12..].copy_from_slice(&FEATURES.to_le_bytes());
    bytes
}

/// The version that the first bytes of a file tell.
///
/// # Errors
///
/// When what follows cannot be read.
pub(crate) fn version(bytes: &[u8]) -> Result<Version, HeaderError> {
    let Some(header) = bytes.first_chunk::<HEADER>() else {
        let begins = MAGIC.starts_with(&bytes[..bytes.len().min(MAGIC.len())]);
        return Err(if begins { HeaderError::Short } else { HeaderError::Foreign });
    };
    if header[..8] != MAGIC {
        let text = header[1..6] == MAGIC[1..6];
        return Err(if text { HeaderError::Text } else { HeaderError::Foreign });
    }
    let version = Version::from_number(u16::from_le_bytes([header[8], header[9]]))?;
    let unknown = u32::from_le_bytes([header[12], header[13], header[14], header[15]]) & !FEATURES;
    if unknown == 0 { Ok(version) } else { Err(HeaderError::Features { unknown }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_older_newer_and_mangled_files_are_told_apart() {
        let good = header();
        assert_eq!(version(&good), Ok(Version::V1));
        assert_eq!(version(&[]), Err(HeaderError::Short));
        assert_eq!(version(&good[..9]), Err(HeaderError::Short));
        assert_eq!(version(b"PERFILE2"), Err(HeaderError::Foreign));
        assert_eq!(version(b"PERFILE2 and much more"), Err(HeaderError::Foreign));
        let changed = |at: usize, to: u8| {
            let mut bytes = good;
            bytes[at] = to;
            version(&bytes)
        };
        assert_eq!(changed(8, 0), Err(HeaderError::Older { found: 0, oldest: 1 }));
        assert_eq!(changed(8, 2), Err(HeaderError::Newer { found: 2, newest: 1 }));
        assert_eq!(changed(9, 1), Err(HeaderError::Newer { found: 257, newest: 1 }));
        assert_eq!(changed(15, 0x80), Err(HeaderError::Features { unknown: 0x8000_0000 }));
        assert_eq!(changed(0, b'?'), Err(HeaderError::Text));
        assert_eq!(changed(6, b'\n'), Err(HeaderError::Text));
    }

    #[test]
    fn versions_ascend() {
        assert!(Version::ALL.is_sorted_by_key(|version| version.number()));
        assert_eq!(Version::ALL.last(), Some(&Version::CURRENT));
    }
}
