//! The program `crash`: see `nearfield_torture::command`.

fn main() -> std::process::ExitCode {
    nearfield_torture::command::main().into()
}
