//! transmission-remote 3.00 and 4.1 do to Ringseed what they do to Transmission: every option that
//! becomes a call is run against both, and then both say the same, to a script and to a reader.

mod excepted;
mod run;
mod session;
mod torrents;

use anyhow::Result;
use ringseed_tests::pair::any_driver;
use ringseed_tests::{Release, Scene, perform};

/// Makes a test for each of the two remotes of a function from a scene and a release.
macro_rules! for_each_remote {
    ($($module:ident::$test:ident;)+) => {
        $(mod $test {
            use super::*;

            #[test]
            fn with_3_00() {
                fn test(scene: &Scene) -> Result<()> {
                    $module::$test(scene, Release::V3)
                }
                perform(concat!(stringify!($test), "-3"), any_driver(), test);
            }

            #[test]
            fn with_4_1() {
                fn test(scene: &Scene) -> Result<()> {
                    $module::$test(scene, Release::V4)
                }
                perform(concat!(stringify!($test), "-4"), any_driver(), test);
            }
        })+
    };
}

for_each_remote! {
    session::settings_of_the_session;
    torrents::settings_of_torrents;
    torrents::places_and_names;
    torrents::life_and_death;
    torrents::what_is_printed;
}
