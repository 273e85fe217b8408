#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wp_backup_agent::fuzzing::definitions(data));
