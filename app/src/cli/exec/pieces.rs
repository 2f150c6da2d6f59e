//! Cuts what a program prints into pieces for the log.
//!
//! A piece is a line without its line break, or, marked as partial, a part of one. Put together again, with a line break after
//! each piece that is not partial, the pieces of a stream are the stream's bytes: carriage returns stay where they are, and
//! no cut goes through a character. Bytes that are no UTF-8 become U+FFFD, as [`String::from_utf8_lossy`] does it for the
//! whole stream.

/// A piece is at most so long, in bytes.
const MAX_PIECE_BYTES: usize = 64 << 10;
/// As long as its text may be as JSON, in bytes: within the service's limit for a line, with room for the rest of it.
const MAX_PIECE_JSON_BYTES: usize = 200 << 10;

/// A stream while it is cut.
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
    /// Takes in what the program has printed, and gives the lines that it ends, and parts of one that is too long:
    /// `give(text, partial)`.
    pub(super) fn feed(&mut self, bytes: &[u8], mut give: impl FnMut(&[u8], bool)) {
        let mut rest = bytes;
        while let Some(at) = memchr::memchr(b'\n', rest) {
            self.extend(&rest[..at], &mut give);
            rest = &rest[at + 1..];
            give(&self.pending, false);
            self.pending.clear();
        }
        self.extend(rest, &mut give);
    }

    /// Gives what there is of a line that has not ended. The bytes of a character that is not whole yet stay.
    pub(super) fn flush(&mut self, mut give: impl FnMut(&[u8], bool)) {
        let whole = self.pending.len() - incomplete_at_end(&self.pending);
        self.give_part(whole, &mut give);
    }

    /// Gives what is left: nothing more comes.
    pub(super) fn end(&mut self, mut give: impl FnMut(&[u8], bool)) {
        let all = self.pending.len();
        self.give_part(all, &mut give);
    }

    /// Whether something waits for the end of its line.
    pub(super) fn is_waiting(&self) -> bool {
        !self.pending.is_empty()
    }

    fn extend(&mut self, bytes: &[u8], give: &mut impl FnMut(&[u8], bool)) {
        let mut rest = bytes;
        // Not all at once: what is left is moved at each cut.
        while !rest.is_empty() {
            let (now, after) = rest.split_at(rest.len().min(self.max_bytes));
            self.pending.extend_from_slice(now);
            rest = after;
            while let Some(at) = self.too_long_at() {
                self.give_part(at, give);
            }
        }
    }

    fn give_part(&mut self, length: usize, give: &mut impl FnMut(&[u8], bool)) {
        if length > 0 {
            give(&self.pending[..length], true);
            self.pending.drain(..length);
        }
    }

    /// Where a line that is too long for one piece is cut.
    fn too_long_at(&self) -> Option<usize> {
        // No byte is longer than that as JSON.
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
        // With limits that are shorter than a character there would be no progress.
        Some(if at == 0 { fits.max(1) } else { at })
    }
}

/// How long a byte of a text is as JSON, at most.
fn json_bytes_of(byte: u8) -> usize {
    match byte {
        b'"' | b'\\' | b'\r' | b'\t' | 0x08 | 0x0c => 2,
        0..0x20 => 6,
        0x20..0x80 => 1,
        // By itself it may be no character: U+FFFD has three bytes.
        0x80.. => 3,
    }
}

/// How many bytes at the end are the beginning of a character, and no more than that: 0 to 3.
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

    /// What comes out of chunks, each with whether a pause follows it.
    fn cut(mut pieces: Pieces, chunks: &[(Vec<u8>, bool)]) -> Vec<(Vec<u8>, bool)> {
        let mut given = Vec::new();
        let mut give = |text: &[u8], partial: bool| given.push((text.to_vec(), partial));
        for (chunk, pause) in chunks {
            pieces.feed(chunk, &mut give);
            if *pause {
                pieces.flush(&mut give);
            }
        }
        pieces.end(&mut give);
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
        // As on Windows, and a line without an end.
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
        // One that never becomes whole is told at the end, once.
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
            // Beginnings of characters, and their rests.
            prop::collection::vec(
                prop::sample::select(vec![0xe2, 0x82, 0xac, 0xf0, 0x9d, 0x84, 0x9e, 0xc3, 0xa9, b'\n']),
                0..40
            ),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

        /// In whatever chunks it comes, with whatever pauses: put together it is what was printed.
        #[test]
        fn the_pieces_are_what_was_printed(
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
