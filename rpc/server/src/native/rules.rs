//! Speed limits and goals of seeding, between the API's words and the engine's.
//!
//! The API speaks of bytes per second and seconds, as everywhere; the engine keeps kB/s and minutes, as
//! Transmission's dialects have them.

use api::native::{AddTorrent, Code, Edit, Failure, GoalOf, IdleGoal, RatioGoal, Weight};
use engine::rules::{GoalMode, Rules, SpeedLimit};
use serde_json::json;

/// The largest limit in kB/s: the settings' own.
const MOST_KILOBYTES: u64 = 1_000_000_000;

/// The longest time without payload in minutes: the settings' own.
const MOST_MINUTES: u32 = 1_000_000;

/// Takes over a limit in bytes per second; `None` switches it off, and its number is kept.
pub(super) fn put_limit(
    limit: &mut SpeedLimit,
    bytes: Option<u64>,
    name: &str,
) -> Result<(), Failure> {
    limit.enabled = bytes.is_some();
    if let Some(bytes) = bytes {
        let kilobytes = bytes.div_ceil(1000);
        let fits = u32::try_from(kilobytes).ok().filter(|_| kilobytes <= MOST_KILOBYTES);
        limit.kilobytes = fits.ok_or_else(|| {
            invalid(name, format!("{name} can be {MOST_KILOBYTES}000 bytes per second at most"))
        })?;
    }
    Ok(())
}

/// A parameter that cannot be used.
fn invalid(name: &str, text: String) -> Failure {
    Failure::new(Code::InvalidParams, text).about(json!({ "parameter": name }))
}

/// What is to be changed of a torrent's rules.
#[derive(Default)]
pub(super) struct RulesChange<'a> {
    priority: Option<Weight>,
    upload_limit: Option<Option<u64>>,
    download_limit: Option<Option<u64>>,
    honors_session_limits: Option<bool>,
    group: Option<Option<&'a str>>,
    ratio_goal: Option<RatioGoal>,
    idle_goal: Option<IdleGoal>,
}

impl<'a> From<&'a Edit> for RulesChange<'a> {
    fn from(edit: &'a Edit) -> RulesChange<'a> {
        RulesChange {
            priority: edit.priority,
            upload_limit: edit.upload_limit,
            download_limit: edit.download_limit,
            honors_session_limits: edit.honors_session_limits,
            group: edit.group.as_ref().map(Option::as_deref),
            ratio_goal: edit.ratio_goal,
            idle_goal: edit.idle_goal,
        }
    }
}

impl<'a> From<&'a AddTorrent> for RulesChange<'a> {
    fn from(add: &'a AddTorrent) -> RulesChange<'a> {
        RulesChange {
            priority: add.priority,
            upload_limit: add.upload_limit.map(Some),
            download_limit: add.download_limit.map(Some),
            honors_session_limits: add.honors_session_limits,
            group: add.group.as_deref().map(Some),
            ratio_goal: add.ratio_goal,
            idle_goal: add.idle_goal,
        }
    }
}

impl RulesChange<'_> {
    /// The rules after the change.
    pub(super) fn apply(&self, rules: &Rules) -> Result<Rules, Failure> {
        let mut new = rules.clone();
        if let Some(weight) = self.priority {
            new.priority = match weight {
                Weight::Low => -1,
                Weight::Normal => 0,
                Weight::High => 1,
            };
        }
        if let Some(bytes) = self.upload_limit {
            put_limit(&mut new.upload, bytes, "upload_limit")?;
        }
        if let Some(bytes) = self.download_limit {
            put_limit(&mut new.download, bytes, "download_limit")?;
        }
        new.honors_session_limits = self.honors_session_limits.unwrap_or(new.honors_session_limits);
        if let Some(group) = self.group {
            new.group = group.unwrap_or_default().trim().to_owned();
        }
        self.put_goals(&mut new)?;
        Ok(new)
    }

    fn put_goals(&self, rules: &mut Rules) -> Result<(), Failure> {
        match self.ratio_goal {
            None => {}
            Some(RatioGoal::Of(of)) => rules.ratio_mode = mode(of),
            Some(RatioGoal::Ratio(ratio)) if ratio >= 0.0 && ratio.is_finite() => {
                (rules.ratio_mode, rules.ratio_limit) = (GoalMode::Own, ratio);
            }
            Some(RatioGoal::Ratio(_)) => {
                return Err(invalid("ratio_goal", "ratio_goal is 0 or more".into()));
            }
        }
        match self.idle_goal {
            None => {}
            Some(IdleGoal::Of(of)) => rules.idle_mode = mode(of),
            Some(IdleGoal::Seconds(seconds)) => {
                let minutes = seconds.div_ceil(60);
                if !(1..=MOST_MINUTES).contains(&minutes) {
                    let text = format!("idle_goal is from 1 to {} seconds", MOST_MINUTES * 60);
                    return Err(invalid("idle_goal", text));
                }
                (rules.idle_mode, rules.idle_limit) = (GoalMode::Own, minutes);
            }
        }
        Ok(())
    }
}

fn mode(of: GoalOf) -> GoalMode {
    match of {
        GoalOf::Settings => GoalMode::Global,
        GoalOf::None => GoalMode::Unlimited,
    }
}

/// The weight as it is told.
pub(super) fn weight(rules: &Rules) -> Weight {
    match rules.priority {
        ..0 => Weight::Low,
        0 => Weight::Normal,
        1.. => Weight::High,
    }
}

/// The ratio goal as it is told.
pub(super) fn ratio_goal(rules: &Rules) -> RatioGoal {
    match rules.ratio_mode {
        GoalMode::Global => RatioGoal::Of(GoalOf::Settings),
        GoalMode::Own => RatioGoal::Ratio(rules.ratio_limit),
        GoalMode::Unlimited => RatioGoal::Of(GoalOf::None),
    }
}

/// The idle goal as it is told.
pub(super) fn idle_goal(rules: &Rules) -> IdleGoal {
    match rules.idle_mode {
        GoalMode::Global => IdleGoal::Of(GoalOf::Settings),
        GoalMode::Own => IdleGoal::Seconds(rules.idle_limit.saturating_mul(60)),
        GoalMode::Unlimited => IdleGoal::Of(GoalOf::None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_and_goals_come_back_as_they_were_given_in_what_the_engine_keeps() {
        let change = RulesChange {
            priority: Some(Weight::High),
            upload_limit: Some(Some(1_500)),
            download_limit: Some(Some(0)),
            honors_session_limits: Some(false),
            group: Some(Some(" slow ")),
            ratio_goal: Some(RatioGoal::Ratio(1.5)),
            idle_goal: Some(IdleGoal::Seconds(61)),
        };
        let rules = change.apply(&Rules::default()).unwrap();
        assert_eq!(rules.upload, SpeedLimit { kilobytes: 2, enabled: true });
        assert_eq!(rules.download, SpeedLimit { kilobytes: 0, enabled: true });
        assert_eq!((rules.group.as_str(), rules.honors_session_limits), ("slow", false));
        assert_eq!(weight(&rules), Weight::High);
        assert_eq!(ratio_goal(&rules), RatioGoal::Ratio(1.5));
        assert_eq!(idle_goal(&rules), IdleGoal::Seconds(120));

        let off = RulesChange {
            upload_limit: Some(None),
            group: Some(None),
            ratio_goal: Some(RatioGoal::Of(GoalOf::None)),
            idle_goal: Some(IdleGoal::Of(GoalOf::Settings)),
            ..RulesChange::default()
        };
        let rules = off.apply(&rules).unwrap();
        assert_eq!(rules.upload, SpeedLimit { kilobytes: 2, enabled: false });
        assert_eq!((rules.group.as_str(), rules.priority), ("", 1));
        assert_eq!(ratio_goal(&rules), RatioGoal::Of(GoalOf::None));
        assert_eq!(idle_goal(&rules), IdleGoal::Of(GoalOf::Settings));
        assert_eq!(RulesChange::default().apply(&rules).unwrap(), rules);
    }

    #[test]
    fn what_no_engine_could_keep_is_refused_by_name() {
        let of = |change: RulesChange<'_>| {
            let failure = change.apply(&Rules::default()).unwrap_err();
            failure.data.unwrap()["parameter"].as_str().unwrap().to_owned()
        };
        let none = RulesChange::default;
        assert_eq!(
            of(RulesChange { upload_limit: Some(Some(u64::MAX)), ..none() }),
            "upload_limit"
        );
        let down = Some(Some(MOST_KILOBYTES * 1000 + 1));
        assert_eq!(of(RulesChange { download_limit: down, ..none() }), "download_limit");
        for ratio in [-0.1, f64::NAN, f64::INFINITY] {
            let ratio_goal = Some(RatioGoal::Ratio(ratio));
            assert_eq!(of(RulesChange { ratio_goal, ..none() }), "ratio_goal");
        }
        for seconds in [0, u32::MAX] {
            let idle_goal = Some(IdleGoal::Seconds(seconds));
            assert_eq!(of(RulesChange { idle_goal, ..none() }), "idle_goal");
        }
    }
}
