//! Speed limits: which hold for whom, bandwidth groups, and limits that follow the clock.

use super::{
    super::{GroupError, Write},
    Control, Inner,
};
use crate::{
    limiter::{
        Pools, TorrentLimits,
        schedule::{self, WallTime},
        weight,
    },
    limits,
    rules::Group,
    settings::Settings,
    shard::Command,
    status::{Torrent, TorrentId},
};
use swarm::Way;

/// A bandwidth group with what its limits let through.
pub(super) struct SharedGroup {
    group: Group,
    pools: Pools,
}

impl SharedGroup {
    pub(super) fn new(group: Group, shards: usize) -> SharedGroup {
        let shared = SharedGroup { group, pools: Pools::new(shards) };
        shared.renew_rates();
        shared
    }

    /// Tells whether they are others.
    fn renew_rates(&self) -> bool {
        self.pools.set_rates(self.group.upload.bytes(), self.group.download.bytes())
    }
}

/// Bytes per second that the session lets through, going out and coming in.
fn session_rates(settings: &Settings) -> [Option<u64>; 2] {
    let rate = |enabled: bool, usual: u32, alternative: u32| match settings.alt_speed_enabled {
        true => Some(u64::from(alternative) * 1000),
        false => enabled.then(|| u64::from(usual) * 1000),
    };
    [
        rate(settings.speed_limit_up_enabled, settings.speed_limit_up, settings.alt_speed_up),
        rate(settings.speed_limit_down_enabled, settings.speed_limit_down, settings.alt_speed_down),
    ]
}

/// What says when alternative limits hold.
fn hours(settings: &Settings) -> (bool, u32, u32, u32) {
    (
        settings.alt_speed_time_enabled,
        settings.alt_speed_time_begin,
        settings.alt_speed_time_end,
        settings.alt_speed_time_day,
    )
}

impl Control {
    /// What limits the torrent where it runs.
    pub(super) fn limits_of(&self, torrent: &Torrent) -> TorrentLimits {
        let rules = &torrent.rules;
        let group = self.groups.get(&rules.group);
        let honors = rules.honors_session_limits
            && group.is_none_or(|shared| shared.group.honors_session_limits);
        let pools = |way: Way| {
            let session = honors.then(|| self.pools.of(way).clone());
            [group.map(|shared| shared.pools.of(way).clone()), session]
        };
        TorrentLimits {
            weight: weight(rules.priority),
            own: [rules.upload.bytes(), rules.download.bytes()],
            pools: Way::BOTH.map(pools),
        }
    }

    pub(in crate::session) fn groups(&self) -> Vec<Group> {
        self.groups.values().map(|shared| shared.group.clone()).collect()
    }

    /// Takes the group away, and its torrents out of it: what is to be written, and the running ones.
    fn take_group(&mut self, name: &str) -> Result<(Vec<Write>, Vec<TorrentId>), GroupError> {
        let Some(shared) = self.groups.remove(name) else {
            return Err(GroupError::NoSuchGroup(name.to_owned()));
        };
        let mut writes = vec![Write::RemoveGroup(shared.group.name)];
        let members = self.catalog.iter().filter(|torrent| torrent.rules.group == name);
        let members: Vec<TorrentId> = members.map(|torrent| torrent.id).collect();
        for &id in &members {
            if let (Some(torrent), Some(entry)) =
                (self.catalog.change(id), self.entries.get_mut(&id))
            {
                torrent.rules.group.clear();
                entry.options.rules.group.clear();
                writes.push(Write::Options(torrent.info_hash, entry.options.clone()));
            }
        }
        Ok((writes, members))
    }

    /// Makes the group or replaces the one of its name.
    fn put_group(&mut self, group: Group) -> Result<Write, GroupError> {
        let group = Group { name: group.name.trim().to_owned(), ..group };
        if group.name.is_empty() {
            return Err(GroupError::NoName);
        }
        if group.name.len() > limits::GROUP_NAME_BYTES {
            return Err(GroupError::LongName);
        }
        if self.groups.len() >= limits::GROUPS && !self.groups.contains_key(&group.name) {
            return Err(GroupError::TooMany);
        }
        let shards = self.load.len();
        match self.groups.get_mut(&group.name) {
            Some(shared) => shared.group = group.clone(),
            None => {
                let shared = SharedGroup::new(group.clone(), shards);
                self.groups.insert(group.name.clone(), shared);
            }
        }
        Ok(Write::Group(group))
    }

    /// Makes sure of a group that a torrent is put into; what is to be written if it is new.
    pub(super) fn want_group(&mut self, name: &str) -> Result<Option<Write>, GroupError> {
        match name.is_empty() || self.groups.contains_key(name) {
            true => Ok(None),
            false => self.put_group(Group { name: name.into(), ..Group::default() }).map(Some),
        }
    }

    /// Takes over changed settings. New hours of the alternative limits hold from now on.
    pub(in crate::session) fn take_over_settings(&mut self, settings: Settings) {
        if hours(&settings) != hours(&self.settings) {
            self.was_in_hours = None;
        }
        self.settings = settings;
        self.follow_clock(WallTime::now);
    }

    /// Switches the alternative limits where their hours begin or end; between those, whoever
    /// switches them has the say. Tells whether it has.
    fn follow_clock(&mut self, now: impl Fn() -> WallTime) -> bool {
        if !self.settings.alt_speed_time_enabled {
            self.was_in_hours = None;
            return false;
        }
        let is_in_hours = schedule::includes(&self.settings, now());
        if self.was_in_hours.replace(is_in_hours) == Some(is_in_hours) {
            return false;
        }
        std::mem::replace(&mut self.settings.alt_speed_enabled, is_in_hours) != is_in_hours
    }
}

impl Inner {
    pub(in crate::session) fn set_group(&self, group: Group) -> Result<(), GroupError> {
        let mut control = self.lock();
        let name = group.name.trim().to_owned();
        let write = control.put_group(group)?;
        self.write(write);
        let members = control.catalog.iter().filter(|torrent| torrent.rules.group == name);
        let changed: Vec<(usize, TorrentId, TorrentLimits)> = members
            .filter_map(|torrent| {
                let shard = control.shard_of(torrent.id)?;
                Some((shard, torrent.id, control.limits_of(torrent)))
            })
            .collect();
        if let Some(shared) = control.groups.get(&name) {
            shared.renew_rates();
        }
        for (shard, id, limits) in changed {
            self.command(shard, Command::Limits { id, limits });
        }
        Ok(())
    }

    pub(in crate::session) fn remove_group(&self, name: &str) -> Result<(), GroupError> {
        let mut control = self.lock();
        let (writes, members) = control.take_group(name.trim())?;
        writes.into_iter().for_each(|write| self.write(write));
        for torrent in members.into_iter().filter_map(|id| control.catalog.get(id)) {
            if let Some(shard) = control.shard_of(torrent.id) {
                let limits = control.limits_of(torrent);
                self.command(shard, Command::Limits { id: torrent.id, limits });
            }
        }
        Ok(())
    }

    /// Switches the alternative limits by the clock.
    pub(in crate::session) fn follow_clock(&self) {
        let is_new = self.lock().follow_clock(WallTime::now);
        if is_new {
            self.renew_rates();
        }
    }

    /// Makes the session's limits hold as the settings say.
    pub(in crate::session) fn renew_rates(&self) {
        let is_new = {
            let control = self.lock();
            let [up, down] = session_rates(&control.settings);
            control.pools.set_rates(up, down)
        };
        if is_new {
            (0..self.shards.len()).for_each(|shard| self.command(shard, Command::Rates));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::SessionCounters;

    #[test]
    fn the_alternative_limits_take_the_place_of_the_usual_ones() {
        let mut settings = Settings { speed_limit_up_enabled: true, ..Settings::default() };
        assert_eq!(session_rates(&settings), [Some(100_000), None]);
        settings.alt_speed_enabled = true;
        settings.alt_speed_down = 0;
        assert_eq!(session_rates(&settings), [Some(50_000), Some(0)]);
    }

    #[test]
    fn hours_switch_the_alternative_limits_and_between_them_a_person_does() {
        let settings = Settings { alt_speed_time_enabled: true, ..Settings::default() };
        let counters = SessionCounters::default();
        let mut control = Control::new(settings, counters, Vec::new(), 1, 0);
        let at = |minute| move || WallTime { weekday: 3, minute };
        assert!(!control.follow_clock(at(100)));
        assert!(control.follow_clock(at(540)) && control.settings.alt_speed_enabled);
        control.settings.alt_speed_enabled = false;
        assert!(!control.follow_clock(at(541)) && !control.settings.alt_speed_enabled);
        assert!(!control.follow_clock(at(1020)), "it is off already");
        control.settings.alt_speed_enabled = true;
        assert!(!control.follow_clock(at(1300)) && control.settings.alt_speed_enabled);
        assert!(!control.follow_clock(at(540)), "it is on already");
        assert!(control.follow_clock(at(1020)) && !control.settings.alt_speed_enabled);
    }
}
