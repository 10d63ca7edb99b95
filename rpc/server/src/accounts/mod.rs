//! Who may log in: users with passwords, and tokens for scripts. Kept in `accounts.json` in the
//! daemon's folder, readable by its owner only.
//!
//! The command line edits the file and a running daemon takes it over within seconds, so that users
//! can be managed whether it runs or not.

mod file;
mod password;

pub use file::{AccountsError, AccountsFile};
pub(crate) use file::{Stamp, stamp};
pub use password::{hash_password, verify_password};

use crate::limits;
use api::Role;
use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use ring_crypto::digest;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Everybody who may log in.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Accounts {
    /// People and programs with a name and a password.
    #[serde(default)]
    pub users: Vec<User>,
    /// Tokens for scripts.
    #[serde(default)]
    pub tokens: Vec<Token>,
}

/// Somebody with a password.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// Name to log in with.
    pub name: String,
    /// What they may do.
    #[serde(with = "role")]
    pub role: Role,
    /// Hash of the password as a PHC string: Argon2id, or PBKDF2 with SHA-256.
    pub password: String,
    /// The only folders that they may name; empty for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub folders: Vec<PathBuf>,
}

/// A token that was handed out.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// What it is revoked by.
    pub id: String,
    /// What it is for.
    pub name: String,
    /// What it may do.
    #[serde(with = "role")]
    pub role: Role,
    /// The only methods it may call, by their JSON-RPC names; empty for all of the role's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<String>,
    /// The only folders that it may name; empty for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub folders: Vec<PathBuf>,
    /// SHA-256 of the token in hexadecimal digits. It is random enough for a fast hash.
    pub sha256: String,
    /// Seconds since 1970 when it was made.
    pub created: u64,
    /// Seconds since 1970 when it ends; `None` for never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<u64>,
}

mod role {
    use api::Role;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(role: &Role, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(role.name())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Role, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

impl Accounts {
    /// Whether nobody can log in, so that nobody is asked to.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty() && self.tokens.is_empty()
    }

    /// The user of this name.
    pub fn user(&mut self, name: &str) -> Result<&mut User, String> {
        let found = self.users.iter_mut().find(|user| user.name == name);
        found.ok_or_else(|| format!("there is no user {name}: see `ringseed user list`"))
    }

    /// Adds a user, whose password is hashed here; it takes tens of milliseconds and 19 MiB.
    pub fn add_user(
        &mut self,
        name: &str,
        role: Role,
        password: &str,
        folders: Vec<PathBuf>,
    ) -> Result<(), String> {
        check_name(name)?;
        if self.users.iter().any(|user| user.name == name) {
            return Err(format!("there is a user {name} already"));
        }
        let password = hash_password(password)?;
        self.users.push(User { name: name.to_owned(), role, password, folders });
        self.check()
    }

    /// Removes a user.
    pub fn remove_user(&mut self, name: &str) -> Result<(), String> {
        self.user(name)?;
        self.users.retain(|user| user.name != name);
        Ok(())
    }

    /// Makes a token; what is given back is told once and kept nowhere.
    pub fn add_token(&mut self, new: NewToken, now: u64) -> Result<(String, Token), String> {
        let secret = format!("rs_{}", BASE64URL_NOPAD.encode(&random::<32>()));
        let token = Token {
            id: self.new_id(),
            name: new.name,
            role: new.role,
            methods: new.methods,
            folders: new.folders,
            sha256: HEXLOWER.encode(&token_hash(secret.as_bytes())),
            created: now,
            expires: new.lifetime.map(|seconds| now.saturating_add(seconds)),
        };
        check_name(&token.name)?;
        self.tokens.push(token.clone());
        self.check()?;
        Ok((secret, token))
    }

    /// An id that no token has.
    fn new_id(&self) -> String {
        loop {
            let id = HEXLOWER.encode(&random::<4>());
            if self.tokens.iter().all(|token| token.id != id) {
                return id;
            }
        }
    }

    /// Takes a token back, by its id.
    pub fn revoke_token(&mut self, id: &str) -> Result<Token, String> {
        let at = self.tokens.iter().position(|token| token.id == id);
        let at = at.ok_or_else(|| format!("there is no token {id}: see `ringseed token list`"))?;
        Ok(self.tokens.remove(at))
    }

    /// Whether what a file says can be used.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.users.len() > limits::USERS || self.tokens.len() > limits::TOKENS {
            let (users, tokens) = (limits::USERS, limits::TOKENS);
            return Err(format!("there can be {users} users and {tokens} tokens at most"));
        }
        for user in &self.users {
            check_name(&user.name)?;
            password::check(&user.password)
                .map_err(|error| format!("user {}: {error}", user.name))?;
        }
        let folders = self.users.iter().flat_map(|user| &user.folders);
        for folder in folders.chain(self.tokens.iter().flat_map(|token| &token.folders)) {
            if !folder.is_absolute() {
                return Err(format!("the folder {} is not an absolute path", folder.display()));
            }
        }
        let hash = |token: &Token| HEXLOWER.decode(token.sha256.as_bytes()).ok().map(|h| h.len());
        match self.tokens.iter().find(|token| hash(token) != Some(digest::SHA256_OUTPUT_LEN)) {
            Some(token) => Err(format!("token {}: its hash is no SHA-256", token.id)),
            None => Ok(()),
        }
    }
}

/// A token to be made.
#[derive(Clone, Debug)]
pub struct NewToken {
    /// What it is for.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// The only methods it may call; empty for all of the role's.
    pub methods: Vec<String>,
    /// The only folders that it may name; empty for all.
    pub folders: Vec<PathBuf>,
    /// Seconds until it ends; `None` for never.
    pub lifetime: Option<u64>,
}

/// A password that nobody has to think of: 20 characters, 100 bits.
pub fn generate_password() -> String {
    const DIGITS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    random::<20>().iter().map(|byte| char::from(DIGITS[usize::from(byte % 32)])).collect()
}

pub(crate) fn token_hash(token: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, token).as_ref());
    hash
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the kernel has randomness");
    bytes
}

/// Names go into headers, logs and tables.
fn check_name(name: &str) -> Result<(), String> {
    let fits = !name.is_empty() && name.len() <= limits::NAME_BYTES;
    if fits && !name.contains(|c: char| c == ':' || c.is_control()) && name.trim() == name {
        return Ok(());
    }
    Err(format!(
        "'{}' cannot be a name: it needs 1 to {} bytes, no colon and no space around it",
        name.escape_debug(),
        limits::NAME_BYTES
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new_token(lifetime: Option<u64>) -> NewToken {
        let name = "script".to_owned();
        NewToken { name, role: Role::User, methods: Vec::new(), folders: Vec::new(), lifetime }
    }

    #[test]
    fn a_token_is_told_once_and_only_its_hash_is_kept() {
        let mut accounts = Accounts::default();
        let (secret, token) = accounts.add_token(new_token(Some(60)), 1000).unwrap();
        assert_eq!(token.expires, Some(1060));
        assert_eq!(token.sha256, HEXLOWER.encode(&token_hash(secret.as_bytes())));
        let kept = serde_json::to_string(&accounts).unwrap();
        assert!(!kept.contains(&secret) && !kept.contains(&secret[3..]));
        assert_ne!(accounts.add_token(new_token(None), 1000).unwrap().0, secret);
        accounts.revoke_token(&token.id).unwrap();
        assert!(accounts.revoke_token(&token.id).unwrap_err().contains("token list"));
        assert_eq!(accounts.tokens.len(), 1);
    }

    #[test]
    fn names_that_cannot_be_logged_in_with_are_refused() {
        let mut accounts = Accounts::default();
        for name in ["", "a:b", "a\nb", " a", &"x".repeat(65)] {
            assert!(accounts.add_user(name, Role::User, "password", Vec::new()).is_err(), "{name}");
        }
        accounts.add_user("ann", Role::User, "password", Vec::new()).unwrap();
        let again = accounts.add_user("ann", Role::Admin, "password", Vec::new());
        assert!(again.unwrap_err().contains("already"));
        let relative = accounts.add_user("bob", Role::User, "password", vec!["data".into()]);
        assert!(relative.unwrap_err().contains("absolute"));
    }

    #[test]
    fn generated_passwords_are_long_and_never_the_same() {
        let (one, two) = (generate_password(), generate_password());
        assert!(one.len() == 20 && one != two);
    }
}
