//! The program `fuzz`: see `nearfield_fuzz::command`.

fn main() -> std::process::ExitCode {
    nearfield_fuzz::command::main().into()
}
