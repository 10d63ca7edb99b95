//! Password hashes as PHC strings: Argon2id for new ones; PBKDF2 with SHA-256 is verified too, so
//! that hashes from elsewhere can be brought along.

use crate::limits;
use argon2::{
    Argon2, PasswordHasher, PasswordVerifier,
    password_hash::{PasswordHash, SaltString},
};
use ring_crypto::pbkdf2;
use std::num::NonZeroU32;

const PBKDF2: &str = "pbkdf2-sha256";

/// Hashes a new password: Argon2id with 19 MiB, two passes and one lane, which OWASP gives as the
/// least. The error says why a password cannot be used.
pub fn hash_password(password: &str) -> Result<String, String> {
    if password.len() < limits::PASSWORD_LEAST || password.len() > limits::PASSWORD_BYTES {
        let (least, most) = (limits::PASSWORD_LEAST, limits::PASSWORD_BYTES);
        return Err(format!("a password has {least} to {most} bytes"));
    }
    let salt = SaltString::encode_b64(&super::random::<16>()).map_err(|error| error.to_string())?;
    let hash = Argon2::default().hash_password(password.as_bytes(), &salt);
    Ok(hash.map_err(|error| error.to_string())?.to_string())
}

/// Whether a password has this hash. Takes tens of milliseconds on purpose: not for the thread that
/// answers requests.
pub fn verify_password(hash: &str, password: &[u8]) -> bool {
    let Ok(hash) = PasswordHash::new(hash) else { return false };
    match hash.algorithm.as_str() {
        PBKDF2 => verify_pbkdf2(&hash, password).unwrap_or(false),
        _ => Argon2::default().verify_password(password, &hash).is_ok(),
    }
}

fn verify_pbkdf2(hash: &PasswordHash<'_>, password: &[u8]) -> Option<bool> {
    let rounds = NonZeroU32::new(hash.params.get_decimal("i")?)?;
    let mut salt = [0; 64];
    let salt = hash.salt?.decode_b64(&mut salt).ok()?;
    let verified =
        pbkdf2::verify(pbkdf2::PBKDF2_HMAC_SHA256, rounds, salt, password, hash.hash?.as_bytes());
    Some(verified.is_ok())
}

/// Whether a hash from a file can be verified, and in bounded time and memory.
pub(super) fn check(hash: &str) -> Result<(), String> {
    let hash = PasswordHash::new(hash).map_err(|_| "its password is no hash in PHC form")?;
    let number = |name| hash.params.get_decimal(name).unwrap_or(u32::MAX);
    let within = match hash.algorithm.as_str() {
        "argon2id" => number("m") <= limits::ARGON2_KIB && number("t") <= limits::ARGON2_PASSES,
        PBKDF2 => number("i") <= limits::PBKDF2_ROUNDS,
        other => return Err(format!("its password's hash is {other}, not argon2id or {PBKDF2}")),
    };
    let whole = hash.salt.is_some() && hash.hash.is_some();
    if within && whole {
        Ok(())
    } else {
        Err("its password's hash costs too much or is cut".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_matches_its_own_hash_only() {
        let hash = hash_password("correct horse").unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        check(&hash).unwrap();
        assert!(verify_password(&hash, b"correct horse"));
        assert!(!verify_password(&hash, b"correct horsf"));
        assert_ne!(hash, hash_password("correct horse").unwrap());
        assert!(hash_password("short").is_err());
    }

    #[test]
    fn hashes_of_pbkdf2_are_verified() {
        // Python: hashlib.pbkdf2_hmac('sha256', b'password', b'saltsaltsaltsalt', 1000)
        let hash = "$pbkdf2-sha256$i=1000$c2FsdHNhbHRzYWx0c2FsdA$8nX7hwFEzIB8aPajJTYK8weHQc5Ngz0pFVAKvSu4jQA";
        check(hash).unwrap();
        assert!(verify_password(hash, b"password"));
        assert!(!verify_password(hash, b"passwort"));
    }

    #[test]
    fn hashes_that_cost_too_much_or_say_nothing_are_refused() {
        for bad in [
            "",
            "password",
            "$argon2id$v=19$m=99999999,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNo",
            "$argon2i$v=19$m=64,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNo",
            "$pbkdf2-sha256$i=4000000000$c2FsdHNhbHQ$aGFzaGhhc2hoYXNo",
            "$argon2id$v=19$m=64,t=2,p=1",
        ] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
