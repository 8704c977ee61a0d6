//! Text to `Config`.
