//! `CPython`'s strings (`Include/cpython/unicodeobject.h`, 3.8 to 3.14): `PyASCIIObject`, or `PyCompactUnicodeObject`, with the characters
//! after it.

use super::super::memory::{Memory, half, word};

/// The longest text that is read, bytes of the process. Longer ones are shown shortened.
const MAX_TEXT: u32 = 1024;
/// Stands for what is left out.
const ELLIPSIS: char = '…';

/// Offset of the type in every object.
const TYPE: u32 = 8;
/// Offset of the number of characters.
const LENGTH: u32 = 16;
/// Offset of what the string is.
const STATE: u32 = 32;

/// Where strings have their characters.
#[derive(Clone, Copy, Debug)]
pub(super) struct TextLayout {
    /// Those that are ASCII.
    pub(super) ascii: u32,
    /// Others.
    pub(super) other: u32,
}

/// Reads a string. `kind` is the address of the type that strings are of. `None`: it is no string of a known form.
pub(super) fn read(address: u64, kind: u64, layout: TextLayout, memory: &mut Memory<'_>) -> Option<String> {
    decode(&memory.read(address, layout.other.max(layout.ascii) + MAX_TEXT), kind, layout)
}

/// How the characters of a string are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Form {
    /// Bytes of each.
    width: u32,
    is_ascii: bool,
}

impl Form {
    /// By the bits from `shift` on: three of the width, then whether the string is one object with its characters, then whether it is
    /// ASCII.
    fn read(state: u32, shift: u32) -> Option<Self> {
        let bits = state >> shift;
        let form = Self { width: bits & 7, is_ascii: bits & 16 != 0 };
        let is_sound = matches!(form.width, 1 | 2 | 4) && bits & 8 != 0 && (form.width == 1 || !form.is_ascii);
        is_sound.then_some(form)
    }
}

fn decode(object: &[u8], kind: u64, layout: TextLayout) -> Option<String> {
    if word(object, TYPE)? != kind {
        return None;
    }
    let length = word(object, LENGTH).filter(|&length| length <= i64::MAX as u64)?;
    let state = half(object, STATE)?;
    // Before the width there are two bits that tell whether the string is interned, or, in some builds since 3.14, sixteen. The upper
    // ones of these are 0, so that the first reading finds no width there.
    let form = Form::read(state, 2).or_else(|| Form::read(state, 16))?;
    let most = MAX_TEXT / form.width;
    let count = length.min(u64::from(most)) as usize;
    let begin = if form.is_ascii { layout.ascii } else { layout.other } as usize;
    let data = object.get(begin..)?.get(..count * form.width as usize)?;
    if form.is_ascii && !data.is_ascii() {
        return None;
    }
    let mut text = String::with_capacity(data.len());
    for unit in data.chunks_exact(form.width as usize) {
        let unit = unit.iter().rev().fold(0, |value, &byte| value << 8 | u32::from(byte));
        // Half of a surrogate pair stands for a byte that was no text.
        let is_surrogate = (0xd800..0xe000).contains(&unit);
        text.push(if is_surrogate { char::REPLACEMENT_CHARACTER } else { char::from_u32(unit)? });
    }
    if length > u64::from(most) {
        text.push(ELLIPSIS);
    }
    Some(text)
}

#[cfg(test)]
pub(in crate::interpreted) mod tests {
    use proptest::prelude::*;

    use super::*;

    const KIND: u64 = 0x5000;
    const LAYOUT: TextLayout = TextLayout { ascii: 40, other: 56 };

    /// A string as 3.12 keeps it.
    pub(in crate::interpreted) fn object(kind: u64, text: &str) -> Vec<u8> {
        let widest = text.chars().max().map_or(0, u32::from);
        let width = if widest < 0x100 {
            1
        } else if widest < 0x10000 {
            2
        } else {
            4
        };
        let is_ascii = text.is_ascii();
        let state = u64::from(width << 2 | 1 << 5 | u32::from(is_ascii) << 6);
        let mut object = [2, kind, text.chars().count() as u64, 0, state].map(u64::to_le_bytes).concat();
        object.resize(if is_ascii { LAYOUT.ascii } else { LAYOUT.other } as usize, 0);
        for character in text.chars() {
            object.extend(&u32::from(character).to_le_bytes()[..width as usize]);
        }
        object
    }

    #[test]
    fn strings_of_each_width() {
        for text in ["handle", "Größe", "обработать", "поток🧵", ""] {
            assert_eq!(decode(&object(KIND, text), KIND, LAYOUT).as_deref(), Some(text));
        }
        let mut wide = object(KIND, "handle");
        wide[32..36].copy_from_slice(&(3_u32 | 1 << 16 | 1 << 19 | 1 << 20).to_le_bytes());
        assert_eq!(decode(&wide, KIND, LAYOUT).as_deref(), Some("handle"));
    }

    #[test]
    fn what_is_too_long_is_shortened() {
        let text = "я".repeat(600);
        assert_eq!(decode(&object(KIND, &text), KIND, LAYOUT), Some(format!("{}…", "я".repeat(512))));
    }

    #[test]
    fn what_is_no_string_has_no_text() {
        let sound = object(KIND, "handle");
        assert_eq!(decode(&sound, KIND + 8, LAYOUT), None);
        assert_eq!(decode(&sound[..sound.len() - 1], KIND, LAYOUT), None);
        // One that has its characters elsewhere, and such as there are none of.
        for state in [1 << 2 | 1 << 6, 3 << 2 | 1 << 5, 2 << 2 | 1 << 5 | 1 << 6, 0, u32::MAX] {
            let mut other = sound.clone();
            other[32..36].copy_from_slice(&state.to_le_bytes());
            assert_eq!(decode(&other, KIND, LAYOUT), None, "{state:#x}");
        }
        let mut other = sound;
        other[42] = 0x80;
        assert_eq!(decode(&other, KIND, LAYOUT), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(
            mut object in prop::collection::vec(any::<u8>(), 0..200), length: u64, state in any::<u32>(), is_kind: bool,
        ) {
            if is_kind && object.len() >= 40 {
                object[8..16].copy_from_slice(&KIND.to_le_bytes());
                object[16..24].copy_from_slice(&(length >> (state % 64)).to_le_bytes());
                object[32..36].copy_from_slice(&state.to_le_bytes());
            }
            if let Some(text) = decode(&object, KIND, LAYOUT) {
                prop_assert!(text.chars().count() <= MAX_TEXT as usize + 1);
            }
        }

        #[test]
        fn any_text_is_read(text in "\\PC{0,200}") {
            prop_assert_eq!(decode(&object(KIND, &text), KIND, LAYOUT), Some(text));
        }
    }
}
