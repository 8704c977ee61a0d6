//! Where the body of an HTTP/1.1 message ends, and what of the bytes on the wire it is (RFC 9112, 6 and 7.1). Pure.
//!
//! What one read brought comes out as one run, however many chunks it was cut into: a burst of a hundred events costs
//! one pass, not a hundred. What is not well formed must never pass for an end.

use bytes::BytesMut;

/// Bytes of the extensions of all chunks, and of all trailers.
const MAX_EXTENSION_BYTES: usize = 16 * 1024;

/// The framing is not HTTP/1.1: nothing after it can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("invalid message framing: {0}")]
pub struct FramingError(pub &'static str);

/// Tells the body from what comes after it.
#[derive(Debug)]
pub enum Decoder {
    /// So many bytes are left of it.
    Length(u64),
    /// It says itself where it ends.
    Chunked(Chunked),
    /// It ends with the connection.
    ToClose,
}

impl Decoder {
    /// Chunks, from their beginning.
    pub fn chunked() -> Self {
        Self::Chunked(Chunked { at: ChunkState::Size, left: 0, digits: 0, discarded: 0 })
    }

    /// Whether all of the body has been seen.
    pub fn is_over(&self) -> bool {
        match self {
            Self::Length(left) => *left == 0,
            Self::Chunked(chunked) => chunked.at == ChunkState::End,
            Self::ToClose => false,
        }
    }

    /// Moves the body from the front of `input` to the end of `run`; what stays in `input` came after the body.
    ///
    /// # Errors
    /// [`FramingError`]; what came before it is in `run`.
    pub fn decode(&mut self, input: &mut &[u8], run: &mut BytesMut) -> Result<(), FramingError> {
        match self {
            Self::Length(left) => *left -= take(input, *left, run),
            Self::Chunked(chunked) => chunked.decode(input, run)?,
            Self::ToClose => drop(take(input, u64::MAX, run)),
        }
        Ok(())
    }
}

/// Moves at most `most` bytes; answers how many.
fn take(input: &mut &[u8], most: u64, run: &mut BytesMut) -> u64 {
    let length = input.len().min(usize::try_from(most).unwrap_or(usize::MAX));
    let (taken, rest) = input.split_at(length);
    run.extend_from_slice(taken);
    *input = rest;
    length as u64
}

/// A body in chunks. Its trailers are left out.
#[derive(Debug)]
pub struct Chunked {
    at: ChunkState,
    /// Bytes that are left of the chunk; while its size is read, the size so far.
    left: u64,
    /// Digits of its size.
    digits: u8,
    /// Bytes of extensions so far, in the whole body; then of the trailers.
    discarded: usize,
}

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ChunkState {
    Size,
    SizeBlank,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    TrailerBegin,
    Trailer,
    TrailerLf,
    EndLf,
    End,
}

impl Chunked {
    fn decode(&mut self, input: &mut &[u8], run: &mut BytesMut) -> Result<(), FramingError> {
        while self.at != ChunkState::End {
            if self.at == ChunkState::Data {
                self.left -= take(input, self.left, run);
                if self.left > 0 {
                    return Ok(());
                }
                self.at = ChunkState::DataCr;
            }
            let Some((byte, rest)) = input.split_first() else { return Ok(()) };
            self.at = self.after(*byte)?;
            *input = rest;
        }
        Ok(())
    }

    /// Takes one byte of what frames the data.
    fn after(&mut self, byte: u8) -> Result<ChunkState, FramingError> {
        match (self.at, byte) {
            (ChunkState::Size, _) => self.size(byte),
            (ChunkState::SizeBlank, _) => self.after_size(byte),
            (ChunkState::Extension, b'\r') => Ok(ChunkState::SizeLf),
            (ChunkState::Extension, b'\n') => Err(FramingError("invalid chunk extension: bare LF")),
            (ChunkState::Extension, _) => self.discard(ChunkState::Extension),
            (ChunkState::SizeLf, b'\n') => Ok(self.begin_data()),
            (ChunkState::DataCr, b'\r') => Ok(ChunkState::DataLf),
            (ChunkState::DataLf, b'\n') => Ok(ChunkState::Size),
            (ChunkState::TrailerBegin, b'\r') => Ok(ChunkState::EndLf),
            (ChunkState::Trailer, b'\r') => Ok(ChunkState::TrailerLf),
            (ChunkState::TrailerBegin | ChunkState::Trailer, b'\n') => {
                Err(FramingError("invalid trailer: bare LF"))
            }
            (ChunkState::TrailerBegin | ChunkState::Trailer, _) => self.discard(ChunkState::Trailer),
            (ChunkState::TrailerLf, b'\n') => Ok(ChunkState::TrailerBegin),
            (ChunkState::EndLf, b'\n') => Ok(ChunkState::End),
            _ => Err(FramingError("invalid chunk: missing CRLF")),
        }
    }

    fn size(&mut self, byte: u8) -> Result<ChunkState, FramingError> {
        if let Some(digit) = char::from(byte).to_digit(16) {
            let larger = self.left.checked_mul(16).ok_or(FramingError("invalid chunk size: overflow"))?;
            self.left = larger + u64::from(digit);
            // Leading zeros are digits without a value.
            self.digits =
                self.digits.checked_add(1).ok_or(FramingError("invalid chunk size: too many digits"))?;
            return Ok(ChunkState::Size);
        }
        if self.digits == 0 {
            return Err(FramingError("invalid chunk size: missing"));
        }
        self.after_size(byte)
    }

    /// Behind the digits there may be blanks, and then an extension. A blank alone does not begin one: `5 x` is no size.
    fn after_size(&mut self, byte: u8) -> Result<ChunkState, FramingError> {
        match byte {
            b'\r' => Ok(ChunkState::SizeLf),
            b';' => Ok(ChunkState::Extension),
            b' ' | b'\t' => self.discard(ChunkState::SizeBlank),
            _ => Err(FramingError("invalid chunk size: not a hexadecimal number")),
        }
    }

    fn begin_data(&mut self) -> ChunkState {
        self.digits = 0;
        if self.left > 0 {
            return ChunkState::Data;
        }
        self.discarded = 0;
        ChunkState::TrailerBegin
    }

    fn discard(&mut self, at: ChunkState) -> Result<ChunkState, FramingError> {
        self.discarded += 1;
        if self.discarded > MAX_EXTENSION_BYTES {
            Err(FramingError("chunk extensions or trailers too large"))
        } else {
            Ok(at)
        }
    }
}

#[cfg(test)]
mod tests;
