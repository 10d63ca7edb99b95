//! What a person sets for one torrent, or for a group of them, about speed and the end of seeding.

use crate::settings::Settings;
use serde::{Deserialize, Serialize};

/// A speed limit that can be switched off without being forgotten.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct SpeedLimit {
    /// Payload in kB/s, 1000 B/s each.
    pub kilobytes: u32,
    /// Whether it holds.
    pub enabled: bool,
}

impl Default for SpeedLimit {
    fn default() -> SpeedLimit {
        SpeedLimit { kilobytes: 100, enabled: false }
    }
}

impl SpeedLimit {
    /// Bytes per second; `None` for no limit.
    pub fn bytes(self) -> Option<u64> {
        self.enabled.then(|| u64::from(self.kilobytes) * 1000)
    }
}

/// Where a torrent's goal of seeding comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum GoalMode {
    /// The session's settings.
    #[default]
    Global,
    /// The torrent's own number.
    Own,
    /// There is none.
    Unlimited,
}

/// Speed and seeding of one torrent. Kept in the session database, where what is missing is as by
/// default.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct Rules {
    /// -1 low, 0 normal, 1 high: its weight among others where a shared limit binds.
    pub priority: i8,
    /// Its own limit of payload going out.
    pub upload: SpeedLimit,
    /// Its own limit of payload coming in.
    pub download: SpeedLimit,
    /// Whether the session's speed limits hold for it.
    pub honors_session_limits: bool,
    /// The bandwidth group that it shares limits with; empty for none.
    pub group: String,
    /// Which ratio ends seeding.
    pub ratio_mode: GoalMode,
    /// Bytes sent for each byte of the torrent, 0 or more.
    pub ratio_limit: f64,
    /// Which time without payload ends seeding.
    pub idle_mode: GoalMode,
    /// Minutes, from 1.
    pub idle_limit: u32,
}

impl Default for Rules {
    fn default() -> Rules {
        Rules {
            priority: 0,
            upload: SpeedLimit::default(),
            download: SpeedLimit::default(),
            honors_session_limits: true,
            group: String::new(),
            ratio_mode: GoalMode::Global,
            ratio_limit: 2.0,
            idle_mode: GoalMode::Global,
            idle_limit: 30,
        }
    }
}

impl Rules {
    /// The ratio at which seeding ends, if there is one.
    pub fn ratio_goal(&self, settings: &Settings) -> Option<f64> {
        match self.ratio_mode {
            GoalMode::Global => settings.seed_ratio_limited.then_some(settings.seed_ratio_limit),
            GoalMode::Own => Some(self.ratio_limit),
            GoalMode::Unlimited => None,
        }
    }

    /// Seconds without payload after which seeding ends, if it does.
    pub fn idle_goal(&self, settings: &Settings) -> Option<u64> {
        let minutes = match self.idle_mode {
            GoalMode::Global if settings.idle_seeding_limit_enabled => settings.idle_seeding_limit,
            GoalMode::Own => self.idle_limit,
            GoalMode::Global | GoalMode::Unlimited => return None,
        };
        Some(u64::from(minutes) * 60)
    }
}

/// Limits that several torrents share.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct Group {
    /// Its name, not empty.
    pub name: String,
    /// Payload going out, of all its torrents.
    pub upload: SpeedLimit,
    /// Payload coming in, of all its torrents.
    pub download: SpeedLimit,
    /// Whether the session's speed limits hold for its torrents.
    pub honors_session_limits: bool,
}

impl Default for Group {
    fn default() -> Group {
        // As Transmission has it: a number that does not hold is 0 for a group, 100 for a torrent.
        let none = SpeedLimit { kilobytes: 0, enabled: false };
        Group { name: String::new(), upload: none, download: none, honors_session_limits: true }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goals_come_from_where_the_mode_says() {
        let settings = Settings {
            seed_ratio_limited: true,
            seed_ratio_limit: 3.0,
            idle_seeding_limit_enabled: true,
            idle_seeding_limit: 2,
            ..Settings::default()
        };
        let goals = |mode| {
            let rules = Rules { ratio_mode: mode, idle_mode: mode, ..Rules::default() };
            (rules.ratio_goal(&settings), rules.idle_goal(&settings))
        };
        assert_eq!(goals(GoalMode::Global), (Some(3.0), Some(120)));
        assert_eq!(goals(GoalMode::Own), (Some(2.0), Some(1800)));
        assert_eq!(goals(GoalMode::Unlimited), (None, None));
        let none = Rules::default();
        assert_eq!(none.ratio_goal(&Settings::default()), None);
        assert_eq!(none.idle_goal(&Settings::default()), None);
    }

    #[test]
    fn what_an_older_version_stored_reads_as_the_defaults() {
        assert_eq!(serde_json::from_str::<Rules>("{}").unwrap(), Rules::default());
        let some: Rules = serde_json::from_str(r#"{"upload":{"enabled":true}}"#).unwrap();
        assert_eq!(some.upload, SpeedLimit { kilobytes: 100, enabled: true });
    }
}
