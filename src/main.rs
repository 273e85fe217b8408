//! The program; all of it is in the library.

fn main() -> std::process::ExitCode {
    wp_backup_agent::cli::main()
}
