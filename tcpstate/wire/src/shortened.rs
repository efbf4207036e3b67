//! Names of any length, cut to one that can be shown.

/// A text of at most `limit` bytes: what is longer ends in `…`.
#[must_use]
pub fn shortened(text: &str, limit: usize) -> String {
    const MORE: char = '…';
    if text.len() <= limit {
        return text.to_owned();
    }
    let room = limit.saturating_sub(MORE.len_utf8());
    let end = (0..=room).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
    let mut short = text[..end].to_owned();
    short.push(MORE);
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn between_characters() {
        assert_eq!(shortened("libssl.so", 9), "libssl.so");
        assert_eq!(shortened("libssl.so.3", 9), "libssl…");
        assert_eq!(shortened("äöü", 5), "ä…");
        assert_eq!(shortened("äöü", 0), "…");
    }
}
