//! MD5-crypt, `$1$`: what Poul-Henning Kamp wrote for FreeBSD in 1994. It has no description but its source.

use md5::{Digest as _, Md5};

use super::same;

/// Salts are cut to this length.
const SALT: usize = 8;

const ROUNDS: usize = 1_000;

const ALPHABET: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Whether a password is that of `<salt>$<hash>`.
pub fn matches(password: &[u8], rest: &str) -> Option<bool> {
    let (salt, hash) = rest.split_once('$').filter(|(_, hash)| hash.len() == 22)?;
    let salt = salt.as_bytes().get(..salt.len().min(SALT))?;
    Some(same(&encode(&digest(password, salt)), hash.as_bytes()))
}

fn digest(password: &[u8], salt: &[u8]) -> [u8; 16] {
    let inner: [u8; 16] =
        Md5::new().chain_update(password).chain_update(salt).chain_update(password).finalize().into();
    let mut first = Md5::new().chain_update(password).chain_update(b"$1$").chain_update(salt);
    // As many bytes of it as the password has.
    for chunk in password.chunks(inner.len()) {
        first.update(inner.get(..chunk.len()).unwrap_or_default());
    }
    // For each bit of the length, from the lowest, a zero or the first byte of the password.
    let mut length = password.len();
    while length > 0 {
        let letter = password.get(..1).unwrap_or_default();
        first.update(if length & 1 == 1 { &[0] } else { letter });
        length >>= 1;
    }
    let mut digest: [u8; 16] = first.finalize().into();
    for round in 0..ROUNDS {
        let (odd, mut next) = (round % 2 == 1, Md5::new());
        next.update(if odd { password } else { &digest });
        if round % 3 != 0 {
            next.update(salt);
        }
        if round % 7 != 0 {
            next.update(password);
        }
        next.update(if odd { &digest } else { password });
        digest = next.finalize().into();
    }
    digest
}

/// The digest in an order and an alphabet of its own, six bits a character from the lowest.
fn encode(digest: &[u8; 16]) -> Vec<u8> {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = digest.map(u32::from);
    let groups = [(a, g, m, 4), (b, h, n, 4), (c, i, o, 4), (d, j, p, 4), (e, k, f, 4), (0, 0, l, 2)];
    let mut text = Vec::with_capacity(22);
    for (high, middle, low, characters) in groups {
        let mut bits = high << 16 | middle << 8 | low;
        for _ in 0..characters {
            text.extend(usize::try_from(bits & 63).ok().and_then(|at| ALPHABET.get(at)));
            bits >>= 6;
        }
    }
    text
}
