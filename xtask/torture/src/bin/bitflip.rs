//! The program `bitflip`: see `nearfield_torture::bitflip`.

fn main() -> std::process::ExitCode {
    nearfield_torture::bitflip::main().into()
}
