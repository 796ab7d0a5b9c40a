//! The `ottla` binary.

fn main() -> std::process::ExitCode {
    ottla::cli::run()
}
