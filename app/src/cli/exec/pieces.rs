//! Cuts a program's output into pieces for the log.
//!
//! A piece is a line without its line break, or, marked as partial, a part of a line. The concatenated pieces of a
//! stream, with a line break after each piece that is not partial, are the stream's bytes. Carriage returns are kept,
//! and no cut splits a character. Bytes that are not UTF-8 become U+FFFD, as with [`String::from_utf8_lossy`] for the
//! whole stream.

/// The maximum length of a piece, in bytes.
const MAX_PIECE_BYTES: usize = 64 << 10;
/// The maximum length of a piece as JSON, in bytes. It is below the service's limit for a line, with room for the
/// other fields.
const MAX_PIECE_JSON_BYTES: usize = 200 << 10;

/// Cuts one stream into pieces.
#[derive(Debug)]
pub(super) struct Pieces {
    pending: Vec<u8>,
    max_bytes: usize,
    max_json_bytes: usize,
}

impl Default for Pieces {
    fn default() -> Self {
        Self {
            pending: Vec::new(),
            max_bytes: MAX_PIECE_BYTES,
            max_json_bytes: MAX_PIECE_JSON_BYTES,
        }
    }
}

impl Pieces {
    /// Adds output of the program. Calls `emit(text, partial)` for each line that it completes, and for parts of a line
    /// that is too long.
    pub(super) fn feed(&mut self, bytes: &[u8], mut emit: impl FnMut(&[u8], bool)) {
        let mut rest = bytes;
        while let Some(at) = memchr::memchr(b'\n', rest) {
            self.extend(&rest[..at], &mut emit);
            rest = &rest[at + 1..];
            emit(&self.pending, false);
            self.pending.clear();
        }
        self.extend(rest, &mut emit);
    }

    /// Emits the bytes of an incomplete line as a partial piece. The bytes of an incomplete character stay.
    pub(super) fn flush(&mut self, mut emit: impl FnMut(&[u8], bool)) {
        let whole = self.pending.len() - incomplete_at_end(&self.pending);
        self.emit_part(whole, &mut emit);
    }

    /// Emits the remaining bytes at the end of the stream.
    pub(super) fn end(&mut self, mut emit: impl FnMut(&[u8], bool)) {
        let all = self.pending.len();
        self.emit_part(all, &mut emit);
    }

    /// Returns whether there is an incomplete line.
    pub(super) fn is_incomplete(&self) -> bool {
        !self.pending.is_empty()
    }

    fn extend(&mut self, bytes: &[u8], emit: &mut impl FnMut(&[u8], bool)) {
        let mut rest = bytes;
        // The bytes are added in parts, because each cut moves the bytes that are left.
        while !rest.is_empty() {
            let (now, after) = rest.split_at(rest.len().min(self.max_bytes));
            self.pending.extend_from_slice(now);
            rest = after;
            while let Some(at) = self.cut_position() {
                self.emit_part(at, emit);
            }
        }
    }

    fn emit_part(&mut self, length: usize, emit: &mut impl FnMut(&[u8], bool)) {
        if length > 0 {
            emit(&self.pending[..length], true);
            self.pending.drain(..length);
        }
    }

    /// Returns the position of the next cut, if the line is too long for one piece.
    fn cut_position(&self) -> Option<usize> {
        // JSON needs at most 6 bytes for one byte of the line.
        if self.pending.len() <= self.max_bytes.min(self.max_json_bytes / 6) {
            return None;
        }
        let mut json_bytes = 0;
        let fits = self.pending.iter().take(self.max_bytes).position(|byte| {
            json_bytes += json_bytes_of(*byte);
            json_bytes > self.max_json_bytes
        });
        let fits = fits.unwrap_or(self.max_bytes.min(self.pending.len()));
        if fits == self.pending.len() {
            return None;
        }
        let at = fits - incomplete_at_end(&self.pending[..fits]);
        // A piece has at least one byte, so that limits shorter than a character don't stop all progress.
        Some(if at == 0 { fits.max(1) } else { at })
    }
}

/// Returns the maximum number of bytes that JSON needs for a byte of a text.
fn json_bytes_of(byte: u8) -> usize {
    match byte {
        b'"' | b'\\' | b'\r' | b'\t' | 0x08 | 0x0c => 2,
        0..0x20 => 6,
        0x20..0x80 => 1,
        // An invalid byte becomes U+FFFD, which has three bytes.
        0x80.. => 3,
    }
}

/// Returns the number of bytes at the end that are an incomplete character: 0 to 3.
fn incomplete_at_end(bytes: &[u8]) -> usize {
    let tail = &bytes[bytes.len().saturating_sub(3)..];
    let Some(at) = tail.iter().rposition(|byte| *byte >= 0xc0) else {
        return 0;
    };
    let last = &tail[at..];
    match std::str::from_utf8(last) {
        Err(error) if error.valid_up_to() == 0 && error.error_len().is_none() => last.len(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn small(max_bytes: usize, max_json_bytes: usize) -> Pieces {
        Pieces {
            max_bytes,
            max_json_bytes,
            ..Pieces::default()
        }
    }

    /// Returns the pieces of some chunks. Each chunk has a flag: whether a pause follows it.
    fn cut(mut pieces: Pieces, chunks: &[(Vec<u8>, bool)]) -> Vec<(Vec<u8>, bool)> {
        let mut given = Vec::new();
        let mut emit = |text: &[u8], partial: bool| given.push((text.to_vec(), partial));
        for (chunk, pause) in chunks {
            pieces.feed(chunk, &mut emit);
            if *pause {
                pieces.flush(&mut emit);
            }
        }
        pieces.end(&mut emit);
        given
    }

    fn joined(pieces: &[(Vec<u8>, bool)]) -> String {
        let text = |(text, partial): &(Vec<u8>, bool)| {
            format!("{}{}", String::from_utf8_lossy(text), if *partial { "" } else { "\n" })
        };
        pieces.iter().map(text).collect()
    }

    fn texts(pieces: &[(Vec<u8>, bool)]) -> Vec<(String, bool)> {
        let text = |(text, partial): &(Vec<u8>, bool)| (String::from_utf8_lossy(text).into_owned(), *partial);
        pieces.iter().map(text).collect()
    }

    fn chunk(text: &[u8]) -> (Vec<u8>, bool) {
        (text.to_vec(), true)
    }

    #[test]
    fn a_slow_progress_bar_keeps_its_carriage_returns() {
        let given = cut(Pieces::default(), &[chunk(b"10%\r"), chunk(b"20%\r"), chunk(b"done\n")]);
        let expected = [("10%\r", true), ("20%\r", true), ("done", false)];
        assert_eq!(
            texts(&given),
            expected.map(|(text, partial)| (text.to_owned(), partial))
        );
        // Lines that end with \r\n, and a line without an end.
        let given = cut(Pieces::default(), &[chunk(b"a\r\nb\r\n\nno end")]);
        assert_eq!(joined(&given), "a\r\nb\r\n\nno end");
    }

    #[test]
    fn a_character_that_comes_slowly_stays_whole() {
        let bytes = "né€𝄞".as_bytes();
        let slowly: Vec<_> = bytes.iter().map(|byte| chunk(&[*byte])).collect();
        let given = cut(Pieces::default(), &slowly);
        let whole: Vec<_> = texts(&given).into_iter().map(|(text, _)| text).collect();
        assert_eq!(whole, ["n", "é", "€", "𝄞"]);
        // A character that stays incomplete becomes one U+FFFD at the end.
        assert_eq!(
            joined(&cut(Pieces::default(), &[chunk(b"a\xe2\x82"), chunk(b"\n\xf0\x9f")])),
            "a\u{FFFD}\n\u{FFFD}"
        );
    }

    #[test]
    fn a_long_line_is_cut_between_characters_and_fits_the_service_s_limit() {
        for character in ["€", "é", "𝄞", "x", "\u{1}", "\"", "\u{FFFD}"] {
            let line = character.repeat(300_000);
            let given = cut(Pieces::default(), &[chunk(line.as_bytes()), chunk(b"\n")]);
            assert_eq!(joined(&given), format!("{line}\n"));
            for (text, _) in &given {
                let text = std::str::from_utf8(text).unwrap();
                let json = serde_json::to_string(text).unwrap().len();
                assert!(
                    text.len() <= MAX_PIECE_BYTES && json <= MAX_PIECE_JSON_BYTES + 2,
                    "{json}"
                );
            }
        }
    }

    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            any::<String>().prop_map(String::into_bytes),
            "[a-zé€𝄞\r\n]{0,60}".prop_map(String::into_bytes),
            prop::collection::vec(any::<u8>(), 0..60),
            // First and later bytes of characters.
            prop::collection::vec(
                prop::sample::select(vec![0xe2, 0x82, 0xac, 0xf0, 0x9d, 0x84, 0x9e, 0xc3, 0xa9, b'\n']),
                0..40
            ),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

        /// For any chunks and pauses, the concatenated pieces are the output.
        #[test]
        fn concatenated_pieces_are_the_output(
            parts in prop::collection::vec(bytes(), 0..6),
            cuts in prop::collection::vec((0..20_usize, any::<bool>()), 1..40),
            max_bytes in 4..40_usize,
            max_json_bytes in 24..200_usize,
        ) {
            let all = parts.concat();
            let mut chunks = Vec::new();
            let mut rest = &all[..];
            for (length, pause) in cuts.iter().cycle().take(2_000) {
                let (now, after) = rest.split_at(rest.len().min(*length));
                chunks.push((now.to_vec(), *pause));
                rest = after;
            }
            chunks.push((rest.to_vec(), false));
            let given = cut(small(max_bytes, max_json_bytes), &chunks);
            prop_assert_eq!(joined(&given), String::from_utf8_lossy(&all));
            for (text, _) in &given {
                prop_assert!(text.len() <= max_bytes);
            }
        }
    }
}
