//! Runs the target that `RINGSEED_FUZZ_TARGET` names.

#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

static TARGET: LazyLock<String> = LazyLock::new(|| {
    std::env::var("RINGSEED_FUZZ_TARGET").expect("RINGSEED_FUZZ_TARGET names a target")
});

fuzz_target!(|bytes: &[u8]| ringseed_fuzzing::run(&TARGET, bytes));
