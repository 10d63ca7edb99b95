//! The daemon's speed limits: `ringseed limit`.

use super::connect;
use crate::{
    cli::LimitArgs,
    given::{Days, Hours, Rate},
    human, output, process,
    table::{Align, Table},
};
use api::native::{Nothing, SettingsChange, call};
use client::Client;
use serde_json::{Map, Value, json};

/// The settings that it is about.
const SETTINGS: [&str; 11] = [
    "speed_limit_up",
    "speed_limit_up_enabled",
    "speed_limit_down",
    "speed_limit_down_enabled",
    "alt_speed_up",
    "alt_speed_down",
    "alt_speed_enabled",
    "alt_speed_time_enabled",
    "alt_speed_time_begin",
    "alt_speed_time_end",
    "alt_speed_time_day",
];

pub fn limit(args: LimitArgs) -> anyhow::Result<()> {
    let changes = changes(&args);
    let mut settings = process::block_on(async {
        let client = connect(&args.connection)?;
        Ok(change(&client, changes).await?)
    })?;
    settings.retain(|name, _| SETTINGS.contains(&name.as_str()));
    if args.connection.json {
        return output::print_json(&settings);
    }
    output::print(&picture(&settings))
}

/// Changes settings, if any are to be, and gives all of them.
pub(super) async fn change(
    client: &Client,
    changes: Map<String, Value>,
) -> Result<Map<String, Value>, client::Error> {
    let settings = match changes.is_empty() {
        true => client.call::<call::SettingsGet>(Nothing {}).await?,
        false => client.call::<call::SettingsSet>(SettingsChange { settings: changes }).await?,
    };
    Ok(settings.settings)
}

fn changes(args: &LimitArgs) -> Map<String, Value> {
    let mut changes = Map::new();
    let mut put = |name: &str, value: Value| _ = changes.insert(name.to_owned(), value);
    for (name, rate) in [("speed_limit_up", args.up), ("speed_limit_down", args.down)] {
        if let Some(Rate(bytes)) = rate {
            put(&format!("{name}_enabled"), json!(bytes.is_some()));
            bytes.into_iter().for_each(|bytes| put(name, json!(bytes.div_ceil(1000))));
        }
    }
    for (name, rate) in [("alt_speed_up", args.alt_up), ("alt_speed_down", args.alt_down)] {
        if let Some(Rate(bytes)) = rate {
            // They have no switch of their own: this is as good as none.
            let kilobytes = bytes.map_or(MOST_KILOBYTES, |bytes| bytes.div_ceil(1000));
            put(name, json!(kilobytes));
        }
    }
    if let Some(on) = args.alt {
        put("alt_speed_enabled", json!(on));
    }
    if let Some(schedule) = args.alt_hours {
        put("alt_speed_time_enabled", json!(schedule.0.is_some()));
        if let Some(Hours { begin, end }) = schedule.0 {
            put("alt_speed_time_begin", json!(begin));
            put("alt_speed_time_end", json!(end));
        }
    }
    if let Some(Days(days)) = args.alt_days {
        put("alt_speed_time_day", json!(days));
    }
    changes
}

/// The largest limit that a setting takes: a terabyte a second.
const MOST_KILOBYTES: u64 = 1_000_000_000;

fn picture(settings: &Map<String, Value>) -> String {
    let number = |name: &str| settings.get(name).and_then(Value::as_u64).unwrap_or(0);
    let is = |name: &str| settings.get(name).and_then(Value::as_bool).unwrap_or(false);
    let usual = |name: &str| match is(&format!("{name}_enabled")) {
        true => rate(number(name)),
        false => "none".to_owned(),
    };
    let alternative = is("alt_speed_enabled");
    let holds = |holds: bool| if holds { "in force" } else { "" }.to_owned();
    let mut table = Table::new([
        ("", Align::Left),
        ("UP", Align::Right),
        ("DOWN", Align::Right),
        ("", Align::Left),
    ]);
    table.push([
        "usual".to_owned(),
        usual("speed_limit_up"),
        usual("speed_limit_down"),
        holds(!alternative),
    ]);
    table.push([
        "alternative".to_owned(),
        rate(number("alt_speed_up")),
        rate(number("alt_speed_down")),
        holds(alternative),
    ]);
    // Minutes of a day, as the daemon has checked.
    let minute = |name: &str| number(name) as u32;
    let hours = Hours { begin: minute("alt_speed_time_begin"), end: minute("alt_speed_time_end") };
    let clock = match is("alt_speed_time_enabled") {
        true => format!("by the clock: {hours}, {}\n", Days(minute("alt_speed_time_day"))),
        false => String::new(),
    };
    table.render() + &clock
}

/// A limit in kB/s.
fn rate(kilobytes: u64) -> String {
    match kilobytes {
        MOST_KILOBYTES => "none".to_owned(),
        kilobytes => format!("{}/s", human::bytes(kilobytes * 1000)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_picture_tells_which_limits_hold_and_when() {
        let mut settings = json!({
            "speed_limit_up": 500, "speed_limit_up_enabled": true, "speed_limit_down": 7,
            "speed_limit_down_enabled": false, "alt_speed_up": 50, "alt_speed_down": 0,
            "alt_speed_enabled": false, "alt_speed_time_enabled": false,
            "alt_speed_time_begin": 540, "alt_speed_time_end": 1020, "alt_speed_time_day": 62,
        });
        let of = |settings: &Value| picture(settings.as_object().unwrap());
        let shown = of(&settings);
        let lines: Vec<&str> = shown.lines().collect();
        assert!(lines[1].starts_with("usual") && lines[1].ends_with("none  in force"), "{shown}");
        assert!(lines[1].contains("500 kB/s") && lines[2].contains("50.0 kB/s"), "{shown}");
        assert!(lines[2].ends_with("0 B/s") && lines.len() == 3, "{shown}");
        settings["alt_speed_enabled"] = json!(true);
        settings["alt_speed_time_enabled"] = json!(true);
        let shown = of(&settings);
        assert!(shown.contains("0 B/s  in force"), "{shown}");
        assert!(shown.ends_with("by the clock: 09:00-17:00, mon,tue,wed,thu,fri\n"), "{shown}");
    }
}
