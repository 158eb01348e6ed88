//! One libFuzzer program for all targets; `NEARFIELD_FUZZ_TARGET` names the one it runs. `fuzz smoke` builds and starts it.
#![no_main]

use std::sync::OnceLock;

use nearfield_fuzz::Target;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    static TARGET: OnceLock<Target> = OnceLock::new();
    let target = TARGET.get_or_init(|| {
        let name = std::env::var("NEARFIELD_FUZZ_TARGET").unwrap_or_default();
        nearfield_fuzz::target(&name)
            .unwrap_or_else(|| panic!("NEARFIELD_FUZZ_TARGET is {name:?}: there is no such target"))
    });
    target(bytes);
});
