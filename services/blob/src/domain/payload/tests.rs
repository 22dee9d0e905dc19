#![expect(clippy::cast_possible_truncation, reason = "sizes in tests are small")]

use super::*;
use crate::domain::cut::tests::noise;

const KEY: [u8; 32] = *b"the first key, which encrypts it";
const OLD_KEY: [u8; 32] = *b"the second key, of days long ago";

fn text(len: usize) -> Vec<u8> {
    (0_u64..).flat_map(|line| format!("secret plan {line}\n").into_bytes()).take(len).collect()
}

/// Every way to encode, with the codecs that text and noise get by it.
fn encodings() -> [(Encoding, Codec, Codec); 4] {
    let compressing = || Some(Compression::new(1));
    let keys = || Keys::new(&[KEY]);
    [
        (Encoding::new(None, Keys::default()), Codec::Raw, Codec::Raw),
        (Encoding::new(compressing(), Keys::default()), Codec::Zstd, Codec::Raw),
        (Encoding::new(None, keys()), Codec::Sealed, Codec::Sealed),
        (Encoding::new(compressing(), keys()), Codec::ZstdSealed, Codec::Sealed),
    ]
}

fn pieces(bytes: &[u8]) -> Vec<Bytes> {
    bytes.chunks(32 << 10).map(Bytes::copy_from_slice).collect()
}

fn encode(encoding: &Encoding, kind: Kind, bytes: &[u8]) -> (Header, Vec<u8>) {
    let encoded = encoding.encode(kind, blake3::hash(bytes), pieces(bytes)).unwrap();
    let stored = encoded.pieces.concat();
    assert_eq!(stored.len(), encoded.header.stored as usize);
    assert_eq!((encoded.header.size as usize, encoded.header.kind), (bytes.len(), kind));
    (encoded.header, stored)
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[test]
fn what_is_encoded_is_decoded_whatever_the_reader_writes() {
    let reader = Encoding::new(None, Keys::new(&[OLD_KEY, KEY]));
    for (encoding, of_text, of_noise) in encodings() {
        for len in [0, 1, 511, 512, 40_000, 300_000, cut::MAX] {
            for (content, codec) in [(text(len), of_text), (noise(1, len), of_noise)] {
                let (header, stored) = encode(&encoding, Kind::Chunk, &content);
                if len >= 512 {
                    assert_eq!(header.codec, codec, "{len}");
                }
                for decoder in [&encoding, &reader] {
                    assert!(decoder.decode(&header, stored.clone().into()).unwrap() == content, "{len}");
                }
            }
        }
        let (header, stored) = encode(&encoding, Kind::Manifest, &text(10_000));
        assert!(matches!(header.codec, Codec::Raw | Codec::Sealed), "names do not become smaller");
        assert!(reader.decode(&header, stored.into()).unwrap() == text(10_000));
    }
}

#[test]
fn what_takes_long_is_known_before() {
    for (encoding, of_text, of_noise) in encodings() {
        for len in [compress::QUICK, compress::QUICK + 1] {
            for (content, codec) in [(text(len), of_text), (noise(1, len), of_noise)] {
                let draft = encoding.draft(Kind::Chunk, blake3::hash(&content), pieces(&content));
                let is_quick = codec == Codec::Raw || len == compress::QUICK;
                assert_eq!(draft.is_quick(), is_quick, "{codec:?}, {len}");
                assert_eq!(is_quick_to_decode(codec, len as u32), is_quick, "{codec:?}, {len}");
            }
        }
    }
}

#[test]
fn what_stays_as_it_is_is_not_copied() {
    let (encoding, _, _) = &encodings()[1];
    let noise = pieces(&noise(1, 300_000));
    let places: Vec<_> = noise.iter().map(|piece| piece.as_ptr()).collect();
    let hash = blake3::hash(&noise.concat());
    let encoded = encoding.encode(Kind::Chunk, hash, noise).unwrap();
    assert_eq!(encoded.pieces.iter().map(|piece| piece.as_ptr()).collect::<Vec<_>>(), places);
    let stored = Bytes::from(encoded.pieces.concat());
    let place = stored.as_ptr();
    assert_eq!(encoding.decode(&encoded.header, stored).unwrap().as_ptr(), place);
}

#[test]
fn nothing_of_the_content_is_left_in_what_is_encrypted() {
    for (encoding, ..) in &encodings()[2..] {
        for content in [text(300), text(50_000), noise(1, 50_000)] {
            let (header, stored) = encode(encoding, Kind::Chunk, &content);
            assert!(content.chunks(16).all(|part| !contains(&stored, part)));
            let (again, other) = encode(encoding, Kind::Chunk, &content);
            assert_eq!(header, again);
            // Neither key nor nonce come twice: apart from the key's id nothing is alike.
            assert!(stored[8..].chunks(16).all(|part| part.len() < 16 || !contains(&other, part)));
        }
    }
}

#[test]
fn another_key_is_missing_and_not_damage() {
    let id = Keys::new(&[KEY]).current().unwrap();
    let missing = Err(DecodeError::KeyMissing(id));
    let mut wrong = KEY;
    wrong[31] ^= 1;
    for (encoding, ..) in &encodings()[2..] {
        let (header, stored) = encode(encoding, Kind::Chunk, &text(5000));
        for keys in [Keys::default(), Keys::new(&[OLD_KEY, wrong])] {
            assert_eq!(Encoding::new(None, keys).decode(&header, stored.clone().into()), missing);
        }
        // A damaged id is not taken for that of another key.
        for at in 0..8 {
            let mut damaged = stored.clone();
            damaged[at] ^= 1;
            assert_eq!(encoding.decode(&header, damaged.into()), Err(DecodeError::Damaged));
        }
    }
}

#[test]
fn any_flipped_bit_of_what_is_encrypted_is_found() {
    let (encoding, ..) = &encodings()[3];
    let (header, stored) = encode(encoding, Kind::Chunk, &text(600));
    for bit in 0..stored.len() * 8 {
        let mut damaged = stored.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(encoding.decode(&header, damaged.into()), Err(DecodeError::Damaged), "bit {bit}");
    }
}

#[test]
fn a_payload_belongs_to_its_header() {
    for (encoding, ..) in encodings() {
        let (header, stored) = encode(&encoding, Kind::Chunk, &text(5000));
        let (other, swapped) = encode(&encoding, Kind::Chunk, &text(5001));
        let refused = |header: &Header, stored: &[u8]| {
            assert_eq!(
                encoding.decode(header, Bytes::copy_from_slice(stored)),
                Err(DecodeError::Damaged),
                "{header:?}"
            );
        };
        refused(&header, &swapped);
        refused(&Header { hash: other.hash, ..header }, &stored);
        for size in [0, 4999, 5001, u32::MAX] {
            refused(&Header { size, ..header }, &stored);
        }
        for codec in (0..4).filter_map(Codec::from_number).filter(|codec| *codec != header.codec) {
            refused(&Header { codec, ..header }, &stored);
        }
        for len in [0, 1, 7, 8, 47, 48, 63, 64, stored.len() / 2, stored.len() - 1] {
            refused(&header, &stored[..len]);
            refused(&Header { stored: len as u32, ..header }, &stored[..len]);
        }
        let longer = [&stored[..], b"x"].concat();
        refused(&Header { stored: longer.len() as u32, ..header }, &longer);
    }
    // Nor is a manifest a chunk.
    let (encoding, ..) = &encodings()[2];
    let (header, stored) = encode(encoding, Kind::Manifest, &text(500));
    let other = Header { kind: Kind::Chunk, ..header };
    assert_eq!(encoding.decode(&other, stored.into()), Err(DecodeError::Damaged));
}

#[test]
fn memory_is_bounded_whatever_a_header_says() {
    let encoding = Encoding::default();
    // 64 MiB of zeros in a few kilobytes.
    let bomb = zstd::bulk::compress(&vec![0; 64 << 20], 1).unwrap();
    let hash = blake3::hash(&vec![0; 64 << 20]);
    for size in [1 << 10, cut::MAX as u32, 64 << 20, u32::MAX] {
        let stored = bomb.len() as u32;
        let header = Header { kind: Kind::Chunk, codec: Codec::Zstd, stored, size, hash };
        assert_eq!(encoding.decode(&header, bomb.clone().into()), Err(DecodeError::Damaged), "{size}");
    }
}

#[test]
fn rewriting_is_due_exactly_when_the_key_has_changed() {
    let [plain, packed, sealed, _] = encodings().map(|(encoding, ..)| encoding);
    let rotated = Encoding::new(None, Keys::new(&[OLD_KEY, KEY]));
    let all = [&plain, &packed, &sealed, &rotated];
    for (writer, current) in [
        (&plain, [true, true, false, false]),
        (&packed, [true, true, false, false]),
        (&sealed, [false, false, true, false]),
        (&rotated, [false, false, false, true]),
    ] {
        let (header, stored) = encode(writer, Kind::Chunk, &text(5000));
        assert_eq!(all.map(|encoding| encoding.is_current(header.codec, &stored)), current);
        assert_eq!(all.map(|encoding| encoding.is_current(header.codec, &stored[..8])), current);
    }
    // Under the new key it is current, and the same.
    let (header, stored) = encode(&sealed, Kind::Chunk, &text(5000));
    let content = rotated.decode(&header, stored.into()).unwrap();
    let rewritten = rotated.encode(header.kind, header.hash, vec![content]).unwrap();
    let stored = rewritten.pieces.concat();
    assert!(rotated.is_current(rewritten.header.codec, &stored));
    let reader = Encoding::new(None, Keys::new(&[OLD_KEY]));
    assert!(reader.decode(&rewritten.header, stored.into()).unwrap() == text(5000));
}

#[test]
fn whatever_is_done_to_a_payload_nothing_wrong_comes_out() {
    for (seed, (encoding, ..)) in (0..).zip(encodings()) {
        for content in [text(700), noise(9, 700), text(20_000)] {
            let (header, stored) = encode(&encoding, Kind::Chunk, &content);
            for round in 0..400 {
                let dice = noise(seed * 10_000 + round, 64);
                let at = |index: usize| usize::from(dice[index]) << 8 | usize::from(dice[index + 1]);
                let mut stored = stored.clone();
                for change in 0..=dice[0] % 4 {
                    let start = 4 * usize::from(change) + 1;
                    let place = at(start) % stored.len().max(1);
                    match dice[start + 2] % 5 {
                        0 => stored.truncate(place),
                        1 => stored.extend_from_slice(&dice),
                        2 => drop(stored.splice(place..place, dice[..8].iter().copied())),
                        3 => stored.iter_mut().skip(place).take(16).for_each(|byte| *byte = 0),
                        _ => stored.iter_mut().skip(place).take(1).for_each(|byte| *byte ^= dice[63] | 1),
                    }
                }
                let header = match dice[1] % 3 {
                    0 => Header { codec: Codec::from_number(dice[2] % 4).unwrap(), ..header },
                    1 => Header { size: u32::from(dice[2]) * 100, ..header },
                    _ => header,
                };
                let header = Header { stored: stored.len() as u32, ..header };
                match encoding.decode(&header, stored.into()) {
                    Ok(bytes) => assert!(bytes == content),
                    Err(error) => assert_eq!(error, DecodeError::Damaged),
                }
            }
        }
    }
}
