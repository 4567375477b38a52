//! Compressed bytes back to plain ones, on hostile input too: memory is bounded whatever the input claims.

use bytes::Bytes;
use flate2::{Decompress, FlushDecompress, Status};
use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation, OutBuffer};

use super::layers::{Compressed, Plain};
use crate::{
    domain::{compression::Compression, stream::PIECE},
    error::{Context, Error, Kind, Result},
};

/// Largest zstd window accepted, as a power of two: 128 MiB, what `zstd --long` writes. dbsnap itself stays at 8 MiB.
const WINDOW_LOG_MAX: u32 = 27;
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Takes compressed bytes and hands on plain pieces of at most [`PIECE`] bytes.
pub(super) struct Decompressor {
    codec: Codec,
    /// Plain bytes not handed on yet; its capacity is `PIECE`.
    piece: Vec<u8>,
}

enum Codec {
    /// The first bytes, too few to tell.
    Unknown(Vec<u8>),
    None,
    Zstd {
        decoder: Decoder<'static>,
        whole: bool,
    },
    Gzip {
        member: Decompress,
        whole: bool,
    },
}

type Sink<'a> = &'a mut dyn FnMut(Plain) -> Result<()>;

impl Decompressor {
    /// `None` recognises zstd and gzip by their first bytes, and takes everything else as not compressed.
    pub fn new(compression: Option<Compression>) -> Result<Self> {
        let codec = match compression {
            None => Codec::Unknown(Vec::new()),
            Some(compression) => Codec::new(compression)?,
        };
        Ok(Self { codec, piece: Vec::with_capacity(PIECE) })
    }

    pub fn push(&mut self, Compressed(bytes): Compressed<'_>, sink: Sink<'_>) -> Result<()> {
        if let Codec::Unknown(head) = &mut self.codec {
            head.extend_from_slice(bytes);
            if head.len() < 4 {
                return Ok(());
            }
            let head = std::mem::take(head);
            self.codec = Codec::new(recognise(&head))?;
            return self.decode(&head, sink);
        }
        self.decode(bytes, sink)
    }

    /// The end of the input. Errors when it ends within a frame.
    pub fn finish(mut self, sink: Sink<'_>) -> Result<()> {
        if let Codec::Unknown(head) = &mut self.codec {
            let head = std::mem::take(head);
            self.codec = Codec::new(recognise(&head))?;
            self.decode(&head, sink)?;
        }
        if let Codec::Zstd { whole: false, .. } | Codec::Gzip { whole: false, .. } = self.codec {
            return Err(damaged("the compressed bytes end too early"));
        }
        hand_on(&mut self.piece, sink)
    }

    fn decode(&mut self, bytes: &[u8], sink: Sink<'_>) -> Result<()> {
        match &mut self.codec {
            Codec::Unknown(_) | Codec::None => {
                for part in bytes.chunks(PIECE) {
                    if self.piece.len() + part.len() > PIECE {
                        hand_on(&mut self.piece, sink)?;
                    }
                    self.piece.extend_from_slice(part);
                }
                Ok(())
            }
            Codec::Zstd { decoder, whole } => unzstd(decoder, whole, bytes, &mut self.piece, sink),
            Codec::Gzip { member, whole } => gunzip(member, whole, bytes, &mut self.piece, sink),
        }
    }
}

impl Codec {
    fn new(compression: Compression) -> Result<Self> {
        Ok(match compression {
            Compression::None => Self::None,
            Compression::Zstd(_) => {
                let starting = || "starting zstd".to_owned();
                let mut decoder = Decoder::new().context(Kind::Internal, starting)?;
                decoder.set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX)).context(Kind::Internal, starting)?;
                Self::Zstd { decoder, whole: false }
            }
            Compression::Gzip(_) => Self::Gzip { member: Decompress::new_gzip(15), whole: false },
        })
    }
}

fn recognise(head: &[u8]) -> Compression {
    match head {
        // A frame, or a skippable frame such as parallel compressors begin with.
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Compression::Zstd(1),
        head if head.starts_with(&GZIP_MAGIC) => Compression::Gzip(6),
        _ => Compression::None,
    }
}

/// `whole` is true between frames. Several frames may follow each other.
fn unzstd(decoder: &mut Decoder<'_>, whole: &mut bool, bytes: &[u8], piece: &mut Vec<u8>, sink: Sink<'_>) -> Result<()> {
    let mut input = InBuffer::around(bytes);
    let mut full = false;
    // A full piece means that the decoder may hold more, also when it has taken all input.
    while input.pos() < bytes.len() || (full && !*whole) {
        let at = piece.len();
        let hint = decoder
            .run(&mut input, &mut OutBuffer::around_pos(piece, at))
            .map_err(|cause| damaged("the zstd data cannot be decompressed").source(cause))?;
        *whole = hint == 0;
        full = piece.len() == piece.capacity();
        if full {
            hand_on(piece, sink)?;
        }
    }
    Ok(())
}

/// `whole` is true between members. Several members may follow each other.
fn gunzip(member: &mut Decompress, whole: &mut bool, mut bytes: &[u8], piece: &mut Vec<u8>, sink: Sink<'_>) -> Result<()> {
    let mut full = false;
    while !bytes.is_empty() || (full && !*whole) {
        if std::mem::take(whole) {
            *member = Decompress::new_gzip(15);
        }
        let before = (member.total_in(), member.total_out());
        let status = member
            .decompress_vec(bytes, piece, FlushDecompress::None)
            .map_err(|cause| damaged("the gzip data cannot be decompressed").source(cause))?;
        bytes = &bytes[(member.total_in() - before.0) as usize..];
        *whole = status == Status::StreamEnd;
        full = piece.len() == piece.capacity();
        if full {
            hand_on(piece, sink)?;
        } else if (member.total_in(), member.total_out()) == before && !bytes.is_empty() {
            return Err(damaged("the gzip data cannot be decompressed"));
        }
    }
    Ok(())
}

fn hand_on(piece: &mut Vec<u8>, sink: Sink<'_>) -> Result<()> {
    if piece.is_empty() {
        return Ok(());
    }
    sink(Plain(Bytes::from(std::mem::replace(piece, Vec::with_capacity(PIECE)))))
}

fn damaged(why: &str) -> Error {
    Error::new(Kind::Storage, why).hint("the file is damaged: use another backup, or another copy of this one")
}
