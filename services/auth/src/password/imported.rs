//! Passwords that were hashed elsewhere, as crypt strings: what an account that was brought along is signed in with for
//! the first time.
//!
//! Whoever brings a string along chooses what comparing with it costs, so each scheme has a bound, and a string beyond it
//! matches nothing. Nor does one that cannot be read, or whose scheme is not among these:
//!
//! | begins with | scheme |
//! | --- | --- |
//! | `$argon2id$`, `$argon2i$`, `$argon2d$` | Argon2 (RFC 9106), as a PHC string |
//! | `$2a$`, `$2b$`, `$2y$` | bcrypt |
//! | `$scrypt$` | scrypt (RFC 7914), as a PHC string |
//! | `$pbkdf2-sha256$`, `$pbkdf2-sha512$` | PBKDF2 (RFC 8018), as a PHC string or as passlib writes it |
//! | `pbkdf2_sha256$` | PBKDF2, as Django writes it |
//! | `$5$`, `$6$` | SHA-crypt |
//! | `$1$` | MD5-crypt |
//!
//! bcrypt looks at the first 72 bytes of a password alone. The first of all passwords that agree in them to be signed in
//! with is the one that is hashed anew and counts from then on.

mod md5_crypt;

use argon2::password_hash::phc::PasswordHash;
use argon2::{Argon2, Params, PasswordVerifier as _, Version};
use base64::Engine as _;
use base64::alphabet::{Alphabet, BCRYPT, STANDARD};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use pbkdf2::pbkdf2_hmac;
use sha_crypt::ShaCrypt;
use sha2::{Sha256, Sha512};
use subtle::ConstantTimeEq as _;

/// The most memory of one Argon2 hash, and of all its passes together, in KiB.
const ARGON2_MEMORY_KIB: u32 = 1 << 20;
const ARGON2_WORK_KIB: u64 = 16 << 20;

/// The highest cost of bcrypt, a power of two.
const BCRYPT_COST: u32 = 16;

/// The most memory of scrypt, and of all its lanes together, in bytes.
const SCRYPT_MEMORY: u64 = 256 << 20;
const SCRYPT_WORK: u64 = 1 << 30;

/// The most rounds of PBKDF2, and the most bytes that it derives, each block of which costs as many rounds.
const PBKDF2_ROUNDS: u32 = 10_000_000;
const PBKDF2_BYTES: usize = 64;

/// The most rounds of SHA-crypt.
const SHA_CRYPT_ROUNDS: u32 = 5_000_000;

/// What many programs write: with or without padding, and with whatever bits are left over in the last character.
const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);
const BASE64: GeneralPurpose = lenient(&STANDARD);
const BCRYPT64: GeneralPurpose = lenient(&BCRYPT);

const fn lenient(alphabet: &Alphabet) -> GeneralPurpose {
    GeneralPurpose::new(alphabet, LENIENT)
}

/// Whether a password is the one of a crypt string. `None` when nothing was computed, because the string is of no scheme
/// known here, cannot be read, or is beyond what may be computed.
pub fn matches(password: &[u8], crypt: &str) -> Option<bool> {
    let (scheme, rest) = match crypt.strip_prefix('$') {
        Some(crypt) => crypt.split_once('$')?,
        None => crypt.split_once('$').filter(|(scheme, _)| *scheme == "pbkdf2_sha256")?,
    };
    match scheme {
        "argon2id" | "argon2i" | "argon2d" => argon2(password, crypt),
        "2a" | "2b" | "2y" => bcrypt(password, rest),
        "scrypt" => scrypt(password, rest),
        "pbkdf2-sha256" => pbkdf2(password, rest, pbkdf2_hmac::<Sha256>),
        "pbkdf2-sha512" => pbkdf2(password, rest, pbkdf2_hmac::<Sha512>),
        "pbkdf2_sha256" => django(password, rest),
        "5" | "6" => sha_crypt(password, crypt, rest),
        "1" => md5_crypt::matches(password, rest),
        _ => None,
    }
}

fn argon2(password: &[u8], crypt: &str) -> Option<bool> {
    let mut stored = PasswordHash::new(crypt).ok()?;
    let params = Params::try_from(&stored).ok()?;
    let work = u64::from(params.m_cost()) * u64::from(params.t_cost());
    if params.m_cost() > ARGON2_MEMORY_KIB || work > ARGON2_WORK_KIB {
        return None;
    }
    // Strings of the first version do not say so.
    stored.version.get_or_insert(Version::V0x10.into());
    match Argon2::default().verify_password(password, &stored) {
        Ok(()) => Some(true),
        Err(argon2::password_hash::Error::PasswordInvalid) => Some(false),
        Err(_) => None,
    }
}

/// `<cost>$<22 characters of salt><31 characters of hash>`.
fn bcrypt(password: &[u8], rest: &str) -> Option<bool> {
    const LOOKED_AT: usize = 72;
    let (cost, rest) = rest.split_once('$').filter(|(cost, _)| cost.len() == 2)?;
    let cost = number(cost).filter(|cost| (4..=BCRYPT_COST).contains(cost))?;
    let (salt, hash) = rest.split_at_checked(22)?;
    let salt: [u8; 16] = BCRYPT64.decode(salt).ok()?.try_into().ok()?;
    let hash: [u8; 23] = BCRYPT64.decode(hash).ok()?.try_into().ok()?;
    // A zero ends the password, as it does in C, where there is room for it.
    let key: Vec<u8> = password.iter().copied().chain([0]).take(LOOKED_AT).collect();
    Some(same(bcrypt::bcrypt(cost, salt, &key).get(..hash.len())?, &hash))
}

/// `ln=<n>,r=<n>,p=<n>$<salt>$<hash>`.
fn scrypt(password: &[u8], rest: &str) -> Option<bool> {
    let [params, salt, hash] = fields(rest)?;
    let (mut log_n, mut r, mut p) = (None, None, None);
    for param in params.split(',') {
        let (name, value) = param.split_once('=')?;
        let param = match name {
            "ln" => &mut log_n,
            "r" => &mut r,
            "p" => &mut p,
            _ => return None,
        };
        *param = Some(number(value).filter(|value| *value > 0)?);
    }
    let (log_n, r, p) = (log_n?, r?, p?);
    let memory = 1_u64.checked_shl(log_n)?.checked_mul(128)?.checked_mul(r.into())?;
    if memory > SCRYPT_MEMORY || memory.checked_mul(p.into())? > SCRYPT_WORK {
        return None;
    }
    let params = scrypt::Params::new(u8::try_from(log_n).ok()?, r, p).ok()?;
    let (salt, hash) = (BASE64.decode(salt).ok()?, BASE64.decode(hash).ok()?);
    let mut derived = vec![0; hash.len()];
    scrypt::scrypt(password, &salt, &params, &mut derived).ok()?;
    Some(same(&derived, &hash))
}

/// `<rounds>$<salt>$<hash>` of passlib, whose base64 has `.` where others have `+`, or `i=<rounds>[,l=<n>]$<salt>$<hash>`.
fn pbkdf2(password: &[u8], rest: &str, derive: Derive) -> Option<bool> {
    let [params, salt, hash] = fields(rest)?;
    let rounds = match params.strip_prefix("i=") {
        Some(params) => {
            let (rounds, length) = params.split_once(",l=").unwrap_or((params, ""));
            if !length.is_empty() {
                number(length)?;
            }
            rounds
        }
        None => params,
    };
    let decode = |text: &str| BASE64.decode(text.replace('.', "+")).ok();
    pbkdf2_with(password, number(rounds)?, &decode(salt)?, &decode(hash)?, derive)
}

/// `<rounds>$<salt as it is>$<hash>`.
fn django(password: &[u8], rest: &str) -> Option<bool> {
    let [rounds, salt, hash] = fields(rest)?;
    let hash = BASE64.decode(hash).ok()?;
    pbkdf2_with(password, number(rounds)?, salt.as_bytes(), &hash, pbkdf2_hmac::<Sha256>)
}

/// PBKDF2 with one hash or another: password, salt, rounds, result.
type Derive = fn(&[u8], &[u8], u32, &mut [u8]);

fn pbkdf2_with(password: &[u8], rounds: u32, salt: &[u8], hash: &[u8], derive: Derive) -> Option<bool> {
    if !(1..=PBKDF2_ROUNDS).contains(&rounds) || !(1..=PBKDF2_BYTES).contains(&hash.len()) {
        return None;
    }
    let mut derived = vec![0; hash.len()];
    derive(password, salt, rounds, &mut derived);
    Some(same(&derived, hash))
}

/// `[rounds=<n>$]<salt>$<hash>`.
fn sha_crypt(password: &[u8], crypt: &str, rest: &str) -> Option<bool> {
    if let Some(rest) = rest.strip_prefix("rounds=") {
        let (rounds, _) = rest.split_once('$')?;
        number(rounds).filter(|rounds| (1_000..=SHA_CRYPT_ROUNDS).contains(rounds))?;
    }
    match ShaCrypt::default().verify_password(password, crypt) {
        Ok(()) => Some(true),
        Err(argon2::password_hash::Error::PasswordInvalid) => Some(false),
        Err(_) => None,
    }
}

/// Exactly three fields.
fn fields(text: &str) -> Option<[&str; 3]> {
    let mut fields = text.split('$');
    let three = [fields.next()?, fields.next()?, fields.next()?];
    fields.next().is_none().then_some(three)
}

/// Digits alone: Rust would read a sign too.
fn number(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// Of the same length, and equal: takes as long whatever they differ in. Nothing is not something.
fn same(one: &[u8], other: &[u8]) -> bool {
    !one.is_empty() && bool::from(one.ct_eq(other))
}

#[cfg(test)]
mod tests;
