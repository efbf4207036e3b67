//! What colours and weights mean in text for people.

use anstyle::{AnsiColor, Color, Style};

/// Nothing in particular.
pub(super) const PLAIN: Style = Style::new();
/// What a part begins with.
pub(super) const BOLD: Style = Style::new().bold();
/// What may be passed over.
pub(super) const DIM: Style = Style::new().dimmed();
/// What is wrong.
pub(super) const BAD: Style = Style::new().fg_color(Some(Color::Ansi(AnsiColor::Red))).bold();
/// What may be wrong, or is missing.
pub(super) const WARNING: Style = Style::new().fg_color(Some(Color::Ansi(AnsiColor::Yellow))).bold();
/// What is as it should be.
pub(super) const GOOD: Style = Style::new().fg_color(Some(Color::Ansi(AnsiColor::Green)));
