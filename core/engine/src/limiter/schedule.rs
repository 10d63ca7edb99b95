//! When alternative speed limits hold.

use crate::settings::Settings;

/// Minutes of a day.
const DAY: u32 = 24 * 60;

/// A moment as a clock on the wall and a calendar show it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct WallTime {
    /// From Sunday, 0.
    pub(crate) weekday: u32,
    /// After midnight.
    pub(crate) minute: u32,
}

impl WallTime {
    /// By the machine's time zone.
    pub(crate) fn now() -> WallTime {
        let now = jiff::Zoned::now();
        WallTime {
            weekday: now.weekday().to_sunday_zero_offset() as u32,
            minute: now.hour() as u32 * 60 + now.minute() as u32,
        }
    }
}

/// Whether the settings' hours include this moment. A range over midnight belongs to the day on which
/// it begins; one that ends where it begins is empty.
pub(crate) fn includes(settings: &Settings, now: WallTime) -> bool {
    let begins_on = |weekday: u32| settings.alt_speed_time_day >> (weekday % 7) & 1 == 1;
    let (begin, end) = (settings.alt_speed_time_begin, settings.alt_speed_time_end);
    let last = if end < begin { DAY } else { end };
    let today = begins_on(now.weekday) && (begin..last).contains(&now.minute);
    let since_yesterday = end < begin && begins_on(now.weekday + 6) && now.minute < end;
    today || since_yesterday
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hours(begin: u32, end: u32, days: u32) -> Settings {
        Settings {
            alt_speed_time_begin: begin,
            alt_speed_time_end: end,
            alt_speed_time_day: days,
            ..Settings::default()
        }
    }

    fn at(weekday: u32, hour: u32, minute: u32) -> WallTime {
        WallTime { weekday, minute: hour * 60 + minute }
    }

    #[test]
    fn hours_of_a_day_hold_on_their_days() {
        let working = hours(9 * 60, 17 * 60, 62);
        assert!(includes(&working, at(1, 9, 0)) && includes(&working, at(5, 16, 59)));
        assert!(!includes(&working, at(1, 8, 59)) && !includes(&working, at(1, 17, 0)));
        assert!(!includes(&working, at(0, 12, 0)) && !includes(&working, at(6, 12, 0)));
    }

    #[test]
    fn hours_over_midnight_belong_to_the_day_they_begin_on() {
        let saturday_night = hours(22 * 60, 6 * 60, 64);
        assert!(includes(&saturday_night, at(6, 22, 0)) && includes(&saturday_night, at(0, 5, 59)));
        assert!(
            !includes(&saturday_night, at(6, 5, 0)) && !includes(&saturday_night, at(0, 22, 0))
        );
        assert!(!includes(&saturday_night, at(0, 6, 0)));
    }

    #[test]
    fn hours_that_end_where_they_begin_are_none() {
        let none = hours(300, 300, 127);
        assert!((0..7).all(|day| (0..24).all(|hour| !includes(&none, at(day, hour, 0)))));
    }

    proptest! {
        /// A week has as many minutes of them as days times length.
        #[test]
        fn a_week_has_them_once_for_each_of_their_days(
            begin in 0u32..DAY, end in 0u32..DAY, days in 0u32..128
        ) {
            let settings = hours(begin, end, days);
            let minutes = (0..7).flat_map(|weekday| (0..DAY).map(move |minute| WallTime { weekday, minute }));
            let count = minutes.filter(|&now| includes(&settings, now)).count() as u32;
            prop_assert_eq!(count, days.count_ones() * ((end + DAY - begin) % DAY));
        }
    }
}
