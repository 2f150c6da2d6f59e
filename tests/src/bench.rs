//! What benches share.

/// Whether the command line asks for the part of this name: `cargo bench … -- latency`; all of them if it names none.
pub fn wanted(name: &str) -> bool {
    let mut filters = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-'))
        .peekable();
    filters.peek().is_none() || filters.any(|filter| name.contains(&filter))
}
