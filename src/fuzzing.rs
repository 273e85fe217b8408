//! What the fuzz targets in `fuzz/` call: a function for each parser of what may be hostile or damaged. No part of the API.
//!
//! A function takes any bytes, and panics when a parser breaks its word: what was read goes round, a path that is accepted stays in its tree, what
//! comes out is bounded by what went in. The functions themselves stand in the modules that they look into.

pub use crate::config::fuzzing::{config, schedule, wp_config};
pub use crate::daemon::fuzzing::{control_answer, control_request};
pub use crate::database::fuzzing::{definitions, grants, rows, sql, vendors};
pub use crate::files::fuzzing::{file_list, patterns};
pub use crate::repository::fuzzing::{lists, local_state, manifest, names, pack, sealed_pack};
pub use crate::storage::fuzzing::s3_answers;
pub use crate::wordpress::fuzzing::php_serialized;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    type Target = (&'static str, fn(&[u8]));

    macro_rules! targets {
        ($($name:ident)*) => { [$((stringify!($name), super::$name as fn(&[u8]))),*] };
    }

    const TARGETS: [Target; 20] = targets! {
        config control_answer control_request definitions file_list grants lists local_state manifest names pack patterns php_serialized
        rows s3_answers schedule sealed_pack sql vendors wp_config
    };

    fn names_in(directory: &Path) -> BTreeSet<String> {
        let entries = fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    /// Each target's inputs, among them all that once broke something.
    #[test]
    #[allow(clippy::print_stdout)] // the last one is what broke it
    fn the_corpus_of_every_fuzz_target_passes() {
        let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
        let named: BTreeSet<_> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(names_in(&fuzz.join("corpus")), named);
        assert_eq!(names_in(&fuzz.join("fuzz_targets")), named.iter().map(|name| format!("{name}.rs")).collect());
        for (name, target) in TARGETS {
            let directory = fuzz.join("corpus").join(name);
            let inputs = names_in(&directory);
            assert!(!inputs.is_empty(), "{name} has no corpus");
            target(b"");
            for input in inputs {
                println!("{name}/{input}");
                target(&fs::read(directory.join(input)).unwrap());
            }
        }
    }
}
