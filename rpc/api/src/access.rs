//! Who may call what: three roles, and what each method asks of them.

use std::{fmt, str::FromStr};

/// What a method does, and so what its caller must be allowed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Access {
    /// Tells something and changes nothing.
    Reads,
    /// Changes torrents.
    Changes,
    /// Changes the daemon: its settings, what holds for all torrents, its life.
    Administers,
}

/// What a caller is allowed, each role all that the ones before it are.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Role {
    /// Sees everything and changes nothing.
    ReadOnly,
    /// Adds, changes and removes torrents.
    User,
    /// Everything.
    Admin,
}

impl Role {
    /// All of them, the least first.
    pub const ALL: [Role; 3] = [Role::ReadOnly, Role::User, Role::Admin];

    /// Whether this role suffices for a method.
    pub fn may(self, access: Access) -> bool {
        self >= match access {
            Access::Reads => Role::ReadOnly,
            Access::Changes => Role::User,
            Access::Administers => Role::Admin,
        }
    }

    /// Its name in files and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Role::ReadOnly => "read-only",
            Role::User => "user",
            Role::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Role, String> {
        Role::ALL
            .into_iter()
            .find(|role| role.name() == text)
            .ok_or_else(|| format!("'{text}' is no role: there are admin, user and read-only"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_may_do_what_the_lesser_ones_may_and_one_thing_more() {
        let all = [Access::Reads, Access::Changes, Access::Administers];
        for (allowed, role) in Role::ALL.into_iter().enumerate() {
            let may: Vec<bool> = all.iter().map(|&access| role.may(access)).collect();
            assert_eq!(may, [true, allowed >= 1, allowed >= 2]);
            assert_eq!(role.name().parse(), Ok(role));
        }
        assert!("root".parse::<Role>().is_err());
    }
}
